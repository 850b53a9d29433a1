# SPDX-License-Identifier: Apache-2.0
"""Configuration records with arrays of NAL units, SEI among them: hvcC and vvcC.

The fixed part of a record differs from codec to codec; the arrays behind it do not.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from nnrvideo.carriage.base import FILTER_PAYLOAD_TYPES
from nnrvideo.carriage.nal import START_CODE, is_annexb
from nnrvideo.carriage.nalcarriage import NalCarriage
from nnrvideo.errors import TruncatedError


class _Array(NamedTuple):
    """One array of NAL units."""

    header: int  # array_completeness, reserved bits, NAL_unit_type
    units: list[bytes]


class RecordedNalCarriage(NalCarriage):
    """Carriage of a codec whose configuration record holds arrays of NAL units."""

    record_name: ClassVar[str]
    single_unit_types: ClassVar[frozenset[int]] = frozenset()  # arrays without a count

    @abstractmethod
    def _arrays_at(self, record: bytes) -> int:
        """Byte offset of the number of arrays; it lies inside the record.

        Raises:
            TruncatedError: The record ends before it.
        """

    @abstractmethod
    def _array_type(self, header: int) -> int:
        """nal_unit_type from the first byte of an array."""

    def strip_configuration(self, payload_types: frozenset[int] = FILTER_PAYLOAD_TYPES) -> bytes:
        """The record without messages of some types; an array that becomes empty goes."""
        if is_annexb(self._extradata):
            return super().strip_configuration(payload_types)
        view = self._annexb_view()
        arrays = []
        for array in self._arrays():
            stripped = [view.strip(START_CODE + unit, payload_types) for unit in array.units]
            units = [unit[len(START_CODE) :] for unit in stripped if unit]
            if units:
                arrays.append(_Array(array.header, units))
        record = bytearray(self._extradata[: self._arrays_at(self._extradata)])
        record.append(len(arrays))
        for array in arrays:
            record.append(array.header)
            if self._array_type(array.header) not in self.single_unit_types:
                record += len(array.units).to_bytes(2, "big")
            for unit in array.units:
                record += len(unit).to_bytes(2, "big") + unit
        return bytes(record)

    def _configuration_units(self) -> Iterator[bytes]:
        if is_annexb(self._extradata):
            yield from super()._configuration_units()
            return
        for array in self._arrays():
            yield from filter(None, array.units)

    def _arrays(self) -> list[_Array]:
        """NAL unit arrays of the record.

        Raises:
            TruncatedError: The record ends inside one.
        """
        record = self._extradata
        position = self._arrays_at(record)
        arrays = []
        count = record[position]
        position += 1
        for _ in range(count):
            header = self._field(position, 1)
            position += 1
            units, single = [], self._array_type(header) in self.single_unit_types
            if not single:
                position += 2
            for _ in range(1 if single else self._field(position - 2, 2)):
                length = self._field(position, 2)
                position += 2
                if length > len(record) - position:
                    raise TruncatedError(
                        f"a NAL unit of {length} bytes is announced, "
                        f"{len(record) - position} are left",
                        element="nalUnitLength",
                        bit=8 * (position - 2),
                        unit=self.record_name,
                    )
                units.append(record[position : position + length])
                position += length
            arrays.append(_Array(header, units))
        return arrays

    def _field(self, position: int, size: int) -> int:
        record = self._extradata
        if position + size > len(record):
            raise TruncatedError(
                "the record ends inside an array", bit=8 * position, unit=self.record_name
            )
        return int.from_bytes(record[position : position + size], "big")
