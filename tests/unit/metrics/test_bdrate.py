# SPDX-License-Identifier: Apache-2.0
"""Bjøntegaard delta: cases with a known answer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnrvideo.metrics import BdMethod, bd_psnr, bd_rate, bjontegaard
from nnrvideo.metrics.bdrate import curve_between, quality_at

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
    from nnrvideo.metrics.bdrate import _pchip_integral as _integral

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


# Two of the examples by which Netflix's VMAF checks its BD-rate against the sheet of the common
# test conditions of JCT-VC.
@pytest.mark.parametrize(
    ("anchor", "test", "percent"),
    [
        (
            [(108048.8736, 43.6471), (61279.976, 40.3953), (33905.6656, 37.247)]
            + [(18883.6928, 34.2911)],
            [(108061.2784, 43.6768), (61299.9936, 40.4232), (33928.7472, 37.2761)]
            + [(18910.912, 34.3147)],
            -0.465215420752807,
        ),
        (
            [(40433.8848, 37.5761), (7622.7456, 35.3756), (2394.488, 33.8977)]
            + [(1017.6184, 32.0603)],
            [(40370.12, 37.5982), (7587.0024, 35.4025), (2390.0944, 33.9194)]
            + [(1017.0984, 32.0822)],
            -1.8779823450567612,
        ),
    ],
)
def test_published_figures(anchor, test, percent):
    assert bd_rate(anchor, test) == pytest.approx(percent, abs=1e-9)


# The first test case of the package bjontegaard (FAU Erlangen), and what it prints for both.
FAU_ANCHOR = [(9487.76, 40.037), (4593.60, 38.615), (2486.44, 36.845), (1358.24, 34.851)]
FAU_TEST = [(9787.80, 40.121), (4469.00, 38.651), (2451.52, 36.970), (1356.24, 34.987)]


@pytest.mark.parametrize(
    ("method", "percent", "decibels"),
    [
        (BdMethod.PCHIP, -4.417485350589, 0.119692785425),
        (BdMethod.CUBIC, -4.420462706, 0.120409419115),
    ],
)
def test_figures_of_the_package_bjontegaard(method, percent, decibels):
    assert bd_rate(FAU_ANCHOR, FAU_TEST, method=method) == pytest.approx(percent, abs=1e-8)
    assert bd_psnr(FAU_ANCHOR, FAU_TEST, method=method) == pytest.approx(decibels, abs=1e-9)


@pytest.mark.parametrize("method", list(BdMethod))
def test_second_implementation_on_random_curves(method):
    scipy = pytest.importorskip("scipy.interpolate")
    rng = np.random.default_rng(3)
    for _ in range(20):
        curves = []
        for points in (4, 4) if method is BdMethod.CUBIC else rng.integers(4, 9, 2):
            rate = 100 * np.cumprod(rng.uniform(1.2, 2.5, points))
            quality = 30 + np.cumsum(rng.uniform(0.3, 2.5, points))
            curves.append((rate, quality))
        (ra, qa), (rt, qt) = curves
        low, high = max(qa[0], qt[0]), min(qa[-1], qt[-1])
        if low >= high:
            continue
        if method is BdMethod.PCHIP:
            areas = [scipy.PchipInterpolator(q, np.log(r)).integrate(low, high) for r, q in curves]
        else:
            polynomials = [np.polyint(np.polyfit(q - 33, np.log(r), 3)) for r, q in curves]
            areas = [np.polyval(p, high - 33) - np.polyval(p, low - 33) for p in polynomials]
        expected = 100 * math.expm1((areas[1] - areas[0]) / (high - low))
        found = bd_rate(
            list(zip(ra, qa, strict=True)), list(zip(rt, qt, strict=True)), method=method
        )
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_cubic_needs_four_points():
    with pytest.raises(ValueError, match="the test has 3 points; cubic needs 4"):
        bd_rate(CURVE, CURVE[:3], method=BdMethod.CUBIC)


def test_intervals_and_overlaps_are_told():
    delta = bjontegaard(CURVE, scaled(2, 1.75))
    assert delta.quality_interval == (31.75, 37.0)
    assert delta.quality_overlap == pytest.approx((37 - 31.75) / 7)
    assert delta.rate_interval == pytest.approx((200, 800))
    assert delta.rate_overlap == pytest.approx(2 / 3)
    assert len(delta.warnings) == 1
    assert "67% of their rate range" in delta.warnings[0]


def test_a_sliver_is_refused():
    delta = bjontegaard(CURVE, scaled(1, 6.0))
    assert delta.rate_percent is None
    assert delta.quality == pytest.approx(6)
    assert "14%" in delta.warnings[0]
    assert bjontegaard(CURVE, scaled(1, 6.0), min_overlap=0.1).rate_percent is not None


def test_no_overlap_at_all():
    delta = bjontegaard(CURVE, scaled(20, 50))
    assert delta.rate_percent is delta.quality is delta.quality_interval is None
    assert delta.quality_overlap == delta.rate_overlap == 0
    assert len(delta.warnings) == 2


def test_a_curve_that_falls_is_named():
    with pytest.raises(ValueError, match="the test does not rise: from rate 200 to 400"):
        bjontegaard(CURVE, [(100, 30), (200, 33), (400, 32), (800, 37)])


def test_drawn_curve_goes_through_its_points():
    drawn = curve_between(CURVE, 3 * 16 + 1)
    for index, point in enumerate(CURVE):
        assert drawn[16 * index] == pytest.approx(point)
    assert all(b[1] > a[1] for a, b in zip(drawn, drawn[1:], strict=False))


def test_quality_between_points_and_nothing_beyond_them():
    for rate, quality in CURVE:
        assert quality_at(CURVE, rate) == pytest.approx(quality)
    for rate, quality in curve_between(CURVE, 30)[1:-1]:
        assert quality_at(CURVE, rate) == pytest.approx(quality)
    for rate in (99.9, 800.1):
        with pytest.raises(ValueError, match="beyond"):
            quality_at(CURVE, rate)
