# SPDX-License-Identifier: Apache-2.0
"""PSNR, SSIM and MS-SSIM against values worked out by hand and against other implementations."""

import math

import cv2
import numpy as np
import pytest

from nnrvideo.metrics import PsnrMeter, ms_ssim, psnr, ssim, ssim_and_ms_ssim
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


def test_psnr_of_each_picture():
    black, worse = np.zeros((4, 4), np.uint8), np.full((4, 4), 2, np.uint8)
    meter = PsnrMeter()
    for picture in (black, worse):
        meter.add(mono(black), mono(picture))
    assert meter.by_picture() == (math.inf, pytest.approx(psnr(black, worse)))
    with pytest.raises(ValueError, match="one size"):
        meter.add(mono(plane(1)), mono(plane(2)))


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
    assert found == pytest.approx(expected.mean(), abs=1e-6)


def test_ssim_of_equal_planes_is_one():
    assert ssim(plane(3), plane(3)) == pytest.approx(1)


def test_ssim_falls_with_noise():
    base = plane(4) // 2
    noise = np.random.default_rng(5).integers(0, 9, base.shape).astype(np.uint8)
    assert 0.9 < ssim(base, base + noise) < 1


def test_ssim_needs_room_for_its_window():
    with pytest.raises(ValueError, match="window"):
        ssim(plane(1, (10, 60)), plane(2, (10, 60)))


def textured(depth):
    """A pattern with detail at every scale, and the same with a finer one on top."""
    y, x = np.mgrid[0:192, 0:256]
    first = 0.5 + 0.3 * np.sin(x / 7) * np.cos(y / 11) + 0.1 * np.sin(x * y / 900)
    second = first + 0.05 * np.sin(x / 2.3 + y / 3.1)
    dtype = np.uint8 if depth == 8 else np.uint16
    peak = (1 << depth) - 1
    return [np.rint(np.clip(v, 0, 1) * peak).astype(dtype) for v in (first, second)]


# What pytorch_msssim 1.0.0 gives for them, in float64 (its window is rounded to float32).
@pytest.mark.parametrize(
    ("depth", "single", "multi"),
    [(8, 0.8432182216, 0.9548239894), (10, 0.8437279650, 0.9548739468)],
)
def test_ssim_and_ms_ssim_of_another_implementation(depth, single, multi):
    found = ssim_and_ms_ssim(*textured(depth), depth)
    assert found == pytest.approx((single, multi), abs=5e-6)
    assert ssim(*textured(depth), depth) == found[0]
    assert ms_ssim(*textured(depth), depth) == found[1]


@pytest.mark.parametrize("depth", [8, 10])
def test_psnr_of_scikit_image(depth):
    metrics = pytest.importorskip("skimage.metrics")
    first, second = textured(depth)
    expected = metrics.peak_signal_noise_ratio(first, second, data_range=(1 << depth) - 1)
    assert psnr(first, second, depth) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("depth", [8, 10])
def test_ssim_of_scikit_image(depth):
    metrics = pytest.importorskip("skimage.metrics")
    first, second = textured(depth)
    expected = metrics.structural_similarity(
        first.astype(float),
        second.astype(float),
        data_range=(1 << depth) - 1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(first, second, depth) == pytest.approx(expected, abs=1e-6)


def test_ms_ssim_by_its_definition_on_odd_sizes():
    # 5 scales by 2x2 means, the last row and column repeated, contrast times structure on each.
    first, second = (v[:187, :201] for v in textured(8))
    weights, product = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333), 1.0
    x, y = first / 255, second / 255

    def window(values):
        return cv2.GaussianBlur(values, (11, 11), 1.5)[5:-5, 5:-5]

    for scale, weight in enumerate(weights):
        mx, my = window(x), window(y)
        vx, vy, cov = window(x * x) - mx**2, window(y * y) - my**2, window(x * y) - mx * my
        factor = (2 * cov + 9e-4) / (vx + vy + 9e-4)
        if scale == 4:
            factor = factor * (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4)
        product *= factor.mean() ** weight
        x, y = (np.pad(v, [(0, n % 2) for n in v.shape], mode="edge") for v in (x, y))
        x, y = (v.reshape(v.shape[0] // 2, 2, -1, 2).mean((1, 3)) for v in (x, y))
    assert ms_ssim(first, second) == pytest.approx(product, abs=1e-6)


def test_ms_ssim_needs_room_on_its_coarsest_scale():
    assert ms_ssim(plane(1, (161, 161)), plane(1, (161, 161))) == pytest.approx(1)
    with pytest.raises(ValueError, match="161"):
        ms_ssim(plane(1, (160, 300)), plane(1, (160, 300)))


def test_opposed_structure_counts_as_nothing():
    first = textured(8)[0]
    assert ms_ssim(first, 255 - first) == 0
