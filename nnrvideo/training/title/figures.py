# SPDX-License-Identifier: Apache-2.0
"""Figures of a coded version, scene by scene, as tasks hand them over in JSON.

What decides is a *loss* that adds up over pictures: the squared error for PSNR, the distance from
1 for MS-SSIM and from 100 for VMAF.  A scene's loss follows from its pictures', the title's from
its scenes', whichever version each scene takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Self, final

from nnrvideo.metrics import PictureQuality, decibels
from nnrvideo.report.results import Bits
from nnrvideo.training.kinds import Target


@final
@dataclass(frozen=True, slots=True)
class Side:
    """How pictures of a scene look, plain or by a network.

    Args:
        squared_error: Of luma, summed.
        loss: Of the metric that decides, summed over pictures.
        flicker: Squared change of the error from picture to picture, summed.
    """

    squared_error: int
    loss: float
    flicker: int


@final
@dataclass(frozen=True, slots=True)
class Scene:
    """A scene of a version.

    Args:
        start: Presentation time of its first picture, in seconds of the coded file.
        pictures: In it.
        plain: Its decoded pictures, plainly upscaled if need be.
        shown: The pictures that a player with nnrvideo shows.
        bits: Of its access units, by kind.
    """

    start: Fraction
    pictures: int
    plain: Side
    shown: Side
    bits: Bits

    def to_json(self) -> dict[str, Any]:
        """JSON value; :meth:`from_json` is the way back."""
        return asdict(self) | {"start": str(self.start)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """A scene out of a result."""
        return cls(
            Fraction(value["start"]),
            value["pictures"],
            Side(**value["plain"]),
            Side(**value["shown"]),
            Bits(**value["bits"]),
        )


@final
@dataclass(frozen=True, slots=True)
class Measure:
    """The metric that decides, and what one needs to know to use it.

    Args:
        target: Which.
        samples: Luma samples of a picture.
        bit_depth: Of the source.
    """

    target: Target
    samples: int
    bit_depth: int

    def quality(self, loss: float, pictures: int) -> float:
        """Quality of so many pictures with this loss altogether: dB, or the metric's own unit."""
        if self.target == "psnr":
            return decibels(round(loss), self.samples * pictures, self.bit_depth)
        return (1.0 if self.target == "ms-ssim" else 100.0) - loss / pictures

    def slope(self, loss: float, pictures: int) -> float:
        """How much quality a unit of loss costs, at this loss."""
        if self.target == "psnr":
            return 10 / math.log(10) / max(loss, 1.0)
        return 1 / pictures


def picture_loss(picture: PictureQuality, target: Target) -> float:
    """The loss of a picture.

    Raises:
        ValueError: The metric was not measured.
    """
    if target == "psnr":
        return picture.squared_error
    score = picture.ms_ssim_y if target == "ms-ssim" else picture.vmaf
    if score is None:
        raise ValueError(f"no {target} of these pictures; --target psnr takes any")
    return 1 - score if target == "ms-ssim" else 100 - score


def side_of(pictures: Iterable[PictureQuality], target: Target) -> Side:
    """Sums up pictures."""
    pictures = list(pictures)
    return Side(
        sum(picture.squared_error for picture in pictures),
        sum(picture_loss(picture, target) for picture in pictures),
        sum(picture.flicker.squared for picture in pictures if picture.flicker is not None),
    )


def total_bits(scenes: Iterable[Scene]) -> Bits:
    """Bits of all scenes, by kind."""
    sums: dict[str, int] = {"video": 0}
    for scene in scenes:
        for kind, bits in asdict(scene.bits).items():
            sums[kind] = sums.get(kind, 0) + bits
    return Bits(**sums)
