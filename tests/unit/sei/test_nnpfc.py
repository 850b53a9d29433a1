# SPDX-License-Identifier: Apache-2.0
"""NNPFC: syntax against hand-coded bits, semantics rule by rule, derived variables."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from nnrvideo.errors import (
    BitstreamError,
    LimitExceededError,
    TruncatedError,
    UnsupportedFeatureError,
)
from nnrvideo.limits import Limits
from nnrvideo.picture import ChromaFormat, PictureFormat
from nnrvideo.sei import (
    Nnpfc,
    check_picture,
    filtered_inputs,
    input_pic_filtering,
    max_macs_per_sample,
    max_parameters,
    metadata_extension_bits,
    num_output_pictures,
    output_format,
    parse_nnpfc,
    scale,
    validate_nnpfc,
    write_nnpfc,
)

BASE = Nnpfc(
    nnpfc_purpose=4,
    nnpfc_id=7,
    nnpfc_pic_width_num_minus1=1,
    nnpfc_pic_height_num_minus1=1,
    nnpfc_overlap=6,
    nnpfc_patch_width_minus1=63,
    nnpfc_patch_height_minus1=47,
    nnpfc_padding_type=1,
    nnpfc_payload_byte=b"network",
)
HD = PictureFormat(1920, 1080)


def bits(text: str) -> bytes:
    digits = text.replace(" ", "")
    assert len(digits) % 8 == 0
    return int(digits, 2).to_bytes(len(digits) // 8, "big")


def test_frozen_base():
    # Element by element, so that a change of the syntax is seen and not only a round trip.
    head = bits(
        "0000000000000100"  # nnpfc_purpose = 4
        "0001000"  # nnpfc_id = 7
        "1"  # nnpfc_base_flag
        "1"  # nnpfc_mode_idc = 0
        "1"  # nnpfc_property_present_flag
        "1"  # nnpfc_num_input_pics_minus1 = 0
        "010 1 010 1"  # 2/1 times 2/1
        "0"  # nnpfc_component_last_flag
        "1 1"  # nnpfc_inp_format_idc, nnpfc_auxiliary_inp_idc
        "1 1 1"  # nnpfc_inp_order_idc, nnpfc_out_format_idc, nnpfc_out_order_idc
        "0"  # nnpfc_separate_colour_description_present_flag
        "00111"  # nnpfc_overlap = 6
        "1"  # nnpfc_constant_patch_size_flag
        "0000001000000"  # nnpfc_patch_width_minus1 = 63
        "00000110000"  # nnpfc_patch_height_minus1 = 47
        "010"  # nnpfc_padding_type = 1
        "0"  # nnpfc_complexity_info_present_flag
        "1"  # nnpfc_num_metadata_extension_bits = 0
        "000"  # nnpfc_alignment_zero_bit_b
    )
    assert write_nnpfc(BASE) == head + b"network"
    assert parse_nnpfc(head + b"network") == BASE


def test_frozen_update():
    update = Nnpfc(
        1, 7, nnpfc_base_flag=False, nnpfc_property_present_flag=False, nnpfc_payload_byte=b"u"
    )
    assert update.to_payload() == bytes.fromhex("00011080") + b"u"
    assert parse_nnpfc(bytes.fromhex("00011080") + b"u") == update
    validate_nnpfc(update)


def test_uri_ends_with_a_one_bit_when_not_aligned():
    by_uri = replace(
        BASE, nnpfc_mode_idc=1, nnpfc_tag_uri="tag:a", nnpfc_uri="b", nnpfc_payload_byte=b""
    )
    payload = by_uri.to_payload()
    assert payload[3:12] == b"\x40tag:a\0b\0"
    # 52 bits of properties, the last one nnpfc_num_metadata_extension_bits = 0; then 1 000.
    assert payload[-1] == 0b1001_1000
    assert parse_nnpfc(payload) == by_uri
    # Extension data of a later edition behind the known part is none of our business.
    assert parse_nnpfc(payload + b"\x12\x34") == by_uri


def test_metadata_count_that_forgets_the_scan_type_is_clamped():
    full = replace(BASE, nnpfc_scan_type_idc=2, nnpfc_for_human_viewing_idc=3)
    counted = replace(full, nnpfc_num_metadata_extension_bits=6)
    assert metadata_extension_bits(full) == 6
    assert parse_nnpfc(counted.to_payload()) == counted
    short = replace(full, nnpfc_num_metadata_extension_bits=4)
    assert parse_nnpfc(short.to_payload()) == short


def test_reserved_metadata_bits_are_carried():
    message = replace(BASE, nnpfc_reserved_metadata_extension_bit=(True, False, True))
    message = replace(message, nnpfc_num_metadata_extension_bits=metadata_extension_bits(message))
    assert parse_nnpfc(message.to_payload()) == message


def test_writer_drops_nothing_silently():
    for lost in (
        {"nnpfc_uri": "x"},
        {"nnpfc_out_sub_c_flag": True},
        {"nnpfc_seed": 3},
        {"nnpfc_matrix_coeffs": 1},
        {"nnpfc_scan_type_idc": 1},
        {"nnpfc_extended_patch_width_cd_delta_minus1": 1},
    ):
        with pytest.raises(ValueError, match="does not send"):
            write_nnpfc(replace(BASE, **lost))


@pytest.mark.parametrize(
    "wrong",
    [
        {"nnpfc_purpose": 1 << 16},
        {"nnpfc_purpose": 0x100},
        {"nnpfc_id": -1},
        {"nnpfc_id": (1 << 32) - 1},
        {"nnpfc_mode_idc": 2},
        {"nnpfc_num_input_pics_minus1": 64},
        {"nnpfc_num_input_pics_minus1": 1, "nnpfc_input_pic_filtering_flag": (True,)},
        {"nnpfc_auxiliary_inp_idc": 8},
        {"nnpfc_num_metadata_extension_bits": 4097},
    ],
)
def test_values_that_cannot_be_written(wrong):
    with pytest.raises(ValueError):
        write_nnpfc(replace(BASE, **wrong))


def test_reserved_values_that_change_the_syntax_stop_the_parser():
    with pytest.raises(UnsupportedFeatureError, match="nnpfc_purpose"):
        parse_nnpfc(b"\x01\x00" + BASE.to_payload()[2:])
    # purpose 1, id 0, base flag, mode 2 = 011
    with pytest.raises(UnsupportedFeatureError, match="nnpfc_mode_idc"):
        parse_nnpfc(bits("0000000000000001 1 1 011 000"))
    with pytest.raises(BitstreamError, match="nnpfc_mode_idc"):
        parse_nnpfc(bits("0000000000000001 1 1 00000000100000001 00000"))


def test_cut_anywhere_in_the_head_is_truncated():
    head = BASE.to_payload()[: -len(b"network")]
    for size in range(len(head)):
        with pytest.raises(TruncatedError) as caught:
            parse_nnpfc(head[:size])
        assert caught.value.unit == "NNPFC"
        assert caught.value.element
        assert caught.value.bit is not None


def test_limits_of_the_parser():
    with pytest.raises(LimitExceededError):
        parse_nnpfc(BASE.to_payload(), Limits(max_payload_bytes=10))
    two = replace(BASE, nnpfc_num_input_pics_minus1=1, nnpfc_input_pic_filtering_flag=(True, False))
    parse_nnpfc(two.to_payload(), Limits(max_input_pictures=2))
    with pytest.raises(LimitExceededError):
        parse_nnpfc(two.to_payload(), Limits(max_input_pictures=1))


def test_repr_is_short():
    assert repr(Nnpfc(1, 7, nnpfc_payload_byte=bytes(1000))) == (
        "Nnpfc(nnpfc_purpose=1, nnpfc_id=7, nnpfc_payload_byte=<1000 bytes>)"
    )


@pytest.mark.parametrize(
    "reserved",
    [
        {"nnpfc_id": 256},
        {"nnpfc_id": 511},
        {"nnpfc_id": 1 << 31},
        {"nnpfc_inp_format_idc": 2},
        {"nnpfc_out_format_idc": 255},
        {"nnpfc_inp_order_idc": 4},
        {"nnpfc_out_order_idc": 255},
        {"nnpfc_padding_type": 5},
        {"nnpfc_padding_type": 15},
        {"nnpfc_complexity_info_present_flag": True, "nnpfc_parameter_type_idc": 3},
        {"nnpfc_complexity_info_present_flag": True, "nnpfc_num_parameters_idc": 53},
    ],
)
def test_reserved_values(reserved):
    with pytest.raises(UnsupportedFeatureError):
        validate_nnpfc(replace(BASE, **reserved))


@pytest.mark.parametrize(
    "illegal",
    [
        {"nnpfc_property_present_flag": False},
        {"nnpfc_payload_byte": b""},
        {"nnpfc_mode_idc": 1},
        {"nnpfc_purpose": 0x26, "nnpfc_inp_order_idc": 2, "nnpfc_out_order_idc": 2},
        {"nnpfc_purpose": 0x20, "nnpfc_out_order_idc": 2},
        {"nnpfc_purpose": 0x20, "nnpfc_out_colour_format_idc": 1},
        {"nnpfc_purpose": 2},
        {"nnpfc_purpose": 2, "nnpfc_inp_order_idc": 2, "nnpfc_out_order_idc": 3},
        {"nnpfc_purpose": 8},
        {
            "nnpfc_purpose": 8,
            "nnpfc_num_input_pics_minus1": 1,
            "nnpfc_input_pic_filtering_flag": (True, True),
            "nnpfc_interpolated_pics": (0,),
        },
        {
            "nnpfc_purpose": 8,
            "nnpfc_num_input_pics_minus1": 1,
            "nnpfc_input_pic_filtering_flag": (True, True),
            "nnpfc_interpolated_pics": (64,),
        },
        {"nnpfc_num_input_pics_minus1": 1, "nnpfc_input_pic_filtering_flag": (False, False)},
        {"nnpfc_extrapolated_pics_minus1": 63},
        {"nnpfc_pic_width_num_minus1": 65536},
        {"nnpfc_pic_width_num_minus1": 16},
        {"nnpfc_pic_height_denom_minus1": 39},
        {"nnpfc_spatial_extrapolation_left_offset": -65537},
        {"nnpfc_inp_format_idc": 256},
        {"nnpfc_out_order_idc": 256},
        {"nnpfc_inp_tensor_luma_bitdepth_minus8": 25},
        {
            "nnpfc_inp_format_idc": 1,
            "nnpfc_out_format_idc": 1,
            "nnpfc_inp_order_idc": 2,
            "nnpfc_out_order_idc": 2,
            "nnpfc_inp_tensor_chroma_bitdepth_minus8": 2,
            "nnpfc_out_tensor_luma_bitdepth_minus8": 2,
        },
        {"nnpfc_chroma_sample_loc_type_frame": 7},
        {"nnpfc_overlap": 16384},
        {"nnpfc_patch_width_minus1": 32767},
        {"nnpfc_padding_type": 16},
    ],
)
def test_illegal_values(illegal):
    with pytest.raises(BitstreamError):
        validate_nnpfc(replace(BASE, **illegal))


def test_valid_extremes():
    for legal in (
        {"nnpfc_id": 255},
        {"nnpfc_id": 512},
        {"nnpfc_id": (1 << 31) - 1},
        {"nnpfc_pic_width_num_minus1": 15},
        {"nnpfc_overlap": 16383},
        {"nnpfc_patch_width_minus1": 32766},
        {"nnpfc_purpose": 0x40, "nnpfc_extrapolated_pics_minus1": 62},
    ):
        validate_nnpfc(replace(BASE, **legal))


def test_inputs_and_outputs():
    assert input_pic_filtering(BASE) == (True,)
    assert input_pic_filtering(replace(BASE, nnpfc_purpose=0x40)) == (False,)
    interpolating = replace(
        BASE,
        nnpfc_purpose=0x48,
        nnpfc_num_input_pics_minus1=2,
        nnpfc_input_pic_filtering_flag=(True, False, True),
        nnpfc_interpolated_pics=(3, 1),
        nnpfc_extrapolated_pics_minus1=1,
    )
    assert filtered_inputs(interpolating) == (0, 2)
    assert num_output_pictures(interpolating) == 2 + 4 + 2


def test_output_geometry():
    assert scale(BASE) == (Fraction(2), Fraction(2))
    assert output_format(BASE, HD) == PictureFormat(3840, 2160)
    third = replace(BASE, nnpfc_pic_width_denom_minus1=2, nnpfc_pic_height_denom_minus1=2)
    assert output_format(third, PictureFormat(100, 100)) == PictureFormat(67, 67)
    colour = replace(BASE, nnpfc_purpose=0x20, nnpfc_out_colour_format_idc=2)
    assert output_format(colour, HD).chroma_format is ChromaFormat.C422
    bare = Nnpfc(0x20, 7, nnpfc_base_flag=False, nnpfc_property_present_flag=False)
    assert output_format(bare, HD) == HD
    chroma = replace(BASE, nnpfc_purpose=2, nnpfc_out_sub_c_flag=True)
    assert output_format(chroma, HD).chroma_format is ChromaFormat.C444
    wider = Nnpfc(
        0x80,
        7,
        nnpfc_spatial_extrapolation_left_offset=4,
        nnpfc_spatial_extrapolation_right_offset=-1,
        nnpfc_spatial_extrapolation_bottom_offset=8,
    )
    assert output_format(wider, HD) == PictureFormat(1926, 1096)
    deeper = replace(BASE, nnpfc_out_format_idc=1, nnpfc_out_tensor_luma_bitdepth_minus8=2)
    assert output_format(deeper, HD).bit_depth == 10


def test_complexity():
    assert max_parameters(BASE) is None
    assert max_macs_per_sample(BASE) is None
    assert max_parameters(replace(BASE, nnpfc_num_parameters_idc=6)) == 131071
    assert max_macs_per_sample(replace(BASE, nnpfc_num_kmac_operations_idc=120)) == 120_000


@pytest.mark.parametrize(
    ("change", "picture"),
    [
        ({"nnpfc_inp_order_idc": 2}, PictureFormat(64, 64, ChromaFormat.MONO)),
        ({"nnpfc_inp_order_idc": 3}, PictureFormat(64, 64, ChromaFormat.C422)),
        ({"nnpfc_purpose": 2, "nnpfc_inp_order_idc": 2}, PictureFormat(64, 64, ChromaFormat.C444)),
        ({"nnpfc_purpose": 2, "nnpfc_inp_order_idc": 2}, PictureFormat(64, 64, ChromaFormat.C422)),
        ({"nnpfc_purpose": 0x20, "nnpfc_out_colour_format_idc": 1}, HD),
        ({"nnpfc_pic_width_num_minus1": 0, "nnpfc_pic_height_num_minus1": 0}, HD),
        ({"nnpfc_pic_width_denom_minus1": 2}, PictureFormat(100, 100)),
        (
            {
                "nnpfc_pic_width_num_minus1": 0,
                "nnpfc_pic_height_num_minus1": 0,
                "nnpfc_spatial_extrapolation_left_offset": -40,
            },
            PictureFormat(64, 64),
        ),
        ({"nnpfc_out_order_idc": 3}, PictureFormat(64, 64, ChromaFormat.C444)),
        ({"nnpfc_padding_type": 4, "nnpfc_luma_padding_val": 256}, HD),
        (
            {
                "nnpfc_separate_colour_description_present_flag": True,
                "nnpfc_out_format_idc": 1,
                "nnpfc_out_order_idc": 2,
                "nnpfc_matrix_coeffs": 0,
            },
            HD,
        ),
    ],
)
def test_filters_that_do_not_fit_the_video(change, picture):
    with pytest.raises(BitstreamError):
        check_picture(replace(BASE, **change), picture)


def test_filters_that_fit_the_video():
    check_picture(BASE, HD)
    check_picture(BASE, PictureFormat(64, 64, ChromaFormat.MONO))
    check_picture(replace(BASE, nnpfc_purpose=1, nnpfc_pic_width_num_minus1=0), PictureFormat(6, 6))
    with pytest.raises(LimitExceededError):
        check_picture(BASE, HD, Limits(max_picture_samples=3840 * 2160 - 1))
