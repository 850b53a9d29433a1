# SPDX-License-Identifier: Apache-2.0
"""What titles are trained for, by name, and what it costs.

Needs no PyTorch, and nothing heavy to be imported: options and help texts know these names, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Final, Literal, get_args

Mode = Literal["enhance", "sr1.5x", "sr2x"]
Tier = Literal["XS", "S", "M", "L"]
Target = Literal["psnr", "ms-ssim", "vmaf"]
Speed = Literal["fast", "medium", "slow"]
Level = Literal["bias", "last", "all"]

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
"""Cleans pictures at their size; brings back 3/2 of it; brings back twice of it."""

TIERS: Final[tuple[Tier, ...]] = get_args(Tier)

TARGETS: Final[tuple[Target, ...]] = get_args(Target)
"""Metrics that may decide."""

SPEEDS: Final[tuple[Speed, ...]] = get_args(Speed)

LEVELS: Final[tuple[Level, ...]] = get_args(Level)
"""What an update may change: biases, these and the last layer, everything."""

TRAINING_OPTIONS: Final = (
    *("metric", "speed", "tiers", "steps", "budget", "complexity_limit", "updates"),
    *("repeat", "passes", "seed", "threads"),
)
"""What the encoding of a title is told about networks, on the command line and in job lists; see
:func:`nnrvideo.training.title.settings_of`."""

USUAL_STEPS: Final = 1500
"""Of a training, the quantised ones included."""

LEAST_STEPS: Final = 10
"""Steps of the shortest training that makes sense of its phases."""

OUT_BLOCKS: Final[Mapping[Mode, int]] = {"enhance": 2, "sr1.5x": 3, "sr2x": 4}
"""Output samples, in each direction, for 2 input samples."""

TIER_SIZES: Final[Mapping[Tier, tuple[int, int]]] = {
    "XS": (8, 4),
    "S": (16, 4),
    "M": (32, 4),
    "L": (64, 6),
}
"""Channels and trained convolutions."""


_BITS_A_WEIGHT: Final = 3.8
_OTHER_BITS: Final = 8 * 500  # graph, headers, biases


def mode_scale(mode: Mode) -> Fraction:
    """Size of the shown picture relative to the coded one, in each direction."""
    return Fraction(OUT_BLOCKS[mode], 2)


def network_bits(mode: Mode, tier: Tier) -> int:
    """About what a network of this kind takes once, before it is trained."""
    weights = kmac_per_sample(mode, tier) * 1000 * float(2 * mode_scale(mode)) ** 2
    return round(weights * _BITS_A_WEIGHT) + _OTHER_BITS


@cache
def kmac_per_sample(mode: Mode, tier: Tier) -> float:
    """Thousands of multiply-accumulates for each luma sample of the output."""
    import numpy as np

    from nnrvideo.model import load_onnx, measure
    from nnrvideo.model.blocknet import build_block_network, skip_taps

    block = OUT_BLOCKS[mode]
    channels, convolutions = TIER_SIZES[tier]
    body = convolutions - 2
    names = ["stem", *(f"body.{number}" for number in range(body)), "tail"]
    shapes = [(channels, 1, 6, 6), *[(channels, channels, 3, 3)] * body, (block**2, channels, 3, 3)]
    tensors = {"skip.weight": skip_taps(block)}
    for name, shape in zip(names, shapes, strict=True):
        tensors[f"{name}.weight"] = np.zeros(shape, np.float32)
        tensors[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    network = load_onnx(build_block_network(tensors, name=mode))
    return measure(network).macs_per_sample / 1000
