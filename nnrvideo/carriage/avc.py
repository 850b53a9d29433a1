# SPDX-License-Identifier: Apache-2.0
"""AVC: SEI is NAL unit type 6; the configuration record (avcC) has no place for it."""

from __future__ import annotations

from typing import final

from nnrvideo.carriage.base import register
from nnrvideo.carriage.nal import NalSpan
from nnrvideo.carriage.nalcarriage import NalCarriage
from nnrvideo.errors import NnrVideoError, TruncatedError

_SLICE_IDR = 5
_SEI = 6
_END_OF_SEQUENCE = 10
_END_OF_STREAM = 11
# Slices, data partitions, and the prefix and extension NAL units that must stay glued to them.
_CODED = frozenset({1, 2, 3, 4, _SLICE_IDR, 14, 20, 21})
_RECOVERY_POINT = 6  # payloadType

_AVCC_MIN_BYTES = 7


@final
class AvcCarriage(NalCarriage):
    """SEI in H.264 streams.

    Spec: Rec. ITU-T H.264 (08/2024) clauses 7.3.1, 7.4.1.2.3; ISO/IEC 14496-15 clause 5.3.3.1.
    """

    codec_name = "h264"
    header_size = 1
    end_types = frozenset({_END_OF_SEQUENCE, _END_OF_STREAM})

    def is_clvs_start(self, au: bytes, *, first: bool = False) -> bool:
        """An IDR picture starts a coded video sequence.

        An intra picture with a recovery point does not: messages persist across it. Only where
        decoding begins there does nothing precede it.
        """
        return self._has_idr(au) or (first and self.is_random_access(au))

    def is_random_access(self, au: bytes) -> bool:
        """IDR picture, or a recovery point SEI message."""
        if self._has_idr(au):
            return True
        try:
            return any(m.payload_type == _RECOVERY_POINT for m in self.messages(au))
        except NnrVideoError:
            return False

    def _has_idr(self, au: bytes) -> bool:
        return any(self._type(au, span) == _SLICE_IDR for span in self._framing.split(au))

    def _length_size(self, record: bytes) -> int:
        if len(record) < _AVCC_MIN_BYTES:
            raise TruncatedError(
                f"avcC of {len(record)} bytes", element="lengthSizeMinusOne", unit="avcC"
            )
        return (record[4] & 3) + 1

    def _type(self, au: bytes, span: NalSpan) -> int:
        return au[span.start] & 0x1F

    def _is_sei(self, au: bytes, span: NalSpan) -> bool:
        return self._type(au, span) == _SEI

    def _is_vcl(self, au: bytes, span: NalSpan) -> bool:
        return self._type(au, span) in _CODED

    def _sei_header(self, au: bytes, vcl: NalSpan) -> bytes:
        del au, vcl  # nal_ref_idc is 0 for any SEI
        return bytes([_SEI])


register("h264")(AvcCarriage)
