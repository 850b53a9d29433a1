# SPDX-License-Identifier: Apache-2.0
"""The enhancer on files: pictures out of a media file, and whole files from file to file.

A file does not run away, so networks are waited for here and the result depends on the stream
alone.  Every picture of the input comes out, at the input's time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol, final

from nnrvideo.container import DecodedPicture, MediaReader, SideData, open_media
from nnrvideo.errors import BitstreamError, LimitExceededError, UnsupportedFeatureError
from nnrvideo.limits import Limits
from nnrvideo.picture import Picture, PictureFormat
from nnrvideo.player.enhancer import Enhancer
from nnrvideo.player.events import Enhanced, Event, EventKind, Statistics
from nnrvideo.player.precision import Precision
from nnrvideo.player.split import joined
from nnrvideo.runtime import Upscaler, resize_picture
from nnrvideo.runtime.onnxruntime import default_threads
from nnrvideo.sei import NNPFC_PAYLOAD_TYPE, parse_nnpfc, parse_records

Progress = Callable[[int, int | None], None]

_MEMORY_OF_WORKER = 64  # MiB, below which bands get too low


class PictureSink(Protocol):
    """Anything that takes pictures in output order: a video file, a pipe, a list in a test."""

    def write(self, picture: Picture, pts: Fraction) -> None:
        """Takes the next picture, shown at ``pts`` seconds."""


@final
@dataclass(frozen=True, slots=True)
class EnhancedPicture:
    """One output picture together with the decoded one it came from."""

    picture: Picture = field(repr=False)
    pts: Fraction  # seconds
    index: int  # counted from 0 in output order
    enhanced: bool
    reason: str  # why not enhanced; empty if it is
    nnpfc_id: int | None
    decoded: Picture = field(repr=False)


@final
@dataclass(frozen=True, slots=True)
class EnhanceReport:
    """What :func:`enhance_file` did."""

    pictures: int
    enhanced: int
    output: PictureFormat
    rejected: tuple[str, ...]  # reasons, each once
    activations: tuple[tuple[Fraction, int], ...]  # (seconds, nnpfc_id)
    precision: str = ""  # numbers that the latest network computed in: "fp32" or "int8"


def enhanced_pictures(
    media: MediaReader,
    *,
    limits: Limits | None = None,
    upscaler: Upscaler = Upscaler.BICUBIC,
    threads: int | None = None,
    precision: Precision | str = Precision.AUTO,
    max_memory_mib: int = 256,
    output_size: tuple[int, int] | None = None,
    start: Fraction | None = None,
    pass_over: int = 0,
    on_event: Callable[[Event], None] | None = None,
    on_end: Callable[[Statistics], None] | None = None,
) -> Iterator[EnhancedPicture]:
    """Decodes a file and runs its networks.

    Decoding, the networks and the caller each have threads of their own, with short queues
    between them; every thread of the networks has a picture of its own in work.

    Args:
        media: The open file.
        limits: Bounds on what the stream may ask for.
        upscaler: Plain upscale where no network applies.
        threads: Threads of the networks; None for at most 4.
        precision: Numbers that networks compute in, see :class:`Enhancer`.
        max_memory_mib: Bound on the memory of the networks at work, in MiB.
        output_size: (width, height) of all output pictures; None takes what the stream's
            networks signal.
        start: Seconds; earlier pictures are left out.
        pass_over: Pictures at the beginning that nobody wants: they are decoded, because the
            networks of later ones depend on what came with them, and not enhanced.
        on_event: Called for everything that happens beside pictures.
        on_end: Called with the counts after the last picture.

    Yields:
        Every picture of the file, in output order.

    Raises:
        ContainerError: The file cannot be read.
    """
    limits = limits or media.limits
    threads = threads or default_threads()
    # Every picture in work needs memory of its own; where that is short, threads share one.
    workers = max(1, min(threads, max_memory_mib // _MEMORY_OF_WORKER))
    with Enhancer(
        limits=limits,
        fallback=upscaler,
        threads=threads,
        workers=workers,
        precision=precision,
        max_memory_mib=max_memory_mib,
        output_size=output_size or signalled_size(media, limits),
        queue_size=2 * workers + 1,
        warm_up=False,
        source=media.video.format,
        realtime=False,
        on_event=on_event,
    ) as enhancer:
        feeder = Feeder(media, enhancer, start=start, pass_over=pass_over)
        try:
            for decoded in feeder:
                yield _join(_wait(enhancer), decoded)
        finally:
            feeder.stop()
        if on_end is not None:
            on_end(enhancer.stats())


@final
class Feeder:
    """Decodes in a thread of its own and sends everything to an enhancer.

    Iterating yields each decoded picture once it has been sent; the enhancer then has its result
    next in line.

    Args:
        media: The open file.
        enhancer: Takes messages and pictures; its queue is the bound on decoding ahead.
        start: Seconds; earlier pictures are left out.
        pass_over: Pictures at the beginning that are decoded and not enhanced.
        due: Time on the enhancer's clock by which the picture of a time is wanted.
        await_networks: Seconds to wait, before the first picture, for networks that are built.
    """

    def __init__(
        self,
        media: MediaReader,
        enhancer: Enhancer,
        *,
        start: Fraction | None = None,
        pass_over: int = 0,
        due: Callable[[Fraction], float] | None = None,
        await_networks: float = 0.0,
    ) -> None:
        self._media = media
        self._enhancer = enhancer
        self._start = start
        self._pass_over = pass_over
        self._due = due
        self._await_networks = await_networks
        self._sent: SimpleQueue[DecodedPicture | BaseException | None] = SimpleQueue()
        self._stopped = False
        self.finished = False  # nothing more will be sent
        self._thread = threading.Thread(target=self._feed, name="nnrvideo-decoder", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[DecodedPicture]:
        """Pictures in output order; what goes wrong in decoding is raised where it happens."""
        while (item := self._sent.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def stop(self) -> None:
        """Ends the decoding; pictures that were sent and not received are forgotten."""
        self._stopped = True
        self._enhancer.flush()  # makes room, should the thread be waiting for it
        self._thread.join()
        self._enhancer.flush()  # of what came in meanwhile

    def _feed(self) -> None:
        first = True
        try:
            for item in self._media.events(start=self._start):
                if isinstance(item, SideData):
                    self._enhancer.send_side_data(
                        item.pts, item.records, clvs_start=item.clvs_start
                    )
                    continue
                if item.index < self._pass_over:
                    self._enhancer.pass_over(item.pts, item.picture.format)
                    if self._stopped:
                        break
                    continue
                if first and self._await_networks:
                    self._enhancer.wait_for_networks(self._await_networks)
                first = False
                due = None if self._due is None else self._due(item.pts)
                self._enhancer.send_frame(item.picture, item.pts, due=due, timeout=None)
                if self._stopped:
                    break
                self._sent.put(item)
        except BaseException as error:
            self._sent.put(error)
        else:
            self._sent.put(None)
        finally:
            self.finished = True


def signalled_size(media: MediaReader, limits: Limits) -> tuple[int, int] | None:
    """Largest output size that any network of a file signals, found without decoding.

    The geometry of the output must be known before the first picture, while the first network may
    come later.

    Returns:
        (width, height), or None when no network changes the size.
    """
    from nnrvideo.player.characteristics import output_format

    best: tuple[int, int] | None = None
    for item in media.side_data():
        for message in _messages(item.records):
            try:
                nnpfc = parse_nnpfc(message)
                if not nnpfc.nnpfc_property_present_flag:
                    continue
                target = output_format(nnpfc, media.video.format, limits)
            except (BitstreamError, UnsupportedFeatureError, LimitExceededError):
                continue  # the enhancer will report it when it comes to it
            if best is None or target.width * target.height > best[0] * best[1]:
                best = target.width, target.height
    return best


def enhance_file(
    source: Path,
    open_sink: Callable[[MediaReader, PictureFormat], PictureSink],
    *,
    split: bool = False,
    limits: Limits | None = None,
    upscaler: Upscaler = Upscaler.BICUBIC,
    threads: int | None = None,
    precision: Precision | str = Precision.AUTO,
    max_memory_mib: int = 256,
    pass_over: int = 0,
    on_event: Callable[[Event], None] | None = None,
    progress: Progress | None = None,
) -> EnhanceReport:
    """Enhances a whole file.

    Args:
        source: Media file.
        open_sink: Called once, with the open file and the format of the output, before the first
            picture; returns where pictures go.  Closing it is the caller's business.
        split: Show the plain upscale in the left half and the network in the right half.
        limits: Bounds on what the stream may ask for.
        upscaler: Plain upscale where no network applies.
        threads: Threads of the network.
        precision: Numbers that networks compute in, see :class:`Enhancer`.
        max_memory_mib: Bound on the memory that enhancing adds, in MiB.
        pass_over: Pictures at the beginning that the sink has already.
        on_event: Called for everything that happens beside pictures.
        progress: Called with (pictures done, total or None).

    Returns:
        What was done.

    Raises:
        ContainerError: The file cannot be read, or the sink cannot be written.
    """
    rejected: dict[str, None] = {}
    activations: list[tuple[Fraction, int]] = []
    ended: list[Statistics] = []

    def note(event: Event) -> None:
        if event.kind in (EventKind.NETWORK_REJECTED, EventKind.ERROR):
            rejected.setdefault(event.reason)
        elif event.kind is EventKind.NETWORK_ACTIVATED and event.nnpfc_id is not None:
            activations.append((Fraction(event.pts or 0), event.nnpfc_id))
        if on_event is not None:
            on_event(event)

    with open_media(source, limits=limits) as media:
        total = media.video.frames or None
        sink: PictureSink | None = None
        pictures = enhanced = 0
        output = media.video.format
        if pass_over and (size := signalled_size(media, limits or media.limits)):
            output = output.scaled(*size)  # should nothing be left to be done
        for item in enhanced_pictures(
            media,
            limits=limits,
            upscaler=upscaler,
            threads=threads,
            precision=precision,
            max_memory_mib=max_memory_mib,
            pass_over=pass_over,
            on_event=note,
            on_end=ended.append,
        ):
            if sink is None:
                output = item.picture.format
                sink = open_sink(media, output)
            picture = _half(item, upscaler) if split else item.picture
            sink.write(picture, item.pts)
            pictures += 1
            enhanced += item.enhanced
            if progress is not None:
                progress(pass_over + pictures, total)
    used = ended[-1].precision if ended else ""
    return EnhanceReport(pictures, enhanced, output, tuple(rejected), tuple(activations), used)


def _messages(records: bytes) -> list[bytes]:
    try:
        return [m.payload for m in parse_records(records) if m.payload_type == NNPFC_PAYLOAD_TYPE]
    except BitstreamError:
        return []


def _wait(enhancer: Enhancer) -> Enhanced:
    result = enhancer.receive(timeout=None)
    if not isinstance(result, Enhanced):
        raise RuntimeError("the enhancer lost a picture")  # noqa: TRY004 - a bug of ours
    return result


def _join(result: Enhanced, decoded: DecodedPicture) -> EnhancedPicture:
    info = result.info
    return EnhancedPicture(
        picture=result.picture,
        pts=decoded.pts,
        index=decoded.index,
        enhanced=info.enhanced,
        reason=info.reason,
        nnpfc_id=info.nnpfc_id,
        decoded=decoded.picture,
    )


def _half(item: EnhancedPicture, upscaler: Upscaler) -> Picture:
    """Left half plain, right half as it came out."""
    plain = resize_picture(item.decoded, item.picture.format, upscaler)
    return joined(plain, item.picture, 0.5)
