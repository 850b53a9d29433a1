# SPDX-License-Identifier: Apache-2.0
"""Data spread over several units, as packets want it: joined in reading, split in writing.

The standard's text on partial_data_counter was not at hand, so this is the plainest reading: the
counter says how many further units carry the rest of the same data, 0 in the last.  The units
follow each other without another in between and have the same type.  Each has a unit header of
its own and then the next bytes of what one large unit would hold after its header; so the first
begins with the header of its type, and the others are payload alone.  What is written here says
0 in the independently_decodable_flag of all but the first, by which a reader that starts in the
middle knows what to skip; in reading the flag may be anything.

Spec: ISO/IEC 15938-17, nnr_unit_header(), partial_data_counter.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, final

from nnrvideo.errors import (
    BitstreamError,
    NnrVideoError,
    TruncatedError,
    UnsupportedFeatureError,
)
from nnrvideo.limits import Limits
from nnrvideo.nnc.constants import SHORT_UNIT_MAX_BYTES, UnitType
from nnrvideo.nnc.units import UnitHeader

_SPREAD: Final = frozenset({UnitType.NNR_TPL, UnitType.NNR_QNT, UnitType.NNR_NDU})
_ALWAYS_WHOLE: Final = frozenset({UnitType.NNR_STR, UnitType.NNR_MPS, UnitType.NNR_LPS})
_MAX_PARTS: Final = 256  # the counter has eight bits
_ELEMENT: Final = "partial_data_counter"


@final
class PartJoiner:
    """Collects the parts of one unit after the other.

    Args:
        limits: ``max_unit_bytes`` bounds all parts of a unit together.
    """

    __slots__ = ("_data", "_headers", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._headers: list[UnitHeader] = []
        self._data = bytearray()

    def add(self, header: UnitHeader, data: bytes) -> tuple[UnitHeader, bytes] | None:
        """Takes the next unit of the bitstream.

        Args:
            header: Of the unit.
            data: All of its bytes.

        Returns:
            Header and bytes of a whole unit: those of the first part, with the sizes added up, and
            the bytes of the others after their headers.  ``None`` while parts are missing.

        Raises:
            BitstreamError: A part is missing, comes twice or at a wrong place.
            UnsupportedFeatureError: A parameter set is spread.
            LimitExceededError: The parts are more than ``max_unit_bytes`` together.
        """
        if self._headers:
            self._require_next(header)
            data = data[header.header_bytes :]
        elif not header.partial_data_counter or header.nnr_unit_type not in _SPREAD:
            if header.partial_data_counter and header.nnr_unit_type in _ALWAYS_WHOLE:
                msg = f"{header.type_name} spread over several units is not implemented"
                raise UnsupportedFeatureError(msg)
            return header, data
        size = len(self._data) + len(data)
        self._limits.require("max_unit_bytes", size, "parts of a unit in bytes")
        self._headers.append(header)
        self._data += data
        if header.partial_data_counter:
            return None
        joined = replace(
            self._headers[0],
            nnr_unit_size=sum(each.nnr_unit_size for each in self._headers),
            parts=tuple(self._headers),
        )
        whole = bytes(self._data)
        self._headers, self._data = [], bytearray()
        return joined, whole

    def close(self) -> None:
        """Says that no more units will come.

        Raises:
            TruncatedError: Parts are missing.
        """
        if self._headers:
            last = self._headers[-1]
            raise TruncatedError(
                f"the bitstream ends before the last {last.partial_data_counter} parts of the data",
                element=_ELEMENT,
                bit=_counter_bit(last),
            )

    @property
    def last(self) -> UnitHeader | None:
        """Header of the part received last, while others are missing."""
        return self._headers[-1] if self._headers else None

    def _require_next(self, header: UnitHeader) -> None:
        first, last = self._headers[0], self._headers[-1]
        left, counter = last.partial_data_counter, header.partial_data_counter
        assert left is not None  # only parts are kept
        if header.nnr_unit_type != first.nnr_unit_type or counter is None:
            fault = (
                f"the last {left} parts of the {first.type_name} at byte {first.offset} are missing"
            )
        elif counter == left:
            fault = f"the part with {left} to follow comes twice"
        elif counter > left:
            fault = f"a part with {counter} to follow comes after the one with {left}"
        elif counter < left - 1:
            fault = f"{left - 1 - counter} parts are missing before this one"
        else:
            return
        raise BitstreamError(fault, element=_ELEMENT, bit=_counter_bit(header))


def refuse_rest_of_lost(header: UnitHeader, error: NnrVideoError) -> None:
    """Explains an error in data whose first part is missing, as its flag suggests.

    Args:
        header: Of the data, as far as it came.
        error: What its first byte led to, which was not meant to be a header.

    Raises:
        BitstreamError: It is marked as the continuation of something.
    """
    if header.partial_data_counter is not None and not header.independently_decodable_flag:
        raise BitstreamError(
            f"the first part of the data may be missing: {error}",
            element=_ELEMENT,
            bit=_counter_bit(header),
        ) from error


def split_parts(header: UnitHeader, body: bytes, max_bytes: int) -> list[tuple[UnitHeader, bytes]]:
    """Spreads a unit over several ones if it is too large.

    Args:
        header: Of the unit.
        body: What follows its header.
        max_bytes: Largest nnr_unit_size.

    Returns:
        Headers and what follows them: one if it fits, else parts of ``max_bytes`` but for the last.

    Raises:
        ValueError: Its type cannot be spread, or 256 parts are not enough.
    """
    header = replace(header, partial_data_counter=None, parts=())
    size = written_bytes(header, len(body))
    if size <= max_bytes:
        return [(header, body)]
    if header.nnr_unit_type not in _SPREAD:
        msg = f"{header.type_name} of {size} bytes cannot be spread over units of {max_bytes}"
        raise ValueError(msg)
    header = replace(header, partial_data_counter=0)
    long_form = header.nnr_unit_size_flag or max_bytes > SHORT_UNIT_MAX_BYTES
    room = max_bytes - replace(header, nnr_unit_size_flag=long_form).header_bytes
    count = -(-len(body) // max(1, room))
    if room < 1 or count > _MAX_PARTS:
        needed = max_bytes - room + max(1, -(-len(body) // _MAX_PARTS))
        msg = (
            f"{header.type_name} of {size} bytes needs units of at least {needed} bytes, not "
            f"{max_bytes}: {_MAX_PARTS} are the most it can be spread over"
        )
        raise ValueError(msg)
    return [
        (
            replace(
                header,
                partial_data_counter=count - 1 - number,
                independently_decodable_flag=number == 0 and header.independently_decodable_flag,
            ),
            body[number * room : (number + 1) * room],
        )
        for number in range(count)
    ]


def written_bytes(header: UnitHeader, body_bytes: int) -> int:
    """nnr_unit_size of a unit with so many bytes after its header."""
    size = replace(header, nnr_unit_size_flag=False).header_bytes + body_bytes
    return size + 2 if header.nnr_unit_size_flag or size > SHORT_UNIT_MAX_BYTES else size


def parts_again(header: UnitHeader, body: bytes) -> list[tuple[UnitHeader, bytes]]:
    """Spreads a unit as it was when it was parsed.

    Raises:
        ValueError: The unit has another size now.
    """
    if not header.parts:
        return [(header, body)]
    pieces = []
    position = 0
    for part in header.parts:
        size = part.nnr_unit_size - part.header_bytes
        pieces.append((part, body[position : position + size]))
        position += size
    if position != len(body):
        msg = f"{header.type_name} of {len(body)} bytes was spread when it had {position}"
        raise ValueError(msg)
    return pieces


def _counter_bit(header: UnitHeader) -> int:
    return 8 * (4 if header.nnr_unit_size_flag else 2) + 8
