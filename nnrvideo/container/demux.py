# SPDX-License-Identifier: Apache-2.0
"""``MediaReader``: access units, messages and pictures of a media file.

Messages are read from the packets, because no decoder hands out SEI of types 210 and 211.
Every iterator reads the file anew, so several may run at once and none disturbs another.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nnrvideo.carriage import FILTER_PAYLOAD_TYPES, CodecCarriage, carriage_for
from nnrvideo.container._pyav import PathLike, av, codec_name, open_input, seconds, translate_errors
from nnrvideo.container.beside import Pairing, message_track
from nnrvideo.container.decode import colour_of, nearest_format, picture_from_frame
from nnrvideo.container.info import AccessUnit, DecodedPicture, SideData, StreamInfo, VideoInfo
from nnrvideo.container.packets import with_timestamps
from nnrvideo.errors import CarriageError, ContainerError, NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.picture import ChromaFormat
from nnrvideo.sei.message import SeiMessage, pack_records, parse_records

_log = logging.getLogger(__name__)

# Behind a gap in the stream decoders may put out a picture after later ones; it is then shown at
# once, this part of a picture's duration behind the one before.
_LATE = 16


def open_media(path: PathLike, *, limits: Limits | None = None) -> MediaReader:
    """Opens a media file for reading.

    Args:
        path: Local file: MP4, fragmented MP4, Matroska, MPEG-TS, raw H.264/H.265, or whatever
            else libavformat reads.
        limits: Bounds on what the stream's messages may ask for.

    Returns:
        Reader; use it as a context manager.

    Raises:
        ContainerError: No such file, no media file, or no video in it.
    """
    return MediaReader(path, limits=limits)


class MediaReader:
    """A media file with one video stream that matters.

    Attributes:
        path: The file.
        format_name: libavformat's name of the container, for instance ``"mpegts"``.
        video: The (first real) video stream.
        streams: All streams.
        metadata: Tags of the file.
        chapters: ``(start, end, title)`` in seconds.
        base64_messages: Messages travel beside the video as text, a third larger.
    """

    def __init__(self, path: PathLike, *, limits: Limits | None = None) -> None:
        self.path = Path(os.fspath(path))
        self.limits = limits or Limits.desktop()
        self.undecodable_units = 0  # access units that the decoder refused, in all passes
        with open_input(self.path) as container, translate_errors(self.path, "read"):
            self.format_name: str = container.format.name
            stream = main_video(container, self.path)
            self.video = video_info(container, stream)
            self.streams = tuple(_stream_info(s) for s in container.streams)
            self.metadata: dict[str, str] = dict(container.metadata)
            self.chapters = tuple(
                (
                    seconds(chapter["start"], chapter["time_base"]) or Fraction(0),
                    seconds(chapter["end"], chapter["time_base"]) or Fraction(0),
                    chapter["metadata"].get("title", ""),
                )
                for chapter in container.chapters()
            )
        self._track = message_track(self.path, self.video.codec_name)
        self.base64_messages = self._track is not None and self._track.is_text

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing stays open between iterations; exists for symmetry with the writers."""

    def carriage(self) -> CodecCarriage:
        """How messages travel in this file's access units.

        Raises:
            CarriageError: Its codec has no place for a network that we know.
        """
        return carriage_for(self.video.codec_name, self.video.extradata, limits=self.limits)

    def access_units(self, *, start: Fraction | None = None) -> Iterator[AccessUnit]:
        """Yields the coded pictures in decoding order.

        Args:
            start: Begin at the last key frame at or before this time (seconds).

        Raises:
            ContainerError: The file cannot be read on.
        """
        for index, (packet, records) in enumerate(self._packets(start)):
            yield access_unit(packet, index, records)

    def side_data(self, *, start: Fraction | None = None) -> Iterator[SideData]:
        """Yields the filter messages in decoding order, without decoding any picture.

        Access units without filter messages are skipped, except those that say where a coded
        layer video sequence, which ends the life of earlier messages, begins.
        """
        carriage = self._carriage_or_none()
        if carriage is None:
            return
        collector = SideDataCollector(carriage, self.limits)
        for unit in self.access_units(start=start):
            item = collector.collect(unit)
            if item is not None:
                yield item

    def events(
        self, *, start: Fraction | None = None, threads: int = 0
    ) -> Iterator[SideData | DecodedPicture]:
        """Yields messages (decoding order) and pictures (output order) as they come up.

        Times of pictures always increase, also in a damaged stream. The messages of an access
        unit always come before its picture.

        Args:
            start: Begin with the picture at this time (seconds); earlier ones that are needed
                for decoding are decoded and dropped.
            threads: Decoder threads; 0 lets libavcodec choose.

        Raises:
            ContainerError: The file cannot be read on, or nothing in it can be decoded.
        """
        carriage = self._carriage_or_none()
        collector = SideDataCollector(carriage, self.limits) if carriage is not None else None
        index, failures = 0, 0
        last: Fraction | None = None
        step = 1 / (self.video.frame_rate or Fraction(25))
        context: Any = None
        try:
            for unit_index, (packet, records) in enumerate(self._packets(start, flush=True)):
                if packet is not None:
                    if context is None:
                        context = packet.stream.codec_context
                        _prepare_decoder(context, threads)
                    unit = access_unit(packet, unit_index, records)
                    item = collector.collect(unit) if collector is not None else None
                    if item is not None:
                        yield item
                    packet.opaque = unit.time
                try:
                    frames = context.decode(packet) if context is not None else []
                except av.error.EOFError:
                    frames = []
                except av.error.FFmpegError as error:
                    # A damaged picture costs itself, not the film: what a player does.
                    failures += 1
                    self.undecodable_units += 1
                    _log.warning("access unit %d cannot be decoded: %s", unit_index, error)
                    continue
                for frame in frames:
                    pts = frame.opaque
                    if pts is None:
                        pts = seconds(frame.pts, frame.time_base)
                    if pts is None:
                        pts = Fraction(0) if last is None else last + step
                    if last is not None and pts <= last:
                        pts = last + step / _LATE
                    last = pts
                    if start is not None and pts < start:
                        continue
                    yield DecodedPicture(
                        picture_from_frame(frame), pts, index, is_keyframe=bool(frame.key_frame)
                    )
                    index += 1
        finally:
            if context is not None:
                # Decoder threads need the interpreter to let go of what packets carry, and PyAV
                # frees the decoder, which waits for them, without giving it away.  Here it does.
                context.flush_buffers()
        if index == 0 and failures:
            raise ContainerError(f"cannot decode {self.path}: no picture could be decoded")

    def pictures(
        self,
        on_side_data: Callable[[SideData], Any] | None = None,
        *,
        start: Fraction | None = None,
        threads: int = 0,
    ) -> Iterator[DecodedPicture]:
        """Yields the pictures in output order.

        Args:
            on_side_data: Called with each access unit's filter messages, in decoding order and
                always before the picture of that access unit is yielded.
            start: See :meth:`events`.
            threads: See :meth:`events`.
        """
        for event in self.events(start=start, threads=threads):
            if isinstance(event, DecodedPicture):
                yield event
            elif on_side_data is not None:
                on_side_data(event)

    def _carriage_or_none(self) -> CodecCarriage | None:
        try:
            return self.carriage()
        except CarriageError:
            return None
        except NnrVideoError as error:
            # A broken configuration record does not hinder playing.
            _log.warning("%s: no filter messages are read: %s", self.path, error)
            return None

    def _packets(
        self, start: Fraction | None, *, flush: bool = False
    ) -> Iterator[tuple[Any, bytes]]:
        """Video packets, each with the messages that travel beside it; at last None to flush."""
        pairing = Pairing(self._track, self.limits)
        with open_input(self.path) as container, translate_errors(self.path, "read"):
            stream: Any = container.streams[self.video.stream_index]
            streams = [stream, *pairing.streams(container)]
            if start is not None and start > 0:
                container.seek(int(start / stream.time_base), stream=stream, backward=True)
            video = (packet for packet in container.demux(streams) if not pairing.take(packet))
            yield from pairing.pair(with_timestamps(video, stream, self.video.codec_name))
            if flush:
                yield None, b""


def access_unit(packet: Any, index: int, records: bytes = b"") -> AccessUnit:
    """Plain data of an ``av.Packet`` of video, and of what travels beside it."""
    return AccessUnit(
        bytes(packet),
        packet.pts,
        packet.dts,
        packet.duration or None,
        packet.time_base or Fraction(1, 90_000),
        packet.is_keyframe,
        index,
        records,
    )


def unit_messages(
    carriage: CodecCarriage, unit: AccessUnit, limits: Limits | None = None
) -> list[SeiMessage]:
    """All messages of an access unit: those inside it and those beside it.

    Raises:
        BitstreamError: They cannot be read.
        LimitExceededError: One, or their number, is over the limits.
    """
    return carriage.messages(unit.data) + parse_records(unit.records, limits)


class SideDataCollector:
    """Picks the filter messages out of access units that come in decoding order.

    Messages of the decoder configuration record apply to the whole stream; they are delivered
    at each start of a coded layer video sequence, as a muxer would send them in band.

    Args:
        carriage: How the stream carries messages.
        limits: Bounds on messages beside the access units; a desktop's if absent.
    """

    def __init__(self, carriage: CodecCarriage, limits: Limits | None = None) -> None:
        self._carriage = carriage
        self._limits = limits
        self._first = True  # nothing, or an end of sequence, precedes the next access unit
        self._begin: Fraction | None = None  # time of the picture that started the CLVS
        self._configuration: list[SeiMessage] = []
        try:
            self._configuration = _filter_messages(carriage.configuration_messages())
        except NnrVideoError as error:
            _log.warning("messages of the decoder configuration record are ignored: %s", error)

    def collect(self, unit: AccessUnit) -> SideData | None:
        """Filter messages of the next access unit.

        Returns:
            None when there are none, no coded layer video sequence starts and the picture is not
            one that leads its start: shown before it, such a picture would be taken for one of
            the sequence before. Messages that cannot be read are left out: they must never stop
            the film.
        """
        messages: list[SeiMessage] = []
        clvs_start = False
        try:
            clvs_start = self._carriage.is_clvs_start(unit.data, first=self._first)
            self._first = self._carriage.ends_sequence(unit.data)
            messages = _filter_messages(unit_messages(self._carriage, unit, self._limits))
        except NnrVideoError as error:
            _log.warning("access unit %d: messages are ignored: %s", unit.index, error)
        time = unit.time or Fraction(0)
        if clvs_start:
            self._begin = time
            messages = [m for m in self._configuration if m not in messages] + messages
        leading = self._begin is not None and time < self._begin
        if not messages and not clvs_start and not leading:
            return None
        return SideData(time, pack_records(messages), clvs_start, unit.index)


def _filter_messages(messages: list[SeiMessage]) -> list[SeiMessage]:
    return [m for m in messages if m.payload_type in FILTER_PAYLOAD_TYPES]


def main_video(container: Any, path: PathLike) -> Any:
    """First video stream that is no cover picture.

    Raises:
        ContainerError: There is none.
    """
    attached = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & attached:
            return stream
    raise ContainerError(f"{os.fspath(path)} has no video stream")


def video_info(container: Any, stream: Any) -> VideoInfo:
    """Plain data of an ``av.VideoStream``.

    Raises:
        ContainerError: libavcodec cannot decode it.
    """
    context = stream.codec_context
    if context is None:
        raise ContainerError(f"no decoder for the video stream of {container.name}")
    chroma, depth, pixel_format, full_range = ChromaFormat.C420, 8, "", False
    if context.format is not None:
        pixel_format, chroma, depth = nearest_format(context.format)
        full_range = context.format.name.startswith("yuvj")
    time_base = stream.time_base or Fraction(1, 90_000)
    duration = seconds(stream.duration, time_base)
    if duration is None and container.duration is not None:
        duration = Fraction(container.duration, 1_000_000)
    # The average of a stream is 25 in raw files and the time scale of the VUI in short Matroska
    # files; the guess weighs all that libavformat knows.
    rate = stream.guessed_rate or stream.average_rate
    return VideoInfo(
        codec_name=codec_name(stream) or "unknown",
        width=context.width,
        height=context.height,
        pixel_format=pixel_format,
        chroma_format=chroma,
        bit_depth=depth,
        frame_rate=Fraction(rate) if rate else None,
        time_base=time_base,
        colour=colour_of(context, full_range=full_range),
        duration=duration,
        start=seconds(stream.start_time, time_base),
        frames=stream.frames,
        bit_rate=context.bit_rate or None,
        sample_aspect_ratio=stream.sample_aspect_ratio or None,
        stream_index=stream.index,
        extradata=bytes(context.extradata or b""),
    )


def _prepare_decoder(context: Any, threads: int) -> None:
    """Decoder settings; they must be made before the first packet."""
    context.thread_type = "AUTO"
    context.thread_count = threads
    context.copy_opaque = True  # carries the exact presentation time through reordering


def _stream_info(stream: Any) -> StreamInfo:
    flags = stream.disposition
    return StreamInfo(
        stream.index,
        stream.type,
        codec_name(stream),
        stream.language,
        dict(stream.metadata),
        tuple(str(flag.name) for flag in av.stream.Disposition if flags & flag),
    )
