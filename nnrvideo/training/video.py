# SPDX-License-Identifier: Apache-2.0
"""Luma planes out of media files, and through a real encoder and decoder."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnrvideo.container import VideoWriter, open_media
from nnrvideo.errors import ContainerError
from nnrvideo.picture import ChromaFormat, ColourDescription, Picture

_DEFAULT_RATE = Fraction(25)
_GREY = 128  # chroma samples of a picture without colour
_QUIET = {"libx265": {"x265-params": "log-level=error"}}

Plane = npt.NDArray[np.uint8]


def read_luma(path: Path, max_pictures: int | None = None) -> tuple[list[Plane], Fraction]:
    """Decodes the luma planes of a clip.

    Args:
        path: Media file with 8-bit video.
        max_pictures: Stop after so many pictures.

    Returns:
        Planes ``(H, W) uint8`` in output order, all of one size, and the pictures per second.

    Raises:
        ContainerError: The file cannot be read or is not 8-bit video.
    """
    planes: list[Plane] = []
    with open_media(path) as media:
        rate = media.video.frame_rate or _DEFAULT_RATE
        for decoded in media.pictures():
            luma = decoded.picture.planes[0]
            if luma.dtype != np.uint8:
                raise ContainerError(f"{path} is no 8-bit video; training takes 8 bits only")
            if planes and luma.shape != planes[0].shape:
                break  # the size changes within the file: what follows is another clip
            # A copy, because the decoder owns the memory of its pictures.
            planes.append(np.array(luma, dtype=np.uint8))
            if len(planes) == max_pictures:
                break
    return planes, rate


def code_luma(
    planes: Sequence[Plane], *, codec: str, crf: int, rate: Fraction, folder: Path
) -> list[Plane]:
    """Encodes luma planes with grey chroma as 4:2:0 and decodes them again.

    Args:
        planes: ``(H, W) uint8``, H and W even, in output order.
        codec: Encoder, for instance ``"libx265"``; its preset is "medium".
        crf: Constant rate factor.
        rate: Pictures per second.
        folder: Where the coded file may lie for the moment.

    Returns:
        As many decoded planes, ``(H, W) uint8``.

    Raises:
        ContainerError: The encoder is missing or refuses.
    """
    path = folder / f"{codec}-{crf}.mkv"
    options = {"crf": str(crf), "preset": "medium"} | _QUIET.get(codec, {})
    height, width = planes[0].shape
    chroma = np.full((height // 2, width // 2), _GREY, np.uint8)
    with VideoWriter(path, codec=codec, options=options | {"r": str(rate)}, overwrite=True) as file:
        for number, plane in enumerate(planes):
            picture = Picture((plane, chroma, chroma), ChromaFormat.C420, 8, ColourDescription())
            file.write(picture, number / rate)
    decoded, _ = read_luma(path)
    path.unlink()
    if len(decoded) != len(planes):
        raise ContainerError(f"{codec} returned {len(decoded)} of {len(planes)} pictures")
    return decoded
