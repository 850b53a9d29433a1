# SPDX-License-Identifier: Apache-2.0
"""How one tensor is coded: levels, unary length, initial states and skipped rows, by their size.

Nothing here costs a decoder anything, and nothing is normative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy import (
    TensorChoices,
    TensorSpec,
    choose_row_skip_flags,
    estimate_bits,
    quantise,
    search_init_indices,
    step_size,
    uniform_quantise,
)
from nnrvideo.nnc.settings import Effort, EncodeSettings

Levels = npt.NDArray[np.int32]

DEFAULT_UNARY_LENGTH: Final = 11
_UNARY_LENGTHS: Final = (1, 2, 3, 4, 6, 8, 11, 15, 20, 26, 32)
_MAX_CHOSEN_UNARY_LENGTH: Final = 32
_LARGEST_COUNTED: Final = 1024  # larger values are remainder whatever the number of flags
_HISTOGRAM_VALUES: Final = 1 << 16
_MIN_SEGMENTS: Final = 16  # that a sampled search looks at
_HURRY: Final = 4
_FLAGS_TO_LEARN: Final = 16.0  # bits
_CHEAPEST_ZERO: Final = 0.02  # bits, in a row of its own among others
_CONTEXT_BITS: Final = 1.0  # to name a state or to learn it, besides half a bit per doubling


@final
@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Everything the payload of one tensor consists of.

    Args:
        levels: (rows, cols) int32.
        spec: What the payload syntax depends on.
        choices: Initial states, skipped rows, history flag.
    """

    levels: Levels
    spec: TensorSpec
    choices: TensorChoices

    @property
    def bits(self) -> float:
        """Estimated size of the payload."""
        return estimate_bits(self.levels, self.spec, self.choices)


def choose_levels(
    values: npt.NDArray[np.float32],
    qp: int,
    spec: TensorSpec,
    settings: EncodeSettings,
    *,
    with_rate: bool,
    fixed_unary_length: bool = False,
) -> Chosen:
    """Quantises a tensor and chooses how to code it.

    Args:
        values: (rows, cols) float32, finite.
        qp: Quantisation parameter, base included.
        spec: What the payload syntax depends on; the unary length may be replaced.
        settings: Choices of the encoder.
        with_rate: False to look at distortion only, whatever the settings say.
        fixed_unary_length: Keep that of ``spec``.

    Returns:
        The cheapest found.
    """
    step = step_size(qp, settings.qp_density)
    effort = settings.effort
    if not spec.dq_flag:
        plain = uniform_quantise(values, step)
    else:
        plain = quantise(values, step, spec)
    passes = effort.passes if with_rate and effort.rate_weight else 0
    if not fixed_unary_length:
        spec = _with_unary_length(plain, spec, settings)
    # States that only tell the next pass what bins cost need no thorough search.
    found = _choose_states(plain, spec, settings, hurry=_HURRY if passes else 1)
    for number in range(passes):
        levels = quantise(values, step, found.spec, found.choices, lam=effort.rate_weight)
        hurry = 1 if number == passes - 1 else _HURRY
        found = _choose_states(levels, found.spec, settings, found.choices, hurry=hurry)
    return found


def choose_coding(levels: Levels, spec: TensorSpec, settings: EncodeSettings) -> Chosen:
    """Chooses how to code levels that are given.

    Args:
        levels: (rows, cols) int32.
        spec: What the payload syntax depends on; the unary length may be replaced.
        settings: Choices of the encoder.
    """
    return _choose_states(levels, _with_unary_length(levels, spec, settings), settings)


def _with_unary_length(levels: Levels, spec: TensorSpec, settings: EncodeSettings) -> TensorSpec:
    if not settings.effort.unary_length:
        return spec
    return replace(spec, unary_length=choose_unary_length(levels, dq_flag=spec.dq_flag))


def _choose_states(
    levels: Levels,
    spec: TensorSpec,
    settings: EncodeSettings,
    before: TensorChoices | None = None,
    *,
    hurry: int = 1,
) -> Chosen:
    """Chooses history flag, skipped rows and initial states; levels were found under ``before``."""
    flags = choose_row_skip_flags(levels, spec) if settings.row_skipping else None
    if flags is None and before is not None and before.row_skip_flags is not None:
        flags = before.row_skip_flags  # the path of the levels leads through these rows
    must_skip = flags is not None and spec.dq_flag and spec.block_size > 0
    skips = [flags] if flags is None or must_skip or _surely_pays(flags, spec) else [None, flags]
    trials = [
        TensorChoices((), skip, history)
        for history in _history_flags(levels, spec)
        for skip in skips
    ]
    # Flags are compared before the search, which changes them all alike and takes longer.
    choices = trials[0]
    if len(trials) > 1:
        choices = min(trials, key=lambda trial: estimate_bits(levels, spec, trial))
    if settings.search:
        stride = _stride(spec, settings.effort, hurry)
        indices = search_init_indices(levels, spec, choices, stride=stride)
        choices = replace(choices, init_indices=indices)
    return Chosen(levels, spec, choices)


def _surely_pays(flags: npt.NDArray[np.bool_], spec: TensorSpec) -> bool:
    """True if flags for rows of zeros cost less than those zeros do at their very cheapest."""
    skipped = int(flags.sum())
    share = min(max(skipped / flags.size, 1e-9), 1 - 1e-9)
    entropy = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
    return flags.size * entropy + _FLAGS_TO_LEARN < skipped * spec.cols * _CHEAPEST_ZERO


def _history_flags(levels: Levels, spec: TensorSpec) -> tuple[bool, ...]:
    usable = spec.has_skip_flags and spec.parent_node_id_present_flag and spec.history is not None
    return (False, True) if usable and levels.any() else (False,)


def _stride(spec: TensorSpec, effort: Effort, hurry: int) -> int:
    """Segments of which one is looked at, so that ``search_values`` values are, or a part of them.

    Preset ``slow`` and those above are never in a hurry.
    """
    if not effort.search_values:
        return 1
    columns = -(-spec.cols // spec.block_size) if spec.block_size else 1
    wanted = hurry * spec.rows * spec.cols // effort.search_values
    return max(1, min(wanted, spec.rows * columns // _MIN_SEGMENTS))


def choose_unary_length(levels: Levels, *, dq_flag: bool) -> int:
    """Number of greater-than flags that makes the magnitudes cheapest, by their histogram.

    Every flag of every sign has a context of its own, which a tensor must have enough values to
    pay for; what the flags leave over goes to an Exp-Golomb code with few contexts.

    Args:
        levels: int32.
        dq_flag: Levels are expanded ones.
    """
    flat = levels.ravel()[:: max(1, levels.size // _HISTOGRAM_VALUES)]
    cost = np.zeros(_MAX_CHOSEN_UNARY_LENGTH)
    both = np.zeros(_LARGEST_COUNTED + 1, np.int64)
    for sign in (flat[flat > 0], -flat[flat < 0]):
        magnitudes = (sign.astype(np.int64) + 1) >> 1 if dq_flag else sign
        counts = np.bincount(
            np.minimum(magnitudes, _LARGEST_COUNTED), minlength=_LARGEST_COUNTED + 1
        )
        above = magnitudes.size - np.cumsum(counts)  # values greater than the index
        flags = above[: _MAX_CHOSEN_UNARY_LENGTH + 1]
        cost += np.cumsum(_flag_bits(flags[1:], flags[:-1]))
        both += counts
    magnitudes = np.flatnonzero(both)
    for number in _UNARY_LENGTHS:
        rest = magnitudes[magnitudes > number]
        if rest.size:
            cost[number - 1] += _remainder_bits(rest - (number + 1), both[rest])
    return min(_UNARY_LENGTHS, key=lambda number: cost[number - 1])


def _remainder_bits(rest: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> float:
    """Size of Exp-Golomb codes: numbers >= 0 and how often each of them occurs."""
    widths = np.frexp((rest + 1).astype(np.float64))[1] - 1  # floor(log2)
    ended = np.bincount(widths, weights=counts).astype(np.int64)
    reached = counts.sum() - np.cumsum(ended) + ended
    return float(_flag_bits(reached - ended, reached).sum() + (ended * np.arange(ended.size)).sum())


def _flag_bits(
    ones: npt.NDArray[np.int64], total: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Size of flags with a context each: entropy, and what the context costs to be learnt."""
    entropy = _xlog(total) - _xlog(ones) - _xlog(total - ones)
    learning = np.where(total > 0, _CONTEXT_BITS + 0.5 * np.log2(np.maximum(total, 1)), 0.0)
    bits: npt.NDArray[np.float64] = entropy + learning
    return bits


def _xlog(count: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    logarithms: npt.NDArray[np.float64] = np.log2(np.maximum(count, 1))
    return logarithms * count
