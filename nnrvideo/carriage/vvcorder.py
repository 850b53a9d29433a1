# SPDX-License-Identifier: Apache-2.0
"""Picture order counts of VVC."""

from __future__ import annotations

from typing import final

from nnrvideo.bits import BitReader
from nnrvideo.carriage.nal import NalFraming
from nnrvideo.carriage.nalorder import HEADER_BYTES, NalOrder, OutputKey, at_most, nal_reader

_RADL, _RASL, _IDR, _CRA, _GDR = 2, 3, (7, 8), 9, 10
_SPS, _PPS, _PICTURE_HEADER, _END_OF_SEQUENCE = 15, 16, 19, 21
_CONSTRAINT_BITS = 71  # of general_constraints_info() before gci_num_additional_bits
_MAX_SUBPICTURES = 600  # Spec: H.266 Table A.1, MaxSlicesPerAu of the highest level


@final
class VvcOrder(NalOrder):
    """Spec: Rec. ITU-T H.266 (09/2023) clauses 7.3.2.4, 7.3.2.5, 7.3.2.8, 8.3.1."""

    def __init__(self, framing: NalFraming) -> None:
        super().__init__(framing)
        self._lsb_bits: dict[int, int] = {}  # by sps_seq_parameter_set_id
        self._sps_of_pps: dict[int, int] = {}
        self._picture_type = -1
        self._begins = True  # nothing, or an end of sequence, precedes the next picture

    def key(self, au: bytes) -> OutputKey:
        """Sorting key of the next access unit."""
        spans = self._framing.split(au)
        kinds = [au[s.start + 1] >> 3 for s in spans if s.end - s.start >= 2]
        self._picture_type = next((kind for kind in kinds if kind <= _GDR), -1)
        try:
            return super().key(au)
        finally:
            self._begins = _END_OF_SEQUENCE in kinds or (
                self._begins and self._picture_type not in (*_IDR, _CRA, _GDR)
            )

    def _parameter_set(self, nal: bytes) -> bool:
        if len(nal) <= 2 or nal[0] & 0x3F:
            return True  # of another layer, or no NAL unit
        kind = nal[1] >> 3
        if kind == _SPS:
            self._read_sps(nal_reader(nal, 2))
        elif kind == _PPS:
            r = nal_reader(nal, 2)
            pps = r.u("pps_pic_parameter_set_id", 6)
            self._sps_of_pps[pps] = r.u("pps_seq_parameter_set_id", 4)
        return kind in (_SPS, _PPS)

    def _is_slice(self, nal: bytes) -> bool:
        # Either holds the picture header; it comes first where it has a NAL unit of its own.
        return nal[1] >> 3 <= _GDR or nal[1] >> 3 == _PICTURE_HEADER

    def _slice(self, nal: bytes) -> OutputKey:
        kind, temporal_id = self._picture_type, (nal[1] & 7) - 1
        r = nal_reader(nal[:HEADER_BYTES], 2)
        if nal[1] >> 3 != _PICTURE_HEADER and not r.flag("sh_picture_header_in_slice_header_flag"):
            raise r.error("sh_picture_header_in_slice_header_flag", "the picture header is missing")
        gdr_or_irap = r.flag("ph_gdr_or_irap_pic_flag")
        non_reference = r.flag("ph_non_ref_pic_flag")
        if gdr_or_irap:
            r.flag("ph_gdr_pic_flag")
        if r.flag("ph_inter_slice_allowed_flag"):
            r.flag("ph_intra_slice_allowed_flag")
        bits = self._lsb_bits.get(self._sps_of_pps.get(r.ue("ph_pic_parameter_set_id"), -1))
        if bits is None:
            raise r.error("ph_pic_parameter_set_id", "no such parameter set")
        lsb = r.u("ph_pic_order_cnt_lsb", bits)
        if kind in _IDR or (self._begins and kind in (_CRA, _GDR)):
            self._sequence += 1
            count = lsb
        else:
            count = self._full_count(lsb, bits)
        if temporal_id == 0 and not non_reference and kind not in (_RADL, _RASL):
            self._previous = count
        return self._sequence, count

    def _read_sps(self, r: BitReader) -> None:
        sps_id = r.u("sps_seq_parameter_set_id", 4)
        r.u("sps_video_parameter_set_id", 4)
        max_sublayers_minus1 = r.u("sps_max_sublayers_minus1", 3)
        r.u("sps_chroma_format_idc", 2)
        ctb_size = 32 << at_most(r, r.u("sps_log2_ctu_size_minus5", 2), 2)
        if r.flag("sps_ptl_dpb_hrd_params_present_flag"):
            _skip_profile_tier_level(r, max_sublayers_minus1)
        r.flag("sps_gdr_enabled_flag")
        if r.flag("sps_ref_pic_resampling_enabled_flag"):
            r.flag("sps_res_change_in_clvs_allowed_flag")
        width = r.ue("sps_pic_width_max_in_luma_samples")
        height = r.ue("sps_pic_height_max_in_luma_samples")
        if r.flag("sps_conformance_window_flag"):
            for side in ("left", "right", "top", "bottom"):
                r.ue(f"sps_conf_win_{side}_offset")
        if r.flag("sps_subpic_info_present_flag"):
            _skip_subpictures(r, -(-width // ctb_size), -(-height // ctb_size))
        r.ue("sps_bitdepth_minus8")
        r.flag("sps_entropy_coding_sync_enabled_flag")
        r.flag("sps_entry_point_offsets_present_flag")
        self._lsb_bits[sps_id] = at_most(r, r.u("sps_log2_max_pic_order_cnt_lsb_minus4", 4), 12) + 4


def _skip_profile_tier_level(r: BitReader, max_sublayers_minus1: int) -> None:
    """Spec: H.266 clauses 7.3.3.1, 7.3.3.2."""
    r.u("general_profile_idc, general_tier_flag, general_level_idc", 16)
    r.u("ptl_frame_only_constraint_flag, ptl_multilayer_enabled_flag", 2)
    if r.flag("gci_present_flag"):
        _skip(r, _CONSTRAINT_BITS)
        _skip(r, r.u("gci_num_additional_bits", 8))
    r.align_zero("gci_alignment_zero_bit")
    present = [r.flag("ptl_sublayer_level_present_flag") for _ in range(max_sublayers_minus1)]
    r.align_zero("ptl_reserved_zero_bit")
    _skip(r, 8 * sum(present))  # sublayer_level_idc
    _skip(r, 32 * r.u("ptl_num_sub_profiles", 8))


def _skip_subpictures(r: BitReader, columns: int, rows: int) -> None:
    """Spec: H.266 clause 7.3.2.4; positions and sizes count coding tree units."""
    last = at_most(r, r.ue("sps_num_subpics_minus1"), _MAX_SUBPICTURES)
    x_bits, y_bits = (max(0, size - 1).bit_length() for size in (columns, rows))
    if last:
        independent = r.flag("sps_independent_subpics_flag")
        same_size = r.flag("sps_subpic_same_size_flag")
        for i in range(last + 1):
            if not same_size or i == 0:
                if i > 0:
                    _skip(r, x_bits + y_bits)  # sps_subpic_ctu_top_left_x, _y
                if i < last:
                    _skip(r, x_bits + y_bits)  # sps_subpic_width_minus1, _height_minus1
            if not independent:
                _skip(r, 2)  # treated as picture, loop filter across
    id_bits = at_most(r, r.ue("sps_subpic_id_len_minus1"), 15) + 1
    explicit = r.flag("sps_subpic_id_mapping_explicitly_signalled_flag")
    if explicit and r.flag("sps_subpic_id_mapping_present_flag"):
        _skip(r, id_bits * (last + 1))


def _skip(r: BitReader, count: int) -> None:
    for done in range(0, count, 32):
        r.u("parameter set", min(32, count - done))
