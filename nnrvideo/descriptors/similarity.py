# SPDX-License-Identifier: Apache-2.0
"""How alike descriptors are, all against all: -1 to 1, in one order of sums everywhere."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from nnrvideo.descriptors.package import Array

Scores = npt.NDArray[np.float64]

_BLOCK: Final = 1 << 22  # values at a time


def similarities(left: Array, right: Array, bits: int) -> Scores:
    """Similarity of each descriptor to each other.

    Args:
        left: (n, D) int16 levels, or (n, bits / 8) uint8.
        right: (m, ...) of the same form.
        bits: 0 for levels.

    Returns:
        (n, m) float64: cosine of levels; of bits 1 - 2 * share that differs.
    """
    if bits:
        return 1 - 2 * hamming(left, right) / bits
    a, b = left.astype(np.float64), right.astype(np.float64)
    norms = np.sqrt(np.einsum("nd,nd->n", a, a))[:, None] * np.sqrt(np.einsum("nd,nd->n", b, b))
    # Products of whole numbers below 2 ** 53: exact in any order, so BLAS may add them.
    products = a @ b.T
    scores: Scores = np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
    return scores


def hamming(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Number of bits that differ: (n, m) int64 for (n, k) and (m, k) bytes, k a multiple of 8."""
    a = np.ascontiguousarray(left).view(np.uint64)
    b = np.ascontiguousarray(right).view(np.uint64)
    found = np.empty((len(a), len(b)), np.int64)
    step = max(1, _BLOCK // max(1, b.size))
    for begin in range(0, len(a), step):
        part = a[begin : begin + step, None] ^ b[None]
        found[begin : begin + step] = np.bitwise_count(part).sum(axis=2, dtype=np.int64)
    return found
