# SPDX-License-Identifier: Apache-2.0
"""Measures what a network is worth: luma PSNR against what is shown without it.

A clip is halved, encoded, decoded, and enlarged in two ways, by the network and by Lanczos.  For a
network that keeps the size it is encoded as it is, and the decoded pictures themselves are the
other way.  Both are compared with the clip.  The figure is the PSNR of the mean squared error over
the whole sequence: averaging the PSNR of pictures lets a few black ones decide the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from nnrvideo.jsontext import JSON
from nnrvideo.training.data import Degradation, Plane, crop_to_multiple, degrade
from nnrvideo.training.kinds import Mode
from nnrvideo.training.video import read_luma


def _each_way(downscalers: Sequence[str | None], crfs: Sequence[int]) -> tuple[Degradation, ...]:
    return tuple(
        Degradation(downscaler, codec, crf)
        for downscaler in downscalers
        for codec in ("libx265", "libx264")
        for crf in crfs
    )


#: What a model card reports: both downscalers and both codecs, from good to modest quality.
CARD_DEGRADATIONS: Final[Mapping[Mode, tuple[Degradation, ...]]] = {
    "sr2x": _each_way(("area", "lanczos"), (22, 28)),
    "enhance": _each_way((None,), (22, 28, 34)),
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """The worth of a network on one clip and degradation.

    Args:
        clip: Name of the clip.
        pictures: Pictures measured.
        degradation: How the decoded picture was made.
        plain_psnr: Of Lanczos upscaling, or of the decoded pictures if they are not halved, in dB.
        network_psnr: Of the network, in dB.
    """

    clip: str
    pictures: int
    degradation: Degradation
    plain_psnr: float
    network_psnr: float

    @property
    def gain(self) -> float:
        """What the network adds, in dB."""
        return self.network_psnr - self.plain_psnr

    def row(self) -> dict[str, JSON]:
        """The measurement as a row of a model card's table, rounded to 0.01 dB."""
        kind = self.degradation
        halved = kind.downscaler is not None
        return {
            "clip": self.clip,
            "pictures": self.pictures,
            **({"downscaler": kind.downscaler} if halved else {}),
            "codec": kind.codec,
            "CRF": kind.crf,
            "Lanczos, dB" if halved else "decoded, dB": round(self.plain_psnr, 2),
            "network, dB": round(self.network_psnr, 2),
            "gain, dB": round(self.gain, 2),
        }


def measure(
    apply: Callable[[Plane], Plane],
    clips: Sequence[Path],
    degradations: Iterable[Degradation] = CARD_DEGRADATIONS["sr2x"],
    *,
    max_pictures: int = 120,
) -> list[Measurement]:
    """Measures a network on clips.

    Args:
        apply: Maps a luma plane ``(H, W) uint8`` to ``(scale * H, scale * W) uint8``; the scale is
            that of the degradations.
        clips: Media files with 8-bit video.
        degradations: Ways in which the decoded pictures are made.
        max_pictures: At most so many pictures are taken from the start of a clip.

    Returns:
        One measurement for each clip and degradation, in that order.
    """
    degradations = tuple(degradations)
    results = []
    for clip in clips:
        planes, rate = read_luma(clip, max_pictures)
        source = [crop_to_multiple(plane) for plane in planes]
        for degradation in degradations:
            decoded = degrade(source, degradation, rate)
            shown = decoded if degradation.scale == 1 else map(enlarge_lanczos, decoded)
            plain = sequence_psnr(source, shown)
            network = sequence_psnr(source, map(apply, decoded))
            results.append(Measurement(clip.stem, len(source), degradation, plain, network))
    return results


def sequence_psnr(source: Sequence[Plane], result: Iterable[Plane]) -> float:
    """PSNR of the mean squared error over a sequence of 8-bit planes, in dB; inf if equal."""
    error, samples = 0.0, 0
    for wanted, got in zip(source, result, strict=True):
        difference = wanted.astype(np.int32) - got
        error += float(np.sum(difference * difference))
        samples += wanted.size
    return 10 * math.log10(255**2 * samples / error) if error else math.inf


def enlarge_lanczos(plane: Plane) -> Plane:
    """Doubles a plane with OpenCV's 8-tap Lanczos, the interpolation that networks must beat."""
    height, width = plane.shape
    enlarged = cv2.resize(plane, (2 * width, 2 * height), interpolation=cv2.INTER_LANCZOS4)
    return np.asarray(enlarged, np.uint8)
