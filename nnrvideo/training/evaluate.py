# SPDX-License-Identifier: Apache-2.0
"""Measures what a network is worth: luma PSNR against plain Lanczos upscaling.

A clip is halved, encoded, decoded, and enlarged in two ways, by the network and by Lanczos.  Both
are compared with the clip.  The figure is the PSNR of the mean squared error over the whole
sequence: averaging the PSNR of pictures lets a few black ones decide the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from nnrvideo.training.data import Degradation, Plane, crop_to_multiple, degrade
from nnrvideo.training.video import read_luma

#: What a model card reports: both downscalers and both codecs, at good and at modest quality.
CARD_DEGRADATIONS = tuple(
    Degradation(downscaler, codec, crf)
    for downscaler in ("area", "lanczos")
    for codec in ("libx265", "libx264")
    for crf in (22, 28)
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """The worth of a network on one clip and degradation.

    Args:
        clip: Name of the clip.
        pictures: Pictures measured.
        degradation: How the small picture was made.
        lanczos_psnr: Of plain upscaling, in dB.
        network_psnr: Of the network, in dB.
    """

    clip: str
    pictures: int
    degradation: Degradation
    lanczos_psnr: float
    network_psnr: float

    @property
    def gain(self) -> float:
        """What the network adds, in dB."""
        return self.network_psnr - self.lanczos_psnr


def measure(
    enlarge: Callable[[Plane], Plane],
    clips: Sequence[Path],
    degradations: Iterable[Degradation] = CARD_DEGRADATIONS,
    *,
    max_pictures: int = 120,
) -> list[Measurement]:
    """Measures an enlarger on clips.

    Args:
        enlarge: Maps a luma plane ``(H, W) uint8`` to ``(2 * H, 2 * W) uint8``.
        clips: Media files with 8-bit video.
        degradations: Ways in which the small pictures are made.
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
            plain = sequence_psnr(source, map(enlarge_lanczos, decoded))
            enlarged = sequence_psnr(source, map(enlarge, decoded))
            results.append(Measurement(clip.stem, len(source), degradation, plain, enlarged))
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


def markdown(measurements: Sequence[Measurement]) -> str:
    """A table for a model card."""
    lines = [
        "| clip | pictures | downscaler | codec | CRF | Lanczos, dB | network, dB | gain, dB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in measurements:
        kind = row.degradation
        lines.append(
            f"| {row.clip} | {row.pictures} | {kind.downscaler} | {kind.codec} | {kind.crf} "
            f"| {row.lanczos_psnr:.2f} | {row.network_psnr:.2f} | {row.gain:+.2f} |"
        )
    return "\n".join(lines) + "\n"
