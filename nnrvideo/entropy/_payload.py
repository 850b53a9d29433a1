# SPDX-License-Identifier: Apache-2.0
"""The syntax of one tensor's payload, stated once for decoding, encoding and estimating.

An engine's method takes the value to code and returns the value coded (see ``_engine.py``). When
decoding, the levels and choices handed in are zeros that nothing depends on.

Spec: ISO/IEC 15938-17 tensor payload; spec/nnc.md §9, §10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy._engine import ContextBank, ContextT, Engine
from nnrvideo.entropy._scan import segments
from nnrvideo.entropy.spec import MAX_LEVEL, TensorChoices, TensorSpec
from nnrvideo.entropy.tables.contexts import DQ_EVEN_PERIOD, DQ_NEXT
from nnrvideo.errors import BitstreamError

_UNLIMITED = 1 << 40  # larger than any magnitude the remainder can express
_LAST_PREFIX = 30


def signalled_contexts(
    bank: ContextBank[ContextT], spec: TensorSpec, *, history: bool
) -> Iterator[tuple[ContextT, bool]]:
    """Contexts in initialisation order, each with whether its index is transmitted.

    A context that the codebook makes useless keeps index 0 without saying so.

    Spec: spec/nnc.md §9.1.
    """
    states = 8 if spec.dq_flag else 1
    size, zero = spec.binarisation_codebook_size, spec.codebook_zero_offset
    largest = max(zero, size - 1 - zero)
    temporal = spec.reference is not None
    has_sig = size != 1
    has_sign = has_sig and not (size > 0 and zero in (0, size - 1))

    yield from ((context, has_sig) for context in bank.sig[: 3 * states])
    if temporal:
        yield from ((context, has_sig) for context in bank.sig_temporal[: 2 * states])
    if history:
        yield from ((context, has_sig) for context in bank.sig_history[:states])
    yield from ((context, has_sign) for context in bank.sign)
    if temporal:
        yield from ((context, has_sign) for context in bank.sign_temporal)
    for number, context in enumerate(bank.greater):
        yield context, size == 0 or number < 2 * largest
    if temporal:
        for number, context in enumerate(bank.greater_temporal):
            yield context, size == 0 or number < 2 * (largest - 1)
    for number, context in enumerate(bank.remainder[: spec.remainder_contexts]):
        yield context, size == 0 or spec.unary_length - 2 + (2 << number) < largest


class TensorPayload(Generic[ContextT]):
    """Codes one tensor through an engine.

    Args:
        engine: the direction.
        spec: what the syntax depends on.
        bank: fresh contexts of the engine's kind.
        levels: (rows, cols) int32 to code; ``None`` when decoding.
        choices: the encoder's choices; the default when decoding.

    Spec: spec/nnc.md §9.
    """

    def __init__(
        self,
        engine: Engine[ContextT],
        spec: TensorSpec,
        bank: ContextBank[ContextT],
        levels: npt.NDArray[np.int32] | None,
        choices: TensorChoices,
    ) -> None:
        self.engine = engine
        self.spec = spec
        self.bank = bank
        self._levels = levels
        self._choices = choices
        size, zero = spec.binarisation_codebook_size, spec.codebook_zero_offset
        self._largest_positive = size - 1 - zero if size else _UNLIMITED
        self._largest_negative = zero if size else _UNLIMITED

    def code(self) -> tuple[npt.NDArray[np.int32], TensorChoices]:
        """Codes flags, context initialisation and values; returns levels and choices as coded."""
        history, skipped = self._skip_flags()
        indices = self._initialisation(history=history)
        levels = self._values(history=history, skipped=skipped)
        rows = None if skipped is None else np.array(skipped, dtype=np.bool_)
        return levels, TensorChoices(indices, rows, history)

    def _skip_flags(self) -> tuple[bool, list[int] | None]:
        """hist_dep_sig_prob_enabled_flag and the row skip flags. Spec: spec/nnc.md §9."""
        spec, engine, wanted = self.spec, self.engine, self._choices
        if not spec.has_skip_flags:
            return False, None
        history = False
        if spec.parent_node_id_present_flag:
            history = bool(engine.bypass_bits(1, int(wanted.hist_dep_sig_prob_enabled_flag)))
        if history and spec.history is None:
            raise BitstreamError(
                "the history map that this tensor depends on does not exist",
                element="hist_dep_sig_prob_enabled_flag", clause="§11.4",
            )  # fmt: skip
        if not engine.bypass_bits(1, int(wanted.row_skip_flags is not None)):
            return history, None
        flags = [0] * spec.rows
        if wanted.row_skip_flags is not None:
            flags = [int(flag) for flag in wanted.row_skip_flags.tolist()]
        return history, [engine.context_bin(self.bank.row, flag) for flag in flags]

    def _initialisation(self, *, history: bool) -> tuple[int, ...]:
        """Codes the initialisation index of each signalled context. Spec: spec/nnc.md §9.1."""
        engine, shift = self.engine, self.bank.shift
        wanted = iter(self._choices.init_indices)
        coded: list[int] = []
        for context, signalled in signalled_contexts(self.bank, self.spec, history=history):
            if not signalled:
                context.initialise(0)
                continue
            index = next(wanted, 0)
            if engine.context_bin(shift, int(index > 0)):
                index = 1 + engine.bypass_bits(3, index - 1)
            else:
                index = 0
            context.initialise(index)
            coded.append(index)
        return tuple(coded)

    def _values(self, *, history: bool, skipped: list[int] | None) -> npt.NDArray[np.int32]:
        """Codes all values in scan order. Spec: spec/nnc.md §9.2, §9.3, §10."""
        spec, engine = self.spec, self.engine
        cols = spec.cols
        block_rows = -(-spec.rows // spec.block_size) if spec.block_size else 0
        has_entry_points = block_rows > 1
        empty = spec.binarisation_codebook_size == 1
        wanted = self._levels.ravel() if self._levels is not None else None
        reference = spec.reference.ravel() if spec.reference is not None else None
        marks = spec.history.ravel() if history and spec.history is not None else None
        levels = np.zeros(spec.rows * cols, dtype=np.int32)
        state = previous = 0

        for row, begin, end, starts_block_row in segments(spec.rows, cols, spec.block_size):
            engine.check_position()
            if starts_block_row and (has_entry_points or spec.nncodec1):
                engine.enter_block_row(state, is_entry_point=row > 0)
                self.bank.reset()
                previous = 0
            if skipped is not None and skipped[row]:
                if spec.dq_flag:
                    # The whole width, once per block: §9.3 says why this is not a slip of ours.
                    state = skip_states(state, cols)
                continue
            if empty:
                continue
            first, last = row * cols + begin, row * cols + end
            run = wanted[first:last].tolist() if wanted is not None else [0] * (end - begin)
            before = reference[first:last].tolist() if reference is not None else None
            marked = marks[first:last].tolist() if marks is not None else None
            for column, level in enumerate(run):
                k = contract(level, state) if spec.dq_flag else level
                k = self.value(
                    k,
                    state,
                    previous,
                    before[column] if before is not None else 0,
                    marked is not None and marked[column] != 0,
                )
                previous = level = k
                if spec.dq_flag:
                    level = expand(k, state)
                    if not -MAX_LEVEL <= level <= MAX_LEVEL:
                        raise BitstreamError("a level exceeds 31 bits", clause="§6")
                    state = DQ_NEXT[state][k & 1]
                run[column] = level
            levels[first:last] = run
        engine.check_position()
        return levels.reshape(spec.rows, cols)

    def value(self, k: int, state: int, previous: int, reference: int, marked: bool) -> int:
        """One value: significance, sign, greater-than flags, remainder. Spec: spec/nnc.md §9.2."""
        engine, bank = self.engine, self.bank
        code = engine.context_bin
        neighbour = 0 if previous == 0 else 1 if previous < 0 else 2
        distance = abs(reference)

        if marked:
            significance = bank.sig_history[state]
        elif reference:
            significance = bank.sig_temporal[2 * state + (distance > 1)]
        else:
            significance = bank.sig[3 * state + neighbour]
        if not code(significance, int(k != 0)):
            return 0

        if self._largest_negative == 0 or self._largest_positive == 0:
            negative = self._largest_positive == 0
        elif reference:
            negative = bool(code(bank.sign_temporal[reference > 0], int(k < 0)))
        else:
            negative = bool(code(bank.sign[neighbour], int(k < 0)))

        wanted = abs(k)
        largest = self._largest_negative if negative else self._largest_positive
        magnitude = 1
        if largest > 1:
            flag, number = 1, 0
            while flag and number < self.spec.unary_length and magnitude < largest:
                if reference:
                    context = bank.greater_temporal[2 * number + (distance < number)]
                else:
                    context = bank.greater[2 * number + negative]
                flag = code(context, int(wanted > magnitude))
                magnitude += flag
                number += 1
            if flag and magnitude < largest:
                magnitude = self._remainder(wanted, magnitude, largest)
        if magnitude > min(largest, MAX_LEVEL):
            raise BitstreamError("a coded value exceeds its bounds", clause="§9.2")
        return -magnitude if negative else magnitude

    def _remainder(self, wanted: int, magnitude: int, largest: int) -> int:
        """Exp-Golomb code of what the flags left over. Spec: spec/nnc.md §9.2."""
        width, prefix = 0, 0
        flag = 1
        while flag and prefix <= _LAST_PREFIX and magnitude + (1 << width) <= largest:
            flag = self.engine.context_bin(
                self.bank.remainder[prefix], int(wanted >= magnitude + (1 << width))
            )
            prefix += 1
            if flag:
                magnitude += 1 << width
                width += 1
        return magnitude + self.engine.bypass_bits(width, wanted - magnitude)


def expand(k: int, state: int) -> int:
    """The level a coded value stands for in a dependent-quantisation state. Spec: §6.1."""
    if not state & 1 or k == 0:
        return 2 * k
    return 2 * k - 1 if k > 0 else 2 * k + 1


def contract(level: int, state: int) -> int:
    """The value to code for a level in a state; inverse of :func:`expand`.

    Raises:
        ValueError: the quantiser of this state cannot express the level.

    Spec: spec/nnc.md §6.1.
    """
    doubled = level
    if state & 1 and level:
        doubled += 1 if level > 0 else -1
    if doubled & 1:
        raise ValueError(f"level {level} is not on the quantiser of dependent state {state}")
    return doubled // 2


def skip_states(state: int, count: int) -> int:
    """The state after ``count`` values of 0. Spec: spec/nnc.md §9.3."""
    for _ in range(count % DQ_EVEN_PERIOD):
        state = DQ_NEXT[state][0]
    return state
