# SPDX-License-Identifier: Apache-2.0
"""Open bitstream units of AV1 in the low-overhead format, which every container uses.

Only positions are computed, as for NAL units: what is not touched stays byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from nnrvideo.bits.leb128 import read_leb128, write_leb128
from nnrvideo.errors import BitstreamError, TruncatedError

_FORBIDDEN = 0x80
_EXTENSION = 0x04
_HAS_SIZE = 0x02
# Each costs memory of its own; a picture has no more than some thousand tile groups.
_MAX_OBUS = 65_536


@final
@dataclass(frozen=True, slots=True)
class ObuSpan:
    """Where an OBU lies."""

    obu_type: int
    begin: int  # byte offset of its header
    start: int  # byte offset of its payload
    end: int  # byte offset after its last byte


def split_obus(data: bytes) -> list[ObuSpan]:
    """Finds the OBUs of a temporal unit, or of the configuration record.

    Args:
        data: Concatenated OBUs; only the last may leave out its size.

    Raises:
        BitstreamError: obu_forbidden_bit is set, a size is no number, or there are too many.
        TruncatedError: A size points beyond the data, or the data end inside a header.

    Spec: AV1 bitstream specification, sections 5.3.1 to 5.3.3; AV1 in ISOBMFF, section 2.4.
    """
    spans: list[ObuSpan] = []
    position = 0
    while position < len(data):
        if len(spans) == _MAX_OBUS:
            raise BitstreamError(f"more than {_MAX_OBUS} OBUs", bit=8 * position)
        begin, header = position, data[position]
        if header & _FORBIDDEN:
            raise BitstreamError("is set", element="obu_forbidden_bit", bit=8 * begin)
        position += 2 if header & _EXTENSION else 1
        if header & _HAS_SIZE:
            size, position = read_leb128(data, position, "obu_size")
        else:
            size = max(0, len(data) - position)
        if size > len(data) - position:
            raise TruncatedError(
                f"an OBU of {size} bytes is announced, {max(0, len(data) - position)} are left",
                element="obu_size",
                bit=8 * begin,
            )
        spans.append(ObuSpan(header >> 3 & 0xF, begin, position, position + size))
        position += size
    return spans


def write_obu(obu_type: int, payload: bytes) -> bytes:
    """An OBU of all layers, with its size."""
    return bytes([obu_type << 3 | _HAS_SIZE]) + write_leb128(len(payload)) + payload
