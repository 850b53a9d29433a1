# SPDX-License-Identifier: Apache-2.0
"""What an encoder may decide about one tensor: initialisation indices, skipped rows, its size.

Spec: spec/nnc.md §8 (estimate), §9.3, §13.4; nothing here is normative.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy._checks import check_encodable
from nnrvideo.entropy._engine import Context, ContextBank
from nnrvideo.entropy._payload import TensorPayload, signalled_contexts
from nnrvideo.entropy._rates import bin_cost
from nnrvideo.entropy.backend import native
from nnrvideo.entropy.spec import TensorChoices, TensorSpec
from nnrvideo.entropy.tables.contexts import (
    COST_UNIT,
    DQ_EVEN_PERIOD,
    INIT_INDICES,
)

_DEFAULT_CHOICES = TensorChoices()
_SIGNALLING_COST: Final = 3 * COST_UNIT
"""Penalty of an index other than 0: the three bits that name it."""


class _Trials:
    """A context that runs all nine initialisations side by side and adds up their costs."""

    __slots__ = ("contexts", "costs")

    def __init__(self) -> None:
        self.contexts = [Context() for _ in range(INIT_INDICES)]
        for index, context in enumerate(self.contexts):
            context.initialise(index)
        self.costs = [0] * INIT_INDICES

    def initialise(self, index: int) -> None:
        """Every initialisation is tried; none is selected."""

    def reset(self) -> None:
        """Restores each trial to its own initialisation."""
        for context in self.contexts:
            context.reset()

    def best(self) -> int:
        """The index with the smallest total; the lower one on ties."""
        totals = [
            cost + (_SIGNALLING_COST if index else 0) for index, cost in enumerate(self.costs)
        ]
        return totals.index(min(totals))


class _SearchEngine:
    """Runs the bins of one segment in every ``stride`` through the trials of their contexts."""

    def __init__(self, stride: int) -> None:
        self._stride = stride
        self._segment = 0
        self._active = True

    def context_bin(self, context: _Trials, bin_: int) -> int:
        """Charges the bin to every trial."""
        if not self._active:
            return bin_
        for index, trial in enumerate(context.contexts):
            context.costs[index] += bin_cost(16 * trial.a + trial.b, bin_)
            trial.adapt(bin_)
        return bin_

    def bypass_bits(self, count: int, value: int) -> int:  # noqa: ARG002
        """Costs the same whatever the initialisation."""
        return value

    def enter_block_row(self, dq_state: int, *, is_entry_point: bool) -> None:
        """Has no cost."""

    def check_position(self) -> None:
        """Begins a segment."""
        self._active = self._segment % self._stride == 0
        self._segment += 1


class _CostEngine:
    """Adds up the estimated cost of a tensor, in 1/32768 bit."""

    def __init__(self) -> None:
        self.cost = 0

    def context_bin(self, context: Context, bin_: int) -> int:
        """Charges one context-coded bin."""
        self.cost += bin_cost(16 * context.a + context.b, bin_)
        context.adapt(bin_)
        return bin_

    def bypass_bits(self, count: int, value: int) -> int:
        """Charges one bit for each bypass bin."""
        self.cost += count * COST_UNIT
        return value

    def enter_block_row(self, dq_state: int, *, is_entry_point: bool) -> None:
        """Has no cost worth an estimate."""

    def check_position(self) -> None:
        """There is no position."""


def search_init_indices(
    levels: npt.NDArray[np.int32],
    spec: TensorSpec,
    choices: TensorChoices = _DEFAULT_CHOICES,
    *,
    stride: int = 1,
) -> tuple[int, ...]:
    """Finds the initialisation index of each context that codes the tensor cheapest.

    The search runs on the values as coded. (NNCodec runs it on expanded levels when dependent
    quantisation is on, which costs it about 0.6 %.)

    Args:
        levels: (rows, cols) int32, as for ``Encoder.tensor``.
        spec: what the payload syntax depends on.
        choices: row skip and history flags to search under; its indices are ignored.
        stride: one row segment in so many is looked at; saves time on large tensors.

    Returns:
        One index 0...8 for each signalled context, in transmission order.

    Raises:
        ValueError: the levels cannot be coded so, or ``stride`` is below 1.

    Spec: spec/nnc.md §13.4.
    """
    check_encodable(levels, spec, choices)
    if stride < 1:
        raise ValueError(f"stride {stride} is not 1 or more")
    if native is not None:
        return tuple(native.search_init_indices(levels, spec, choices, stride))
    return _search_reference(levels, spec, choices, stride)


def _search_reference(
    levels: npt.NDArray[np.int32], spec: TensorSpec, choices: TensorChoices, stride: int = 1
) -> tuple[int, ...]:
    bank = ContextBank(spec.unary_length, _Trials)
    unindexed = TensorChoices((), choices.row_skip_flags, choices.hist_dep_sig_prob_enabled_flag)
    TensorPayload(_SearchEngine(stride), spec, bank, levels, unindexed).code()
    history = choices.hist_dep_sig_prob_enabled_flag
    return tuple(
        context.best()
        for context, signalled in signalled_contexts(bank, spec, history=history)
        if signalled
    )


def estimate_bits(
    levels: npt.NDArray[np.int32], spec: TensorSpec, choices: TensorChoices = _DEFAULT_CHOICES
) -> float:
    """Estimates the size of a tensor's payload without coding it.

    Args:
        levels: (rows, cols) int32, as for ``Encoder.tensor``.
        spec: what the payload syntax depends on.
        choices: the encoder's choices.

    Returns:
        Bits, without the terminating bin and the stop pattern.

    Raises:
        ValueError: the levels cannot be coded so.

    Spec: spec/nnc.md §8.
    """
    check_encodable(levels, spec, choices)
    if native is not None:
        return float(native.estimate_cost(levels, spec, choices) / COST_UNIT)
    return _cost_reference(levels, spec, choices) / COST_UNIT


def _cost_reference(levels: npt.NDArray[np.int32], spec: TensorSpec, choices: TensorChoices) -> int:
    engine = _CostEngine()
    TensorPayload(engine, spec, ContextBank(spec.unary_length, Context), levels, choices).code()
    return engine.cost


def choose_row_skip_flags(
    levels: npt.NDArray[np.int32], spec: TensorSpec
) -> npt.NDArray[np.bool_] | None:
    """Flags every all-zero row, where skipping rows is possible and useful.

    With block scans a skipped row advances the dependent-quantisation state by the whole matrix
    width once per block (§9.3), which is the path the levels were quantised along only when the
    width is a multiple of the state machine's period.

    Args:
        levels: (rows, cols) int32.
        spec: what the payload syntax depends on.

    Returns:
        (rows,) bool, or ``None`` where the payload should not carry skip flags.

    Spec: spec/nnc.md §9.3, §13.6.
    """
    if not spec.has_skip_flags:
        return None
    if spec.dq_flag and spec.block_size and spec.cols % DQ_EVEN_PERIOD:
        return None
    flags: npt.NDArray[np.bool_] = np.logical_not((levels != 0).any(axis=1))
    return flags if flags.any() else None
