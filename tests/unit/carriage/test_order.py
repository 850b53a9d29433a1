# SPDX-License-Identifier: Apache-2.0
"""Picture order of VVC, with parameter sets that no encoder at hand writes."""

from __future__ import annotations

import pytest

from nnrvideo.bits import BitWriter, rbsp
from nnrvideo.carriage import picture_order
from nnrvideo.errors import BitstreamError

CODE = b"\0\0\0\1"
TRAIL, RADL, RASL, IDR, CRA, EOS = 0, 2, 3, 7, 9, 21


class Bits(BitWriter):
    """A writer that is told the names of what it writes."""

    def put(self, name: str, n: int, value: int) -> None:
        self.u(int(value), n)

    def golomb(self, name: str, value: int) -> None:
        self.ue(value)


def nal(kind: int, bits: Bits, temporal_id: int = 0) -> bytes:
    bits.put("rbsp_stop_one_bit", 1, 1)
    bits.align_zero()
    return CODE + bytes([0, kind << 3 | temporal_id + 1]) + rbsp.escape(bits.to_bytes())


def sps(*, constraints: bool = False, sublayers: int = 1, subpictures: str = "") -> bytes:
    w = Bits()
    w.put("ids", 8, 0)
    w.put("sps_max_sublayers_minus1", 3, sublayers - 1)
    w.put("chroma", 2, 1)
    w.put("sps_log2_ctu_size_minus5", 2, 1)  # 64
    w.put("sps_ptl_dpb_hrd_params_present_flag", 1, 1)
    w.put("profile, tier, level", 16, 0x0233)
    w.put("frame only, multilayer", 2, 2)
    w.put("gci_present_flag", 1, constraints)
    if constraints:
        for _ in range(71):
            w.put("gci", 1, 1)
        w.put("gci_num_additional_bits", 8, 6)
        w.put("gci", 6, 63)
    w.align_zero()
    for _ in range(sublayers - 1):
        w.put("ptl_sublayer_level_present_flag", 1, 1)
    w.align_zero()
    for _ in range(sublayers - 1):
        w.put("sublayer_level_idc", 8, 0xFF)
    w.put("ptl_num_sub_profiles", 8, 1)
    w.put("general_sub_profile_idc", 32, 0xDEADBEEF)
    w.put("sps_gdr_enabled_flag", 1, 1)
    w.put("sps_ref_pic_resampling_enabled_flag", 1, 1)
    w.put("sps_res_change_in_clvs_allowed_flag", 1, 1)
    w.golomb("width", 640)  # 10 coding tree units
    w.golomb("height", 64)  # 1
    w.put("sps_conformance_window_flag", 1, 1)
    for _ in range(4):
        w.golomb("sps_conf_win_offset", 3)
    w.put("sps_subpic_info_present_flag", 1, bool(subpictures))
    if subpictures:
        same, independent = subpictures == "same", subpictures == "independent"
        w.golomb("sps_num_subpics_minus1", 2)
        w.put("sps_independent_subpics_flag", 1, independent)
        w.put("sps_subpic_same_size_flag", 1, same)
        for i in range(3):
            if not same or i == 0:
                if i > 0:
                    w.put("sps_subpic_ctu_top_left_x", 4, 15)
                if i < 2:
                    w.put("sps_subpic_width_minus1", 4, 15)
            if not independent:
                w.put("flags", 2, 3)
        w.golomb("sps_subpic_id_len_minus1", 4)
        w.put("sps_subpic_id_mapping_explicitly_signalled_flag", 1, 1)
        w.put("sps_subpic_id_mapping_present_flag", 1, 1)
        for _ in range(3):
            w.put("sps_subpic_id", 5, 31)
    w.golomb("sps_bitdepth_minus8", 2)
    w.put("flags", 2, 3)
    w.put("sps_log2_max_pic_order_cnt_lsb_minus4", 4, 0)  # 16 values
    return nal(15, w)


def pps() -> bytes:
    w = Bits()
    w.put("pps_pic_parameter_set_id", 6, 5)
    w.put("pps_seq_parameter_set_id", 4, 0)
    return nal(16, w)


def picture(kind: int, lsb: int, *, own_header: bool = False, temporal_id: int = 0) -> bytes:
    w = Bits()
    irap = kind in (IDR, CRA)
    if not own_header:
        w.put("sh_picture_header_in_slice_header_flag", 1, 1)
    w.put("ph_gdr_or_irap_pic_flag", 1, irap)
    w.put("ph_non_ref_pic_flag", 1, 0)
    if irap:
        w.put("ph_gdr_pic_flag", 1, 0)
    w.put("ph_inter_slice_allowed_flag", 1, not irap)
    if not irap:
        w.put("ph_intra_slice_allowed_flag", 1, 1)
    w.golomb("ph_pic_parameter_set_id", 5)
    w.put("ph_pic_order_cnt_lsb", 4, lsb)
    if not own_header:
        return nal(kind, w, temporal_id)
    slice_data = Bits()
    slice_data.put("sh_picture_header_in_slice_header_flag", 1, 0)
    slice_data.put("slice", 16, 0xABCD)
    return nal(19, w, temporal_id) + nal(kind, slice_data, temporal_id)


@pytest.mark.parametrize("own_header", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"constraints": True},
        {"sublayers": 4},
        {"subpictures": "same"},
        {"subpictures": "independent"},
        {"subpictures": "any", "sublayers": 7, "constraints": True},
    ],
)
def test_counts_through_wraps_and_sequences(options, own_header):
    order = picture_order("vvc", sps(**options) + pps())
    film = [
        (IDR, 0, 0, (1, 0)),
        (TRAIL, 8, 0, (1, 8)),
        (TRAIL, 4, 1, (1, 4)),  # TemporalId 1: does not count for what follows
        (TRAIL, 0, 0, (1, 16)),
        (CRA, 8, 0, (1, 24)),
        (RASL, 4, 0, (1, 20)),  # nor does this
        (TRAIL, 13, 0, (1, 29)),
        (IDR, 3, 0, (2, 3)),
        (RADL, 1, 0, (2, 1)),
        (TRAIL, 12, 0, (2, -4)),
    ]
    keys = [
        order.key(picture(kind, lsb, own_header=own_header, temporal_id=temporal_id))
        for kind, lsb, temporal_id, _ in film
    ]
    assert keys == [key for *_, key in film]


def test_a_cra_begins_a_sequence_at_the_start_and_behind_an_end():
    order = picture_order("vvc", sps() + pps())
    assert order.key(picture(CRA, 9)) == (1, 9)
    assert order.key(picture(CRA, 1)) == (1, 17)
    end = CODE + bytes([0, EOS << 3 | 1])
    assert order.key(picture(TRAIL, 2) + end) == (1, 18)
    assert order.key(picture(CRA, 9)) == (2, 9)


def test_what_is_missing_is_told():
    order = picture_order("vvc")
    with pytest.raises(BitstreamError, match="no such parameter set"):
        order.key(picture(IDR, 0))
    with pytest.raises(BitstreamError, match="no coded slice"):
        order.key(sps())
    with pytest.raises(BitstreamError, match="picture header is missing"):
        order.key(CODE + picture(IDR, 0, own_header=True).split(CODE)[2])
    with pytest.raises(BitstreamError):
        order.key(sps()[:30])
