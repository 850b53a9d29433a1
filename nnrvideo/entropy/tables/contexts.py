# SPDX-License-Identifier: Apache-2.0
"""Constants of the arithmetic engine, of the context model and of dependent quantisation.

The native core holds its own copy of these numbers (it must link without Python); a unit test
compares the two. Nothing here computes anything except the bit-cost table, which is an encoder's
estimate and not normative.

Spec: ISO/IEC 15938-17 entropy coding; spec/nnc.md §6.1, §7, §8.
"""

from __future__ import annotations

import math
from typing import Final

RANGE_START: Final = 510
"""Range of the engine at the start of a codeword (9 bits)."""

RANGE_AT_ENTRY_POINT: Final = 256
"""Range the engine is set to at the start of each block row (§10)."""

LPS: Final[tuple[tuple[int, ...], ...]] = (
    (128, 112, 97, 84, 74, 65, 57, 50, 45, 39, 34, 30, 27, 23, 20, 18,
     15, 14, 12, 11, 10, 9, 7, 7, 5, 5, 4, 4, 3, 3, 2, 2),
    (142, 125, 108, 93, 82, 72, 63, 56, 50, 43, 38, 33, 30, 26, 22, 20,
     17, 16, 13, 12, 11, 10, 8, 8, 6, 6, 5, 5, 3, 3, 2, 2),
    (156, 137, 119, 103, 90, 79, 70, 61, 55, 48, 42, 37, 33, 28, 24, 22,
     19, 17, 15, 13, 12, 11, 9, 9, 6, 6, 5, 5, 4, 4, 2, 2),
    (171, 150, 130, 112, 99, 87, 76, 67, 60, 52, 46, 40, 36, 31, 27, 24,
     21, 19, 16, 15, 13, 12, 10, 10, 7, 7, 6, 6, 4, 4, 3, 3),
    (185, 162, 141, 121, 107, 94, 82, 73, 65, 56, 50, 43, 39, 34, 29, 26,
     22, 21, 17, 16, 14, 13, 11, 11, 8, 8, 6, 6, 4, 4, 3, 3),
    (199, 175, 152, 131, 115, 101, 89, 78, 70, 61, 54, 47, 42, 36, 31, 28,
     24, 22, 19, 17, 15, 14, 12, 12, 8, 8, 7, 7, 5, 5, 3, 3),
    (213, 187, 163, 140, 123, 108, 95, 84, 75, 65, 58, 50, 45, 39, 33, 30,
     26, 24, 20, 18, 16, 15, 13, 13, 9, 9, 7, 7, 5, 5, 3, 3),
    (228, 200, 174, 150, 132, 116, 102, 90, 80, 70, 62, 54, 48, 42, 36, 32,
     28, 26, 22, 20, 18, 16, 14, 14, 10, 10, 8, 8, 6, 6, 4, 4),
)  # fmt: skip
"""Width of the less probable part of the range: ``LPS[(range >> 5) & 7][abs(sum >> 7)]`` (§7)."""

STEP: Final[tuple[int, ...]] = (
    2512, 2288, 2064, 1840, 1616, 1392, 1168, 944, 720, 560, 464, 368, 272, 208, 144, 80,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 0,
)  # fmt: skip
"""Adaptation step of a context counter before its rate shift is applied (§8)."""

INIT_INDICES: Final = 9
"""Number of initialisations a context can be given."""

SHIFT_A: Final[tuple[int, ...]] = (5, 5, 5, 4, 6, 6, 6, 7, 7)
SHIFT_B: Final[tuple[int, ...]] = (4, 4, 4, 5, 6, 6, 6, 5, 5)
INITIAL_A: Final[tuple[int, ...]] = (0, -41, 95, 0, 30, 95, -21, 0, 30)
INITIAL_B: Final[tuple[int, ...]] = (0, -654, 1519, 0, 482, 1519, -337, 0, 482)

REMAINDER_CONTEXTS: Final = 31
"""The prefix of a remainder can use at most 31 contexts (§9.2)."""

REMAINDER_CONTEXTS_NNCODEC1: Final = 32
"""NNCodec 1.x sends an initialisation flag for one context more than can be used (§12.1)."""

DQ_STATES: Final = 8
DQ_NEXT: Final[tuple[tuple[int, int], ...]] = (
    (0, 2), (7, 5), (1, 3), (6, 4), (2, 0), (5, 7), (3, 1), (4, 6),
)  # fmt: skip
"""Successor of each dependent-quantisation state for an even and for an odd coded value (§6.1)."""

DQ_EVEN_PERIOD: Final = 4
"""Four even steps lead every state back to itself, so skipping n values costs n modulo 4 steps."""

COST_UNIT: Final = 32768
"""One bit, in the unit of the cost tables."""

_COST_ENTRIES: Final = 512  # |sum| stays below 3900, so (|sum| >> 3) + 1 stays below 490


def _less_probable_cost(confidence: int) -> int:
    return math.floor(32968 + 400.8 * confidence + 0.5)


def _more_probable_cost(confidence: int) -> int:
    probability = 2.0 ** (-_less_probable_cost(confidence) / COST_UNIT)
    return math.floor(-math.log2(1.0 - probability) * COST_UNIT + 0.5)


LESS_PROBABLE_COST: Final[tuple[int, ...]] = tuple(map(_less_probable_cost, range(_COST_ENTRIES)))
"""Cost of coding the less probable bin, by |sum >> 3|, in 1/32768 bit (§8, informative)."""

MORE_PROBABLE_COST: Final[tuple[int, ...]] = tuple(map(_more_probable_cost, range(_COST_ENTRIES)))
"""Cost of coding the more probable bin, by |sum >> 3|, in 1/32768 bit (§8, informative)."""
