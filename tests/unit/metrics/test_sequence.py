# SPDX-License-Identifier: Apache-2.0
"""Flicker with known answers, and the meter that measures everything at once."""

import math

import numpy as np
import pytest

from nnrvideo.metrics import FlickerMeter, SequenceMeter, psnr, ssim
from nnrvideo.metrics.sequence import PSNR_CAP
from nnrvideo.picture import ChromaFormat, Picture

BASE = np.random.default_rng(1).integers(40, 200, (32, 48)).astype(np.uint8)


def flicker(pairs, depth=8, cuts=()):
    meter = FlickerMeter(depth)
    for index, (reference, plane) in enumerate(pairs):
        meter.add(reference, plane, new_scene=index in cuts)
    return meter.flicker(), meter.static_flicker()


def test_a_constant_error_does_not_flicker():
    assert flicker([(BASE, BASE + 5)] * 3) == (0, 0)


def test_an_error_that_comes_and_goes_flickers_by_its_size():
    assert flicker([(BASE, BASE + 5), (BASE, BASE), (BASE, BASE + 5)]) == (5, 5)


def test_motion_without_error_does_not_flicker_and_is_not_static():
    moved = np.roll(BASE, 7, axis=1)
    still = float(np.mean(np.abs(BASE.astype(int) - moved) <= 2))
    assert 0 < still < 0.2
    assert flicker([(BASE, BASE), (moved, moved)]) == (0, 0)


def test_static_flicker_looks_where_the_source_stands_still():
    moved, error = BASE.copy(), np.zeros_like(BASE)
    moved[:, :24] += 50  # the left half moves
    error[:, 24:] = 4  # the right half flickers
    assert flicker([(BASE, BASE), (moved, moved + error)]) == (pytest.approx(math.sqrt(8)), 4)


def test_independent_errors_flicker_by_the_root_of_two():
    rng = np.random.default_rng(2)
    base = np.full((200, 200), 128, np.uint8)
    noisy = [(base, (128 + rng.integers(-10, 11, base.shape)).astype(np.uint8)) for _ in range(5)]
    rms = math.sqrt(sum((k * k) for k in range(-10, 11)) / 21)
    assert flicker(noisy)[0] == pytest.approx(math.sqrt(2) * rms, rel=0.02)


def test_depth_does_not_change_the_unit():
    wide = BASE.astype(np.uint16) * 4
    assert flicker([(wide, wide + 20), (wide, wide)], depth=10) == (5, 5)


def test_a_cut_has_no_flicker():
    assert flicker([(BASE, BASE), (BASE, BASE + 9)], cuts={1}) == (None, None)


def picture(luma, depth=8):
    chroma = np.full((luma.shape[0] // 2, luma.shape[1] // 2), 1 << (depth - 1), luma.dtype)
    return Picture((luma, chroma, chroma), ChromaFormat.C420, depth)


def test_meter_agrees_with_its_parts():
    meter = SequenceMeter()
    wrong = BASE + 3
    meter.add(picture(BASE), picture(BASE))
    meter.add(picture(BASE), picture(wrong))
    result = meter.finish()
    quality = result.quality
    assert quality.psnr_y == pytest.approx(psnr(BASE, wrong) + 10 * math.log10(2))
    assert quality.psnr_y_mean == pytest.approx((PSNR_CAP + psnr(BASE, wrong)) / 2)
    assert quality.psnr_cb == math.inf
    assert quality.ssim_y == pytest.approx((1 + ssim(BASE, wrong)) / 2)
    assert (quality.flicker, quality.static_flicker) == (3, 3)
    assert [p.squared_error for p in result.pictures] == [0, 9 * BASE.size]
    assert quality.ms_ssim_y is None
    assert "161" in result.absent["ms_ssim_y"]
    assert quality.vmaf is None


def test_meter_without_pictures():
    with pytest.raises(ValueError, match="no picture"):
        SequenceMeter().finish()


def test_structure_and_flicker_can_be_left_out():
    meter = SequenceMeter(structure=False, flicker=False)
    meter.add(picture(BASE), picture(BASE))
    quality = meter.finish().quality
    assert quality.ssim_y is quality.ms_ssim_y is quality.flicker is None
    assert quality.psnr_y == math.inf


def test_pictures_smaller_than_the_window_of_ssim():
    meter = SequenceMeter()
    small = picture(BASE[:8, :8])
    meter.add(small, small)
    assert set(meter.finish().absent) == {"ssim_y", "ms_ssim_y"}


def test_figures_of_pictures_add_up():
    rng = np.random.default_rng(3)
    lumas = [rng.integers(0, 200, (176, 192)).astype(np.uint8) for _ in range(4)]
    with SequenceMeter() as meter:
        for number, luma in enumerate(lumas):
            noisy = luma + rng.integers(0, 9, luma.shape).astype(np.uint8)
            pair = [Picture((plane,), ChromaFormat.MONO) for plane in (luma, noisy)]
            meter.add(*pair, new_scene=number == 2)
        found = meter.finish()
    assert [picture.flicker is None for picture in found.pictures] == [True, False, True, False]
    changes = [picture.flicker for picture in found.pictures if picture.flicker]
    level = math.sqrt(sum(c.squared for c in changes) / sum(c.samples for c in changes))
    assert found.quality.flicker == pytest.approx(level)
    mean = sum(picture.ms_ssim_y for picture in found.pictures) / 4
    assert found.quality.ms_ssim_y == pytest.approx(mean)
