# SPDX-License-Identifier: Apache-2.0
"""Scenes, telling squares, pairs of pictures, ticks: parts with known answers."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from nnrvideo.container import open_media
from nnrvideo.picture import ChromaFormat, Picture
from nnrvideo.report.charts import _log_ticks, _ticks
from nnrvideo.report.crops import CropFinder, CropKind, crop_picture
from nnrvideo.report.measure import _paired
from nnrvideo.report.scenes import SceneFinder


def mono(luma, depth=8):
    return Picture((luma,), ChromaFormat.MONO, depth)


def starts(lumas, depth=8, rate=24):
    finder = SceneFinder()
    for index, luma in enumerate(lumas):
        finder.add(mono(luma, depth), Fraction(index, rate))
    return finder.starts


def texture(seed, depth=8):
    rough = np.random.default_rng(seed).integers(0, 1 << depth, (6, 8))
    return np.kron(rough, np.ones((16, 16))).astype(np.uint8 if depth == 8 else np.uint16)


@pytest.mark.parametrize("depth", [8, 10])
def test_a_cut_is_found_and_motion_is_not(depth):
    first, second = texture(1, depth), texture(2, depth)
    pan = [np.roll(first, 3 * step, axis=1) for step in range(14)]
    assert starts([*pan, *[second] * 14], depth) == [0, 14]


def test_a_flash_is_no_scene():
    base = texture(3)
    assert starts([*[base] * 14, np.full_like(base, 255), *[base] * 14]) == [0, 14]


def test_black_film_and_tiny_pictures():
    assert starts([np.zeros((5, 5), np.uint8)] * 5) == [0]


def test_black_stretches_are_scenes_of_their_own_however_they_fade():
    picture, black = texture(3).astype(float), np.full((96, 128), 16, np.uint8)
    fade = [(16 + (picture - 16) * step / 20).astype(np.uint8) for step in range(1, 21)]
    assert starts([*[black] * 12, *fade, *fade[::-1], *[black] * 12]) == [0, 12, 52]


def test_the_cut_in_a_real_clip(shared):
    finder = SceneFinder()
    with open_media(shared / "data" / "clips" / "bbb_bunny_1080p60.mp4") as media:
        for item in media.pictures():
            finder.add(item.picture, item.pts)
    assert len(finder.starts) == 2


def offer(finder, plain_errors, network_errors, pts=Fraction(0)):
    base = np.full((64, 96), 100, np.uint8)
    sides = []
    for errors in (plain_errors, network_errors):
        luma = base.copy()
        for (row, column), error in errors.items():
            luma[row, column] += error
        sides.append(mono(luma))
    finder.offer(pts, mono(base), *sides)


def test_gain_loss_and_typical():
    finder = CropFinder(16, middle=1)
    offer(finder, {(20, 40): 20}, {(20, 40): 10, (50, 70): 4})
    offer(finder, {(4, 4): 6}, {}, Fraction(1))
    crops = {crop.kind: crop for crop in finder.crops()}
    gain, loss = crops[CropKind.GAIN], crops[CropKind.LOSS]
    assert gain.x <= 40 < gain.x + 16
    assert gain.y <= 20 < gain.y + 16
    assert gain.gain_db == pytest.approx(10 * math.log10(400 / 100))
    assert loss.x <= 70 < loss.x + 16
    assert loss.gain_db == -math.inf
    assert crops[CropKind.TYPICAL].pts == 1
    assert gain.plain.width == gain.network.height == 16


def test_without_any_loss_none_is_shown():
    finder = CropFinder(16, middle=9)
    offer(finder, {(4, 4): 6}, {})
    assert [crop.kind for crop in finder.crops()] == [CropKind.GAIN]


def test_pictures_smaller_than_the_square_are_shown_whole():
    finder = CropFinder(192, middle=0)
    offer(finder, {(4, 4): 6}, {})
    assert (finder.crops()[0].plain.width, finder.crops()[0].plain.height) == (64, 64)
    finder = CropFinder(192, middle=0)
    tiny = mono(np.zeros((5, 7), np.uint8))
    finder.offer(Fraction(0), tiny, tiny, mono(np.ones((5, 7), np.uint8)))
    assert {(c.plain.width, c.plain.height) for c in finder.crops()} == {(7, 5)}


@pytest.mark.parametrize("chroma", list(ChromaFormat))
def test_squares_take_chroma_along(chroma):
    planes = [np.arange(9 * 13, dtype=np.uint8).reshape(9, 13)]
    for _ in range(chroma.planes - 1):
        planes.append(planes[0][:: chroma.sub_height, :: chroma.sub_width])
    cut = crop_picture(Picture(tuple(planes), chroma), 8, 4, 8)
    assert (cut.width, cut.height) == (5, 5)
    assert cut.planes[-1][0, 0] == planes[0][4, 8]


@dataclass
class At:
    pts: Fraction


def paired(first, second):
    lists = ([At(Fraction(n)) for n in times] for times in (first, second))
    pairs = _paired(*map(iter, lists), tolerance=Fraction(2, 5))
    return [(a and int(a.pts), b and int(b.pts)) for a, b in pairs]


def test_pictures_are_paired_by_time():
    assert paired([0, 1, 2], [0, 1, 2]) == [(0, 0), (1, 1), (2, 2)]
    assert paired([0, 1, 2], [5, 7]) == [(0, 5), (1, None), (2, 7)]
    assert paired([0, 2], [0, 1, 2]) == [(0, 0), (None, 1), (2, 2)]
    assert paired([0], [0, 1, 2]) == [(0, 0), (None, 1), (None, 2)]
    assert paired([], [0, 1]) == []


def test_ticks_are_round():
    assert _ticks(29.3, 37.2, 6) == pytest.approx([30, 32, 34, 36])
    assert _ticks(0.9586, 0.99, 6) == pytest.approx([0.96, 0.97, 0.98, 0.99])
    assert _ticks(5, 5, 6) == [5]
    assert _log_ticks(90, 1100) == pytest.approx([100, 200, 500, 1000])
    assert len(_log_ticks(1000, 1050)) >= 2
