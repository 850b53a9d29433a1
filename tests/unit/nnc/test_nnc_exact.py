# SPDX-License-Identifier: Apache-2.0
"""Bit patterns: conversions that keep NaN payloads, and digits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrvideo import nnc
from nnrvideo.nnc.exact import (
    Fold,
    cheapest_unary_length,
    from_single,
    is_single,
    join_digits,
    split_digits,
    to_single,
)

HALVES = np.arange(1 << 16, dtype=np.uint16)


def test_every_half_survives_binary32():
    halves = HALVES.view(np.float16)
    singles = to_single(halves)
    finite = np.isfinite(halves)
    np.testing.assert_array_equal(singles[finite], halves[finite].astype(np.float32))
    np.testing.assert_array_equal(from_single(singles, np.float16).view(np.uint16), HALVES)


def test_every_half_survives_a_bitstream():
    stream = nnc.encode({"t": HALVES.view(np.float16)}, nnc.EncodeSettings(lossless=True))
    found = nnc.decode(stream).tensors["t"]
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found.view(np.uint16), HALVES)


@given(st.binary(min_size=8, max_size=64).map(lambda raw: raw[: len(raw) // 8 * 8]))
def test_a_double_survives_or_is_refused(raw):
    doubles = np.frombuffer(raw, np.uint64).view(np.float64)
    settings = nnc.EncodeSettings(lossless=True)
    if is_single(doubles):
        found = nnc.decode(nnc.encode({"t": doubles}, settings)).tensors["t"]
        assert found.tobytes() == raw
    else:
        with pytest.raises(ValueError, match="not binary32"):
            nnc.encode({"t": doubles}, settings)


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        (0x7FF8 << 48, True),
        (0x7FF0 << 48 | 1 << 29, True),  # signalling, payload within binary32
        (0x7FF0 << 48 | 1 << 28, False),
        (0xFFF0 << 48 | 1, False),
        (0xFFF0 << 48, True),
        (1 << 63, True),
        (1, False),
        (0x36A0 << 48, True),  # the least denormal of binary32
        (0x3690 << 48, False),
        (0x47F0 << 48, False),  # 2^128
    ],
)
def test_which_doubles_are_binary32(pattern, fits):
    assert is_single(np.array([pattern], np.uint64).view(np.float64)) == fits
    assert is_single(np.array(pattern, np.uint64).view(np.float64)) == fits


@given(
    st.sampled_from(Fold),
    st.sampled_from(
        [(4, 1), (4, 2), (8, 1), (8, 2), (8, 4), (16, 1), (16, 2), (32, 2), (32, 4), (64, 4)]
        + [(64, 8), (64, 32)]
    ),
    st.data(),
)
def test_digits_come_together_again(fold, sizes, data):
    width, count = sizes
    values = data.draw(st.lists(st.integers(0, (1 << width) - 1), min_size=1, max_size=12))
    patterns = np.array(values, np.uint64)
    for shape in ((len(values),), (1, len(values)), ()):
        each = patterns[:1].reshape(()) if shape == () else patterns.reshape(shape)
        levels = split_digits(each, width, count, fold)
        bits = width // count
        assert levels.shape == (count, *shape)
        assert -(1 << bits) // 2 <= levels.min() and levels.max() < (1 << bits) // 2
        np.testing.assert_array_equal(join_digits(levels, width, fold), each)


def test_likely_numbers_have_small_digits():
    integers = np.array([-5, 3, 70000], np.int64)
    levels = split_digits(integers.view(np.uint64), 64, 4, Fold.SIGNED)
    assert levels.tolist() == [[-5, 3, 4464], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    floats = np.array([1.99, -1.99, 0.5, -0.5], np.float16)
    top = split_digits(floats.view(np.uint16), 16, 2, Fold.FLOAT)[1]
    assert top.tolist() == [0, -1, 7, -8]
    nibbles = split_digits(np.array([0x88, 0x79], np.uint8), 8, 2, Fold.UNSIGNED)
    assert nibbles.tolist() == [[0, 1], [0, -1]]


@pytest.mark.parametrize(("width", "count"), [(8, 0), (8, 3), (8, 8), (32, 1), (64, 2)])
def test_digits_that_cannot_be(width, count):
    with pytest.raises(ValueError, match="digits do not make"):
        split_digits(np.zeros(3, np.uint64), width, count, Fold.UNSIGNED)
    with pytest.raises(ValueError, match="digits do not make"):
        join_digits(np.zeros((count, 3), np.int32), width, Fold.UNSIGNED)


@pytest.mark.parametrize("fold", Fold)
@pytest.mark.parametrize("digit", [128, -129, 2**31 - 1, -(2**31)])
def test_digits_out_of_range(fold, digit):
    with pytest.raises(ValueError, match="does not fit 8 bits"):
        join_digits(np.array([[0], [digit]], np.int32), 16, fold)


def test_estimate_ranks_as_the_coder_does():
    random = np.random.default_rng(4)
    levels = np.rint(random.laplace(0, 9, (40, 100))).astype(np.int32)
    length, bits = cheapest_unary_length(levels.reshape(1, -1))

    def size(unary):
        settings = nnc.EncodeSettings(cabac_unary_length_minus1=unary - 1)
        return len(nnc.encode({"t": levels}, settings))

    assert size(length) <= 1.01 * min(size(unary) for unary in (4, 11, 24, 48, 96, 160))
    assert size(length) == pytest.approx(bits / 8, rel=0.06)


def test_settings_of_single_tensors():
    random = np.random.default_rng(5)
    tensors = {name: random.normal(0, 1, (8, 9)).astype(np.float32) for name in "ab"}
    stream = nnc.encode(tensors, per_tensor={"b": nnc.EncodeSettings(lossless=True, profile=0)})
    found = nnc.decode(stream).tensors
    assert found["b"].tobytes() == tensors["b"].tobytes()
    assert found["a"].tobytes() != tensors["a"].tobytes()
