# SPDX-License-Identifier: Apache-2.0
"""Edits that copies of a film go through: nine of them, each coded again afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrvideo.container.filtering import filtered
from nnrvideo.picture import ChromaFormat, Picture, PictureFormat
from nnrvideo.runtime import resize_picture

GEOMETRIC: Final = ("crop", "rot10", "rot90", "flip", "pip", "camcord")
PHOTOMETRIC: Final = ("reenc", "logo", "gray")
TRANSFORMS: Final = (*PHOTOMETRIC, *GEOMETRIC)

CRF: Final = {"reenc": 38}
DEFAULT_CRF: Final = 23

_CONTRAST = "y=clip((val-128)*1.4+128\\,0\\,255):u=128:v=128"
_CHAINS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "reenc": (("scale", "trunc(iw/4)*2:trunc(ih/4)*2"),),
    "crop": (("crop", "trunc(iw*0.41)*2:trunc(ih*0.41)*2"),),
    "logo": (
        ("drawbox", "x=iw*0.68:y=ih*0.06:w=iw*0.26:h=ih*0.2:color=orange:t=fill"),
        ("drawbox", "x=0:y=ih*0.86:w=iw:h=ih*0.14:color=black:t=fill"),
        ("drawbox", "x=iw*0.1:y=ih*0.9:w=iw*0.8:h=ih*0.05:color=white:t=fill"),
    ),
    "rot10": (("rotate", "a=10*PI/180:fillcolor=black"),),
    "rot90": (("transpose", "1"),),
    "flip": (("hflip", ""),),
    "gray": (("lutyuv", _CONTRAST),),
    "camcord": (("gblur", "sigma=1.2"), ("noise", "alls=12:allf=t:all_seed=1")),
}
_PIP_SHARE: Final = 0.6
# Where the corners of a picture filmed from a display end up, in shares of width and height.
_CORNERS: Final = ((0.06, 0.10), (0.95, 0.03), (0.90, 0.93), (0.10, 0.97))


def transformed(
    pictures: Iterable[Picture], name: str, background: Callable[[], Picture]
) -> Iterator[Picture]:
    """Edits pictures.

    Args:
        pictures: 4:2:0, 8 bits, even sizes.
        name: Of :data:`TRANSFORMS`.
        background: What ``pip`` lies on.

    Yields:
        As many pictures, of even sizes.

    Raises:
        ContainerError: libavfilter lacks a filter.
    """
    if name == "pip":
        yield from _on_background(pictures, background())
        return
    if name == "camcord":
        pictures = map(_filmed, pictures)
    yield from filtered(pictures, _CHAINS[name])


def fitted(picture: Picture, width: int, height: int) -> Picture:
    """A picture scaled into a frame, with black around it."""
    scale = min(width / picture.width, height / picture.height)
    inner = (int(picture.width * scale) // 2 * 2, int(picture.height * scale) // 2 * 2)
    small = resize_picture(picture, PictureFormat(*inner, ChromaFormat.C420, 8))
    black = Picture(
        tuple(
            np.full(PictureFormat(width, height).plane_shape(i), 128 if i else 16, np.uint8)
            for i in range(3)
        ),
        colour=picture.colour,
    )
    return _pasted(black, small, ((width - inner[0]) // 4 * 2, (height - inner[1]) // 4 * 2))


def _on_background(pictures: Iterable[Picture], background: Picture) -> Iterator[Picture]:
    behind: Picture | None = None
    for picture in pictures:
        if behind is None:
            target = PictureFormat(picture.width, picture.height, ChromaFormat.C420, 8)
            behind = replace(resize_picture(background, target), colour=picture.colour)
        size = [int(_PIP_SHARE * side) // 2 * 2 for side in (picture.width, picture.height)]
        small = resize_picture(picture, PictureFormat(size[0], size[1], ChromaFormat.C420, 8))
        place = (picture.width // 8 * 2, picture.height // 8 * 2)
        yield _pasted(behind, small, place)


def _pasted(behind: Picture, front: Picture, place: tuple[int, int]) -> Picture:
    planes = []
    for component, (back, top) in enumerate(zip(behind.planes, front.planes, strict=True)):
        shift = 1 if component else 0
        x, y = place[0] >> shift, place[1] >> shift
        plane = back.copy()
        plane[y : y + top.shape[0], x : x + top.shape[1]] = top
        planes.append(plane)
    return Picture(tuple(planes), behind.chroma_format, 8, behind.colour)


def _filmed(picture: Picture) -> Picture:
    """The picture in perspective, on black."""
    planes = [
        _warped(plane, 128 if component else 16) for component, plane in enumerate(picture.planes)
    ]
    return Picture(tuple(planes), picture.chroma_format, 8, picture.colour)


def _warped(plane: npt.NDArray[Any], outside: int) -> npt.NDArray[np.uint8]:
    rows, columns = plane.shape
    matrix = _homography(columns, rows)
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    across, down, scale = np.einsum("ij,jhw->ihw", matrix, np.stack([x, y, np.ones_like(x)]))
    across, down = across / scale, down / scale
    inside = (across >= 0) & (across <= columns - 1) & (down >= 0) & (down <= rows - 1)
    left = np.clip(np.floor(across), 0, columns - 2).astype(int)
    top = np.clip(np.floor(down), 0, rows - 2).astype(int)
    a, b = np.clip(across - left, 0, 1), np.clip(down - top, 0, 1)
    samples = plane.astype(np.float64)
    upper = samples[top, left] * (1 - a) + samples[top, left + 1] * a
    lower = samples[top + 1, left] * (1 - a) + samples[top + 1, left + 1] * a
    mixed = np.where(inside, upper * (1 - b) + lower * b, outside)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def _homography(width: int, height: int) -> npt.NDArray[np.float64]:
    """From places in the filmed picture to places in the original."""
    original = [(0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1)]
    equations, values = [], []
    for (u, v), (share_x, share_y) in zip(original, _CORNERS, strict=True):
        x, y = share_x * (width - 1), share_y * (height - 1)
        equations += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    solution = np.linalg.solve(np.array(equations), np.array(values, np.float64))
    return np.append(solution, 1).reshape(3, 3)
