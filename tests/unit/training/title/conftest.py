# SPDX-License-Identifier: Apache-2.0
"""Films that are small, and settings that are quick."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from nnrvideo.container import VideoWriter
from nnrvideo.picture import ChromaFormat, ColourDescription, Picture, PictureFormat
from nnrvideo.training.title import TitleSettings


def stripes(number: int, width: int, height: int, scene: int) -> np.ndarray:
    """Moving stripes, other ones in each scene, in 8 bits."""
    y, x = np.mgrid[0:height, 0:width]
    steps = ((x + y + 2 * number) / 5, (2 * x - y + 3 * number) / 7, (3 * y - x) / 4)[scene % 3]
    return (140 - 40 * (scene % 3) + 40 * np.sin(steps)).astype(np.uint8)


@pytest.fixture(scope="session")
def make_film() -> Callable[..., Path]:
    """Function that makes a film, coded without loss."""

    def make(
        path: Path,
        pictures: int = 8,
        *,
        size: tuple[int, int] = (96, 80),
        scenes: int = 1,
        black: int = 0,  # so many scenes at the end
        bit_depth: int = 8,
        chroma: ChromaFormat = ChromaFormat.C420,
        colour: ColourDescription | None = None,
        times: list[Fraction] | None = None,
        codec: str = "libx264",
    ) -> Path:
        options = {"libx264": {"qp": "0", "preset": "ultrafast"}, "ffv1": {}}[codec]
        with VideoWriter(path, codec=codec, options=options) as writer:
            for number in range(pictures):
                scene = number * scenes // pictures
                luma = stripes(number, *size, scene)
                if scene >= scenes - black:
                    luma[:] = 16
                wanted = PictureFormat(*size, chroma, bit_depth)
                grey = [
                    np.full(wanted.plane_shape(c), 128 << (bit_depth - 8), wanted.dtype)
                    for c in range(1, chroma.planes)
                ]
                plane = luma.astype(wanted.dtype) << (bit_depth - 8)
                picture = Picture((plane, *grey), chroma, bit_depth, colour or ColourDescription())
                writer.write(picture, times[number] if times else Fraction(number, 25))
        return path

    return make


@pytest.fixture
def quick() -> TitleSettings:
    """Training that is over at once and of no use."""
    return TitleSettings(modes=("enhance",), steps=10, pictures=4, levels=(), update_steps=10)
