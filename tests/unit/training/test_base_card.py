# SPDX-License-Identifier: Apache-2.0
"""What a card says about gains, and that it says plainly where there is none."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.training import Degradation, Measurement
from nnrvideo.training.base_card import summary


def measured(*gains: float) -> list[Measurement]:
    kind = Degradation(None, "libx265", 28)
    return [Measurement("clip", 5, kind, 38.0, 38.0 + gain) for gain in gains]


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ((0.5, 0.1), "Mean gain +0.30 dB (+0.10 to +0.50)."),
        ((0.5, -0.1, 0.0), "Mean gain +0.13 dB (-0.10 to +0.50); 1 of 3 lose."),
        (
            (0.02, -0.04),
            "Mean gain -0.01 dB (-0.04 to +0.02); 1 of 2 lose; it gains nothing on content that it "
            "was not trained on.",
        ),
    ],
)
def test_summary_of_gains(gains: tuple[float, ...], said: str) -> None:
    assert summary(measured(*gains)) == said
