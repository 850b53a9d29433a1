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
    x, y = reference.astype(np.float64), plane.astype(np.float64)
    peak = (1 << bit_depth) - 1
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    squares = mean_x * mean_x + mean_y * mean_y
    product = mean_x * mean_y
    variances = _blur(x * x + y * y) - squares
    covariance = _blur(x * y) - product
    values = (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
    return float(values.mean())


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


def _blur(plane: _Map) -> _Map:
    """Window means at every position where the window fits in; rows first, then columns."""
    rows, columns = plane.shape[0] - _WINDOW + 1, plane.shape[1] - _WINDOW + 1
    vertical = np.zeros((rows, plane.shape[1]))
    for index, tap in enumerate(_TAPS):
        vertical += tap * plane[index : index + rows]
    result = np.zeros((rows, columns))
    for index, tap in enumerate(_TAPS):
        result += tap * vertical[:, index : index + columns]
    return result
