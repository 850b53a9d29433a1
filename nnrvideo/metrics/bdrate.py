# SPDX-License-Identifier: Apache-2.0
"""Bjøntegaard delta: one figure for the distance of two rate-quality curves.

Both curves are drawn over the logarithm of the rate, in one of two ways:

- ``pchip``: monotone piecewise cubics through the points, as the common test conditions of JCT-VC
  and JVET want it; any number of points from two on.
- ``cubic``: one polynomial of third order, through four points as VCEG-M33 has it, and by least
  squares through more.

BD-rate is the mean distance over the part of the quality axis that both curves cover, turned back
into per cent; BD-metric is the mean distance over the common part of the axis of log rates.
Nothing is extrapolated.  How much the curves have in common is told along: a figure from a sliver
says little about the rest.

Spec: Bjøntegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001;
"Improvements of the BD-PSNR model", VCEG-AI11, 2008.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

Points = Sequence[tuple[float, float]]
_Floats = npt.NDArray[np.float64]
_Integral = Callable[[_Floats, _Floats, float, float], float]

_MIN_POINTS = 2
_MIN_CUBIC_POINTS = 4
REFUSED_OVERLAP = 0.25
DOUBTFUL_OVERLAP = 0.75


class BdMethod(enum.Enum):
    """How a curve runs between its points."""

    PCHIP = "pchip"
    CUBIC = "cubic"


@final
@dataclass(frozen=True, slots=True)
class BdDelta:
    """Distance of two curves, and what it rests on.

    An overlap is the common interval's share of the longer of the two curves, 0 to 1: of the
    quality axis for the rate, of the axis of log rates for the quality.
    """

    rate_percent: float | None  # BD-rate; negative if the test needs fewer bits; None if no overlap
    quality: float | None  # BD-metric, in the metric's unit; positive if the test is better
    quality_interval: tuple[float, float] | None  # over which the rates were compared
    rate_interval: tuple[float, float] | None  # over which the qualities were compared
    quality_overlap: float
    rate_overlap: float
    warnings: tuple[str, ...] = ()


def bjontegaard(
    anchor: Points,
    test: Points,
    *,
    method: BdMethod = BdMethod.PCHIP,
    min_overlap: float = REFUSED_OVERLAP,
) -> BdDelta:
    """BD-rate and BD-metric, with the intervals that they rest on.

    Args:
        anchor: (rate, quality) of each point; rate in any unit over 0, quality e.g. PSNR in dB,
            more is better.
        test: The same for the curve under test, in the same units.
        method: How curves run between points.
        min_overlap: A figure over a smaller overlap is refused: it is None and a warning says so.

    Returns:
        Both figures; each may be None for want of overlap.

    Raises:
        ValueError: Too few points for the method, or a quality that does not rise with the rate.
    """
    rate_a, quality_a = _curve(anchor, "the anchor", method)
    rate_t, quality_t = _curve(test, "the test", method)
    log_a, log_t = np.log(rate_a), np.log(rate_t)
    integral = _pchip_integral if method is BdMethod.PCHIP else _cubic_integral
    warnings: list[str] = []
    distance = functools.partial(
        _distance, integral=integral, min_overlap=min_overlap, warnings=warnings
    )
    across, qualities, share_q = distance((quality_a, log_a), (quality_t, log_t), axis="quality")
    upward, log_rates, share_r = distance((log_a, quality_a), (log_t, quality_t), axis="rate")
    return BdDelta(
        rate_percent=None if across is None else math.expm1(across) * 100,
        quality=upward,
        quality_interval=qualities,
        rate_interval=log_rates and (math.exp(log_rates[0]), math.exp(log_rates[1])),
        quality_overlap=share_q,
        rate_overlap=share_r,
        warnings=tuple(warnings),
    )


def bd_rate(anchor: Points, test: Points, *, method: BdMethod = BdMethod.PCHIP) -> float:
    """Mean difference in rate at equal quality, over any common interval however short.

    Args:
        anchor: See :func:`bjontegaard`.
        test: Likewise.
        method: Likewise.

    Returns:
        Percent; negative if ``test`` needs fewer bits.

    Raises:
        ValueError: As :func:`bjontegaard`, or there is no common interval.
    """
    return _required(bjontegaard(anchor, test, method=method, min_overlap=0).rate_percent)


def bd_psnr(anchor: Points, test: Points, *, method: BdMethod = BdMethod.PCHIP) -> float:
    """Mean difference in quality at equal rate; positive if ``test`` is better.

    Args and errors are those of :func:`bd_rate`; the unit is that of the quality.
    """
    return _required(bjontegaard(anchor, test, method=method, min_overlap=0).quality)


def _required(value: float | None) -> float:
    if value is None:
        raise ValueError("the curves have no interval in common")
    return value


def _curve(points: Points, name: str, method: BdMethod) -> tuple[_Floats, _Floats]:
    least = _MIN_POINTS if method is BdMethod.PCHIP else _MIN_CUBIC_POINTS
    if len(points) < least:
        raise ValueError(f"{name} has {len(points)} points; {method.value} needs {least} or more")
    ordered = np.array(sorted(points), dtype=np.float64)
    rate, quality = ordered[:, 0], ordered[:, 1]
    if not np.isfinite(ordered).all() or rate[0] <= 0:
        raise ValueError(f"{name}: rates must be over 0 and all values finite")
    for index in range(len(rate) - 1):
        if rate[index + 1] <= rate[index] or quality[index + 1] <= quality[index]:
            raise ValueError(
                f"{name} does not rise: from rate {rate[index]:g} to {rate[index + 1]:g} the "
                f"quality goes from {quality[index]:g} to {quality[index + 1]:g}"
            )
    return rate, quality


def _distance(
    anchor: tuple[_Floats, _Floats],
    test: tuple[_Floats, _Floats],
    *,
    integral: _Integral,
    min_overlap: float,
    axis: str,
    warnings: list[str],
) -> tuple[float | None, tuple[float, float] | None, float]:
    """Mean distance over the common interval of x, that interval, and its share."""
    low = float(max(anchor[0][0], test[0][0]))
    high = float(min(anchor[0][-1], test[0][-1]))
    if low >= high:
        warnings.append(f"the curves have no {axis} in common")
        return None, None, 0.0
    share = (high - low) / float(max(np.ptp(anchor[0]), np.ptp(test[0])))
    if share < min_overlap:
        warnings.append(
            f"the curves share {share:.0%} of their {axis} range, less than {min_overlap:.0%}: "
            "no figure"
        )
        return None, (low, high), share
    if share < DOUBTFUL_OVERLAP:
        warnings.append(f"the curves share only {share:.0%} of their {axis} range")
    areas = [integral(x, y, low, high) for x, y in (anchor, test)]
    return (areas[1] - areas[0]) / (high - low), (low, high), share


def _cubic_integral(x: _Floats, y: _Floats, low: float, high: float) -> float:
    """Area under the polynomial of third order through (x, y), by least squares if over four."""
    area = np.polynomial.Polynomial.fit(x, y, 3).integ()
    return float(area(high) - area(low))


def curve_between(points: Points, steps: int) -> list[tuple[float, float]]:
    """Points on the pchip curve, for drawing: (rate, quality), evenly spaced over the log rate.

    Args:
        points: (rate, quality).
        steps: Number of points to return.

    Raises:
        ValueError: The points make no curve, see :func:`bjontegaard`.
    """
    rate, quality = _curve(points, "the curve", BdMethod.PCHIP)
    x = np.log(rate)
    return [(math.exp(at), _pchip(x, quality, at)) for at in np.linspace(x[0], x[-1], steps)]


def quality_at(points: Points, rate: float) -> float:
    """Quality of the pchip curve at a rate.

    Args:
        points: (rate, quality).
        rate: Not beyond the points: nothing is extrapolated.

    Raises:
        ValueError: The points make no curve, see :func:`bjontegaard`, or the rate is beyond them.
    """
    rates, quality = _curve(points, "the curve", BdMethod.PCHIP)
    if not rates[0] <= rate <= rates[-1]:
        raise ValueError(f"rate {rate:g} is beyond the curve, {rates[0]:g} to {rates[-1]:g}")
    return _pchip(np.log(rates), quality, math.log(rate))


def _pchip(x: _Floats, y: _Floats, at: float) -> float:
    """Value of the monotone cubic through (x, y)."""
    slopes = _slopes(x, y)
    left = min(max(int(np.searchsorted(x, at, side="right")) - 1, 0), len(x) - 2)
    step = float(x[left + 1] - x[left])
    cubic = _cubic(step, y[left : left + 2], slopes[left : left + 2])
    return float(cubic((at - x[left]) / step))


def _pchip_integral(x: _Floats, y: _Floats, low: float, high: float) -> float:
    """Area under the monotone cubic through (x, y) from ``low`` to ``high``."""
    slopes = _slopes(x, y)
    area = 0.0
    for left in range(len(x) - 1):
        step = float(x[left + 1] - x[left])
        begin = min(max((low - float(x[left])) / step, 0.0), 1.0)
        end = min(max((high - float(x[left])) / step, 0.0), 1.0)
        antiderivative = _cubic(step, y[left : left + 2], slopes[left : left + 2]).integ()
        area += step * float(antiderivative(end) - antiderivative(begin))
    return area


def _cubic(step: float, y: _Floats, slopes: _Floats) -> np.polynomial.Polynomial:
    """Hermite form between two neighbours, in t = 0..1, as coefficients of 1, t, t^2, t^3."""
    rise, d0, d1 = y[1] - y[0], step * slopes[0], step * slopes[1]
    return np.polynomial.Polynomial([y[0], d0, 3 * rise - 2 * d0 - d1, d0 + d1 - 2 * rise])


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
