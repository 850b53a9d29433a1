# SPDX-License-Identifier: Apache-2.0
"""SSIM of luma, as its authors define it.

Gaussian window of 11x11 samples with a standard deviation of 1.5, K1 = 0.01, K2 = 0.03, only
windows that lie wholly inside the picture, no downscaling first.

Spec: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to
structural similarity", IEEE Transactions on Image Processing 13(4), 2004.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
import numpy.typing as npt

from nnrvideo.picture import Picture

Plane = npt.NDArray[Any]
_Map = npt.NDArray[np.float64]

_WINDOW = 11
_STRIP = 24  # rows of windows computed together
_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03
_TAPS = np.exp(-((np.arange(_WINDOW) - _WINDOW // 2) ** 2) / (2 * _SIGMA**2))
_TAPS /= _TAPS.sum()


def ssim(reference: Plane, plane: Plane, bit_depth: int = 8) -> float:
    """Mean SSIM of one plane.

    Args:
        reference: (rows, columns) unsigned samples, at least 11 each way.
        plane: Samples of the same shape and depth.
        bit_depth: Bits of a sample; the dynamic range is 2^bit_depth - 1.

    Returns:
        -1 to 1; 1 for equal planes.

    Raises:
        ValueError: Shapes differ, or the window does not fit in.
    """
    if reference.shape != plane.shape:
        raise ValueError(f"planes of {reference.shape} and {plane.shape} cannot be compared")
    if min(reference.shape) < _WINDOW:
        raise ValueError(f"planes of {reference.shape} are smaller than the window of {_WINDOW}")
    peak = (1 << bit_depth) - 1
    constants = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    rows, columns = (size - _WINDOW + 1 for size in reference.shape)
    total = 0.0
    # Strips whose intermediate maps stay in the cache: several times faster than whole planes.
    for top in range(0, rows, _STRIP):
        strip = slice(top, min(top + _STRIP, rows) + _WINDOW - 1)
        total += _sum(reference[strip], plane[strip], *constants)
    return float(total / (rows * columns))


@final
class SsimMeter:
    """Mean SSIM of luma over a sequence."""

    def __init__(self) -> None:
        self._sum = 0.0
        self.pictures = 0

    def add(self, reference: Picture, picture: Picture) -> None:
        """Measures one more picture.

        Raises:
            ValueError: Sizes or bit depths differ, or the picture is smaller than the window.
        """
        if reference.bit_depth != picture.bit_depth:
            raise ValueError(f"{reference.format} and {picture.format} cannot be compared")
        self._sum += ssim(reference.planes[0], picture.planes[0], reference.bit_depth)
        self.pictures += 1

    def mean(self) -> float:
        """The mean over all pictures.

        Raises:
            ValueError: No picture was added.
        """
        if not self.pictures:
            raise ValueError("no picture was measured")
        return self._sum / self.pictures


def _sum(reference: Plane, plane: Plane, c1: float, c2: float) -> float:
    """Sum of SSIM over all windows that fit into two strips."""
    x, y = reference.astype(np.float64), plane.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    squares = mean_x * mean_x + mean_y * mean_y
    product = mean_x * mean_y
    variances = _blur(x * x + y * y) - squares
    covariance = _blur(x * y) - product
    values = (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
    return float(values.sum())


def _blur(plane: _Map) -> _Map:
    """Window means at every position where the window fits in; rows first, then columns."""
    rows, columns = plane.shape[0] - _WINDOW + 1, plane.shape[1] - _WINDOW + 1
    vertical = _filter([plane[i : i + rows] for i in range(_WINDOW)])
    return _filter([vertical[:, i : i + columns] for i in range(_WINDOW)])


def _filter(shifted: list[_Map]) -> _Map:
    """Weighted sum of shifted maps; the window is symmetric, so each tap serves two of them."""
    middle = _WINDOW // 2
    result: _Map = _TAPS[middle] * shifted[middle]
    pair = np.empty_like(result)
    for index in range(middle):
        np.add(shifted[index], shifted[_WINDOW - 1 - index], out=pair)
        pair *= _TAPS[index]
        result += pair
    return result
