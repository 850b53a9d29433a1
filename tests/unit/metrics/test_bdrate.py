# SPDX-License-Identifier: Apache-2.0
"""Bjøntegaard delta: cases with a known answer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnrvideo.metrics import bd_psnr, bd_rate

CURVE = [(100.0, 30.0), (200.0, 33.0), (400.0, 35.5), (800.0, 37.0)]


def scaled(factor: float, shift: float = 0.0) -> list[tuple[float, float]]:
    return [(rate * factor, quality + shift) for rate, quality in CURVE]


def test_equal_curves():
    assert bd_rate(CURVE, CURVE) == pytest.approx(0, abs=1e-12)
    assert bd_psnr(CURVE, CURVE) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("factor", "percent"), [(0.9, -10.0), (1.25, 25.0), (0.5, -50.0)])
def test_a_constant_factor_in_rate_is_that_many_percent(factor, percent):
    assert bd_rate(CURVE, scaled(factor)) == pytest.approx(percent)


def test_a_constant_shift_in_quality():
    assert bd_psnr(CURVE, scaled(1, 0.5)) == pytest.approx(0.5)


def test_direction():
    assert bd_rate(CURVE, scaled(1, 0.5)) < 0
    assert bd_psnr(CURVE, scaled(0.9)) > 0


def test_order_of_points_does_not_matter():
    assert bd_rate(CURVE[::-1], scaled(0.9)) == pytest.approx(-10)


def test_straight_lines_by_hand():
    # ln rate = quality and ln rate = 2 quality - 31 over the common 30..32: the mean distance is
    # that in the middle, 31 - 31 = 0, and half a dB further up it is 0.5.
    def line(slope: float, offset: float, qualities) -> list[tuple[float, float]]:
        return [(math.exp(slope * q - offset), float(q)) for q in qualities]

    anchor = line(1, 0, (30, 31, 32))
    assert bd_rate(anchor, line(2, 31, (30, 32))) == pytest.approx(0, abs=1e-9)
    assert bd_rate(anchor, line(2, 31, (31, 32))) == pytest.approx(100 * math.expm1(0.5))


def test_only_the_common_interval_counts():
    # Far outside the common 30..32 the anchor is absurdly expensive; it must not matter.
    anchor = [(math.exp(q), float(q)) for q in (30, 31, 32)] + [(1e30, 33.0), (1e60, 34.0)]
    test = [(0.9 * math.exp(q), float(q)) for q in (28, 29, 30, 31)]
    assert bd_rate(anchor, test) == pytest.approx(-10)


def test_curve_against_fine_numerical_integration():
    # pchip passes monotonically through its points: between neighbours it stays between them.
    from nnrvideo.metrics.bdrate import _integral

    x = np.array([0.0, 1.0, 3.0, 4.0])
    y = np.array([0.0, 2.0, 2.5, 6.0])
    steps = np.linspace(0, 4, 401)
    values = [_integral(x, y, a, b) / (b - a) for a, b in zip(steps, steps[1:], strict=False)]
    assert np.all(np.diff(values) > 0)
    assert sum(values) * 0.01 == pytest.approx(_integral(x, y, 0, 4))
    for left in range(3):
        inside = [v for s, v in zip(steps, values, strict=False) if x[left] <= s < x[left + 1]]
        assert y[left] <= min(inside) and max(inside) <= y[left + 1]


def test_figure_of_an_independent_implementation():
    # PchipInterpolator of SciPy over ln(rate), integrated exactly.
    anchor = [(686.76, 40.28), (309.58, 37.18), (157.11, 34.24), (85.95, 31.42)]
    test = [(893.34, 40.39), (407.8, 37.21), (204.93, 34.17), (112.75, 31.24)]
    assert bd_rate(anchor, test) == pytest.approx(31.37987820239754, abs=1e-9)


@pytest.mark.parametrize(
    "points",
    [
        [(100.0, 30.0)],
        [(100.0, 30.0), (100.0, 31.0)],
        [(100.0, 30.0), (200.0, 29.0)],
        [(0.0, 30.0), (200.0, 31.0)],
        [(100.0, 30.0), (200.0, math.inf)],
    ],
)
def test_points_that_make_no_curve(points):
    with pytest.raises(ValueError):
        bd_rate(CURVE, points)


def test_curves_without_a_common_interval():
    with pytest.raises(ValueError):
        bd_rate(CURVE, scaled(1, 50))
