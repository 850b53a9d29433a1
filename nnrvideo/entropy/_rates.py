# SPDX-License-Identifier: Apache-2.0
"""Estimated cost of coding a value, from the contexts that a quantiser has adapted so far.

Spec: spec/nnc.md §8 (estimate), §9.2; nothing here is normative.
"""

from __future__ import annotations

from typing import Final

from nnrvideo.entropy._engine import Context, ContextBank
from nnrvideo.entropy._payload import TensorPayload, signalled_contexts
from nnrvideo.entropy.spec import TensorChoices, TensorSpec
from nnrvideo.entropy.tables.contexts import COST_UNIT, LESS_PROBABLE_COST, MORE_PROBABLE_COST

_SIGN_OF_INCREMENT: Final = (0, -1, 1)
_LAST_PREFIX: Final = 30


def bin_cost(total: int, bin_: int) -> int:
    """Estimated cost of a bin in 1/32768 bit, from the context's sum. Spec: spec/nnc.md §8."""
    confidence = total >> 3 if total >= 0 else -(total >> 3)
    table = MORE_PROBABLE_COST if bin_ == (total >= 0) else LESS_PROBABLE_COST
    return table[confidence]


class _AdaptingEngine:
    """Moves contexts and writes nothing."""

    def context_bin(self, context: Context, bin_: int) -> int:
        """Adapts the context."""
        context.adapt(bin_)
        return bin_

    def bypass_bits(self, count: int, value: int) -> int:  # noqa: ARG002
        """Moves nothing."""
        return value

    def enter_block_row(self, dq_state: int, *, is_entry_point: bool) -> None:
        """Has no range to set."""

    def check_position(self) -> None:
        """There is no position."""


class Rates:
    """Contexts with, beside them, what each of their bins costs.

    The costs are brought up to date by :meth:`refresh` and not by :meth:`adapt`: a quantiser asks
    far more often than contexts move.
    """

    def __init__(self, spec: TensorSpec, choices: TensorChoices) -> None:
        self._length = spec.unary_length
        self._bank = ContextBank(spec.unary_length, Context)
        self._payload = TensorPayload(_AdaptingEngine(), spec, self._bank, None, choices)
        wanted = iter(choices.init_indices)
        history = choices.hist_dep_sig_prob_enabled_flag
        for context, signalled in signalled_contexts(self._bank, spec, history=history):
            context.initialise(next(wanted, 0) if signalled else 0)
        self.refresh()

    def reset(self) -> None:
        """Starts a block row."""
        self._bank.reset()
        self.refresh()

    def adapt(self, k: int, state: int, previous: int, reference: int, marked: bool) -> None:
        """Moves the contexts that code k; ``previous`` is the context increment before it."""
        self._payload.value(k, state, _SIGN_OF_INCREMENT[previous], reference, marked)

    def refresh(self) -> None:
        """Takes the costs from the contexts; remainders are rare and always read theirs."""
        bank = self._bank

        def costs(contexts: list[Context]) -> list[tuple[int, int]]:
            totals = [16 * context.a + context.b for context in contexts]
            return [(bin_cost(total, 0), bin_cost(total, 1)) for total in totals]

        self._sig, self._sig_temporal = costs(bank.sig), costs(bank.sig_temporal)
        self._sig_history = costs(bank.sig_history)
        self._sign, self._sign_temporal = costs(bank.sign), costs(bank.sign_temporal)
        self._greater, self._greater_temporal = costs(bank.greater), costs(bank.greater_temporal)

    def significance(
        self,
        state: int,
        previous: int,
        reference: int,
        marked: bool,
        bin_: int,
    ) -> int:
        """Cost of sig_flag."""
        if marked:
            return self._sig_history[state][bin_]
        if reference:
            return self._sig_temporal[2 * state + (abs(reference) > 1)][bin_]
        return self._sig[3 * state + previous][bin_]

    def sign(self, previous: int, negative: int, reference: int) -> int:
        """Cost of sign_flag."""
        if reference:
            return self._sign_temporal[reference > 0][negative]
        return self._sign[previous][negative]

    def magnitude(self, k: int, negative: int, reference: int) -> int:
        """Cost of greater-than flags and remainder of |k| >= 1."""
        distance = abs(reference)
        cost = 0
        for number in range(self._length):
            zero, one = (
                self._greater_temporal[2 * number + (distance < number)]
                if reference
                else self._greater[2 * number + negative]
            )
            if k == number + 1:
                return cost + zero
            cost += one
        magnitude = self._length + 1
        for width in range(_LAST_PREFIX + 1):
            above = magnitude + (1 << width)
            context = self._bank.remainder[width]
            total = 16 * context.a + context.b
            if k < above:
                return cost + bin_cost(total, 0) + width * COST_UNIT
            cost += bin_cost(total, 1)
            magnitude = above
        return cost + (_LAST_PREFIX + 1) * COST_UNIT
