# SPDX-License-Identifier: Apache-2.0
"""A track beside the video, for messages of codecs that have no place for them.

Each packet belongs to the access unit that is shown at its time, and holds what
``nnrvideo.carriage.envelope`` defines: as it is in MP4, in base64 in the text track of Matroska and
WebM.  These are what libavformat writes and finds again:

* WebM: WebVTT of kind *metadata*, which no player shows.
* Matroska: the same, but libavformat can only call it subtitles; it is not a default track.
* MP4: a data track, for which libavformat knows no label but that of another maker's telemetry.
"""

from __future__ import annotations

import binascii
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

from nnrvideo.carriage import BESIDE_CODECS
from nnrvideo.carriage.envelope import is_sealed, seal_records, sealed_records
from nnrvideo.container._pyav import PathLike, av, codec_name, open_input, seconds, translate_errors
from nnrvideo.errors import CarriageError
from nnrvideo.limits import Limits

_log = logging.getLogger(__name__)

_TITLE = "nnrvideo"
_TEXT_CODECS = frozenset({"webvtt", "subrip", "srt", "text"})
_DATA_CODECS = frozenset({"bin_data"})
# Muxers interleave by time, but chunks of MP4 may put a second between what belongs together.
_WINDOW = Fraction(2)


@final
@dataclass(frozen=True, slots=True)
class MessageTrack:
    """A track of messages in an open file."""

    index: int  # of its stream
    is_text: bool

    def records(self, packet: Any, limits: Limits) -> bytes | None:
        """The sei_message() records of a packet; None if it is none of ours.

        A packet over the limits is none either: what it asks for is not even copied.
        """
        most = limits.max_filters * limits.max_payload_bytes
        if packet.size > (2 * most if self.is_text else most):
            _log.warning("a packet of %d bytes beside the video is ignored", packet.size)
            return None
        body = _decoded(bytes(packet)) if self.is_text else bytes(packet)
        return sealed_records(body) if is_sealed(body) else None


def message_track(path: PathLike, codec: str | None) -> MessageTrack | None:
    """Looks for a track whose first packet is one of ours.

    Args:
        path: Media file.
        codec: Of its video; there is a track only where the codec has no place for messages.

    Raises:
        ContainerError: The file cannot be read.
    """
    if codec not in BESIDE_CODECS:
        return None
    with open_input(path) as container, translate_errors(path, "read"):
        candidates = {
            stream.index: MessageTrack(stream.index, stream.type == "subtitle")
            for stream in container.streams
            if (stream.type == "subtitle" and codec_name(stream) in _TEXT_CODECS)
            or (stream.type == "data" and codec_name(stream) in _DATA_CODECS)
        }
        if not candidates:
            return None
        for packet in container.demux([container.streams[index] for index in candidates]):
            track = candidates.pop(packet.stream_index, None) if packet.size else None
            if track is not None and track.records(packet, Limits.offline()) is not None:
                return track
            if not candidates:
                break
    return None


class Pairing:
    """Brings the packets of a message track to those of the video.

    Args:
        track: The track; None if there is none.
        limits: Bounds on its packets.
    """

    def __init__(self, track: MessageTrack | None, limits: Limits) -> None:
        self._track = track
        self._limits = limits
        self._waiting: deque[tuple[Fraction, bytes]] = deque()

    def streams(self, container: Any) -> list[Any]:
        """What to demultiplex besides the video."""
        return [] if self._track is None else [container.streams[self._track.index]]

    def take(self, packet: Any) -> bool:
        """Keeps a packet of the track; False for any other packet."""
        if self._track is None or packet.stream_index != self._track.index:
            return False
        time = seconds(packet.pts if packet.pts is not None else packet.dts, packet.time_base)
        records = self._track.records(packet, self._limits) if packet.size else None
        if records and time is not None:
            self._waiting.append((time, records))
        return True

    def pair(self, video: Iterable[Any]) -> Iterator[tuple[Any, bytes]]:
        """Yields each video packet with its records.

        Args:
            video: Packets in decoding order, which for these codecs is that of output; while they
                are drawn, :meth:`take` hears of those of the track.
        """
        if self._track is None:
            for packet in video:
                yield packet, b""
            return
        ahead: deque[Any] = deque()
        first = True
        for packet in video:
            ahead.append(packet)
            while len(ahead) > 1 and _time(ahead[-1]) - _time(ahead[0]) > _WINDOW:
                yield self._release(ahead, first=first)
                first = False
        while ahead:
            yield self._release(ahead, first=first)
            first = False

    def _release(self, ahead: deque[Any], *, first: bool) -> tuple[Any, bytes]:
        """The oldest packet with all that is nearer to it than to the next one."""
        packet = ahead.popleft()
        time, records = _time(packet), []
        gap = _time(ahead[0]) - time if ahead else _WINDOW
        while self._waiting and self._waiting[0][0] < time + gap / 2:
            when, found = self._waiting.popleft()
            # A seek may bring up what belongs to a picture that it has left out.
            if not first or when >= time - gap / 2:
                records.append(found)
        return packet, b"".join(records)


class MessageTrackWriter:
    """Writes a message track.

    Args:
        sink: ``av.container.OutputContainer`` whose header is not written yet.
        time_base: Of the video.

    Raises:
        CarriageError: The format has no track for messages.
    """

    def __init__(self, sink: Any, time_base: Fraction) -> None:
        self._sink = sink
        format_name = sink.format.name
        self._is_text = format_name in ("webm", "matroska")
        if self._is_text:
            self._stream = sink.add_mux_stream("webvtt")
            self._stream.metadata["title"] = _TITLE
            self._stream.disposition = av.stream.Disposition.metadata
        elif format_name == "mp4":
            self._stream = sink.add_data_stream("bin_data")
        else:
            raise CarriageError(
                f"{format_name} has no place for messages beside the video; WebM, Matroska and MP4 "
                "have"
            )
        self._stream.time_base = time_base

    def send(self, video: Any, records: bytes) -> None:
        """Muxes the records of a video packet."""
        body = seal_records(records)
        packet = av.Packet(binascii.b2a_base64(body, newline=False) if self._is_text else body)
        packet.pts = packet.dts = video.pts
        packet.duration, packet.time_base = video.duration, video.time_base
        packet.stream = self._stream
        self._sink.mux_one(packet)


def _decoded(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return b""


def _time(packet: Any) -> Fraction:
    return seconds(packet.pts, packet.time_base) or Fraction(0)
