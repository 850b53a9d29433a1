# SPDX-License-Identifier: Apache-2.0
"""What a graph tells about pictures, and what it costs."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from onnx import TensorProto

from nnrvideo.errors import ModelError
from nnrvideo.model import infer_contract, load_onnx, measure, num_parameters_idc
from nnrvideo.picture import ChromaFormat, PictureFormat


def contract_of(b, **keywords):
    return infer_contract(load_onnx(b.bytes(**keywords)))


def test_valid_convolutions_give_ratio_and_overlap(valid_sr):
    contract = infer_contract(load_onnx(valid_sr))
    assert (contract.width_ratio, contract.height_ratio) == (2, 2)
    assert contract.overlap == 3
    assert contract.purpose == 4
    assert (contract.width_multiple, contract.height_multiple) == (1, 1)
    assert (contract.inp_order_idc, contract.out_order_idc) == (0, 0)
    assert contract.input_shape(100, 50) == (1, 1, 56, 106)
    assert contract.output_shape(100, 50) == (1, 1, 100, 200)


def test_padded_convolutions_have_no_overlap(same_enhance):
    contract = infer_contract(load_onnx(same_enhance))
    assert (contract.width_ratio, contract.overlap, contract.purpose) == (1, 0, 1)
    assert (contract.inp_order_idc, contract.out_order_idc) == (2, 2)


def test_fsrcnn(shared):
    contract = infer_contract(load_onnx(shared / "data/models/FSRCNN_x2.onnx"))
    assert (contract.width_ratio, contract.overlap, contract.inp_format_idc) == (2, 0, 0)


@pytest.mark.parametrize("name", ["resnet20_cifar10", "squeezenet10_fire9"])
def test_a_classifier_is_no_filter(shared, name):
    network = load_onnx(shared / "data" / "models" / f"{name}.onnx")
    with pytest.raises(ModelError, match="no NNPFC message can describe") as caught:
        infer_contract(network)
    assert "\n" not in str(caught.value)


def test_unshuffled_network_wants_multiples(builder):
    b = builder()
    b.node("SpaceToDepth", "x", blocksize=2)
    b.conv(16, 4)
    b.node("Relu", b.last)
    b.conv(16, 16)
    b.node("DepthToSpace", b.last, blocksize=4)
    contract = contract_of(b)
    assert contract.width_multiple == contract.height_multiple == 2
    assert (contract.width_ratio, contract.overlap) == (2, 4)


def test_strided_and_transposed(builder):
    b = builder()
    b.conv(8, 1, 3, strides=[2, 2], pads=[1, 1, 1, 1])
    b.conv(8, 8, 3, strides=[3, 3], pads=[1, 1, 1, 1])
    b.node("ConvTranspose", b.last, b.weight("t", 8, 1, 6, 6), strides=[6, 6])
    contract = contract_of(b)
    assert (contract.width_multiple, contract.width_ratio, contract.overlap) == (6, 1, 0)


def test_resampling_by_a_fraction(builder):
    b = builder()
    b.conv(1, 1, pads=[1, 1, 1, 1])
    b.node("Resize", b.last, "", b.constant("k", np.array([1, 1, 1.5, 1.5], np.float32)))
    contract = contract_of(b)
    assert contract.width_ratio == Fraction(3, 2)
    assert contract.width_multiple == 2


@pytest.mark.parametrize(("channels", "order"), [(1, 0), (2, 1), (3, 2), (6, 3)])
def test_channels_tell_the_order(builder, channels, order):
    b = builder((1, channels, "h", "w"))
    b.conv(channels, channels, pads=[1, 1, 1, 1])
    contract = contract_of(b)
    assert (contract.inp_order_idc, contract.out_order_idc) == (order, order)
    assert contract.width_ratio == 1
    assert contract.output_luma_samples(8, 8) == 64 * (4 if order in (1, 3) else 1)


def test_phases_in_luma_out(builder):
    b = builder((1, 6, "h", "w"))
    b.conv(4, 6, pads=[1, 1, 1, 1])
    b.node("DepthToSpace", b.last, blocksize=2)
    contract = contract_of(b)
    assert (contract.inp_order_idc, contract.out_order_idc) == (3, 0)
    assert contract.width_ratio == 1
    assert contract.grid_ratio == (2, 2)
    assert contract.grid_size(PictureFormat(641, 360, ChromaFormat.C420)) == (321, 180)


def test_strength_plane(builder):
    b = builder((1, 4, "h", "w"))
    b.conv(3, 4, pads=[1, 1, 1, 1])
    b.metadata = {"nnrvideo.auxiliary_inp_idc": "1"}
    contract = contract_of(b)
    assert (contract.inp_order_idc, contract.auxiliary_inp_idc) == (2, 1)
    assert contract.input_channels == 4


def test_several_pictures(builder):
    b = builder((1, 3, 1, "h", "w"))
    b.node("Squeeze", "x", b.constant("two", np.array([2], np.int64)))
    b.conv(1, 3)
    contract = contract_of(b)
    assert (contract.num_input_pics, contract.input_rank, contract.output_rank) == (3, 5, 4)
    assert contract.input_shape(10, 20) == (1, 3, 1, 22, 12)


def test_channels_last(builder):
    b = builder((1, "h", "w", 3))
    b.node("Transpose", "x", perm=[0, 3, 1, 2])
    b.conv(3, 3)
    b.node("Transpose", b.last, perm=[0, 2, 3, 1])
    contract = contract_of(b)
    assert contract.component_last
    assert contract.overlap == 1
    assert contract.input_shape(10, 20) == (1, 22, 12, 3)


def test_integer_tensors(builder):
    b = builder(dtype=TensorProto.UINT8)
    b.node("Cast", "x", to=1)
    b.conv(1, 1)
    b.node("Cast", b.last, to=TensorProto.UINT16)
    b.metadata = {"nnrvideo.out_tensor_bit_depth": "10"}
    contract = contract_of(b, out_dtype=TensorProto.UINT16)
    assert (contract.inp_format_idc, contract.inp_tensor_bit_depth) == (1, 8)
    assert (contract.out_format_idc, contract.out_tensor_bit_depth) == (1, 10)


def test_fixed_size_is_a_constant_patch(builder):
    b = builder((1, 1, 72, 136))
    b.conv(8, 1)
    b.conv(4, 8, 5)
    b.node("DepthToSpace", b.last, blocksize=2)
    contract = contract_of(b, out_dims=[1, 1, 132, 260])
    assert (contract.patch_width, contract.patch_height, contract.overlap) == (130, 66, 3)
    assert contract.input_shape(130, 66) == (1, 1, 72, 136)


def test_overlap_for_a_padded_network_is_cropped(builder):
    b = builder()
    b.conv(4, 1, pads=[1, 1, 1, 1])
    b.node("DepthToSpace", b.last, blocksize=2)
    b.metadata = {"nnrvideo.overlap": "1"}
    contract = contract_of(b)
    assert (contract.overlap, contract.crop_width, contract.crop_height) == (1, 2, 2)
    assert contract.output_patch(10, 10) == (20, 20)
    assert contract.output_shape(10, 10) == (1, 1, 24, 24)


def test_purpose_and_padding_from_metadata(builder):
    b = builder()
    b.conv(4, 1)
    b.node("DepthToSpace", b.last, blocksize=2)
    b.metadata = {"nnrvideo.purpose": "0x05", "nnrvideo.padding_type": "2"}
    contract = contract_of(b)
    assert (contract.purpose, contract.padding_type) == (5, 2)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"purpose": "4"}, "contradicts"),
        ({"purpose": "8"}, "not supported"),
        ({"purpose": "two"}, "no integer"),
        ({"overlap": "0"}, "smaller than"),
        ({"padding_type": "5"}, "outside"),
        ({"inp_order_idc": "2"}, "channels"),
    ],
)
def test_metadata_that_contradict(builder, metadata, reason):
    b = builder()
    b.conv(1, 1)
    b.metadata = {f"nnrvideo.{key}": value for key, value in metadata.items()}
    with pytest.raises(ModelError, match=reason):
        contract_of(b)


def unequal(b):
    b.conv(1, 1, pads=[0, 1, 0, 1])


def growing(b):
    b.conv(1, 1, pads=[2, 2, 2, 2])


def quadratic(b):
    b.node("Shape", "x", out="s")
    b.node("Slice", "s", b.constant("i", np.array([2])), b.constant("j", np.array([3])), out="h")
    b.node(
        "Concat",
        b.constant("o", np.array([1, 1])),
        "h",
        b.constant("p", np.array([1])),
        out="r",
        axis=0,
    )
    b.node("Tile", "x", "r")


def half_overlap(b):
    b.node("Pad", "x", b.constant("p", np.array([0, 0, 0, 0, 0, 0, -1, -1])))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (unequal, "one whole number"),
        (growing, "larger than the input"),
        (quadratic, "fixed ratio|limit"),
        (half_overlap, "one whole number"),
    ],
)
def test_shapes_beyond_nnpfc(builder, make, reason):
    b = builder()
    make(b)
    with pytest.raises(ModelError, match=reason):
        contract_of(b)


@pytest.mark.parametrize(
    ("dims", "reason"),
    [
        ((1, 5, "h", "w"), "channels"),
        ((1, "c", "h", "w"), "does not fix"),
        ((4, 1, "h", "w"), "batch"),
        ((1, 1, "w"), "rank 3"),
        ((1, 255, 1, "h", "w"), "255 pictures"),
    ],
)
def test_inputs_that_are_no_pictures(builder, dims, reason):
    b = builder(dims)
    b.node("Relu", "x")
    with pytest.raises(ModelError, match=reason):
        contract_of(b)


def test_integer_output_of_the_wrong_type(builder):
    b = builder()
    b.node("Cast", "x", to=TensorProto.INT32)
    with pytest.raises(ModelError, match="uint8 or uint16"):
        contract_of(b, out_dtype=TensorProto.INT32)


def test_complexity_of_fsrcnn(shared):
    network = load_onnx(shared / "data/models/FSRCNN_x2.onnx")
    complexity = measure(network)
    # kernel products of the eight convolutions at input resolution, a quarter per output sample
    layers = 56 * 25 + 12 * 56 + 4 * 12 * 12 * 9 + 56 * 12 + 4 * 56
    assert complexity.macs_per_sample == layers // 4
    assert complexity.parameters == 8497
    assert complexity.total_kilobyte_size == 34  # 8497 * 32 / 8000 = 33.99
    assert complexity.nnpfc_elements() == {
        "nnpfc_parameter_type_idc": 1,
        "nnpfc_log2_parameter_bit_length_minus3": 2,
        "nnpfc_num_parameters_idc": 3,
        "nnpfc_num_kmac_operations_idc": 3,
        "nnpfc_total_kilobyte_size": 34,
    }


def test_overlap_counts_as_work(valid_sr):
    complexity = measure(load_onnx(valid_sr))
    assert complexity.luma_samples == 512 * 512
    first, second, third = 260**2 * 8 * 9, 258**2 * 64 * 9, 256**2 * 32 * 9
    assert complexity.macs == first + second + third


@pytest.mark.parametrize(
    ("parameters", "idc"), [(0, 1), (4095, 1), (4096, 2), (8191, 2), (8192, 3), (2**63 - 1, 52)]
)
def test_parameter_bound_is_the_smallest_that_holds(parameters, idc):
    assert num_parameters_idc(parameters) == idc


def test_too_many_parameters_to_announce():
    with pytest.raises(ModelError):
        num_parameters_idc(2**63)
