# SPDX-License-Identifier: Apache-2.0
"""Weights as products of two factors, where few directions hold nearly all of a weight.

Spec: ISO/IEC 15938-17, NNR_CPT_DC; how factors are found is the encoder's choice.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def factorise(array: Array, energy: float) -> tuple[Array, Array] | None:
    """Factors G and H whose product holds a share of a weight's energy, by its singular values.

    The singular values are shared out evenly, so that errors of either factor matter alike.

    Args:
        array: float32 of two and more dimensions, seen as (first, product of the others).
        energy: Share of the sum of squares to keep, 0 to 1.

    Returns:
        G of shape (rows, rank) and H of shape (rank, columns), float32; None where they would
        have no fewer values than the weight.
    """
    rows, columns = array.shape[0], math.prod(array.shape[1:])
    if array.dtype != np.float32 or array.ndim < 2 or min(rows, columns) < 2:
        return None
    matrix = array.reshape(rows, columns).astype(np.float64)
    if not np.isfinite(matrix).all() or not matrix.any():
        return None
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    kept = np.cumsum(values**2) / np.sum(values**2)
    rank = 1 + int(np.searchsorted(kept, energy - 1e-12))
    if rank * (rows + columns) >= rows * columns:
        return None
    root = np.sqrt(values[:rank])
    return (left[:, :rank] * root).astype(np.float32), (root[:, None] * right[:rank]).astype(
        np.float32
    )
