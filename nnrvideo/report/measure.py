# SPDX-License-Identifier: Apache-2.0
"""Is the network any good?  Plain upscale and network, both against the source.

Both sides start from the *same* decoded pictures, so that the only difference is the network.
Pictures stream through and are measured two at a time; what stays is a few numbers for each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, TypeVar, final

import numpy as np
import numpy.typing as npt

from nnrvideo.authoring import crop_picture
from nnrvideo.container import MediaReader, VideoInfo, open_media
from nnrvideo.errors import ContainerError
from nnrvideo.limits import Limits
from nnrvideo.metrics import SequenceMeter, SequenceResult, VmafTool
from nnrvideo.picture import Picture
from nnrvideo.player import EnhancedPicture, enhanced_pictures
from nnrvideo.report.crops import CropFinder, CropPictures
from nnrvideo.report.scenes import SceneFinder
from nnrvideo.runtime import Upscaler, resize_picture

Progress = Callable[[int, int | None], None]

_MOST_CUT = 6  # columns or rows: what sizes that networks of this library want may cost


@final
@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """What to measure, and how."""

    upscaler: Upscaler = Upscaler.LANCZOS  # kernel of the plain side
    structure: bool = True  # SSIM and MS-SSIM
    flicker: bool = True
    vmaf: VmafTool | None = None  # program for VMAF; None leaves it out
    threads: int | None = None  # of networks and of libvmaf; None takes all cores
    max_pictures: int | None = None  # stop after so many
    crop_size: int = 0  # side of the squares to show, in luma samples; 0 for none
    limits: Limits | None = None  # bounds on what a stream may ask for


@final
@dataclass(frozen=True, slots=True)
class Measured:
    """One file against the source."""

    path: Path
    video: VideoInfo
    source: VideoInfo
    enhanced: int  # pictures on which a network ran
    unpaired: int  # pictures of either file without a partner
    times: tuple[Fraction, ...]  # of the pictures, in seconds of the coded file
    seconds: Fraction  # from the first picture to the end of the last
    scene_starts: tuple[int, ...]  # indices of pictures
    plain: SequenceResult
    network: SequenceResult | None  # None if no network was asked for
    crops: tuple[CropPictures, ...] = ()
    change: npt.NDArray[np.float64] | None = field(default=None, repr=False)
    """Mean of |network - plain| in 8-bit levels, for each luma sample."""
    reasons: dict[str, int] = field(default_factory=dict)  # why pictures were not enhanced


def measure_file(
    reference: Path,
    coded: Path,
    options: MeasureOptions | None = None,
    *,
    networks: bool = True,
    progress: Progress | None = None,
) -> Measured:
    """Measures a file against the source.

    Args:
        reference: The source, at the size that the network produces or up to 5 columns or rows
            larger: those at the right and at the bottom are what coding cut off.
        coded: Video; decoded pictures of another size are upscaled plainly.
        options: What to measure.
        networks: Run the file's networks and measure their pictures, too.
        progress: Called with (pictures done, total or None).

    Returns:
        Figures of the plain side and of the network's.

    Raises:
        ContainerError: A file cannot be read, or sizes do not fit.
    """
    options = options or MeasureOptions()
    with open_media(reference) as original, open_media(coded) as media, ExitStack() as stack:
        total = media.video.frames or None
        if options.max_pictures is not None:
            total = min(total or options.max_pictures, options.max_pictures)
        run = _Run(options, stack, networks=networks, middle=(total or 24) // 2)
        tolerance = 1 / (2 * (media.video.frame_rate or Fraction(25)))
        outputs = _outputs(media, options, networks=networks)
        pairs = _paired(original.pictures(), outputs, tolerance=tolerance)
        for wanted, got in pairs:
            if options.max_pictures is not None and run.pictures >= options.max_pictures:
                break
            if wanted is None or got is None:
                run.unpaired += 1
                continue
            size = got.picture
            target = _without_margin(wanted.picture, size)
            if networks and (target.width, target.height) != (size.width, size.height):
                raise ContainerError(
                    f"{reference} is {target.width}x{target.height}, but {coded} comes out at "
                    f"{size.width}x{size.height}: they cannot be compared"
                )
            run.take(target, got)
            if progress is not None:
                progress(run.pictures, total)
        if run.pictures == 0:
            raise ContainerError(f"{reference} and {coded} have no picture in common")
        return run.finish(coded, media.video, original.video)


def _without_margin(target: Picture, shown: Picture) -> Picture:
    """The source without the columns and rows that had to be cut off before it was coded."""
    across, down = target.width - shown.width, target.height - shown.height
    if (across or down) and min(across, down) >= 0 and max(across, down) < _MOST_CUT:
        return crop_picture(target, shown.width, shown.height)
    return target


class _Timed(Protocol):
    @property
    def pts(self) -> Fraction: ...


_A = TypeVar("_A", bound=_Timed)
_B = TypeVar("_B", bound=_Timed)


def _outputs(
    media: MediaReader, options: MeasureOptions, *, networks: bool
) -> Iterator[EnhancedPicture]:
    if networks:
        yield from enhanced_pictures(
            media, limits=options.limits, upscaler=options.upscaler, threads=options.threads
        )
        return
    for item in media.pictures():
        yield EnhancedPicture(
            picture=item.picture,
            pts=item.pts,
            index=item.index,
            enhanced=False,
            reason="",
            nnpfc_id=None,
            decoded=item.picture,
        )


def _paired(
    first: Iterator[_A], second: Iterator[_B], *, tolerance: Fraction
) -> Iterator[tuple[_A | None, _B | None]]:
    """Pairs pictures that are shown at the same time, counted from each file's first picture.

    Counting pictures instead would compare each picture with its neighbour after a single drop.
    """
    a, b = next(first, None), next(second, None)
    if a is None or b is None:
        return
    start_a, start_b = a.pts, b.pts
    while a is not None or b is not None:
        lag = Fraction(0)
        if a is not None and b is not None:
            lag = (a.pts - start_a) - (b.pts - start_b)
        alone_a = a is not None and (b is None or lag < -tolerance)
        alone_b = b is not None and (a is None or lag > tolerance)
        yield None if alone_b else a, None if alone_a else b
        if not alone_b:
            a = next(first, None)
        if not alone_a:
            b = next(second, None)


class _Run:
    """One run of :func:`measure_file`.

    The two sides are measured in threads while the next picture is decoded and enhanced; at most
    one picture waits.
    """

    def __init__(
        self, options: MeasureOptions, stack: ExitStack, *, networks: bool, middle: int
    ) -> None:
        self.pictures = self.enhanced = self.unpaired = 0
        self._upscaler = options.upscaler
        threads = options.threads or os.cpu_count() or 1
        self._meters = [
            stack.enter_context(
                SequenceMeter(
                    structure=options.structure,
                    flicker=options.flicker,
                    vmaf=options.vmaf,
                    threads=threads,
                )
            )
            for _ in range(1 + networks)
        ]
        self._networks = networks
        self._pool = stack.enter_context(ThreadPoolExecutor(len(self._meters)))
        self._pending: list[Future[None]] = []
        self._scenes = SceneFinder()
        wants_crops = networks and options.crop_size > 0
        self._crops = CropFinder(options.crop_size, middle) if wants_crops else None
        self._change: npt.NDArray[np.uint64] | None = None
        self._unit = 1
        self._times: list[Fraction] = []
        self._reasons: dict[str, int] = {}

    def take(self, target: Picture, got: EnhancedPicture) -> None:
        """Measures one picture against its source."""
        sides = [resize_picture(got.decoded, target.format, self._upscaler)]
        if self._networks:
            sides.append(resize_picture(got.picture, target.format, self._upscaler))
        new_scene = self._scenes.add(target, got.pts)
        self._wait()
        self._pending = [
            self._pool.submit(meter.add, target, side, new_scene=new_scene)
            for meter, side in zip(self._meters, sides, strict=True)
        ]
        if self._crops is not None:
            self._crops.offer(got.pts, target, *sides)
            self._note_change(*sides)
        self._times.append(got.pts)
        self.pictures += 1
        self.enhanced += got.enhanced
        if not got.enhanced and self._networks:
            self._reasons[got.reason] = self._reasons.get(got.reason, 0) + 1

    def finish(self, path: Path, video: VideoInfo, source: VideoInfo) -> Measured:
        """Sums up."""
        self._wait()
        results = [meter.finish() for meter in self._meters]
        change = None
        if self._change is not None:
            change = self._change / (self._unit * self.pictures)
        step = self._last_step(video)
        return Measured(
            path=path,
            video=video,
            source=source,
            enhanced=self.enhanced,
            unpaired=self.unpaired,
            times=tuple(self._times),
            seconds=self._times[-1] - self._times[0] + step,
            scene_starts=tuple(self._scenes.starts),
            plain=results[0],
            network=results[1] if self._networks else None,
            crops=self._crops.crops() if self._crops is not None else (),
            change=change,
            reasons=self._reasons,
        )

    def _wait(self) -> None:
        pending, self._pending = self._pending, []
        for future in pending:
            future.result()

    def _note_change(self, plain: Picture, network: Picture) -> None:
        first, second = (side.planes[0].astype(np.int32) for side in (plain, network))
        changed: Any = np.abs(second - first)
        if self._change is None:
            self._change = np.zeros(changed.shape, np.uint64)
            self._unit = 1 << (plain.bit_depth - 8)
        self._change += changed.astype(np.uint64)

    def _last_step(self, video: VideoInfo) -> Fraction:
        """How long the last picture is shown: as the one before it, for want of better."""
        if len(self._times) > 1:
            return self._times[-1] - self._times[-2]
        return 1 / (video.frame_rate or Fraction(25))
