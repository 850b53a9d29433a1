# SPDX-License-Identifier: Apache-2.0
"""PSNR and SSIM against values worked out by hand, and against OpenCV's Gaussian filter."""

import math

import cv2
import numpy as np
import pytest

from nnrvideo.metrics import PsnrMeter, SsimMeter, psnr, ssim
from nnrvideo.picture import ChromaFormat, Picture


def plane(seed, shape=(40, 60), depth=8):
    dtype = np.uint8 if depth == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 1 << depth, shape).astype(dtype)


def mono(samples, depth=8):
    return Picture((samples,), ChromaFormat.MONO, depth)


def test_psnr_by_hand():
    first = np.zeros((4, 4), np.uint8)
    second = first.copy()
    second[0, 0] = 4  # mean squared error 1
    assert psnr(first, second) == pytest.approx(20 * math.log10(255))
    assert psnr(second, first) == psnr(first, second)
    assert psnr(first, first) == math.inf


def test_psnr_does_not_overflow():
    first, second = np.zeros((64, 64), np.uint16), np.full((64, 64), 65535, np.uint16)
    assert psnr(first, second, 16) == pytest.approx(0)


def test_sequence_psnr_is_that_of_the_total_error():
    black = np.zeros((4, 4), np.uint8)
    worse = np.full((4, 4), 2, np.uint8)
    meter = PsnrMeter()
    meter.add(mono(black), mono(black))
    meter.add(mono(black), mono(worse))
    assert meter.planes() == pytest.approx((10 * math.log10(255**2 / 2),))


def test_psnr_of_other_formats_is_refused():
    with pytest.raises(ValueError, match="compared"):
        PsnrMeter().add(mono(plane(1)), mono(plane(2, depth=10), 10))
    with pytest.raises(ValueError, match="no picture"):
        PsnrMeter().planes()


@pytest.mark.parametrize("depth", [8, 10])
def test_ssim_is_what_its_definition_says(depth):
    x, y = plane(1, depth=depth).astype(float), plane(2, depth=depth).astype(float)

    def window(values):
        # An implementation of the Gaussian window that is not ours.
        return cv2.GaussianBlur(values, (11, 11), 1.5)[5:-5, 5:-5]

    peak = (1 << depth) - 1
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mx, my = window(x), window(y)
    vx, vy, cov = window(x * x) - mx**2, window(y * y) - my**2, window(x * y) - mx * my
    expected = ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    found = ssim(plane(1, depth=depth), plane(2, depth=depth), depth)
    assert found == pytest.approx(expected.mean(), abs=1e-9)


def test_ssim_of_equal_planes_is_one():
    assert ssim(plane(3), plane(3)) == pytest.approx(1)


def test_ssim_falls_with_noise():
    base = plane(4) // 2
    noise = np.random.default_rng(5).integers(0, 9, base.shape).astype(np.uint8)
    assert 0.9 < ssim(base, base + noise) < 1
    meter = SsimMeter()
    meter.add(mono(base), mono(base))
    meter.add(mono(base), mono(base + noise))
    assert meter.mean() == pytest.approx((1 + ssim(base, base + noise)) / 2)


def test_ssim_needs_room_for_its_window():
    with pytest.raises(ValueError, match="window"):
        ssim(plane(1, (10, 60)), plane(2, (10, 60)))
