# SPDX-License-Identifier: Apache-2.0
"""SSIM and MS-SSIM of luma, as their authors define them.

Gaussian window of 11x11 samples with a standard deviation of 1.5, K1 = 0.01, K2 = 0.03, only
windows that lie wholly inside the picture; SSIM without downscaling first, MS-SSIM over five
scales, each the mean of 2x2 samples of the one before.  Other programs filter otherwise between
the scales (libvmaf) or choose a scale by the size of the picture: figures of MS-SSIM agree between
programs to about 0.001 and no further.

Spec: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to
structural similarity", IEEE Transactions on Image Processing 13(4), 2004; Wang, Simoncelli, Bovik,
"Multi-scale structural similarity for image quality assessment", Asilomar, 2003.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[Any]
_Map = npt.NDArray[np.float32]

_WINDOW = 11
_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03
_TAPS = np.exp(-((np.arange(_WINDOW) - _WINDOW // 2) ** 2) / (2 * _SIGMA**2))
_TAPS = (_TAPS / _TAPS.sum()).astype(np.float32)
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SSIM_MIN_SIDE = (_WINDOW - 1) * 2 ** (len(_SCALE_WEIGHTS) - 1) + 1
_STRIP = 24  # rows of windows computed together: their maps stay in the cache


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
    _check(reference, plane, _WINDOW)
    return _similarity(*_centred(reference, plane, bit_depth))[0]


def ms_ssim(reference: Plane, plane: Plane, bit_depth: int = 8) -> float:
    """MS-SSIM of one plane.

    Args:
        reference: (rows, columns) unsigned samples, at least 161 each way.
        plane: Samples of the same shape and depth.
        bit_depth: Bits of a sample.

    Returns:
        0 to 1; 1 for equal planes. A scale whose structure is opposed counts as 0.

    Raises:
        ValueError: Shapes differ, or the window does not fit into the coarsest scale.
    """
    return ssim_and_ms_ssim(reference, plane, bit_depth)[1]


def ssim_and_ms_ssim(reference: Plane, plane: Plane, bit_depth: int = 8) -> tuple[float, float]:
    """Both for hardly more than the price of one: SSIM is the finest scale of MS-SSIM.

    Args and errors are those of :func:`ms_ssim`.
    """
    _check(reference, plane, MS_SSIM_MIN_SIDE)
    x, y = _centred(reference, plane, bit_depth)
    first = _similarity(x, y)
    product, full = 1.0, first
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        if scale:
            x, y = _halved(x), _halved(y)
            full = _similarity(x, y)
        last = scale == len(_SCALE_WEIGHTS) - 1
        product *= max(full[0] if last else full[1], 0.0) ** weight
    return first[0], product


def _check(reference: Plane, plane: Plane, side: int) -> None:
    if reference.shape != plane.shape:
        raise ValueError(f"planes of {reference.shape} and {plane.shape} cannot be compared")
    if min(reference.shape) < side:
        raise ValueError(f"planes of {reference.shape} are too small: the window needs {side}")


def _centred(reference: Plane, plane: Plane, bit_depth: int) -> tuple[_Map, _Map]:
    """Both planes in units of the peak around 0, where float32 squares lose least."""
    scale = np.float32(1 / ((1 << bit_depth) - 1))
    half = np.float32(0.5)
    return reference * scale - half, plane * scale - half


def _halved(plane: _Map) -> _Map:
    """Means of 2x2 samples; an odd last row or column is repeated."""
    rows, columns = plane.shape
    if rows % 2 or columns % 2:
        plane = np.pad(plane, ((0, rows % 2), (0, columns % 2)), mode="edge")
    pairs = plane[0::2] + plane[1::2]
    return (pairs[:, 0::2] + pairs[:, 1::2]) * np.float32(0.25)


def _similarity(x: _Map, y: _Map) -> tuple[float, float]:
    """Means over all windows of SSIM, and of its factor of contrast and structure."""
    rows, columns = (size - _WINDOW + 1 for size in x.shape)
    whole = structure = 0.0
    for top in range(0, rows, _STRIP):
        strip = slice(top, min(top + _STRIP, rows) + _WINDOW - 1)
        sums = _sums(x[strip], y[strip])
        whole, structure = whole + sums[0], structure + sums[1]
    return whole / (rows * columns), structure / (rows * columns)


def _sums(x: _Map, y: _Map) -> tuple[float, float]:
    c1, c2 = np.float32(_K1**2), np.float32(_K2**2)
    mean_x, mean_y = _blur(x), _blur(y)
    squares = mean_x * mean_x + mean_y * mean_y
    product = mean_x * mean_y
    variances = _blur(x * x + y * y) - squares
    covariance = _blur(x * y) - product
    structure = (2 * covariance + c2) / (variances + c2)
    # Luminance is that of the samples as they are, from 0: (m + 1/2)^2 = m^2 + m + 1/4.
    sums = mean_x + mean_y
    half = np.float32(0.5)
    luminance = (2 * product + sums + half + c1) / (squares + sums + half + c1)
    whole = float(np.sum(luminance * structure, dtype=np.float64))
    return whole, float(np.sum(structure, dtype=np.float64))


def _blur(strip: _Map) -> _Map:
    """Window means at every position where the window fits in; rows first, then columns."""
    rows, columns = strip.shape[0] - _WINDOW + 1, strip.shape[1] - _WINDOW + 1
    vertical = _filter([strip[i : i + rows] for i in range(_WINDOW)])
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
