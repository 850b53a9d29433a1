# SPDX-License-Identifier: Apache-2.0
"""VVC: prefix SEI is NAL unit type 23; the configuration record (vvcC) may hold some as well."""

from __future__ import annotations

from typing import final

from nnrvideo.carriage.base import register
from nnrvideo.carriage.nal import NalSpan
from nnrvideo.carriage.nalrecord import RecordedNalCarriage
from nnrvideo.errors import TruncatedError

_VCL_TYPES = range(12)
_IDR = frozenset({7, 8})
_CRA = 9
_GDR = 10
_OPI = 12
_DCI = 13
_PICTURE_HEADER = 19
_END_OF_SEQUENCE = 21
_END_OF_BITSTREAM = 22
_PREFIX_SEI = 23
_SUFFIX_SEI = 24

# vvcC from its second byte on, where ptl_present_flag is set: ols_idx, num_sublayers,
# constant_frame_rate, chroma_format_idc (2 bytes), bit_depth_minus8 (1), then VvcPTLRecord.
_VVCC_PTL = 4
_VVCC_PICTURE_BYTES = 6  # max_picture_width, max_picture_height, avg_frame_rate


@final
class VvcCarriage(RecordedNalCarriage):
    """SEI in H.266 streams.

    Spec: Rec. ITU-T H.266 (09/2023) clauses 7.3.1.2, 7.4.2.4; ISO/IEC 14496-15 clause 11.2.4.2.
    """

    codec_name = "vvc"
    header_size = 2
    end_types = frozenset({_END_OF_SEQUENCE, _END_OF_BITSTREAM})
    record_name = "vvcC"
    single_unit_types = frozenset({_OPI, _DCI})

    def is_clvs_start(self, au: bytes, *, first: bool = False) -> bool:
        """IDR pictures; CRA and GDR pictures where decoding begins.

        There NoOutputBeforeRecoveryFlag is 1, and only there.
        """
        kind = self._picture_type(au)
        return kind in _IDR or (first and kind in (_CRA, _GDR))

    def is_random_access(self, au: bytes) -> bool:
        """An IRAP picture, or one where gradual decoding refresh begins."""
        kind = self._picture_type(au)
        return kind in _IDR or kind in (_CRA, _GDR)

    def next_begins(self, data: bytes) -> int:
        """Where the next access unit begins in bytes that were taken for one.

        Prefix SEI never follows the coded slices of its own access unit, but libavcodec's parser
        splits before the next access unit delimiter, parameter set or slice only.

        Returns:
            Byte offset of the first prefix SEI behind the last coded slice; the length of the
            data if there is none.
        """
        begin = len(data)
        for span in reversed(self._framing.split(data)):
            kind = self._type(data, span)
            if kind in _VCL_TYPES:
                break
            if kind == _PREFIX_SEI:
                begin = span.begin
        else:
            return len(data)  # nothing but SEI: whose ever it is, there is nothing to split off
        return begin

    def _picture_type(self, au: bytes) -> int:
        """nal_unit_type of the first coded slice, or -1."""
        for span in self._framing.split(au):
            if self._type(au, span) in _VCL_TYPES:
                return self._type(au, span)
        return -1

    def _length_size(self, record: bytes) -> int:
        return (record[0] >> 1 & 3) + 1

    def _arrays_at(self, record: bytes) -> int:
        """Skips what vvcC says of profile, tier and level, whose size varies."""
        position = 1
        if record[0] & 1:  # ptl_present_flag
            num_sublayers = self._field(1, 2) >> 4 & 7
            position = _VVCC_PTL
            # general_profile_idc, general_tier_flag, general_level_idc and the constraints
            position += 1 + 2 + (self._field(position, 1) & 0x3F)
            if num_sublayers > 1:
                present = self._field(position, 1) >> (9 - num_sublayers)
                position += 1 + present.bit_count()
            position += 1 + 4 * self._field(position, 1)  # sub-profiles
            position += _VVCC_PICTURE_BYTES
        if position >= len(record):
            raise TruncatedError(
                f"vvcC of {len(record)} bytes", element="num_of_arrays", unit="vvcC"
            )
        return position

    def _array_type(self, header: int) -> int:
        return header & 0x1F

    def _type(self, au: bytes, span: NalSpan) -> int:
        """nal_unit_type; -1 for a NAL unit without a whole header."""
        if span.end - span.start < self.header_size:
            return -1
        return au[span.start + 1] >> 3

    def _layer(self, au: bytes, span: NalSpan) -> int:
        return au[span.start] & 0x3F

    def _is_sei(self, au: bytes, span: NalSpan) -> bool:
        kind = self._type(au, span)
        return kind in (_PREFIX_SEI, _SUFFIX_SEI) and self._layer(au, span) == 0

    def _is_vcl(self, au: bytes, span: NalSpan) -> bool:
        # A picture header belongs to the slices that follow it.
        kind = self._type(au, span)
        return kind in _VCL_TYPES or kind == _PICTURE_HEADER

    def _sei_header(self, au: bytes, vcl: NalSpan) -> bytes:
        # Layer 0; TemporalId is that of the access unit.
        temporal_id_plus1 = au[vcl.start + 1] & 7
        return bytes([0, _PREFIX_SEI << 3 | (temporal_id_plus1 or 1)])


register("vvc")(VvcCarriage)
