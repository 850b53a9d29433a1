# SPDX-License-Identifier: Apache-2.0
"""Bjøntegaard delta: one figure for the distance of two rate-quality curves.

Curves run through their points as monotone piecewise cubics (pchip, as the common test conditions
of JVET want it), over the logarithm of the rate.  The figure is the mean distance over the part of
the quality (or rate) axis that both curves cover; nothing is extrapolated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]
_MIN_POINTS = 2


def bd_rate(anchor: Sequence[tuple[float, float]], test: Sequence[tuple[float, float]]) -> float:
    """Mean difference in rate at equal quality.

    Args:
        anchor: (rate, quality) of each point; rate in any unit over 0, quality e.g. PSNR in dB.
        test: The same for the curve under test, in the same units.

    Returns:
        Percent; negative if ``test`` needs fewer bits.

    Raises:
        ValueError: Fewer than two points, a quality twice or out of order with the rate, or no
            common interval.
    """
    rate_a, quality_a = _curve(anchor)
    rate_t, quality_t = _curve(test)
    difference = _mean_distance((quality_a, np.log(rate_a)), (quality_t, np.log(rate_t)))
    return float(np.expm1(difference) * 100)


def bd_psnr(anchor: Sequence[tuple[float, float]], test: Sequence[tuple[float, float]]) -> float:
    """Mean difference in quality at equal rate; positive if ``test`` is better.

    Args and errors are those of :func:`bd_rate`; the unit is that of the quality.
    """
    rate_a, quality_a = _curve(anchor)
    rate_t, quality_t = _curve(test)
    return _mean_distance((np.log(rate_a), quality_a), (np.log(rate_t), quality_t))


def _curve(points: Sequence[tuple[float, float]]) -> tuple[_Floats, _Floats]:
    if len(points) < _MIN_POINTS:
        raise ValueError("a curve needs two points or more")
    ordered = np.array(sorted(points), dtype=np.float64)
    rate, quality = ordered[:, 0], ordered[:, 1]
    if not np.isfinite(ordered).all() or rate[0] <= 0:
        raise ValueError("rates must be over 0 and all values finite")
    if (np.diff(rate) <= 0).any() or (np.diff(quality) <= 0).any():
        raise ValueError("quality must rise with the rate from point to point")
    return rate, quality


def _mean_distance(anchor: tuple[_Floats, _Floats], test: tuple[_Floats, _Floats]) -> float:
    low = max(anchor[0][0], test[0][0])
    high = min(anchor[0][-1], test[0][-1])
    if low >= high:
        raise ValueError("the curves have no interval in common")
    areas = [_integral(x, y, low, high) for x, y in (anchor, test)]
    return (areas[1] - areas[0]) / float(high - low)


def _integral(x: _Floats, y: _Floats, low: float, high: float) -> float:
    """Area under the monotone cubic through (x, y) from ``low`` to ``high``."""
    slopes = _slopes(x, y)
    area = 0.0
    for left in range(len(x) - 1):
        step = float(x[left + 1] - x[left])
        begin = min(max((low - float(x[left])) / step, 0.0), 1.0)
        end = min(max((high - float(x[left])) / step, 0.0), 1.0)
        # Hermite form in t = 0..1, as coefficients of 1, t, t^2, t^3.
        rise, d0, d1 = y[left + 1] - y[left], step * slopes[left], step * slopes[left + 1]
        cubic = np.polynomial.Polynomial([y[left], d0, 3 * rise - 2 * d0 - d1, d0 + d1 - 2 * rise])
        antiderivative = cubic.integ()
        area += step * float(antiderivative(end) - antiderivative(begin))
    return area


def _slopes(x: _Floats, y: _Floats) -> _Floats:
    """Derivatives at the points (Fritsch and Butland 1984): no overshoot between them."""
    h, secant = np.diff(x), np.diff(y) / np.diff(x)
    if len(secant) == 1:
        return np.repeat(secant, 2)
    slopes = np.zeros_like(x)
    w1, w2 = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
    # The curves rise from point to point, so no secant is 0.
    slopes[1:-1] = (w1 + w2) / (w1 / secant[:-1] + w2 / secant[1:])
    slopes[0] = _end_slope(h[0], h[1], secant[0], secant[1])
    slopes[-1] = _end_slope(h[-1], h[-2], secant[-1], secant[-2])
    return slopes


def _end_slope(h0: float, h1: float, s0: float, s1: float) -> float:
    """Three-point estimate at an end, kept within what is monotone."""
    slope = ((2 * h0 + h1) * s0 - h0 * s1) / (h0 + h1)
    return min(max(slope, 0.0), 3 * s0)
