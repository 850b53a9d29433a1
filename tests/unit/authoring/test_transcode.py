# SPDX-License-Identifier: Apache-2.0
"""Sizes on both sides of a network."""

from __future__ import annotations

from fractions import Fraction

import pytest

from nnrvideo.authoring import coded_size
from nnrvideo.errors import ModelError
from nnrvideo.picture import ChromaFormat


@pytest.mark.parametrize(
    ("scale", "size", "coded", "final"),
    [
        (Fraction(2), (1280, 720), (640, 360), (1280, 720)),
        (Fraction(2), (1279, 719), (638, 358), (1276, 716)),
        (Fraction(3, 2), (1920, 1080), (1280, 720), (1920, 1080)),
        (Fraction(3, 2), (960, 541), (640, 360), (960, 540)),
        (Fraction(1), (853, 481), (853, 481), (853, 481)),
    ],
)
def test_sizes_are_even_and_what_does_not_divide_is_cut(
    scale: Fraction, size: tuple[int, int], coded: tuple[int, int], final: tuple[int, int]
) -> None:
    assert coded_size(*size, (scale, scale)) == (coded, final)


def test_half_chroma_samples_are_cut() -> None:
    sizes = {
        ChromaFormat.C420: (852, 480),
        ChromaFormat.C422: (852, 481),
        ChromaFormat.C444: (853, 481),
    }
    for chroma, size in sizes.items():
        assert coded_size(853, 481, (Fraction(1), Fraction(1)), chroma) == (size, size)
    with pytest.raises(ModelError, match="too small"):
        coded_size(1, 9, (Fraction(1), Fraction(1)), ChromaFormat.C420)


def test_networks_that_reduce_are_refused() -> None:
    with pytest.raises(ModelError, match="enlarges or keeps"):
        coded_size(1280, 720, (Fraction(1, 2), Fraction(1)))


def test_pictures_too_small_to_reduce_are_refused() -> None:
    with pytest.raises(ModelError, match="too small"):
        coded_size(4, 3, (Fraction(2), Fraction(2)))
