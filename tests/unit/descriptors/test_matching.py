# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from nnrvideo.descriptors import Extractor, Form, Header, Interoperable, KeyFrames, Segment
from nnrvideo.descriptors.matching import compare, compare_parts, jaccard, require_comparable
from nnrvideo.descriptors.occlusion import drawn, occlusion_map
from nnrvideo.descriptors.similarity import hamming, similarities
from nnrvideo.errors import ModelError

from .conftest import random_rgb

HEADER = Header(b"a" * 32, Form(256, 4), 256, 256, 30, 0.3, Fraction(1, 1000))


def film(seeds, noise=0.0, header=HEADER, quality=100, step=1000, pdq=None):
    """A key frame of random bits for each seed, a second apart."""
    rows = []
    for place, seed in enumerate(seeds):
        bits = np.random.default_rng(seed).random(256) < 0.5
        flips = np.random.default_rng(10_000 + place).random(256) < noise
        rows.append(bits ^ flips)
    values = np.packbits(np.stack(rows), axis=1)
    times = np.arange(len(rows), dtype=np.int64) * step
    grades = np.full(len(rows), quality, np.uint8)
    segment = Segment(0, len(rows) * step, times, grades, values, pdq)
    return KeyFrames.of(header, [segment])


def test_the_shared_interval_is_found_on_both_sides():
    reference = film(range(100, 120))
    query = film([*range(1, 8), *range(105, 111), *range(20, 26)], noise=0.15)
    found = compare(query, reference)
    assert found.matches
    assert found.query == pytest.approx((7, 13), abs=0.3)
    assert found.reference == pytest.approx((5, 11), abs=0.3)
    assert found.pairs == 6
    assert jaccard(found.query, (7, 13)) > 0.9


def test_a_stray_match_at_another_offset_does_not_stretch_the_interval():
    reference = film(range(100, 120))
    query = film([119, *range(1, 8), *range(105, 111), *range(20, 26), 100])
    assert compare(query, reference).query == pytest.approx((8, 14), abs=0.3)


def test_one_missed_key_frame_does_not_cut_the_interval():
    reference = film(range(100, 110))
    query = film([1, 2, 100, 101, 102, 77, 104, 105, 106, 3])
    assert compare(query, reference).query == pytest.approx((2, 9), abs=0.3)


def test_unrelated_films_do_not_match():
    found = compare(film(range(40)), film(range(100, 140)))
    assert not found.matches
    assert found.query is None
    assert found.score < 0.3


def test_key_frames_of_low_quality_are_never_compared():
    found = compare(film(range(5), quality=29), film(range(5)))
    assert not found.matches
    assert np.isnan(found.score)


def test_the_best_pair_is_told_by_its_times():
    query, reference = film([1, 2, 105]), film(range(100, 110))
    query.quality[0] = 3
    found = compare(query, reference)
    assert found.best == (2.0, 5.0)


def test_a_single_picture_is_found_in_a_film():
    found = compare(film([104]), film(range(100, 110)))
    assert found.reference == pytest.approx((4, 5), abs=0.3)


def test_different_models_are_refused_unless_one_lists_the_other():
    other = replace(HEADER, model_id=b"b" * 32)
    with pytest.raises(ModelError, match="different models"):
        compare(film([1]), film([1], header=other))
    listed = replace(other, interoperable=(Interoperable(b"a" * 32, 0.9, 0.95, 0.91),))
    assert require_comparable(HEADER, listed)
    assert require_comparable(listed, HEADER)
    assert compare(film([1]), film([1], header=listed)).interoperable
    assert not compare(film([1]), film([1])).interoperable


@pytest.mark.parametrize("form", [Form(256, 1), Form(512, 4), Form(0, 4)])
def test_different_forms_are_refused(form):
    with pytest.raises(ModelError, match="different forms"):
        require_comparable(HEADER, replace(HEADER, form=form))


def test_parts_of_another_model_are_left_out_and_told():
    other = replace(HEADER, model_id=b"b" * 32)
    query = [film([1, 2, 3]), film([4, 5, 6], header=other)]
    found, refused = compare_parts(query, [film(range(1, 10))])
    assert found.matches
    assert found.pairs == 3
    assert len(refused) == 1
    with pytest.raises(ModelError):
        compare_parts(query[1:], [film(range(1, 10))])


def test_rates_may_differ():
    dense, sparse = film(range(100, 120)), film(range(100, 120))
    thin = KeyFrames.of(
        replace(HEADER, rate=16),
        [Segment(0, 20_000, np.arange(0, 20_000, 3000), np.full(7, 99, np.uint8),
                 sparse.values[::3])],
    )  # fmt: skip
    assert compare(thin, dense).query == pytest.approx((0, 20), abs=2)


def test_pdq_tells_copies_without_edits():
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 256, (3, 32), dtype=np.uint8)
    header = replace(HEADER, pdq=True)
    near = hashes.copy()
    near[:, 0] ^= 3
    copies = compare(
        film([1, 2, 3], header=header, pdq=hashes), film([7, 8, 9], header=header, pdq=near)
    )
    assert copies.pdq_distance == 2
    assert copies.near_identical
    assert not compare(film([1]), film([1])).near_identical


def test_similarities_against_plain_formulas():
    generator = np.random.default_rng(1)
    a, b = (generator.integers(-500, 500, (5, 64)).astype(np.int16) for _ in range(2))
    expected = [[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b * 1.0] for x in a * 1.0]
    assert similarities(a, b, 0) == pytest.approx(np.array(expected))
    c, d = (generator.integers(0, 256, (7, 32), dtype=np.uint8) for _ in range(2))
    expected = [[int(np.unpackbits(x ^ y).sum()) for y in d] for x in c]
    assert np.array_equal(hamming(c, d), expected)
    assert similarities(np.zeros((1, 64), np.int16), a, 0).max() == 0


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [((0, 4), (0, 4), 1), ((0, 2), (2, 4), 0), ((0, 4), (2, 6), 1 / 3), (None, (0, 1), 0)],
)
def test_jaccard(found, truth, expected):
    assert jaccard(found, truth) == pytest.approx(expected)


def test_the_occlusion_map_points_at_shared_content(model):
    """An overlay is foreign; hiding it costs nothing, hiding the picture costs the match."""
    extractor = Extractor(model, Form(0, 1))
    original = random_rgb(50, 72, 128)
    overlaid = original.copy()
    overlaid[0:24, 64:128] = random_rgb(51, 24, 64)
    reference = extractor.describe(original)
    found = occlusion_map(extractor, overlaid, reference, grid=(6, 8))
    foreign = np.zeros((6, 8), bool)
    foreign[0:2, 4:8] = True
    assert found[~foreign].mean() > found[foreign].mean()
    assert np.unravel_index(np.argmax(found), found.shape) not in {
        tuple(place) for place in np.argwhere(foreign)
    }
    assert drawn(overlaid, found).shape == overlaid.shape
