# SPDX-License-Identifier: Apache-2.0
"""Contract to NNPFC and back, and messages that lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto

from nnrvideo.errors import BitstreamError, LimitExceededError, ModelError
from nnrvideo.limits import Limits
from nnrvideo.model import check_against_nnpfc, infer_contract, load_onnx, measure, to_nnpfc
from nnrvideo.picture import ChromaFormat, PictureFormat
from nnrvideo.sei import check_writing_profile, parse_nnpfc

SMALL = PictureFormat(320, 180)


def described(data, **keywords):
    network = load_onnx(data)
    contract = infer_contract(network)
    message = to_nnpfc(
        contract, measure(network, contract=contract), nnpfc_id=7, payload=b"NNC", **keywords
    )
    return network, contract, message


def through_the_wire(message):
    return parse_nnpfc(message.to_payload())


def test_super_resolution(valid_sr):
    network, contract, message = described(valid_sr)
    check_writing_profile(message)
    message = through_the_wire(message)
    assert message.nnpfc_purpose == 4
    assert (message.nnpfc_pic_width_num_minus1, message.nnpfc_pic_width_denom_minus1) == (1, 0)
    assert message.nnpfc_overlap == 3
    assert not message.nnpfc_constant_patch_size_flag
    assert message.nnpfc_extended_patch_width_cd_delta_minus1 == 0  # any patch from 1x1 on
    assert message.nnpfc_padding_type == 1
    assert message.nnpfc_complexity_info_present_flag
    assert message.nnpfc_num_kmac_operations_idc == 1
    assert message.nnpfc_payload_byte == b"NNC"
    found = check_against_nnpfc(network, message, SMALL)
    # the declaration's divisor includes the overlap; the rest is what was inferred
    assert found == replace(contract, width_multiple=7, height_multiple=7)


def test_divisor_is_a_multiple_of_what_the_network_wants(builder):
    b = builder()
    b.node("SpaceToDepth", "x", blocksize=4)
    b.conv(16, 16)
    b.conv(64, 16)
    b.node("DepthToSpace", b.last, blocksize=8)
    network, contract, message = described(b.bytes())
    assert (contract.overlap, contract.width_multiple) == (8, 4)
    found = check_against_nnpfc(network, through_the_wire(message), SMALL)
    assert found.width_multiple == 20  # the least multiple of 4 over 2 * 8
    width, _ = found.covering_patch(320, 180)
    assert (width + 16) % 20 == 0
    assert width >= 320


def test_enhancement_of_three_components(same_enhance):
    network, contract, message = described(same_enhance)
    found = check_against_nnpfc(network, through_the_wire(message), SMALL)
    assert found == contract
    assert message.nnpfc_pic_width_num_minus1 == 0


def test_constant_patch(builder):
    b = builder((1, 1, 72, 136))
    b.conv(1, 1, 5)
    network, contract, message = described(b.bytes())
    message = through_the_wire(message)
    assert (message.nnpfc_patch_width_minus1, message.nnpfc_patch_height_minus1) == (131, 67)
    assert check_against_nnpfc(network, message, SMALL) == contract


def test_integer_depths(builder):
    b = builder((1, 3, "h", "w"), dtype=TensorProto.UINT8)
    b.node("Cast", "x", to=1)
    b.conv(3, 3)
    b.node("Clip", b.last, b.constant("l", np.float32(0)), b.constant("h", np.float32(255)))
    b.node("Cast", b.last, to=TensorProto.UINT8)
    network, contract, message = described(b.bytes(out_dtype=TensorProto.UINT8))
    found = check_against_nnpfc(network, through_the_wire(message), SMALL)
    assert (found.inp_format_idc, found.inp_tensor_bit_depth, found.out_tensor_bit_depth) == (
        1,
        8,
        8,
    )


def test_several_pictures(builder):
    b = builder((1, 3, 1, "h", "w"))
    b.node("Squeeze", "x", b.constant("two", np.array([2], np.int64)))
    b.conv(1, 3)
    network, contract, message = described(b.bytes())
    message = through_the_wire(message)
    assert message.nnpfc_input_pic_filtering_flag == (True, False, False)
    assert check_against_nnpfc(network, message, SMALL).num_input_pics == 3


def test_padding_values(valid_sr):
    contract = replace(
        infer_contract(load_onnx(valid_sr)), padding_type=4, padding_values=(16, 128, 128)
    )
    message = to_nnpfc(contract, None, nnpfc_id=8, payload=b"x")
    assert through_the_wire(message).nnpfc_luma_padding_val == 16


def test_mode_1(valid_sr):
    contract = infer_contract(load_onnx(valid_sr))
    message = to_nnpfc(contract, None, nnpfc_id=8, mode=1, uri="sha256:00")
    assert through_the_wire(message).nnpfc_uri == "sha256:00"
    with pytest.raises(ValueError, match="mode 1"):
        to_nnpfc(contract, None, nnpfc_id=8, mode=1, uri="a:b", payload=b"x")
    with pytest.raises(ValueError, match="mode 0"):
        to_nnpfc(contract, None, nnpfc_id=8, uri="a:b", payload=b"x")


def test_surplus_of_a_padded_network_is_cropped(builder):
    b = builder()
    b.conv(4, 1, pads=[1, 1, 1, 1])
    b.node("DepthToSpace", b.last, blocksize=2)
    b.metadata = {"nnrvideo.overlap": "4"}
    network, contract, message = described(b.bytes())
    found = check_against_nnpfc(network, through_the_wire(message), SMALL)
    assert (found.crop_width, found.crop_height) == (contract.crop_width, 8) == (8, 8)


def lies(**changes):
    return lambda message: replace(message, **changes)


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (lies(nnpfc_pic_width_num_minus1=2), "declares"),
        (lies(nnpfc_overlap=2), "declares"),
        (lies(nnpfc_inp_order_idc=2), "cannot be"),
        (lies(nnpfc_out_order_idc=2), "declares"),
        (lies(nnpfc_component_last_flag=True), "cannot be"),
        (
            lies(
                nnpfc_num_parameters_idc=0,
                nnpfc_num_input_pics_minus1=1,
                nnpfc_input_pic_filtering_flag=(True, True),
            ),
            "more than the current",
        ),
        (lies(nnpfc_purpose=0), "not supported"),
    ],
)
def test_lies_are_found(valid_sr, lie, reason):
    network, _, message = described(valid_sr)
    with pytest.raises(ModelError, match=reason):
        check_against_nnpfc(network, lie(message), SMALL)


def test_broken_promise_of_parameters(builder):
    b = builder()
    b.conv(64, 1, 9)
    b.conv(1, 64, 9)
    network, _, message = described(b.bytes())
    message = replace(message, nnpfc_num_parameters_idc=1)
    with pytest.raises(ModelError, match="promises at most 4095"):
        check_against_nnpfc(network, message, SMALL)


def test_illegal_for_the_video(builder, valid_sr):
    b = builder((1, 6, "h", "w"))
    b.conv(6, 6)
    network, _, message = described(b.bytes())
    with pytest.raises(BitstreamError, match="4:2:0"):
        check_against_nnpfc(network, message, PictureFormat(320, 180, ChromaFormat.C444))
    network, _, message = described(valid_sr)
    with pytest.raises(LimitExceededError, match="max_picture_samples"):
        check_against_nnpfc(network, message, PictureFormat(8000, 8000))


def test_too_much_work(valid_sr):
    network, _, message = described(valid_sr)
    with pytest.raises(ModelError, match="max_macs_per_sample"):
        check_against_nnpfc(network, message, SMALL, limits=Limits(max_macs_per_sample=100))


def test_memory_that_grows_with_the_square(builder):
    """Harmless in a patch of 256, deadly for a picture of 4000 rows."""
    b = builder()
    b.node("Shape", "x", out="s")
    b.node("Slice", "s", b.constant("i", np.array([2])), b.constant("j", np.array([3])), out="h")
    ones = b.constant("o", np.array([1, 1, 1]))
    b.node("Concat", "h", ones, out="r", axis=0)
    b.node("Tile", "x", "r", out="big")
    b.node("ReduceMean", "big", axes=[0])
    network = load_onnx(b.bytes())
    message = to_nnpfc(infer_contract(network), None, nnpfc_id=7, payload=b"x")
    with pytest.raises(ModelError, match="memory grows faster"):
        check_against_nnpfc(network, message, PictureFormat(1920, 1080))
