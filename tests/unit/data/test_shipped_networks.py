# SPDX-License-Identifier: Apache-2.0
"""The shipped network decodes, is small, and says what it is."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from nnrvideo.data import NETWORK_NAMES, base_network, model_card, model_card_json
from nnrvideo.model import ModelCard, bind_card, card_markdown, check, infer_contract, unpack
from nnrvideo.runtime import OnnxRuntimeBackend


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_is_small_and_has_a_card(name: str) -> None:
    assert 1_000 < len(base_network(name)) <= 30_000
    assert "CC BY 3.0" in model_card(name)


def test_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="sr2x_luma"):
        base_network("sr3x")


def test_base_network_describes_itself() -> None:
    network = unpack(base_network()).require_network()
    check(network)
    contract = infer_contract(network)
    assert (contract.width_ratio, contract.height_ratio) == (Fraction(2), Fraction(2))
    assert contract.overlap == 8
    assert contract.crop_width == contract.crop_height == 0


def test_base_network_doubles_a_picture() -> None:
    network = unpack(base_network()).require_network()
    session = OnnxRuntimeBackend().load(network.to_onnx(), {})
    # A soft ramp: any sane upscaler continues it between the samples it was given.
    ramp = np.linspace(0.2, 0.8, 48 + 16, dtype=np.float32)
    samples = np.broadcast_to(ramp, (1, 1, 36 + 16, ramp.size)).copy()
    (enlarged,) = session.run({"input": samples})
    assert enlarged.shape == (1, 1, 72, 96)
    positions = (np.arange(96) + 0.5) / 2 - 0.5 + 8
    wanted = np.interp(positions, np.arange(ramp.size), ramp)
    np.testing.assert_allclose(enlarged[0, 0], np.broadcast_to(wanted, (72, 96)), atol=0.01)


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_card_is_that_of_the_network_and_its_page_is_up_to_date(name: str) -> None:
    card = ModelCard.from_text(model_card_json(name))
    assert bind_card(card, base_network(name)) == card
    assert card.metrics
    assert card.licence
    assert card_markdown(card) == model_card(name)
