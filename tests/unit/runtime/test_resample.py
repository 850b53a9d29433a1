# SPDX-License-Identifier: Apache-2.0
"""The plain resampler: sizes, depths, and that it invents nothing."""

import numpy as np
import pytest

from nnrvideo.picture import ChromaFormat, Picture, PictureFormat
from nnrvideo.runtime.resample import (
    Downscaler,
    Upscaler,
    change_depth,
    resize_picture,
    resize_plane,
)


@pytest.mark.parametrize("upscaler", list(Upscaler))
@pytest.mark.parametrize("depth", [8, 10, 16])
@pytest.mark.parametrize("size", [(64, 48), (33, 97), (5, 3)])
def test_flat_stays_flat(upscaler, depth, size):
    value = (1 << depth) - 3
    plane = np.full((24, 32), value, np.uint8 if depth == 8 else np.uint16)
    resized = resize_plane(plane, *size, depth, upscaler)
    assert resized.shape == size[::-1]
    assert resized.dtype == plane.dtype
    assert (resized == value).all()


def test_overshoot_is_clipped_to_the_bit_depth():
    plane = np.zeros((16, 16), np.uint16)
    plane[:, 8:] = 1023
    resized = resize_plane(plane, 64, 64, 10, Upscaler.LANCZOS)
    assert resized.max() == 1023


def test_ramp_keeps_its_values_at_twice_the_size():
    ramp = np.tile(np.arange(0, 200, 4, dtype=np.uint8), (20, 1))
    twice = resize_plane(ramp, 100, 40, 8).astype(int)
    # Centres are aligned: output j lies at input (j + 0.5) / 2 - 0.5, so on 2j - 1.
    assert np.abs(twice[10, 4:-4] - (2 * np.arange(100)[4:-4] - 1)).max() <= 1


@pytest.mark.parametrize("downscaler", list(Downscaler))
@pytest.mark.parametrize("size", [(32, 24), (48, 36), (64, 24), (37, 1)])
def test_reducing_keeps_levels_and_places(downscaler, size):
    width, height = size
    columns = np.linspace(200, 800, 64)
    plane = np.tile(np.rint(columns).astype(np.uint16), (48, 1))
    reduced = resize_plane(plane, width, height, 10, downscaler=downscaler)
    assert reduced.shape == (height, width)
    assert reduced.dtype == np.uint16
    centres = (np.arange(width) + 0.5) * 64 / width - 0.5
    inner = slice(3, -3)
    assert np.abs(reduced[0] - np.interp(centres, np.arange(64), columns))[inner].max() <= 1.5


def test_bicubic_reducing_blurs_and_aliases_less_than_the_mean_of_the_area():
    def amplitude(frequency, downscaler):
        wave = np.rint(128 + 100 * np.cos(2 * np.pi * frequency * (np.arange(256) + 0.5)))
        plane = np.tile(wave.astype(np.uint8), (8, 1))
        return resize_plane(plane, 128, 4, 8, downscaler=downscaler)[1, 16:-16].std()

    assert amplitude(0.15, Downscaler.BICUBIC) > 1.03 * amplitude(0.15, Downscaler.AREA)
    assert amplitude(0.4, Downscaler.BICUBIC) < 0.1 * amplitude(0.4, Downscaler.AREA)


def test_bicubic_reducing_clips_its_overshoot_to_the_bit_depth():
    plane = np.zeros((16, 16), np.uint16)
    plane[:, 8:] = 1023
    assert resize_plane(plane, 8, 8, 10, downscaler=Downscaler.BICUBIC).max() == 1023


def test_same_size_is_the_same_array():
    plane = np.zeros((4, 4), np.uint8)
    assert resize_plane(plane, 4, 4, 8) is plane


def test_strided_rows_and_read_only_planes():
    wide = np.random.default_rng(1).integers(0, 256, (20, 64), dtype=np.uint8)
    wide.flags.writeable = False
    view = wide[:, :40]
    assert np.array_equal(
        resize_plane(view, 80, 40, 8), resize_plane(np.ascontiguousarray(view), 80, 40, 8)
    )


def test_depth_changes_like_an_integer_tensor():
    assert change_depth(np.uint8([1, 255]), 8, 10).tolist() == [4, 1020]
    assert change_depth(np.uint16([5, 6, 1023]), 10, 8).tolist() == [1, 2, 255]


def test_picture_to_another_format():
    pic = Picture(
        (
            np.full((5, 7), 80, np.uint8),
            np.full((3, 4), 90, np.uint8),
            np.full((3, 4), 99, np.uint8),
        )
    )
    target = PictureFormat(14, 11, ChromaFormat.C444, 10)
    result = resize_picture(pic, target)
    assert result.format == target
    assert [int(plane[0, 0]) for plane in result.planes] == [320, 360, 396]


def test_mono_becomes_neutral_colour_and_back():
    pic = Picture((np.full((4, 4), 80, np.uint8),), ChromaFormat.MONO)
    colour = resize_picture(pic, PictureFormat(4, 4))
    assert (colour.planes[1] == 128).all()
    assert resize_picture(colour, pic.format).format == pic.format


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("size", [(40, 30), (20, 12), (32, 24)])
@pytest.mark.parametrize("depth", [8, 10])
def test_into_planes_of_the_caller(depth, size, step):
    dtype = np.uint8 if depth == 8 else np.uint16
    plane = np.random.default_rng(2).integers(0, 1 << depth, (24, 32)).astype(dtype)
    width, height = size
    buffer = np.full((height, width * step + 6), 3, dtype)
    out = buffer[:, 2 : 2 + width * step : step]
    assert resize_plane(plane, width, height, depth, out=out) is out
    assert np.array_equal(out, resize_plane(plane, width, height, depth))
    out[...] = 3
    assert (buffer == 3).all()
