# SPDX-License-Identifier: Apache-2.0
"""Trellis search of dependent quantisation, in pure Python.

Every floating-point operation is a double and happens in the order the native core uses, so that
both find the same path, ties included.

Spec: spec/nnc.md §6.1, §13.3; an encoder's choice, not normative.
"""

from __future__ import annotations

import math
import sys
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy._engine import Context
from nnrvideo.entropy.tables.contexts import (
    COST_UNIT,
    DQ_NEXT,
    DQ_STATES,
    LESS_PROBABLE_COST,
    MORE_PROBABLE_COST,
)

_UNREACHED: Final = sys.float_info.max / 2
_MAX_PREFIX: Final = 31


class _Survivor:
    """The contexts along the cheapest path into one state, as flat lists that copy fast."""

    __slots__ = ("a", "b", "previous")

    def __init__(self, slots: int) -> None:
        self.a = [0] * slots
        self.b = [0] * slots
        self.previous = 0  # 0: zero, 1: negative, 2: positive, as the context increment

    def copy(self) -> _Survivor:
        twin = object.__new__(_Survivor)
        twin.a, twin.b, twin.previous = self.a[:], self.b[:], self.previous
        return twin


class _Rate:
    """Cost of a coded value in 1/32768 bit, with and without adapting a survivor's contexts."""

    def __init__(self, unary_length: int) -> None:
        self.unary_length = unary_length
        self.sign = 24
        self.greater = 27
        self.remainder = 27 + 2 * unary_length
        self.slots = self.remainder + _MAX_PREFIX

    def bins(self, k: int, state: int, previous: int) -> tuple[list[tuple[int, int]], int]:
        """The (slot, bin) pairs that code k, and the number of bypass bins. Spec: §9.2."""
        if k == 0:
            return [(3 * state + previous, 0)], 0
        negative = int(k < 0)
        wanted, magnitude, number = abs(k), 1, 0
        coded = [(3 * state + previous, 1), (self.sign + previous, negative)]
        flag = 1
        while flag and number < self.unary_length:
            flag = int(wanted > magnitude)
            coded.append((self.greater + 2 * number + negative, flag))
            magnitude += flag
            number += 1
        width = 0
        while flag and width < _MAX_PREFIX:
            flag = int(wanted >= magnitude + (1 << width))
            coded.append((self.remainder + width, flag))
            if flag:
                magnitude += 1 << width
                width += 1
        return coded, width

    def cost(self, survivor: _Survivor, k: int, state: int) -> int:
        """Cost of k after the survivor's path."""
        coded, bypass = self.bins(k, state, survivor.previous)
        cost = bypass * COST_UNIT
        for slot, bin_ in coded:
            total = 16 * survivor.a[slot] + survivor.b[slot]
            confidence = total >> 3 if total >= 0 else -(total >> 3)
            table = MORE_PROBABLE_COST if bin_ == (total >= 0) else LESS_PROBABLE_COST
            cost += table[confidence]
        return cost

    def adapt(self, survivor: _Survivor, k: int, state: int) -> None:
        """Appends k to the survivor's path. No slot occurs twice in the bins of one value."""
        context = Context()
        for slot, bin_ in self.bins(k, state, survivor.previous)[0]:
            context.a, context.b = survivor.a[slot], survivor.b[slot]
            context.adapt(bin_)
            survivor.a[slot], survivor.b[slot] = context.a, context.b
        survivor.previous = 0 if k == 0 else 1 if k < 0 else 2


def search(scaled: npt.NDArray[np.float32], lam: float, unary_length: int) -> npt.NDArray[np.int32]:
    """Expanded levels of the cheapest path.

    Args:
        scaled: (n,) float32, values divided by the step, in coding order; |x| + 4 < 2 ** 31.
        lam: weight of the rate, 0 for distortion alone.
        unary_length: greater-than flags the rate estimate assumes.

    Returns:
        (n,) int32 levels in coding order.

    Spec: spec/nnc.md §13.3.
    """
    rate = _Rate(unary_length) if lam > 0.0 else None
    weight = COST_UNIT / (lam * 4.0 * math.log(2.0) / 6.0 * 0.7) if lam > 0.0 else 1.0
    costs = [0.0] + [_UNREACHED] * (DQ_STATES - 1)
    survivors = [_Survivor(rate.slots if rate else 0) for _ in range(DQ_STATES)]
    # Per value and state: predecessor and the magnitude of the level that leads here from it.
    history: list[tuple[list[int], list[int]]] = []
    for value in scaled.tolist():
        x = abs(value)
        sign = -1 if value < 0 else 1
        # The four multiples around x, each in the place of its remainder modulo 4.
        lowest = max(1, math.floor(x) - 1)
        multiples = [0, 0, 0, 0]
        for multiple in range(lowest, lowest + 4):
            multiples[multiple & 3] = multiple
        distortions = [weight * ((x - multiple) * (x - multiple)) for multiple in multiples]
        zero_distortion = weight * (x * x)

        best = [math.inf] * DQ_STATES
        origin, magnitude = [0] * DQ_STATES, [0] * DQ_STATES
        for state in range(DQ_STATES):
            odd = state & 1
            for parity, remainder in ((0, 3 * odd), (1, 2 - odd)):
                target = DQ_NEXT[state][parity]
                multiple = multiples[remainder]
                cost = costs[state] + distortions[remainder]
                if rate:
                    k = sign * ((multiple + 1) >> 1)
                    cost += rate.cost(survivors[state], k, state)
                if cost < best[target]:
                    best[target], origin[target], magnitude[target] = cost, state, multiple
                if parity == 0:
                    cost = costs[state] + zero_distortion
                    if rate:
                        cost += rate.cost(survivors[state], 0, state)
                    if cost < best[target]:
                        best[target], origin[target], magnitude[target] = cost, state, 0
        costs = best
        history.append((origin, magnitude))
        if rate:
            survivors = [survivors[source].copy() for source in origin]
            for survivor, source, multiple in zip(survivors, origin, magnitude, strict=True):
                rate.adapt(survivor, sign * ((multiple + 1) >> 1), source)

    state = costs.index(min(costs))
    levels = np.zeros(scaled.size, dtype=np.int32)
    for position in range(scaled.size - 1, -1, -1):
        origin, magnitude = history[position]
        levels[position] = magnitude[state]
        state = origin[state]
    return np.where(scaled < 0, -levels, levels).astype(np.int32)
