# SPDX-License-Identifier: Apache-2.0
"""Timed metadata beside a film: packets with a time, in a track of their own.

What they hold is the caller's business; each starts with a mark by which they are known again.
The tracks are those that libavformat writes and finds again:

* Matroska: WebVTT text in base64, titled "nnrvideo metadata", not a default track;
  WebM: WebVTT of kind *metadata*.
* MP4: a data track.
* MPEG-TS: a private stream (SMPTE KLV), each packet under a universal label of our own kind.
"""

from __future__ import annotations

import binascii
import contextlib
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, Final

from nnrvideo.container._pyav import av, codec_name, open_input, open_output, translate_errors
from nnrvideo.container.copying import DroppedStream, StreamCopier
from nnrvideo.container.output import OutputFile
from nnrvideo.errors import CarriageError
from nnrvideo.files import PathLike

MAX_PACKET_BYTES: Final = 1 << 23

_TITLE: Final = "nnrvideo metadata"
_TIME_BASE: Final = Fraction(1, 90_000)
_KLV_KEY: Final = bytes.fromhex("060e2b34010101010f00000000000000")
_TEXT: Final = frozenset({"webvtt", "subrip", "srt", "text"})
_DATA: Final = frozenset({"bin_data", "klv", "timed_id3"})

Timed = tuple[Fraction, Fraction, bytes]


def copy_with_timed(
    src: PathLike, dst: PathLike, packets: Iterable[Timed], *, overwrite: bool = False
) -> tuple[DroppedStream, ...]:
    """Copies a film and puts timed metadata beside its streams.

    Args:
        src: Film.
        dst: Target; MP4, Matroska, WebM or MPEG-TS.
        packets: Start and end in seconds, and what is valid in between; in order.
        overwrite: Whether an existing target may be replaced.

    Returns:
        Streams that the target cannot hold.

    Raises:
        CarriageError: The target has no track for timed metadata.
        ContainerError: A file cannot be read or written.
    """
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_input(src))
        output = stack.enter_context(OutputFile(dst, overwrite=overwrite))
        with translate_errors(dst, "write"):
            sink: Any = open_output(output.temporary, format_name=None)
            try:
                copier = StreamCopier(source, sink, source.streams)
                track = _Track(sink)
                sink.start_encoding()
                _interleave(source, copier, track, iter(packets))
            except BaseException:
                with contextlib.suppress(Exception):
                    sink.close()
                raise
            sink.close()
    return tuple(copier.dropped)


def _interleave(source: Any, copier: StreamCopier, track: _Track, packets: Iterator[Timed]) -> None:
    ahead = next(packets, None)
    for packet in source.demux():
        if not packet.size or not copier.takes(packet):
            continue
        now = packet.dts if packet.dts is not None else packet.pts
        while ahead is not None and now is not None and ahead[0] <= now * packet.time_base:
            track.send(*ahead)
            ahead = next(packets, None)
        copier.send(packet)
    while ahead is not None:
        track.send(*ahead)
        ahead = next(packets, None)


class _Track:
    """The track in the target."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        name = sink.format.name
        self._text = name in ("webm", "matroska")
        self._klv = name == "mpegts"
        if self._text:
            self._stream = sink.add_mux_stream("webvtt")
            self._stream.metadata["title"] = _TITLE
            self._stream.disposition = av.stream.Disposition.metadata
        elif name == "mp4":
            self._stream = sink.add_data_stream("bin_data")
        elif self._klv:
            self._stream = sink.add_data_stream("klv")
        else:
            raise CarriageError(
                f"{name} has no place for timed metadata; MP4, Matroska, WebM and MPEG-TS have"
            )
        self._stream.time_base = _TIME_BASE

    def send(self, start: Fraction, end: Fraction, body: bytes) -> None:
        if self._text:
            body = binascii.b2a_base64(body, newline=False)
        elif self._klv:
            body = klv_packet(body)
        packet = av.Packet(body)
        packet.pts = packet.dts = round(start / _TIME_BASE)
        packet.duration = round((end - start) / _TIME_BASE)
        packet.time_base, packet.stream = _TIME_BASE, self._stream
        self._sink.mux_one(packet)


def klv_packet(body: bytes) -> bytes:
    """What a packet of a private stream in MPEG-TS holds: label, length and body (SMPTE 336M)."""
    return _KLV_KEY + b"\x84" + len(body).to_bytes(4, "big") + body


def read_timed(path: PathLike, mark: bytes) -> Iterator[bytes]:
    """Reads the timed metadata of a film.

    Args:
        path: Film; untrusted.
        mark: How each packet begins; others are none of the caller's.

    Yields:
        What each packet holds.

    Raises:
        ContainerError: The film cannot be read.
    """
    with open_input(path) as container, translate_errors(os.fspath(path), "read"):
        streams = [
            stream
            for stream in container.streams
            if (stream.type == "subtitle" and codec_name(stream) in _TEXT)
            or (
                stream.type == "data"
                and (codec_name(stream) in _DATA or codec_name(stream) is None)
            )
        ]
        if not streams:
            return
        for packet in container.demux(streams):
            if not 0 < packet.size <= MAX_PACKET_BYTES:
                continue
            body = _opened(bytes(packet), text=packet.stream.type == "subtitle")
            if body.startswith(mark):
                yield body


def _opened(body: bytes, *, text: bool) -> bytes:
    if text:
        try:
            return binascii.a2b_base64(body, strict_mode=True)
        except binascii.Error:
            return b""
    head = _KLV_KEY + b"\x84"
    if not body.startswith(head):
        return body
    begin = len(head) + 4
    return body[begin : begin + int.from_bytes(body[len(head) : begin], "big")]
