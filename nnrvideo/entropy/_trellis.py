# SPDX-License-Identifier: Apache-2.0
"""Quantisation by the sum of distortion and rate, in pure Python.

Every floating-point operation is a double and happens in the order the native core uses, so that
both find the same levels, ties included.

Spec: spec/nnc.md §6.1, §13.2, §13.3; an encoder's choice, not normative.
"""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy._payload import contract
from nnrvideo.entropy._rates import Rates
from nnrvideo.entropy._scan import segments
from nnrvideo.entropy.spec import MAX_LEVEL, TensorChoices, TensorSpec
from nnrvideo.entropy.tables.contexts import COST_UNIT, DQ_EVEN_PERIOD, DQ_NEXT, DQ_STATES

_UNREACHED: Final = sys.float_info.max / 2
_WINDOW: Final = 8192  # values whose survivors are remembered
_SETTLED: Final = _WINDOW // 4 * 3  # how many of them are written when that many are reached
_SMALLEST_LAMBDA: Final = 1e-9  # less decides nothing, and costs leave the range of doubles
_SEGMENT: Final = 16  # values after which contexts follow the best path


# The two ways into a state, in the order they compete: predecessor, parity of the coded value.
_ARRIVALS: Final = tuple(
    tuple(
        sorted(
            (state, parity)
            for state in range(DQ_STATES)
            for parity in (0, 1)
            if DQ_NEXT[state][parity] == target
        )
    )
    for target in range(DQ_STATES)
)


def _turned(state: int, turns: int) -> int:
    for _ in range(turns):
        state = DQ_NEXT[state][0]
    return state


class _Quantiser(ABC):
    """What either way of quantising has in common: it is handed values in coding order."""

    def __init__(
        self,
        spec: TensorSpec,
        choices: TensorChoices,
        weight: float,
        *,
        with_rate: bool,
        levels: list[int],
    ) -> None:
        self._rates = Rates(spec, choices)
        self._around = _Around(spec, choices)
        self._weight = weight
        self._with_rate = with_rate
        self._levels = levels

    @abstractmethod
    def begin_block_row(self) -> None:
        """Contexts and the value before start afresh."""

    @abstractmethod
    def skip_row(self, cols: int) -> None:
        """A row of ``cols`` values is skipped."""

    @abstractmethod
    def value(self, at: int, scaled: float) -> None:
        """The next value, at a flat index, in steps."""

    @abstractmethod
    def finish(self) -> None:
        """No value is left."""


@dataclass(slots=True)
class _Step:
    """One value: the candidates around it and, for each state, what led there."""

    at: int
    lowest: int
    negative: bool
    turns: int = 0  # even steps after the value, of rows that are skipped
    origin: list[tuple[int, int]] = field(default_factory=list)  # predecessor, magnitude

    def multiple(self, remainder: int) -> int:
        """The candidate with this remainder modulo 4."""
        return self.lowest + (remainder - self.lowest) % 4

    def level(self, state: int) -> int:
        """The level on the way into ``state``."""
        magnitude = self.origin[state][1]
        return -magnitude if self.negative else magnitude


class _Trellis(_Quantiser):
    """The eight-state search; survivors older than a window are settled."""

    def __init__(
        self,
        spec: TensorSpec,
        choices: TensorChoices,
        weight: float,
        *,
        with_rate: bool,
        levels: list[int],
    ) -> None:
        super().__init__(spec, choices, weight, with_rate=with_rate, levels=levels)
        self._costs = [0.0] + [_UNREACHED] * (DQ_STATES - 1)
        self._previous = [0] * DQ_STATES
        self._steps: list[_Step] = []
        self._path = [0] * _WINDOW
        self._adapted = 0
        self._adapted_previous = 0

    def begin_block_row(self) -> None:
        """Contexts and the value before start afresh; the state goes on."""
        if not self._with_rate:
            return
        self._rates.reset()
        self._previous = [0] * DQ_STATES
        self._adapted = len(self._steps)
        self._adapted_previous = 0

    def skip_row(self, cols: int) -> None:
        """A skipped row moves every survivor along even steps (§9.3)."""
        turns = cols % DQ_EVEN_PERIOD
        if not turns:
            return
        costs, previous = self._costs[:], self._previous[:]
        for state in range(DQ_STATES):
            self._costs[_turned(state, turns)] = costs[state]
            self._previous[_turned(state, turns)] = previous[state]
        if self._steps:
            last = self._steps[-1]
            last.turns = (last.turns + turns) % DQ_EVEN_PERIOD

    def value(self, at: int, scaled: float) -> None:
        """Extends every survivor by one value."""
        if len(self._steps) == _WINDOW:
            self._settle()
        x = abs(scaled)
        step = _Step(at, max(1, math.floor(x) - 1), scaled < 0)
        self._steps.append(step)
        distortions = []
        for remainder in range(4):
            error = x - step.multiple(remainder)
            distortions.append(self._weight * (error * error))
        zero_distortion = self._weight * (x * x)
        if self._with_rate:
            self._extend(step, distortions, zero_distortion)
            if len(self._steps) - self._adapted == _SEGMENT:
                self._follow()
        else:
            self._extend_without_rate(step, distortions, zero_distortion)

    def finish(self) -> None:
        """Writes what is left."""
        self._trace(0)
        self._write(len(self._steps))

    def _extend_without_rate(
        self, step: _Step, distortions: list[float], zero_distortion: float
    ) -> None:
        branches = []
        for state in range(DQ_STATES):
            odd = state & 1
            even = 3 * odd
            best = (self._costs[state] + distortions[even], step.multiple(even))
            if zero_distortion < distortions[even]:
                best = (self._costs[state] + zero_distortion, 0)
            other = 2 - odd
            branches.append((best, (self._costs[state] + distortions[other], step.multiple(other))))
        self._arrive(step, branches)

    def _extend(self, step: _Step, distortions: list[float], zero_distortion: float) -> None:
        reference, marked = self._around.at(step.at)
        rates, negative = self._rates, int(step.negative)
        non_zero = [
            distortions[remainder]
            + rates.magnitude((step.multiple(remainder) + 1) >> 1, negative, reference)
            for remainder in range(4)
        ]
        branches = []
        for state in range(DQ_STATES):
            previous, base = self._previous[state], self._costs[state]
            zero = base + (
                zero_distortion + rates.significance(state, previous, reference, marked, 0)
            )
            other = base + (
                rates.significance(state, previous, reference, marked, 1)
                + rates.sign(previous, negative, reference)
            )
            even, odd = 3 * (state & 1), 2 - (state & 1)
            best = (other + non_zero[even], step.multiple(even))
            if zero < best[0]:
                best = (zero, 0)
            branches.append((best, (other + non_zero[odd], step.multiple(odd))))
        self._arrive(step, branches)
        sign = 1 if step.negative else 2
        self._previous = [sign if magnitude else 0 for _, magnitude in step.origin]

    def _arrive(
        self, step: _Step, branches: list[tuple[tuple[float, int], tuple[float, int]]]
    ) -> None:
        costs = []
        for arrivals in _ARRIVALS:
            best, chosen = math.inf, (0, 0)
            for state, parity in arrivals:
                cost, magnitude = branches[state][parity]
                if cost < best:
                    best, chosen = cost, (state, magnitude)
            costs.append(best)
            step.origin.append(chosen)
        self._costs = costs

    def _last(self, state: int) -> int:
        """State after the last value, before rows skipped since."""
        return _turned(state, DQ_EVEN_PERIOD - self._steps[-1].turns) if self._steps else state

    def _before(self, index: int, state: int) -> int:
        """State that the survivor of ``state`` was in before value ``index``."""
        source = self._steps[index].origin[state][0]
        if index == 0:
            return source
        return _turned(source, DQ_EVEN_PERIOD - self._steps[index - 1].turns)

    def _trace(self, first: int) -> None:
        """Notes the state that the best survivor is in after each value from ``first`` on."""
        state = self._last(self._costs.index(min(self._costs)))
        for index in range(len(self._steps) - 1, first - 1, -1):
            self._path[index] = state
            state = self._before(index, state)

    def _follow(self) -> None:
        """Adapts the contexts to what the best survivor decided last."""
        self._trace(self._adapted)
        for index in range(self._adapted, len(self._steps)):
            step = self._steps[index]
            state = step.origin[self._path[index]][0]
            k = contract(step.level(self._path[index]), state)
            self._rates.adapt(k, state, self._adapted_previous, *self._around.at(step.at))
            self._adapted_previous = 0 if k == 0 else 1 if k < 0 else 2
        self._adapted = len(self._steps)
        self._rates.refresh()

    def _write(self, count: int) -> None:
        for index in range(count):
            step = self._steps[index]
            self._levels[step.at] = step.level(self._path[index])

    def _settle(self) -> None:
        """Writes the older half of the window and forgets it.

        Survivors that disagree about it are given up, or the path would break where halves meet.
        """
        self._trace(0)
        for state in range(DQ_STATES):
            back = self._last(state)
            for index in range(len(self._steps) - 1, _SETTLED - 1, -1):
                if back == self._path[index]:
                    break
                back = self._before(index, back)
            else:
                if back != self._path[_SETTLED - 1]:
                    self._costs[state] = _UNREACHED
        self._write(_SETTLED)
        del self._steps[:_SETTLED]
        self._adapted = max(0, self._adapted - _SETTLED)


class _Scalar(_Quantiser):
    """Without the trellis each value is decided at once: zero or one of the nearest levels."""

    def __init__(
        self,
        spec: TensorSpec,
        choices: TensorChoices,
        weight: float,
        *,
        with_rate: bool,
        levels: list[int],
    ) -> None:
        super().__init__(spec, choices, weight, with_rate=with_rate, levels=levels)
        self._previous = 0
        self._fresh = 0

    def begin_block_row(self) -> None:
        """Contexts and the value before start afresh."""
        if self._with_rate:
            self._rates.reset()
        self._previous = 0
        self._fresh = 0

    def skip_row(self, cols: int) -> None:
        """There is no state to move."""

    def value(self, at: int, scaled: float) -> None:
        """Decides one value."""
        x = abs(scaled)
        magnitude = math.floor(x + 0.5)
        if self._with_rate:
            magnitude = self._decide(at, x, scaled < 0, magnitude)
        self._levels[at] = -magnitude if scaled < 0 else magnitude

    def finish(self) -> None:
        """Nothing is pending."""

    def _decide(self, at: int, x: float, negative: bool, nearest: int) -> int:
        reference, marked = self._around.at(at)
        rates, previous, weight = self._rates, self._previous, self._weight
        best = 0
        smallest = weight * (x * x) + rates.significance(0, previous, reference, marked, 0)
        other = rates.significance(0, previous, reference, marked, 1)
        other += rates.sign(previous, int(negative), reference)
        for k in range(max(1, nearest - 1), nearest + 1):
            error = x - k
            cost = weight * (error * error) + (other + rates.magnitude(k, int(negative), reference))
            if cost < smallest:
                smallest, best = cost, k
        k = -best if negative else best
        rates.adapt(k, 0, previous, reference, marked)
        self._previous = 0 if k == 0 else 1 if k < 0 else 2
        self._fresh += 1
        if self._fresh == _SEGMENT:
            rates.refresh()
            self._fresh = 0
        return best


class _Around:
    """Reference level and history mark of each value."""

    def __init__(self, spec: TensorSpec, choices: TensorChoices) -> None:
        self._reference = None if spec.reference is None else spec.reference.ravel()
        wanted = choices.hist_dep_sig_prob_enabled_flag and spec.history is not None
        self._marks = spec.history.ravel() if wanted and spec.history is not None else None

    def at(self, index: int) -> tuple[int, bool]:
        """Of the value at a flat index."""
        reference = 0 if self._reference is None else int(self._reference[index])
        return reference, self._marks is not None and bool(self._marks[index])


def quantise_tensor(
    values: npt.NDArray[np.float32],
    step: np.float32,
    lam: float,
    spec: TensorSpec,
    choices: TensorChoices,
) -> npt.NDArray[np.int32]:
    """Levels of small distortion and rate; see :func:`nnrvideo.entropy.quant.quantise`.

    Args:
        values: (rows, cols) float32.
        step: quantisation step, > 0.
        lam: weight of the rate, 0 for distortion alone.
        spec: what the payload syntax depends on.
        choices: initialisation, skipped rows and history flag.

    Returns:
        (rows, cols) int32 levels.

    Raises:
        ValueError: a value is not finite, or its level exceeds 31 bits.

    Spec: spec/nnc.md §13.2, §13.3.
    """
    # At high rates a bit buys 2 ln 2 of the distortion, which is a twelfth of a squared step for
    # scalar quantisers and, at twice the step, four times that less the trellis's gain.
    price = lam * math.log(2.0) / 6.0
    with np.errstate(over="ignore", invalid="ignore"):
        if spec.dq_flag:
            # A true quotient: the reciprocal's rounding error shows where levels are large.
            scaled, price = values / step, price * 4.0 * 0.7
        else:
            scaled = values * (np.float32(1) / step)
    with_rate = lam > _SMALLEST_LAMBDA
    weight = COST_UNIT / price if with_rate else 1.0
    skipped = choices.row_skip_flags
    levels = [0] * values.size
    quantiser: _Quantiser = (_Trellis if spec.dq_flag else _Scalar)(
        spec, choices, weight, with_rate=with_rate, levels=levels
    )
    block_rows = -(-spec.rows // spec.block_size) if spec.block_size else 0
    for row, begin, end, starts_block_row in segments(spec.rows, spec.cols, spec.block_size):
        if starts_block_row and (block_rows > 1 or spec.nncodec1):
            quantiser.begin_block_row()
        if skipped is not None and skipped[row]:
            quantiser.skip_row(spec.cols)
            continue
        for column, value in enumerate(scaled[row, begin:end].tolist(), begin):
            if not abs(value) + 4.0 <= MAX_LEVEL:
                raise ValueError("a value is not finite, or its level exceeds 31 bits")
            quantiser.value(row * spec.cols + column, value)
    quantiser.finish()
    return np.array(levels, dtype=np.int32).reshape(spec.rows, spec.cols)
