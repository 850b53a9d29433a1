# SPDX-License-Identifier: Apache-2.0
"""NAL units in both framings: start codes (Annex B) and length prefixes (ISO/IEC 14496-15).

Only positions are computed.  Editing cuts and joins the original bytes, so everything that is
not touched stays byte for byte as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from nnrvideo.errors import BitstreamError, CarriageError, TruncatedError

START_CODE = b"\x00\x00\x00\x01"
_SHORT_START_CODE = b"\x00\x00\x01"
# Each costs memory of its own; a picture has no more than some hundred slices.
_MAX_UNITS = 65_536


@final
@dataclass(frozen=True, slots=True)
class NalSpan:
    """Where a NAL unit lies."""

    begin: int  # byte offset of its start code or length field
    start: int  # byte offset of its header
    end: int  # byte offset after its last byte


@final
@dataclass(frozen=True, slots=True)
class NalFraming:
    """How NAL units are delimited in a stream.

    Args:
        length_size: Bytes of a length field, 1 to 4; None for start codes.
    """

    length_size: int | None = None

    def split(self, data: bytes) -> list[NalSpan]:
        """Finds the NAL units of an access unit.

        Raises:
            TruncatedError: A length field points beyond the data.
            BitstreamError: There are too many.
        """
        if self.length_size is None:
            return split_annexb(data)
        return split_length_prefixed(data, self.length_size)

    def frame(self, nal: bytes) -> bytes:
        """Puts a NAL unit behind its start code or length field.

        Raises:
            CarriageError: The stream's length fields are too short for it.
        """
        if self.length_size is None:
            # The long form is legal before any NAL unit and required before the first one.
            return START_CODE + nal
        if len(nal) >> (8 * self.length_size):
            raise CarriageError(
                f"a NAL unit of {len(nal)} bytes does not fit the stream's "
                f"{self.length_size}-byte length fields"
            )
        return len(nal).to_bytes(self.length_size, "big") + nal


def is_annexb(extradata: bytes) -> bool:
    """Whether a configuration record is really a list of parameter sets with start codes."""
    return not extradata or extradata.startswith((START_CODE, _SHORT_START_CODE))


def split_annexb(data: bytes) -> list[NalSpan]:
    """Finds NAL units by their start codes.

    Args:
        data: Byte stream; bytes before the first start code are no NAL unit.

    Returns:
        Spans in order; trailing zero bytes belong to none of them.

    Raises:
        BitstreamError: There are too many.

    Spec: Rec. ITU-T H.264 (08/2024) Annex B.1; H.265 Annex B.2.
    """
    spans: list[NalSpan] = []
    found = data.find(_SHORT_START_CODE)
    while found >= 0:
        start = found + 3
        following = data.find(_SHORT_START_CODE, start)
        end = len(data) if following < 0 else following
        # A NAL unit never ends in 00: those zeros belong to the next start code or are padding.
        length = len(data[start:end].rstrip(b"\x00"))
        begin = found - 1 if found and data[found - 1] == 0 else found
        if length:
            _add(spans, NalSpan(begin, start, start + length))
        found = following
    return spans


def split_length_prefixed(data: bytes, length_size: int) -> list[NalSpan]:
    """Finds NAL units by their length fields.

    Args:
        data: One sample as ISO/IEC 14496-15 stores it.
        length_size: Bytes of a length field, 1 to 4, from the configuration record.

    Returns:
        Spans in order; empty NAL units are left out.

    Raises:
        TruncatedError: A length field is cut or points beyond the data.
        BitstreamError: There are too many NAL units.

    Spec: ISO/IEC 14496-15 clause 4.3.
    """
    spans: list[NalSpan] = []
    position = 0
    while position < len(data):
        start = position + length_size
        if start > len(data):
            raise TruncatedError(
                "the sample ends inside a length field", element="nalUnitLength", bit=8 * position
            )
        length = int.from_bytes(data[position:start], "big")
        if length > len(data) - start:
            raise TruncatedError(
                f"a NAL unit of {length} bytes is announced, {len(data) - start} are left",
                element="nalUnitLength",
                bit=8 * position,
            )
        if length:
            _add(spans, NalSpan(position, start, start + length))
        position = start + length
    return spans


def _add(spans: list[NalSpan], span: NalSpan) -> None:
    if len(spans) == _MAX_UNITS:
        raise BitstreamError(f"more than {_MAX_UNITS} NAL units", bit=8 * span.begin)
    spans.append(span)
