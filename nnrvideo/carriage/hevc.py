# SPDX-License-Identifier: Apache-2.0
"""HEVC: prefix SEI is NAL unit type 39; the configuration record (hvcC) may hold some as well."""

from __future__ import annotations

from typing import final

from nnrvideo.carriage.base import register
from nnrvideo.carriage.nal import NalSpan
from nnrvideo.carriage.nalrecord import RecordedNalCarriage
from nnrvideo.errors import TruncatedError

_VCL_TYPES = range(32)
_BLA_AND_IDR = range(16, 21)
_CRA = 21
_END_OF_SEQUENCE = 36
_END_OF_BITSTREAM = 37
_PREFIX_SEI = 39
_SUFFIX_SEI = 40

_HVCC_FIXED_BYTES = 23  # up to and including numOfArrays
_HVCC_LENGTH_SIZE = 21
_HVCC_NUM_ARRAYS = 22


@final
class HevcCarriage(RecordedNalCarriage):
    """SEI in H.265 streams.

    Spec: Rec. ITU-T H.265 (07/2024) clauses 7.3.1.2, 7.4.2.4.4; ISO/IEC 14496-15 clause 8.3.3.1.
    """

    codec_name = "hevc"
    header_size = 2
    end_types = frozenset({_END_OF_SEQUENCE, _END_OF_BITSTREAM})
    record_name = "hvcC"

    def is_clvs_start(self, au: bytes, *, first: bool = False) -> bool:
        """IDR and BLA pictures, and a CRA picture where decoding begins (NoRaslOutputFlag 1)."""
        kind = self._picture_type(au)
        return kind in _BLA_AND_IDR or (first and kind == _CRA)

    def is_random_access(self, au: bytes) -> bool:
        """An IRAP picture: BLA, IDR or CRA."""
        kind = self._picture_type(au)
        return kind in _BLA_AND_IDR or kind == _CRA

    def _picture_type(self, au: bytes) -> int:
        """nal_unit_type of the first coded slice of the base layer, or -1."""
        for span in self._framing.split(au):
            if self._is_vcl(au, span) and self._layer(au, span) == 0:
                return self._type(au, span)
        return -1

    def _length_size(self, record: bytes) -> int:
        if len(record) < _HVCC_FIXED_BYTES:
            raise TruncatedError(
                f"hvcC of {len(record)} bytes", element="lengthSizeMinusOne", unit="hvcC"
            )
        return (record[_HVCC_LENGTH_SIZE] & 3) + 1

    def _arrays_at(self, record: bytes) -> int:
        del record  # long enough: its length field has been read
        return _HVCC_NUM_ARRAYS

    def _array_type(self, header: int) -> int:
        return header & 0x3F

    def _type(self, au: bytes, span: NalSpan) -> int:
        return (au[span.start] >> 1) & 0x3F

    def _layer(self, au: bytes, span: NalSpan) -> int:
        """nuh_layer_id; a NAL unit without a whole header counts as not of the base layer."""
        if span.end - span.start < self.header_size:
            return -1
        return (au[span.start] & 1) << 5 | au[span.start + 1] >> 3

    def _is_sei(self, au: bytes, span: NalSpan) -> bool:
        kind = self._type(au, span)
        return kind in (_PREFIX_SEI, _SUFFIX_SEI) and self._layer(au, span) == 0

    def _is_vcl(self, au: bytes, span: NalSpan) -> bool:
        return self._type(au, span) in _VCL_TYPES and self._layer(au, span) >= 0

    def _sei_header(self, au: bytes, vcl: NalSpan) -> bytes:
        # Layer 0; TemporalId is that of the access unit.
        temporal_id_plus1 = au[vcl.start + 1] & 7
        return bytes([_PREFIX_SEI << 1, temporal_id_plus1 or 1])


register("hevc")(HevcCarriage)
