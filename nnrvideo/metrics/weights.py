# SPDX-License-Identifier: Apache-2.0
"""How far coded weights are from the originals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt


@final
@dataclass(frozen=True, slots=True)
class WeightError:
    """Difference between two sets of tensors."""

    max_abs_error: float  # largest difference of any value
    snr_db: float | None  # signal to error over tensors of rank 2 and more; None: no error at all


@np.errstate(invalid="ignore", over="ignore")  # signalling NaN and huge numbers are no errors here
def weight_error(
    original: Mapping[str, npt.NDArray[Any]], coded: Mapping[str, npt.NDArray[Any]]
) -> WeightError:
    """Compares tensors of equal names.

    Args:
        original: Name to array.
        coded: The same names; a 0-dimensional array may have become one of shape (1,).

    Raises:
        ValueError: Names or sizes differ.
    """
    if set(original) != set(coded):  # blocks change the order
        raise ValueError("the two sets hold different tensors")
    largest = signal = noise = 0.0
    for name, before in original.items():
        if coded[name].size != before.size:
            raise ValueError(f"tensor {name!r} has another size")
        if before.size == 0 or np.array_equal(before.ravel(), coded[name].ravel(), equal_nan=False):
            signal += _energy(before)
            continue
        a = before.astype(np.float64).ravel()
        # Infinities and NaN that survive are no error; what became of them otherwise counts.
        error = np.where(_same(a, b := coded[name].astype(np.float64).ravel()), 0.0, a - b)
        largest = max(largest, float(np.abs(error).max()))
        if before.ndim > 1:
            noise += float(np.square(error).sum())
        signal += _energy(before)
    if largest == 0:
        return WeightError(0.0, None)
    return WeightError(largest, 10 * math.log10(signal / noise) if signal and noise else None)


def _energy(values: npt.NDArray[Any]) -> float:
    if values.ndim < 2:
        return 0.0
    return float(np.square(np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)).sum())


def _same(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    same: npt.NDArray[np.bool_] = (a == b) | (np.isnan(a) & np.isnan(b))
    return same
