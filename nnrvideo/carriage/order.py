# SPDX-License-Identifier: Apache-2.0
"""Output order of access units, for byte streams that carry no timestamps.

Picture order counts are read from parameter sets and slice headers; nothing is decoded.  Only
as much of the syntax is read as lies before the picture order count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

from nnrvideo.bits import BitReader, rbsp
from nnrvideo.carriage.nal import NalFraming, is_annexb, split_annexb
from nnrvideo.errors import BitstreamError

# Headers end long before this; slices need not be unescaped as a whole.
_HEADER_BYTES = 256
_MAX_PARAMETER_SET_BYTES = 65_536
_MAX_LIST = 256  # any loop count in a parameter set

OutputKey = tuple[int, int]  # coded video sequence, picture order count


class PictureOrder(Protocol):
    """Reads where access units stand in output order; keeps state in decoding order."""

    def key(self, au: bytes) -> OutputKey:
        """Sorting key of the next access unit.

        Raises:
            BitstreamError: Its headers cannot be read.
        """


def picture_order(
    codec_name: str, extradata: bytes = b"", framing: NalFraming | None = None
) -> PictureOrder | None:
    """Finds the reader for a codec.

    Args:
        codec_name: libavcodec's name.
        extradata: Annex B parameter sets, if any lie outside the access units.
        framing: Of the access units; start codes if absent.

    Returns:
        None for a codec without one, or when parameter sets are packed in another way.
    """
    if not is_annexb(extradata):
        return None
    kinds: dict[str, type[_NalOrder]] = {"h264": _AvcOrder, "hevc": _HevcOrder}
    kind = kinds.get(codec_name)
    if kind is None:
        return None
    order = kind(framing or NalFraming())
    try:
        order.parameter_sets(extradata)
    except BitstreamError:
        # The same sets come again in band, or key() will complain.
        pass
    return order


class _NalOrder:
    """What AVC and HEVC share: most significant bits of the picture order count."""

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


@final
@dataclass(frozen=True, slots=True)
class _AvcSps:
    separate_colour_plane_flag: bool
    log2_max_frame_num: int
    pic_order_cnt_type: int
    log2_max_pic_order_cnt_lsb: int
    frame_mbs_only_flag: bool


class _AvcOrder(_NalOrder):
    """Spec: Rec. ITU-T H.264 (08/2024) clauses 7.3.2.1.1, 7.3.2.2, 7.3.3."""

    _HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})

    def __init__(self, framing: NalFraming) -> None:
        super().__init__(framing)
        self._sps: dict[int, _AvcSps] = {}
        self._sps_of_pps: dict[int, int] = {}
        self._decoding_index = 0

    def _parameter_set(self, nal: bytes) -> bool:
        kind = nal[0] & 0x1F
        if kind == 7:
            self._read_sps(_reader(nal, 1))
        elif kind == 8:
            reader = _reader(nal, 1)
            pps = reader.ue("pic_parameter_set_id")
            self._sps_of_pps[pps] = reader.ue("seq_parameter_set_id")
        return kind in (7, 8)

    def _is_slice(self, nal: bytes) -> bool:
        return nal[0] & 0x1F in (1, 2, 5)

    def _slice(self, nal: bytes) -> OutputKey:
        r = _reader(nal[:_HEADER_BYTES], 1)
        r.ue("first_mb_in_slice")
        r.ue("slice_type")
        sps = self._sps.get(self._sps_of_pps.get(r.ue("pic_parameter_set_id"), -1))
        if sps is None:
            raise r.error("pic_parameter_set_id", "no such parameter set")
        idr = nal[0] & 0x1F == 5
        if idr:
            self._sequence += 1
            self._previous = 0
            self._decoding_index = 0
        self._decoding_index += 1
        if sps.pic_order_cnt_type != 0:
            # Type 2 means decoding order; type 1, which no common encoder writes, is taken so.
            return self._sequence, self._decoding_index
        if sps.separate_colour_plane_flag:
            r.u("colour_plane_id", 2)
        r.u("frame_num", sps.log2_max_frame_num)
        if not sps.frame_mbs_only_flag and r.flag("field_pic_flag"):
            r.flag("bottom_field_flag")
        if idr:
            r.ue("idr_pic_id")
        bits = sps.log2_max_pic_order_cnt_lsb
        count = self._full_count(r.u("pic_order_cnt_lsb", bits), bits)
        if nal[0] >> 5 & 3:
            self._previous = count
        return self._sequence, count

    def _read_sps(self, r: BitReader) -> None:
        profile_idc = r.u("profile_idc", 8)
        r.u("constraint_set_flags", 8)
        r.u("level_idc", 8)
        sps_id = r.ue("seq_parameter_set_id")
        separate = False
        if profile_idc in self._HIGH_PROFILES:
            chroma_format_idc = r.ue("chroma_format_idc")
            if chroma_format_idc == 3:
                separate = r.flag("separate_colour_plane_flag")
            r.ue("bit_depth_luma_minus8")
            r.ue("bit_depth_chroma_minus8")
            r.flag("qpprime_y_zero_transform_bypass_flag")
            if r.flag("seq_scaling_matrix_present_flag"):
                for i in range(12 if chroma_format_idc == 3 else 8):
                    if r.flag("seq_scaling_list_present_flag"):
                        _skip_scaling_list(r, 16 if i < 6 else 64)
        log2_max_frame_num = _at_most(r, r.ue("log2_max_frame_num_minus4"), 12) + 4
        kind = r.ue("pic_order_cnt_type")
        log2_lsb = 0
        if kind == 0:
            log2_lsb = _at_most(r, r.ue("log2_max_pic_order_cnt_lsb_minus4"), 12) + 4
        elif kind == 1:
            r.flag("delta_pic_order_always_zero_flag")
            r.se("offset_for_non_ref_pic")
            r.se("offset_for_top_to_bottom_field")
            for _ in range(_at_most(r, r.ue("num_ref_frames_in_pic_order_cnt_cycle"), _MAX_LIST)):
                r.se("offset_for_ref_frame")
        r.ue("max_num_ref_frames")
        r.flag("gaps_in_frame_num_value_allowed_flag")
        r.ue("pic_width_in_mbs_minus1")
        r.ue("pic_height_in_map_units_minus1")
        self._sps[sps_id] = _AvcSps(
            separate, log2_max_frame_num, kind, log2_lsb, r.flag("frame_mbs_only_flag")
        )


@final
@dataclass(frozen=True, slots=True)
class _HevcPps:
    sps_id: int
    output_flag_present_flag: bool
    num_extra_slice_header_bits: int


class _HevcOrder(_NalOrder):
    """Spec: Rec. ITU-T H.265 (07/2024) clauses 7.3.2.2, 7.3.2.3, 7.3.6.1."""

    def __init__(self, framing: NalFraming) -> None:
        super().__init__(framing)
        self._sps: dict[int, tuple[bool, int]] = {}  # separate_colour_plane_flag, log2 of lsb
        self._pps: dict[int, _HevcPps] = {}

    def _parameter_set(self, nal: bytes) -> bool:
        kind = nal[0] >> 1 & 0x3F
        if kind in (33, 34) and (len(nal) < 2 or nal[0] & 1 or nal[1] >> 3):
            return True  # of another layer
        if kind == 33:
            self._read_sps(_reader(nal, 2))
        elif kind == 34:
            r = _reader(nal, 2)
            pps, sps = r.ue("pps_pic_parameter_set_id"), r.ue("pps_seq_parameter_set_id")
            r.flag("dependent_slice_segments_enabled_flag")
            self._pps[pps] = _HevcPps(
                sps, r.flag("output_flag_present_flag"), r.u("num_extra_slice_header_bits", 3)
            )
        return kind in (33, 34)

    def _is_slice(self, nal: bytes) -> bool:
        return len(nal) > 2 and nal[0] >> 1 & 0x3F < 32 and not (nal[0] & 1 or nal[1] >> 3)

    def _slice(self, nal: bytes) -> OutputKey:
        kind, temporal_id = nal[0] >> 1 & 0x3F, (nal[1] & 7) - 1
        r = _reader(nal[:_HEADER_BYTES], 2)
        if not r.flag("first_slice_segment_in_pic_flag"):
            raise r.error("first_slice_segment_in_pic_flag", "the first slice is missing")
        if 16 <= kind <= 23:
            r.flag("no_output_of_prior_pics_flag")
        pps = self._pps.get(r.ue("slice_pic_parameter_set_id"))
        sps = None if pps is None else self._sps.get(pps.sps_id)
        if pps is None or sps is None:
            raise r.error("slice_pic_parameter_set_id", "no such parameter set")
        if 16 <= kind <= 20:
            self._sequence += 1
            self._previous = 0
        if kind in (19, 20):
            return self._sequence, 0
        r.u("slice_reserved_flag", pps.num_extra_slice_header_bits)
        r.ue("slice_type")
        if pps.output_flag_present_flag:
            r.flag("pic_output_flag")
        if sps[0]:
            r.u("colour_plane_id", 2)
        lsb = r.u("slice_pic_order_cnt_lsb", sps[1])
        count = lsb if kind in (16, 17, 18) else self._full_count(lsb, sps[1])
        sub_layer_non_reference = kind < 16 and kind % 2 == 0
        leading = 6 <= kind <= 9
        if temporal_id == 0 and not sub_layer_non_reference and not leading:
            self._previous = count
        return self._sequence, count

    def _read_sps(self, r: BitReader) -> None:
        r.u("sps_video_parameter_set_id", 4)
        max_sub_layers_minus1 = r.u("sps_max_sub_layers_minus1", 3)
        r.flag("sps_temporal_id_nesting_flag")
        _skip_profile_tier_level(r, max_sub_layers_minus1)
        sps_id = r.ue("sps_seq_parameter_set_id")
        separate = r.ue("chroma_format_idc") == 3 and r.flag("separate_colour_plane_flag")
        r.ue("pic_width_in_luma_samples")
        r.ue("pic_height_in_luma_samples")
        if r.flag("conformance_window_flag"):
            for side in ("left", "right", "top", "bottom"):
                r.ue(f"conf_win_{side}_offset")
        r.ue("bit_depth_luma_minus8")
        r.ue("bit_depth_chroma_minus8")
        log2_lsb = _at_most(r, r.ue("log2_max_pic_order_cnt_lsb_minus4"), 12) + 4
        self._sps[sps_id] = separate, log2_lsb


def _skip_profile_tier_level(r: BitReader, max_sub_layers_minus1: int) -> None:
    """Spec: H.265 clause 7.3.3."""
    r.u("general_profile", 32)
    r.u("general_profile", 32)
    r.u("general_profile", 24)
    r.u("general_level_idc", 8)
    present = [
        (r.flag("sub_layer_profile_present_flag"), r.flag("sub_layer_level_present_flag"))
        for _ in range(max_sub_layers_minus1)
    ]
    if max_sub_layers_minus1:
        r.u("reserved_zero_2bits", 2 * (8 - max_sub_layers_minus1))
    for profile, level in present:
        if profile:
            for bits in (32, 32, 24):
                r.u("sub_layer_profile", bits)
        if level:
            r.u("sub_layer_level_idc", 8)


def _skip_scaling_list(r: BitReader, size: int) -> None:
    """Spec: H.264 clause 7.3.2.1.1.1."""
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + r.se("delta_scale") + 256) % 256
        last = following or last


def _at_most(r: BitReader, value: int, bound: int) -> int:
    if value > bound:
        raise r.error("parameter set", f"{value} is over {bound}")
    return value


def _reader(nal: bytes, header_size: int) -> BitReader:
    body = nal[header_size : header_size + _MAX_PARAMETER_SET_BYTES]
    return BitReader(rbsp.unescape(body), unit="NAL unit")
