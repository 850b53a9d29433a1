# SPDX-License-Identifier: Apache-2.0
"""Is the network any good?  Plain upscale and network, both against a reference.

Both sides start from the *same* decoded pictures, so that the only difference is the network.
PSNR is that of the whole sequence (one mean squared error), because the mean of per-picture
figures lets one black picture outweigh a film.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, final

import numpy as np

from nnrvideo.container import DecodedPicture, open_media
from nnrvideo.errors import ContainerError
from nnrvideo.limits import Limits
from nnrvideo.metrics import SequenceMeter
from nnrvideo.picture import Picture
from nnrvideo.player.files import EnhancedPicture, enhanced_pictures
from nnrvideo.runtime import Upscaler, resize_picture

Progress = Callable[[int, int | None], None]


@final
@dataclass(frozen=True, slots=True)
class Quality:
    """One side of the comparison."""

    psnr_y: float  # dB, whole sequence
    psnr_cb: float | None  # dB; None for pictures without chroma
    psnr_cr: float | None
    ssim_y: float | None  # mean over pictures; None when not asked for


@final
@dataclass(frozen=True, slots=True)
class Crop:
    """The piece of one picture in which the network changed most for the better."""

    index: int  # of the picture
    x: int  # luma samples
    y: int
    size: int
    reference: Picture
    plain: Picture
    network: Picture


@final
@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of :func:`compare_files`."""

    pictures: int
    enhanced: int  # pictures on which a network ran
    plain: Quality
    network: Quality
    upscaler: Upscaler
    unpaired: int  # pictures of either file without a partner
    crop: Crop | None = None
    reasons: dict[str, int] = field(default_factory=dict)  # why pictures were not enhanced


def compare_files(
    reference: Path,
    coded: Path,
    *,
    upscaler: Upscaler = Upscaler.LANCZOS,
    ssim: bool = True,
    crop_size: int = 0,
    max_pictures: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Measures plain upscale and network against a reference.

    Args:
        reference: The original, at the size that the network produces.
        coded: Video with a network inside.
        upscaler: Kernel of the plain side.
        ssim: Also measure SSIM, which takes longer than everything else.
        crop_size: Side of the most telling square, in luma samples; 0 for none.
        max_pictures: Stop after so many.
        limits: Bounds on what the stream may ask for.
        progress: Called with (pictures done, total or None).

    Returns:
        Figures of both sides.

    Raises:
        ContainerError: A file cannot be read, or sizes do not fit.
    """
    plain_meter, network_meter = (SequenceMeter(structure=ssim, flicker=False) for _ in range(2))
    finder = _CropFinder(crop_size) if crop_size else None
    reasons: dict[str, int] = {}
    enhanced = unpaired = 0
    with open_media(reference) as original, open_media(coded) as media:
        total = media.video.frames or None
        outputs = enhanced_pictures(media, limits=limits, upscaler=upscaler)
        for count, (wanted, got) in enumerate(
            _paired(original.pictures(), outputs, tolerance=_half_frame(media.video.frame_rate))
        ):
            if max_pictures is not None and count >= max_pictures:
                break
            if wanted is None or got is None:
                unpaired += 1
                continue
            target = wanted.picture
            _require_size(target, got.picture, reference, coded)
            plain = resize_picture(got.decoded, target.format, upscaler)
            network = resize_picture(got.picture, target.format, upscaler)
            plain_meter.add(target, plain)
            network_meter.add(target, network)
            if got.enhanced:
                enhanced += 1
            else:
                reasons[got.reason] = reasons.get(got.reason, 0) + 1
            if finder is not None:
                finder.offer(wanted.index, target, plain, network)
            if progress is not None:
                progress(count + 1, max_pictures or total)
    if plain_meter.pictures == 0:
        raise ContainerError(f"{reference} and {coded} have no picture in common")
    return Comparison(
        pictures=plain_meter.pictures,
        enhanced=enhanced,
        plain=_quality(plain_meter),
        network=_quality(network_meter),
        upscaler=upscaler,
        unpaired=unpaired,
        crop=finder.best if finder is not None else None,
        reasons=reasons,
    )


def _paired(
    first: Iterator[DecodedPicture], second: Iterator[EnhancedPicture], *, tolerance: Fraction
) -> Iterator[tuple[DecodedPicture | None, EnhancedPicture | None]]:
    """Pairs pictures that are shown at the same time, counted from each file's first picture.

    Counting pictures instead would compare each picture with its neighbour after a single drop.
    """
    a, b = next(first, None), next(second, None)
    if a is None or b is None:
        return
    start_a, start_b = a.pts, b.pts
    while a is not None or b is not None:
        if a is not None and b is not None:
            lag = (a.pts - start_a) - (b.pts - start_b)
            if abs(lag) <= tolerance:
                yield a, b
                a, b = next(first, None), next(second, None)
                continue
            if lag < 0:
                yield a, None
                a = next(first, None)
            else:
                yield None, b
                b = next(second, None)
        elif a is not None:
            yield a, None
            a = next(first, None)
        else:
            yield None, b
            b = next(second, None)


def _half_frame(rate: Fraction | None) -> Fraction:
    return 1 / (2 * (rate or Fraction(25)))


def _require_size(target: Picture, got: Picture, reference: Path, coded: Path) -> None:
    if (target.width, target.height) != (got.width, got.height):
        raise ContainerError(
            f"{reference} is {target.width}x{target.height}, but {coded} comes out at "
            f"{got.width}x{got.height}: they cannot be compared"
        )


def _quality(meter: SequenceMeter) -> Quality:
    found = meter.finish().quality
    return Quality(found.psnr_y, found.psnr_cb, found.psnr_cr, found.ssim_y)


class _CropFinder:
    """Keeps the square in which the network lowers the squared error most."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._best_gain = -np.inf
        self.best: Crop | None = None

    def offer(self, index: int, reference: Picture, plain: Picture, network: Picture) -> None:
        size = min(self._size, reference.width, reference.height)
        target = reference.planes[0].astype(np.float32)
        gain = (plain.planes[0] - target) ** 2 - (network.planes[0] - target) ** 2
        sums = np.zeros((gain.shape[0] + 1, gain.shape[1] + 1))
        sums[1:, 1:] = gain.cumsum(0, dtype=np.float64).cumsum(1)
        # Chroma is cut with luma, hence even corners; eight samples are fine enough to look at.
        tops = np.arange(0, gain.shape[0] - size + 1, 8)
        lefts = np.arange(0, gain.shape[1] - size + 1, 8)
        boxes: Any = (
            sums[np.ix_(tops + size, lefts + size)]
            - sums[np.ix_(tops, lefts + size)]
            - sums[np.ix_(tops + size, lefts)]
            + sums[np.ix_(tops, lefts)]
        )
        row, column = np.unravel_index(int(boxes.argmax()), boxes.shape)
        if boxes[row, column] > self._best_gain:
            self._best_gain = float(boxes[row, column])
            x, y = int(lefts[column]), int(tops[row])
            cut = [crop_picture(p, x, y, size) for p in (reference, plain, network)]
            self.best = Crop(index, x, y, size, *cut)


def crop_picture(picture: Picture, x: int, y: int, size: int) -> Picture:
    """Copies a square out of a picture; ``x`` and ``y`` must be even where chroma is halved."""
    planes = []
    for component, plane in enumerate(picture.planes):
        sub_w = picture.chroma_format.sub_width if component else 1
        sub_h = picture.chroma_format.sub_height if component else 1
        rows = slice(y // sub_h, y // sub_h + -(-size // sub_h))
        columns = slice(x // sub_w, x // sub_w + -(-size // sub_w))
        planes.append(plane[rows, columns].copy())
    return Picture(tuple(planes), picture.chroma_format, picture.bit_depth, picture.colour)
