# SPDX-License-Identifier: Apache-2.0
"""Synthetic pictures to train on: small, textured, and the same on every machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.training import Degradation, PairSet, PairSettings  # noqa: E402
from nnrvideo.training.data import halve  # noqa: E402


def texture(height: int, width: int, phase: float = 0.0) -> npt.NDArray[np.uint8]:
    """Hard-edged stripes and squares, what interpolation blurs and a network can restore."""
    y, x = np.mgrid[0:height, 0:width]
    stripes = np.sign(np.sin((x + 0.6 * y) / 3.0 + phase))
    squares = np.where((x // 12 + y // 10) % 2, 30.0, -30.0)
    return np.clip(120 + 50 * stripes + squares, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def pairs() -> PairSet:
    large = [texture(96, 128, phase) for phase in (0.0, 0.7, 1.9)]
    return PairSet([halve(plane, "area") for plane in large], large, [0, 1, 2])


@pytest.fixture
def quick_pairs() -> PairSettings:
    """One fast degradation of a few pictures."""
    return PairSettings(
        degradations=(Degradation("area", "libx264", 24),),
        halvings=(0, 1),
        segment_frames=4,
        segments=1,
        keep_every=2,
    )
