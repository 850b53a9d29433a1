# SPDX-License-Identifier: Apache-2.0
"""Picture order counts of codecs made of NAL units: what their readers share."""

from __future__ import annotations

from nnrvideo.bits import BitReader, rbsp
from nnrvideo.carriage.nal import NalFraming, split_annexb
from nnrvideo.errors import BitstreamError

# Headers end long before this; slices need not be unescaped as a whole.
HEADER_BYTES = 256
_MAX_PARAMETER_SET_BYTES = 65_536

OutputKey = tuple[int, int]  # coded video sequence, picture order count


class NalOrder:
    """What AVC, HEVC and VVC share: most significant bits of the picture order count."""

    def __init__(self, framing: NalFraming) -> None:
        self._framing = framing
        self._sequence = 0
        self._previous = 0  # PicOrderCntVal of the last reference picture of layer 0

    def parameter_sets(self, data: bytes) -> None:
        """Takes over the parameter sets in a byte stream."""
        for span in split_annexb(data):
            self._parameter_set(data[span.start : span.end])

    def key(self, au: bytes) -> OutputKey:
        """Sorting key of the next access unit."""
        for span in self._framing.split(au):
            nal = au[span.start : span.end]
            if not self._parameter_set(nal) and self._is_slice(nal):
                return self._slice(nal)
        raise BitstreamError("the access unit contains no coded slice")

    def _parameter_set(self, nal: bytes) -> bool:
        raise NotImplementedError

    def _is_slice(self, nal: bytes) -> bool:
        raise NotImplementedError

    def _slice(self, nal: bytes) -> OutputKey:
        raise NotImplementedError

    def _full_count(self, lsb: int, lsb_bits: int) -> int:
        """PicOrderCntVal from its low bits. Spec: H.264 clause 8.2.1.1; H.265 clause 8.3.1."""
        size = 1 << lsb_bits
        previous_lsb = self._previous % size
        msb = self._previous - previous_lsb
        if lsb < previous_lsb and previous_lsb - lsb >= size // 2:
            msb += size
        elif lsb > previous_lsb and lsb - previous_lsb > size // 2:
            msb -= size
        return msb + lsb


def at_most(r: BitReader, value: int, bound: int) -> int:
    """``value``, unless a parameter set must not say so much."""
    if value > bound:
        raise r.error("parameter set", f"{value} is over {bound}")
    return value


def nal_reader(nal: bytes, header_size: int) -> BitReader:
    """Reads what follows the header of a NAL unit."""
    body = nal[header_size : header_size + _MAX_PARAMETER_SET_BYTES]
    return BitReader(rbsp.unescape(body), unit="NAL unit")
