# SPDX-License-Identifier: Apache-2.0
"""Units out of bytes that arrive in pieces of any size, and bytes out of units.

``NncReader`` does no input or output: whoever owns the bytes feeds them, in any portions, and
gets the same units.  A unit comes whole or not at all, also where its data is spread over several
(:mod:`nnrvideo.nnc.parts`): it comes with the last of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final, final

from nnrvideo.errors import (
    BitstreamError,
    LimitExceededError,
    NnrVideoError,
    TruncatedError,
    UnsupportedFeatureError,
)
from nnrvideo.limits import Limits
from nnrvideo.nnc.constants import UnitType
from nnrvideo.nnc.context import SyntaxContext
from nnrvideo.nnc.parts import PartJoiner, refuse_rest_of_lost
from nnrvideo.nnc.plain import parse_plain_unit
from nnrvideo.nnc.syntax import parse_unit, parse_unit_header, parse_unit_size, write_unit
from nnrvideo.nnc.units import DataUnit, Unit, UnitHeader


@final
class NeedData(Enum):
    """The one value that says: feed more bytes and ask again."""

    NEED_DATA = "NEED_DATA"


NEED_DATA: Final = NeedData.NEED_DATA


@final
class located:  # noqa: N801 - reads as the verb it stands for, like contextlib's own
    """Adds the unit, and the bit at which a part of it starts, to errors raised inside.

    A loop over units enters it once and tells it of each unit by :meth:`move`.

    Args:
        index: Number of the unit.
        header: Of the unit.
        first_bit: Bits from the start of the unit to where inner positions are counted from.
    """

    __slots__ = ("_first_bit", "_header", "_index")

    def __init__(self, index: int, header: UnitHeader, first_bit: int = 0) -> None:
        self._index = index
        self._header = header
        self._first_bit = first_bit

    def move(self, index: int, header: UnitHeader, first_bit: int = 0) -> None:
        """Goes on to another unit."""
        self._index = index
        self._header = header
        self._first_bit = first_bit

    def __enter__(self) -> located:
        """Nothing to set up: a place is described only when something has gone wrong there."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Puts the place into the error that passes."""
        if isinstance(error, BitstreamError):
            if error.bit is not None and error.unit is None:
                error.bit += self._first_bit
            error.at(unit=describe(self._index, self._header), bit=self._first_bit)
        elif isinstance(error, UnsupportedFeatureError | LimitExceededError):
            message = str(error)
            joint = ", " if message.startswith("bit ") else ": "
            error.args = (describe(self._index, self._header) + joint + message,)


def describe(index: int, header: UnitHeader) -> str:
    """Names a unit for error messages, as in ``NNC unit 4 (NNR_NDU at byte 1023)``."""
    return f"NNC unit {index} ({header.type_name} at byte {header.offset})"


@final
class NncReader:
    """Push parser of one bitstream.

    Args:
        limits: Bounds on what the bitstream may ask for.
        dimensions: Shapes by element id that earlier bitstreams gave, for blocks that omit them.

    After an error the reader refuses every further call with the same error.
    """

    __slots__ = (
        "_buffer",
        "_context",
        "_count",
        "_error",
        "_limits",
        "_offset",
        "_parts",
        "_start",
        "_taken",
    )

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        dimensions: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self._limits = limits or Limits.desktop()
        self._context = SyntaxContext.after(dimensions or {})
        self._buffer: bytes | bytearray = b""
        self._start = 0  # first byte of the buffer that no unit has used
        self._offset = 0  # of that byte in the bitstream
        self._count = 0  # units returned
        self._taken = 0  # units in the bitstream, each part of spread data being one
        self._parts = PartJoiner(self._limits)
        self._error: Exception | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Appends bytes of the bitstream.

        Raises:
            LimitExceededError: More bytes than ``max_bitstream_bytes``.
        """
        pending = len(self._buffer) - self._start
        total = self._offset + pending + len(data)
        self._limits.require("max_bitstream_bytes", total, "NNC bitstream in bytes")
        if not pending and isinstance(data, bytes):
            self._buffer = data  # a bitstream that comes whole is not copied
        else:
            if isinstance(self._buffer, bytes):
                self._buffer = bytearray(self._buffer)
            del self._buffer[: self._start]
            self._buffer += data
        self._start = 0

    def next_unit(self) -> Unit | NeedData:
        """The next unit, or ``NEED_DATA`` while it is not complete.

        Raises:
            BitstreamError: The unit, or its place in the bitstream, breaks the syntax.
            UnsupportedFeatureError: Legal but not implemented.
            LimitExceededError: A limit is exceeded.
        """
        if self._error is not None:
            raise self._error
        try:
            return self._next()
        except Exception as error:
            self._error = error
            raise

    def close(self) -> None:
        """Says that no more bytes will come.

        Raises:
            TruncatedError: The bitstream is empty, ends inside a unit or between the parts of one.
        """
        left = len(self._buffer) - self._start
        if left:
            raise TruncatedError(
                f"data ends after {left} bytes of the unit",
                unit=self._place(self._offset),
                bit=8 * left,
            )
        part = self._parts.last
        if part is not None:
            with located(self._count, part):
                self._parts.close()
        if not self._count:
            raise TruncatedError("bitstream has no units", unit="NNC unit 0 (at byte 0)", bit=0)

    def _next(self) -> Unit | NeedData:
        while (data := self._take()) is not None:
            if self._taken > self._limits.max_units:
                self._limits.require("max_units", self._taken, "NNR units")
            offset = self._offset - len(data)
            unit: Unit | None = None
            if self._parts.last is None:
                unit = parse_plain_unit(data, offset, self._context, self._limits)
            if unit is None:
                unit = self._parse(data, offset)
            if unit is None:
                continue
            self._context.note(unit)
            self._count += 1
            return unit
        return NEED_DATA

    def _parse(self, data: bytes, offset: int) -> Unit | None:
        """A unit of any kind; ``None`` while parts of it are missing."""
        try:
            header = parse_unit_header(data, offset)
        except BitstreamError as error:
            raise error.at(unit=self._place(offset)) from None
        if header.partial_data_counter is not None or self._parts.last is not None:
            with located(self._count, header):
                whole = self._parts.add(header, data)
            if whole is None:
                return None
            header, data = whole
        with located(self._count, header):
            self._check_order(header.nnr_unit_type)
            try:
                return parse_unit(data, header, self._context, self._limits)
            except NnrVideoError as error:
                refuse_rest_of_lost(header, error)
                raise

    def _take(self) -> bytes | None:
        """The bytes of the next unit, if they are all there."""
        head = bytes(self._buffer[self._start : self._start + 4])
        try:
            found = parse_unit_size(head)
        except BitstreamError as error:
            raise error.at(unit=self._place(self._offset)) from None
        if found is None:
            return None
        _, size = found
        if size > self._limits.max_unit_bytes:
            self._limits.require("max_unit_bytes", size, f"{self._place(self._offset)} in bytes")
        if len(self._buffer) - self._start < size:
            return None
        data = bytes(self._buffer[self._start : self._start + size])
        self._start += size
        self._offset += size
        self._taken += 1
        return data

    def _place(self, offset: int) -> str:
        return f"NNC unit {self._count} (at byte {offset})"

    def _check_order(self, unit_type: int) -> None:
        if unit_type == UnitType.NNR_STR:
            fault = "second start unit" if self._context.start is not None else None
        elif self._context.start is None:
            fault = "first unit is not NNR_STR"
        elif unit_type == UnitType.NNR_MPS and self._context.mps is not None:
            fault = "second model parameter set"
        else:
            fault = None
        if fault is not None:
            raise BitstreamError(fault, element="nnr_unit_type", bit=16)


def parse_units(
    data: bytes,
    limits: Limits | None = None,
    *,
    dimensions: Mapping[str, tuple[int, ...]] | None = None,
) -> list[Unit]:
    """All units of a whole bitstream.

    Args:
        data: The bitstream.
        limits: Bounds; those of a desktop if absent.
        dimensions: Shapes by element id that earlier bitstreams of the sequence gave.

    Returns:
        Units in order; ``unit.header`` has offset and size in bytes.

    Raises:
        BitstreamError: The syntax is broken; ``TruncatedError`` if the data ends inside a unit.
        UnsupportedFeatureError: Legal but not implemented.
        LimitExceededError: A limit is exceeded.
    """
    reader = NncReader(limits, dimensions=dimensions)
    reader.feed(data)
    units: list[Unit] = []
    while (unit := reader.next_unit()) is not NEED_DATA:
        units.append(unit)
    reader.close()
    return units


def write_units(
    units: Iterable[Unit],
    *,
    dimensions: Mapping[str, tuple[int, ...]] | None = None,
    max_unit_bytes: int | None = None,
) -> bytes:
    """A bitstream of ``units``; the inverse of :func:`parse_units`.

    Args:
        units: In order.
        dimensions: Shapes by element id that earlier bitstreams of the sequence gave.
        max_unit_bytes: Data that makes a larger unit is spread over several, for instance so that
            each fits a packet; None: units that were parsed are spread as they were.

    Raises:
        ValueError: A field does not fit its syntax element, or a unit cannot be as small as that.
    """
    context = SyntaxContext.after(dimensions or {})
    parts = []
    for unit in units:
        if isinstance(unit, DataUnit) and context.mps is None:
            msg = "a data unit needs a model parameter set before it"
            raise ValueError(msg)
        parts.append(write_unit(unit, context, max_unit_bytes))
        context.note(unit)
    return b"".join(parts)
