# SPDX-License-Identifier: Apache-2.0
"""The recipe: how long, how fast and on what a network of each kind and size is trained.

Everything that was found by experiment is here and nowhere else: learning rates, crops,
quantisation steps, the share of the steps that runs on quantised weights; sizes of the tiers are in
:mod:`nnrvideo.training.kinds`, which needs no PyTorch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final, final

import numpy as np
import numpy.typing as npt

from nnrvideo.errors import InferenceError
from nnrvideo.model import attach_ranges, receive, unpack
from nnrvideo.picture import ChromaFormat, Picture
from nnrvideo.player.calibration import calibrate
from nnrvideo.training.data import PairSet
from nnrvideo.training.export import to_nnc
from nnrvideo.training.kinds import (
    LEAST_STEPS,
    MODES,
    OUT_BLOCKS,
    TIER_SIZES,
    TIERS,
    USUAL_STEPS,
    Mode,
    Tier,
)
from nnrvideo.training.nets import NetShape
from nnrvideo.training.steps import Progress
from nnrvideo.training.train import Trained, TrainSettings, planned_steps, step_seconds, train

Tensors = Mapping[str, npt.NDArray[np.float32]]

_LEARNING_RATES: Final[Mapping[Tier, float]] = {
    "XS": 3e-3,
    "S": 3e-3,
    "M": 3e-3,
    "L": 1.5e-3,
}
_ENHANCE_RATE: Final = 1e-3
_RELATIVE_STEP: Final = 0.4
_COARSER_STEPS: Final = ((0.05, 0.8), (0.02, 0.6))
"""Share of a title's bits from which on a coarser step costs less than it saves."""
_BASE_STEPS: Final = (6000, 2000)  # in float32, on quantised weights
_BASE_INTEGER_LOSS: Final = 0.05  # dB
_BASE_RANGE_PICTURES: Final = 24
_QUANTISED_SHARE: Final = Fraction(1, 3)  # of the steps
_WARM_UP: Final = 0.06
_PATCH: Final = 48
_INTEGER_TIERS: Final[tuple[Tier, ...]] = ("M", "L")
_INTEGER_LOSS: Final = 0.02  # dB
_RANGE_PICTURES: Final = 6
_REPORTS: Final = 50  # of progress, for each training


@final
@dataclass(frozen=True, slots=True)
class Budget:
    """How long to train.

    Args:
        steps: Training steps, the quantised ones included; None for the usual number, or for what
            the seconds allow.
        seconds: CPU seconds of this process, measured on a few steps before the first one; the
            number of steps that follows is fixed from then on, and kept in the checkpoint.  With
            steps given as well, the smaller of the two counts.
        plateau: Stop earlier where the last quarter of the steps gained less than 0.01 dB.
    """

    steps: int | None = None
    seconds: float | None = None
    plateau: bool = False

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < LEAST_STEPS:
            raise ValueError(f"training takes at least {LEAST_STEPS} steps, not {self.steps}")
        if self.seconds is not None and not (self.seconds > 0 and math.isfinite(self.seconds)):
            raise ValueError(f"a budget is a positive number of seconds, not {self.seconds}")


@final
@dataclass(frozen=True, slots=True)
class TrainedFilter:
    """A network that was trained for a title.

    Args:
        nnc: Its bitstream, with graph.
        tensors: What a decoder reconstructs from it, by name.
        steps: Training steps done, the quantised ones included.
        cpu_seconds: Of this process, for the training; what ran before a resumed checkpoint is not
            in it.
        gain: Decibels over plain interpolation, or over the untouched picture, on crops drawn
            apart from those trained on.
        integer_loss: Decibels that 8-bit integers cost on a few pictures of the pairs; None if
            that was not measured.  Ranges are in the bitstream if it is no more than 0.02.
    """

    nnc: bytes
    tensors: Tensors
    steps: int
    cpu_seconds: float
    gain: float
    integer_loss: float | None


def relative_step_for(share: float) -> float:
    """Quantisation step of weights relative to their spread.

    Args:
        share: Of the title's bits, that the network takes, about.
    """
    return next((step for least, step in _COARSER_STEPS if share >= least), _RELATIVE_STEP)


def filter_shape(mode: Mode, tier: Tier) -> NetShape:
    """The network of a mode and tier."""
    channels, convolutions = TIER_SIZES[tier]
    return NetShape(channels, convolutions, OUT_BLOCKS[mode])


def train_filter(
    pairs: PairSet,
    mode: Mode,
    tier: Tier,
    *,
    budget: Budget | None = None,
    base: Tensors | bytes | None = None,
    seed: int = 1,
    threads: int = 1,
    relative_step: float | None = None,
    integers: bool | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[Progress], None] = lambda _progress: None,
) -> TrainedFilter:
    """Trains a network on the decoded pictures of a title and codes it.

    Args:
        pairs: Decoded and source pictures, luma of 8 bits; the source's larger by
            :func:`nnrvideo.training.kinds.mode_scale`.
        mode: What the network does.
        tier: Its size: XS 8, S 16, M 32, L 64 channels.
        budget: How long to train.
        base: Network to start from, of the same mode and tier: tensors by name, or an NNC
            bitstream.  None starts from nothing.
        seed: Of the first weights and of the crops.
        threads: Threads that training may use; the result is the same to the bit only with one.
        relative_step: Quantisation step of weights relative to their spread; None for the usual.
        integers: Measure ranges of activations and send them, so that receivers may compute in
            8-bit integers, if that costs no more than 0.02 dB.  None: for M and L, which run about
            twice as fast so; S hardly does, and the ranges are 3 % of its bytes.
        checkpoint: File that keeps the state of the training.  A run that finds it goes on from
            there, and ends with the same network as one that was never interrupted.
        progress: Called about 50 times.

    Returns:
        The network, coded.

    Raises:
        ValueError: An argument is none of the above, pictures and mode do not fit, the pictures
            are too small for a crop, or the checkpoint is of another run.
        BitstreamError: The base's bitstream is broken.
    """
    if mode not in MODES or tier not in TIERS:
        raise ValueError(f"no network of mode {mode!r} and tier {tier!r}")
    budget = budget or Budget()
    shape = filter_shape(mode, tier)
    settings = TrainSettings(
        shape=shape,
        patch=patch_for(pairs, shape),
        learning_rate=_learning_rate(mode, tier),
        warm_up=_WARM_UP,
        relative_step=_RELATIVE_STEP if relative_step is None else relative_step,
        error_exponent=0.0,
        plateau=budget.plateau,
        seed=seed,
        threads=threads,
    )
    begin = time.process_time()
    settings = _with_length(settings, pairs, budget, checkpoint)
    steps = settings.float_steps + settings.quantised_steps
    trained = train(
        pairs,
        settings,
        base=_tensors(base),
        checkpoint=checkpoint,
        checkpoint_every=max(1, steps // _REPORTS),
        progress=progress,
    )
    seconds = time.process_time() - begin
    nnc, loss = to_nnc(trained, ids="short"), None
    if tier in _INTEGER_TIERS if integers is None else integers:
        nnc, loss = _with_ranges(nnc, pairs, _INTEGER_LOSS, _RANGE_PICTURES)
    return TrainedFilter(nnc, trained.tensors, trained.steps, seconds, trained.gain, loss)


def base_training(mode: Mode, tier: Tier) -> TrainSettings:
    """How a base network is trained, which many titles have in common.

    Longer than one of a title; each crop counts by its decibels rather than by its error, because
    the coarsest pictures would otherwise decide for all; the bits are sent to many titles, so that
    weights are finer.
    """
    float_steps, quantised_steps = _BASE_STEPS
    return TrainSettings(
        shape=filter_shape(mode, tier),
        float_steps=float_steps,
        quantised_steps=quantised_steps,
        learning_rate=_learning_rate(mode, tier),
        warm_up=_WARM_UP,
    )


def code_base(trained: Trained, tier: Tier, pairs: PairSet) -> tuple[bytes, float | None]:
    """Codes a base network.

    Args:
        trained: Result of training.
        tier: Its size.
        pairs: Pictures that it was trained on.

    Returns:
        The bitstream; for M and L with ranges of activations if integers cost no more than
        0.05 dB.  What they cost, or None if that was not measured.
    """
    nnc = to_nnc(trained)
    if tier not in _INTEGER_TIERS:
        return nnc, None
    return _with_ranges(nnc, pairs, _BASE_INTEGER_LOSS, _BASE_RANGE_PICTURES)


def _learning_rate(mode: Mode, tier: Tier) -> float:
    return _ENHANCE_RATE if mode == "enhance" else _LEARNING_RATES[tier]


def _with_ranges(
    nnc: bytes, pairs: PairSet, max_loss: float, count: int
) -> tuple[bytes, float | None]:
    """The bitstream with ranges if integers lose little, and what they lose if that is known."""
    chosen = sorted(set(np.linspace(0, len(pairs) - 1, count).astype(int).tolist()))
    pictures = [
        (_grey(pairs.small[each]), _grey(pairs.large[pairs.large_index[each]])) for each in chosen
    ]
    try:
        found = calibrate(unpack(nnc).require_network(), pictures, max_loss=max_loss)
    except InferenceError:  # this machine cannot tell what integers would do
        return nnc, None
    return (attach_ranges(nnc, found.network) if found.integer else nnc), found.loss


def _grey(plane: npt.NDArray[np.uint8]) -> Picture:
    return Picture((plane,), ChromaFormat.MONO)


def _tensors(base: Tensors | bytes | None) -> Tensors | None:
    if isinstance(base, bytes):
        return {name: np.asarray(each, np.float32) for name, each in receive(base).tensors.items()}
    return base


def _with_length(
    settings: TrainSettings, pairs: PairSet, budget: Budget, checkpoint: Path | None
) -> TrainSettings:
    """Settings with the numbers of steps that the budget allows, or that a checkpoint names."""
    known = None if checkpoint is None else planned_steps(checkpoint)
    if known is not None and budget.seconds is not None:
        return replace(settings, float_steps=known[0], quantised_steps=known[1])
    steps = budget.steps
    if budget.seconds is not None:
        in_float, quantised = step_seconds(pairs, settings)
        share = float(_QUANTISED_SHARE)
        allowed = int(budget.seconds / (in_float * (1 - share) + quantised * share))
        steps = max(LEAST_STEPS, allowed if steps is None else min(steps, allowed))
    steps = USUAL_STEPS if steps is None else steps
    quantised_steps = int(steps * _QUANTISED_SHARE)
    return replace(settings, float_steps=steps - quantised_steps, quantised_steps=quantised_steps)


def patch_for(pairs: PairSet, shape: NetShape) -> int:
    """Side of a training crop: the usual one, or what small pictures allow."""
    room = min(size for plane in pairs.small for size in plane.shape) - 2 * shape.overlap
    return min(_PATCH, room // 2 * 2)
