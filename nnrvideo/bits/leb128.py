# SPDX-License-Identifier: Apache-2.0
"""leb128() of AV1.  Spec: AV1 bitstream specification, section 4.10.5."""

from __future__ import annotations

from nnrvideo.errors import BitstreamError, TruncatedError

_MAX_BYTES = 8
_MAX_VALUE = (1 << 32) - 1


def read_leb128(data: bytes, position: int, element: str = "leb128") -> tuple[int, int]:
    """Reads a little-endian base-128 number.

    Args:
        data: Buffer.
        position: First byte.
        element: Name for error messages.

    Returns:
        The value and the position of the byte after it.

    Raises:
        TruncatedError: The buffer ends inside the number.
        BitstreamError: More than 8 bytes, or a value over 32 bits.
    """
    value = 0
    for count in range(_MAX_BYTES):
        if position + count >= len(data):
            raise TruncatedError("number has no last byte", element=element, bit=position * 8)
        byte = data[position + count]
        value |= (byte & 0x7F) << (7 * count)
        if not byte & 0x80:
            if value > _MAX_VALUE:
                raise BitstreamError("value over 32 bits", element=element, bit=position * 8)
            return value, position + count + 1
    raise BitstreamError("number is longer than 8 bytes", element=element, bit=position * 8)


def write_leb128(value: int) -> bytes:
    """Shortest leb128 form of ``value``, 0 to 2^32 - 1."""
    if not 0 <= value <= _MAX_VALUE:
        msg = f"{value} does not fit leb128"
        raise ValueError(msg)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
