# SPDX-License-Identifier: Apache-2.0
"""The shipped networks decode, are small, and say what they are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from nnrvideo.data import (
    NETWORK_NAMES,
    base_network,
    model_card,
    model_card_json,
    network_file,
    read_network,
)
from nnrvideo.model import ModelCard, bind_card, card_markdown, check, infer_contract, unpack
from nnrvideo.runtime import OnnxRuntimeBackend


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_is_small_and_has_a_card(name: str) -> None:
    assert 1_000 < len(base_network(name)) <= 30_000
    assert "CC BY 3.0" in model_card(name)


def test_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="sr2x_luma"):
        base_network("sr3x")


def test_a_file_goes_before_a_shipped_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_network("sr2x_luma") == base_network("sr2x_luma")
    assert network_file("sr2x_luma", tmp_path).read_bytes() == base_network("sr2x_luma")
    (tmp_path / "sr2x_luma").write_bytes(b"mine")
    assert read_network("sr2x_luma") == b"mine"
    assert network_file("sr2x_luma", tmp_path) == tmp_path / "sr2x_luma"
    with pytest.raises(FileNotFoundError, match=r"no file sr3x, nor a shipped network: sr2x_luma"):
        read_network("sr3x")


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_base_network_describes_itself(name: str) -> None:
    network = unpack(base_network(name)).require_network()
    check(network)
    contract = infer_contract(network)
    scale = Fraction(2 if name.startswith("sr2x") else 1)
    assert (contract.width_ratio, contract.height_ratio) == (scale, scale)
    assert contract.overlap == 8
    assert contract.crop_width == contract.crop_height == 0


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_base_network_leaves_a_ramp_a_ramp(name: str) -> None:
    network = unpack(base_network(name)).require_network()
    scale = int(infer_contract(network).width_ratio)
    session = OnnxRuntimeBackend().load(network.to_onnx(), {})
    # A soft ramp: any sane filter keeps it, any upscaler continues it between its samples.
    ramp = np.linspace(0.2, 0.8, 48 + 16, dtype=np.float32)
    samples = np.broadcast_to(ramp, (1, 1, 36 + 16, ramp.size)).copy()
    (made,) = session.run({"input": samples})
    size = 36 * scale, 48 * scale
    assert made.shape == (1, 1, *size)
    positions = (np.arange(size[1]) + 0.5) / scale - 0.5 + 8
    wanted = np.interp(positions, np.arange(ramp.size), ramp)
    np.testing.assert_allclose(made[0, 0], np.broadcast_to(wanted, size), atol=0.01)


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_card_is_that_of_the_network_and_its_page_is_up_to_date(name: str) -> None:
    card = ModelCard.from_text(model_card_json(name))
    assert bind_card(card, base_network(name)) == card
    assert card.name == name
    assert card.licence
    assert card.energy_estimate is not None
    # Gains are of clips that were not trained on, for each codec and several qualities.
    held_out = {each.name for each in card.data if each.use == "held out"}
    assert not held_out & {each.name for each in card.data if each.use == "training"}
    measured = {(row["clip"], row["codec"], row["CRF"]) for row in card.metrics}
    assert measured >= {
        (clip, codec, crf)
        for clip in held_out
        for codec in ("libx264", "libx265")
        for crf in (22, 28)
    }
    assert card_markdown(card) == model_card(name)
