# SPDX-License-Identifier: Apache-2.0
"""Parsed coded video in GStreamer: caps to carriage, buffers to access units."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any, final

from nnrvideo.carriage import (
    CodecCarriage,
    NalCarriage,
    PictureOrder,
    carriage_for,
    picture_order,
)
from nnrvideo.errors import NnrVideoError
from nnrvideo.gst._gi import Gst
from nnrvideo.gst.sidedata import SECOND, running_time
from nnrvideo.picture import ChromaFormat, PictureFormat

_log = logging.getLogger(__name__)

_CODECS = {"video/x-h264": "h264", "video/x-h265": "hevc", "video/x-av1": "av1"}
_COUNTS_OF_A_FRAME = {"h264": 2, "hevc": 1}  # steps of the picture order count
_AV1C_MARKER = b"\x81"  # marker 1, version 1
_CHROMA = {
    "4:0:0": ChromaFormat.MONO,
    "4:2:0": ChromaFormat.C420,
    "4:2:2": ChromaFormat.C422,
    "4:4:4": ChromaFormat.C444,
}
# Everything but the bytes: what gst_buffer_copy_into() takes along.
_COMPANIONS = Gst.BufferCopyFlags.FLAGS | Gst.BufferCopyFlags.TIMESTAMPS | Gst.BufferCopyFlags.META


@final
class CodedStream:
    """One coded video stream as caps and segment describe it.

    Args:
        codec_name: libavcodec's name of the coding format.
        extradata: Decoder configuration record; empty for byte streams.
        picture_format: As far as the caps tell, else None.
        duration: Of a picture in ns, for access units without timestamps.
    """

    time_base = Fraction(1, SECOND)

    def __init__(
        self,
        codec_name: str,
        extradata: bytes,
        picture_format: PictureFormat | None,
        duration: int,
    ) -> None:
        self.codec_name = codec_name
        self.extradata = extradata
        self.picture_format = picture_format
        self.segment = Gst.Segment()
        self.segment.init(Gst.Format.TIME)
        self._duration = duration
        self._next = 0  # where an access unit without a timestamp is put
        self._carriage: CodecCarriage | None = None
        self._order: PictureOrder | None = None
        self._sequence = (-1, 0)  # its number, and when it begins in ns

    @classmethod
    def from_caps(cls, caps: Any) -> CodedStream:
        """Reads caps that the pad template has let through."""
        structure = caps.get_structure(0)
        record = structure.get_value("codec_data")
        extradata = b"" if record is None else record.extract_dup(0, record.get_size())
        name = structure.get_name()
        if name == "video/x-av1":
            # qtdemux of 1.22 cuts five bytes off av1C.  Nothing that counts is lost: whoever
            # joins needs a sequence header in the stream.
            framed = extradata.startswith(_AV1C_MARKER)
        else:
            framed = structure.get_string("stream-format") != "byte-stream"
        found, numerator, denominator = structure.get_fraction("framerate")
        duration = SECOND * denominator // numerator if found and numerator > 0 else SECOND // 25
        return cls(
            _CODECS[name],
            extradata if framed else b"",
            _picture_format(structure),
            duration,
        )

    def same_coding(self, other: CodedStream) -> bool:
        """Whether access units are read in the same way."""
        return (self.codec_name, self.extradata) == (other.codec_name, other.extradata)

    def follow(self, other: CodedStream) -> None:
        """Takes over the time of the stream before."""
        self.segment = other.segment
        self._next = other._next

    def carriage(self) -> CodecCarriage:
        """How messages travel in the stream.

        Raises:
            BitstreamError: The configuration record is broken.
        """
        if self._carriage is None:
            self._carriage = carriage_for(self.codec_name, self.extradata)
        return self._carriage

    def restart(self) -> None:
        """Decoding begins anew."""
        self._order = None
        self._sequence = (-1, 0)

    def time_of(self, buffer: Any, data: bytes) -> int:
        """Signed running time of an access unit's picture in ns.

        Parsers give every access unit a presentation time if the container does.  A raw byte
        stream has none; then picture order counts tell where in its sequence a picture is shown.
        Where AV1 comes frame by frame, a hidden one has the time of the picture that it comes with.

        Args:
            buffer: The access unit.
            data: Its bytes.
        """
        time = running_time(self.segment, buffer.pts)
        if time is None:
            decoded = running_time(self.segment, buffer.dts)
            if decoded is None:
                decoded = self._next
            hidden = buffer.has_flags(Gst.BufferFlags.DECODE_ONLY)
            self._next = decoded if hidden else decoded + self._duration
            time = self._by_order(data, decoded)
        return time

    def _by_order(self, data: bytes, decoded: int) -> int:
        try:
            if self._order is None:
                carriage = self.carriage()
                framing = carriage.framing if isinstance(carriage, NalCarriage) else None
                self._order = picture_order(self.codec_name, framing=framing)
            if self._order is None:
                return decoded
            sequence, count = self._order.key(data)
        except NnrVideoError as error:
            _log.debug("decoding order taken for output order: %s", error)
            return decoded
        if sequence != self._sequence[0]:
            self._sequence = sequence, decoded
        return self._sequence[1] + count * self._duration // _COUNTS_OF_A_FRAME[self.codec_name]


def writable_with(buffer: Any, data: bytes | None = None) -> Any:
    """A writable buffer with the same flags, timestamps and metas.

    Args:
        buffer: Any buffer; what the bindings hand out is never writable.
        data: Other content; None shares the memory of ``buffer``.
    """
    if data is None:
        return buffer.copy_region(_COMPANIONS | Gst.BufferCopyFlags.MEMORY, 0, buffer.get_size())
    made = Gst.Buffer.new_wrapped(data)
    made.copy_into(buffer, _COMPANIONS, 0, buffer.get_size())
    return made


def _picture_format(structure: Any) -> PictureFormat | None:
    found_width, width = structure.get_int("width")
    found_height, height = structure.get_int("height")
    found_depth, depth = structure.get_uint("bit-depth-luma")
    if not (found_width and found_height and found_depth):
        return None  # as demultiplexers leave it, without a parser
    chroma = _CHROMA.get(structure.get_string("chroma-format") or "", ChromaFormat.C420)
    return PictureFormat(width, height, chroma, depth)
