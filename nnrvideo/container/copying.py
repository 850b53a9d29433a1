# SPDX-License-Identifier: Apache-2.0
"""Copies streams, chapters and tags from one container to another without re-encoding."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, final

from nnrvideo.carriage import is_annexb
from nnrvideo.container import subtitles
from nnrvideo.container._pyav import av, codec_name

_log = logging.getLogger(__name__)

# What muxers take although libavformat cannot tell before the header is written.
_DATA_CODECS = {
    "mpegts": frozenset({"klv", "timed_id3", "smpte_2038", "bin_data"}),
    "mp4": frozenset({"bin_data"}),
    "mov": frozenset(),
}
# libavformat accepts any subtitles for MPEG-TS and then writes what nobody can read.
_SUBTITLE_CODECS = {
    "mpegts": frozenset({"dvb_subtitle", "dvb_teletext", "arib_caption", "hdmv_pgs_subtitle"}),
}
# What libavformat finds again; it writes any video into MPEG-TS, and reads the rest as data.
_VIDEO_CODECS = {
    "mpegts": frozenset({"h264", "hevc", "vvc", "mpeg1video", "mpeg2video", "mpeg4", "cavs", "vc1",
                         "dirac", "jpeg2000"}),
}  # fmt: skip
# Formats of byte streams with start codes. libavformat converts by itself, but takes a sample for
# converted that begins with a NAL unit of 256 to 511 bytes: its length field reads like a start
# code. A small network is such a NAL unit.
_START_CODE_FORMATS = frozenset({"h264", "hevc", "vvc", "mpegts"})
_START_CODE_FILTERS = {
    "h264": "h264_mp4toannexb",
    "hevc": "hevc_mp4toannexb",
    "vvc": "vvc_mp4toannexb",
}
# What muxers raise for packets that make no sense, other than for a full disk.
_DAMAGED = (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.ArgumentError)
_ATTACHMENT_FORMATS = frozenset({"matroska"})
_QUICKTIME_FAMILY = frozenset({"mp4", "mov", "ipod", "ismv"})


@final
@dataclass(frozen=True, slots=True)
class DroppedStream:
    """A stream that the target container cannot hold."""

    index: int  # in the source
    type: str
    codec_name: str | None
    reason: str


class StreamCopier:
    """Carries packets of some streams from a source to a sink.

    Args:
        source: ``av.container.InputContainer``.
        sink: ``av.container.OutputContainer`` whose header is not written yet.
        streams: Streams of the source to carry over.

    Attributes:
        dropped: Streams that the sink's format does not take.
    """

    def __init__(self, source: Any, sink: Any, streams: Iterable[Any]) -> None:
        self._sink = sink
        self._chapters = len(source.chapters())
        self._targets: dict[int, Any] = {}
        self._convert: dict[int, Callable[[bytes], bytes]] = {}
        self._start_codes: dict[int, Any] = {}  # bitstream filters
        self.dropped: list[DroppedStream] = []
        for stream in streams:
            try:
                target = self._add(stream)
            except (ValueError, av.error.FFmpegError) as error:
                dropped = DroppedStream(stream.index, stream.type, codec_name(stream), str(error))
                self.dropped.append(dropped)
                _log.warning("stream %d is not copied: %s", stream.index, error)
                continue
            if target is None:
                continue
            target.metadata.update(stream.metadata)
            if stream.disposition:
                target.disposition = stream.disposition
            self._targets[stream.index] = target
        copy_tags(source, sink)

    def takes(self, packet: Any) -> bool:
        """Whether the packet's stream is carried over."""
        return packet.stream_index in self._targets

    def carries(self, stream: Any) -> bool:
        """Whether packets of a stream of the source are carried over."""
        return stream.index in self._targets and stream.type != "attachment"

    def target(self, index: int) -> Any:
        """Stream of the sink for a stream index of the source."""
        return self._targets[index]

    def send(self, packet: Any) -> None:
        """Muxes a packet of the source."""
        index = packet.stream_index
        if packet.dts is None:
            packet.dts = packet.pts
        convert = self._convert.get(index)
        if convert is not None:
            packet = _replaced(packet, convert(bytes(packet)))
        for ready in self._with_start_codes(index, packet):
            ready.stream = self._targets[index]
            try:
                self._sink.mux_one(ready)
            except _DAMAGED as error:
                # A damaged packet costs itself; of the film's pictures it would cost more.
                if self._targets[index].type == "video":
                    raise
                _log.warning("stream %d: a damaged packet is left out: %s", index, error)

    def _with_start_codes(self, index: int, packet: Any) -> list[Any]:
        """The packet as the sink wants it."""
        target = self._targets[index]
        name = _START_CODE_FILTERS.get(codec_name(target) or "")
        if name is None or self._sink.format.name not in _START_CODE_FORMATS:
            return [packet]
        if index not in self._start_codes:
            # Only now is the target's configuration record final.
            record = bytes(target.codec_context.extradata or b"")
            self._start_codes[index] = (
                None if is_annexb(record) else av.BitStreamFilterContext(name, target)
            )
        convert = self._start_codes[index]
        if convert is None:
            return [packet]
        time_base = packet.time_base
        converted: list[Any] = convert.filter(packet)
        for ready in converted:
            ready.time_base = time_base
        return converted

    def _add(self, stream: Any) -> Any:
        """Creates the stream in the sink.

        Returns:
            None when nothing has to be carried (never an error).

        Raises:
            ValueError: The format does not take it.
        """
        sink, format_name = self._sink, self._sink.format.name
        name = codec_name(stream)
        if stream.type == "attachment":
            if format_name not in _ATTACHMENT_FORMATS:
                raise ValueError(f"{format_name} holds no attachments")
            return sink.add_stream_from_template(stream)
        if stream.type == "data":
            if name == "bin_data" and self._chapters and stream.frames == self._chapters:
                return None  # QuickTime's chapter track; the muxer makes one of the chapters
            if name not in _DATA_CODECS.get(format_name, ()):
                raise ValueError(f"{format_name} holds no data streams of type {name or 'unknown'}")
        if stream.type == "video":
            require_video(format_name, name)
        if stream.type == "subtitle" and name not in _SUBTITLE_CODECS.get(format_name, {name}):
            raise ValueError(f"{format_name} holds no {name} subtitles")
        converter = subtitles.converter(name, format_name) if stream.type == "subtitle" else None
        if converter is not None:
            target = sink.add_mux_stream(converter.codec_name)
            target.time_base = stream.time_base
            self._convert[stream.index] = converter.convert
            return target
        # A decoder's codec object serves as template: VVC and AV1 have no encoder of that name.
        target = sink.add_stream_from_template(stream, opaque=True)
        if (
            stream.type == "video"
            and name == "hevc"
            and format_name in _QUICKTIME_FAMILY
            and stream.codec_tag == "hvc1"
        ):
            # The muxer's own choice, hev1, does not play on Apple devices.
            target.codec_context.codec_tag = "hvc1"
        return target


def require_video(format_name: str, codec: str | None) -> None:
    """Refuses video that would be written and never be found again.

    Raises:
        ValueError: The format holds none of this codec.
    """
    if codec not in _VIDEO_CODECS.get(format_name, {codec}):
        raise ValueError(f"nobody reads {codec} video in {format_name}")


def copy_tags(source: Any, sink: Any) -> None:
    """Copies the file's tags and chapters."""
    for key, value in source.metadata.items():
        # These describe the old container, and the new one writes its own.
        if key not in ("major_brand", "minor_version", "compatible_brands", "encoder"):
            sink.metadata[key] = value
    chapters = source.chapters()
    if chapters:
        sink.set_chapters(chapters)


def _replaced(packet: Any, data: bytes) -> Any:
    fresh = av.Packet(data)
    fresh.pts, fresh.dts, fresh.duration = packet.pts, packet.dts, packet.duration
    fresh.time_base = packet.time_base
    fresh.is_keyframe = packet.is_keyframe
    return fresh
