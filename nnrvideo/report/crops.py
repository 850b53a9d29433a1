# SPDX-License-Identifier: Apache-2.0
"""The squares that show best what a network does: where it gains most, loses most, and typically.

All three are chosen by squared error alone while pictures go by; showing only the best one would
be advertising.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nnrvideo.picture import Picture

_GRID = 8  # luma samples; even, so that chroma can be cut with luma


class CropKind(enum.Enum):
    """Why a square is shown."""

    GAIN = "largest gain"
    LOSS = "largest loss"
    TYPICAL = "median square of the middle picture"


@final
@dataclass(frozen=True, slots=True)
class CropPictures:
    """One square, from the source, the plain picture and the network's."""

    kind: CropKind
    pts: Fraction  # seconds
    x: int  # luma samples
    y: int
    gain_db: float  # PSNR-Y of the network's square less that of the plain one; may be infinite
    reference: Picture
    plain: Picture
    network: Picture


@final
class CropFinder:
    """Keeps the telling squares of a sequence.

    Args:
        size: Side of the square in luma samples, at least 8; smaller pictures are shown whole.
        middle: Index of the picture in the middle of the sequence.
    """

    def __init__(self, size: int, middle: int) -> None:
        self._size = size
        self._middle = middle
        self._best: dict[CropKind, tuple[float, CropPictures]] = {}
        self._pictures = 0

    def offer(self, pts: Fraction, reference: Picture, plain: Picture, network: Picture) -> None:
        """Takes the next picture, in its three states of equal format."""
        side = max(min(self._size, reference.width, reference.height) // _GRID, 1)
        target = reference.planes[0].astype(np.int32)
        before, after = (
            _boxes((picture.planes[0] - target) ** 2, side) for picture in (plain, network)
        )
        gain = before - after
        spots = {CropKind.GAIN: int(gain.argmax()), CropKind.LOSS: int(gain.argmin())}
        if self._pictures == self._middle:
            spots[CropKind.TYPICAL] = int(np.argsort(gain, axis=None)[gain.size // 2])
        for kind, spot in spots.items():
            row, column = divmod(spot, gain.shape[1])
            worth = float(gain[row, column]) * (-1 if kind is CropKind.LOSS else 1)
            known = self._best.get(kind)
            # A loss is only one if there is any.
            if worth <= (known[0] if known else 0.0) and kind is not CropKind.TYPICAL:
                continue
            x, y, size = column * _GRID, row * _GRID, side * _GRID
            cut = [crop_picture(p, x, y, size) for p in (reference, plain, network)]
            ratio = _decibels(float(before[row, column]), float(after[row, column]))
            self._best[kind] = worth, CropPictures(kind, pts, x, y, ratio, *cut)
        self._pictures += 1

    def crops(self) -> tuple[CropPictures, ...]:
        """What was found, the gain first."""
        return tuple(self._best[kind][1] for kind in CropKind if kind in self._best)


def crop_picture(picture: Picture, x: int, y: int, size: int) -> Picture:
    """Copies a square out of a picture; ``x`` and ``y`` must be even where chroma is halved."""
    planes = []
    for component, plane in enumerate(picture.planes):
        sub_w = picture.chroma_format.sub_width if component else 1
        sub_h = picture.chroma_format.sub_height if component else 1
        rows = slice(y // sub_h, -(-min(y + size, picture.height) // sub_h))
        columns = slice(x // sub_w, -(-min(x + size, picture.width) // sub_w))
        planes.append(plane[rows, columns].copy())
    return Picture(tuple(planes), picture.chroma_format, picture.bit_depth, picture.colour)


def _boxes(error: npt.NDArray[np.int32], side: int) -> npt.NDArray[np.int64]:
    """Sums of the error over squares of ``side`` grid cells, at every grid position."""
    rows, columns = (max(size // _GRID, 1) for size in error.shape)
    whole = error[: rows * _GRID, : columns * _GRID]
    starts = np.arange(0, whole.shape[0], _GRID), np.arange(0, whole.shape[1], _GRID)
    cells = np.add.reduceat(
        np.add.reduceat(whole, starts[0], axis=0, dtype=np.int64), starts[1], axis=1
    )
    sums = np.zeros((rows + 1, columns + 1), np.int64)
    sums[1:, 1:] = cells.cumsum(0).cumsum(1)
    boxes: Any = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side]
    result: npt.NDArray[np.int64] = boxes + sums[:-side, :-side]
    return result


def _decibels(before: float, after: float) -> float:
    if before == after:
        return 0.0
    if not before or not after:
        return math.inf if before else -math.inf
    return 10 * math.log10(before / after)
