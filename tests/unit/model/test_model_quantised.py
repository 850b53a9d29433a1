# SPDX-License-Identifier: Apache-2.0
"""Quantised networks: shapes and costs against onnxruntime, and what is refused."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto

from nnrvideo.errors import ModelError
from nnrvideo.model import check, load_onnx, pack, unpack
from nnrvideo.model.element_types import INT4
from nnrvideo.model.quantised import quantiser_names
from nnrvideo.nnc import EncodeSettings

RANDOM = np.random.default_rng(17)
SHAPE = (1, 3, 12, 18)


def integers(dtype, *shape):
    info = np.iinfo(dtype)
    return RANDOM.integers(info.min, info.max + 1, shape).astype(dtype)


def scales(*shape):
    return RANDOM.uniform(0.001, 0.01, shape).astype(np.float32)


def quantised_input(b, scale=0.02, zero=128):
    b.constant("xs", np.float32(scale))
    b.constant("xz", np.uint8(zero))
    return b.node("QuantizeLinear", "x", "xs", "xz", out="xq")


def qdq_axis(b):
    b.constant("q", integers(np.int8, 6, 3, 3, 3))
    b.node("DequantizeLinear", "q", b.constant("s", scales(6)), axis=0, out="w")
    b.node("Conv", "x", "w")


def qdq_blocks(b):
    b.constant("q", RANDOM.integers(-8, 8, (32, 5)).astype(np.int8).astype(INT4))
    b.node("DequantizeLinear", "q", b.constant("s", scales(2, 5)), axis=0, block_size=16, out="w")
    b.node("Transpose", "x", perm=[0, 2, 3, 1])
    b.node("MatMul", b.last, b.weight("grow", 3, 32))
    b.node("MatMul", b.last, "w")


def qdq_one_and_none(b):
    """A scale of one dimension with a zero point of none, as onnxruntime's quantiser writes."""
    b.constant("q", integers(np.uint8, 6, 3, 3, 3))
    b.node("DequantizeLinear", "q", b.constant("s", scales(1)), b.constant("z", np.uint8(9)))
    b.node("Conv", "x", b.last)


def quantize_to_int8(b):
    b.node("QuantizeLinear", "x", b.constant("s", np.float32(0.1)), output_dtype=TensorProto.INT8)
    b.node("DequantizeLinear", b.last, "s")


def conv_integer(b):
    b.node("DynamicQuantizeLinear", "x", outputs=3, out="d")
    b.constant("q", integers(np.uint8, 6, 3, 3, 3))
    b.node("ConvInteger", "d_0", "q", "d_2", b.constant("z", np.uint8(128)), strides=[2, 1])
    b.node("Cast", b.last, to=TensorProto.FLOAT)
    b.node("Mul", b.last, "d_1")


def matmul_integer(b):
    b.node("Transpose", quantised_input(b), perm=[0, 2, 3, 1])
    b.constant("q", integers(np.int8, 3, 7))
    b.node("MatMulInteger", b.last, "q", "xz", b.constant("z", np.zeros(7, np.int8)))
    b.node("Cast", b.last, to=TensorProto.FLOAT)


def qlinear_conv(b):
    quantised_input(b)
    b.constant("q", integers(np.int8, 6, 3, 3, 3))
    b.constant("bias", RANDOM.integers(-99, 99, 6).astype(np.int32))
    weights = ["q", b.constant("s", scales(6)), b.constant("z", np.zeros(6, np.int8))]
    b.node("QLinearConv", "xq", "xs", "xz", *weights, "xs", "xz", "bias", pads=[1, 1, 1, 1])
    b.node("DequantizeLinear", b.last, "xs", "xz")


def qlinear_matmul(b):
    b.node("Transpose", quantised_input(b), perm=[0, 2, 3, 1])
    b.constant("q", integers(np.int8, 3, 7))
    weights = ["q", b.constant("s", np.float32(0.01)), b.constant("z", np.int8(0))]
    b.node("QLinearMatMul", b.last, "xs", "xz", *weights, "xs", "xz")
    b.node("DequantizeLinear", b.last, "xs", "xz")


def matmul_n_bits(b, bits=4, block=16, k=40, n=5, zeros=True, **extra):
    blocks = -(-k // block)
    b.weight("grow", 3, k)
    inputs = [
        b.constant("packed", integers(np.uint8, n, blocks, block * bits // 8)),
        b.constant("s", scales(n * blocks)),
    ]
    if zeros:
        row = -(-blocks * bits // 8)
        inputs.append(b.constant("z", integers(np.uint8, n * row)))
    b.node("Transpose", "x", perm=[0, 2, 3, 1])
    b.node("MatMul", b.last, "grow")
    attributes = {"K": k, "N": n, "bits": bits, "block_size": block, **extra}
    b.node("MatMulNBits", b.last, *inputs, domain="com.microsoft", **attributes)


CASES = {
    "qdq_axis": (qdq_axis, 10 * 16 * 6 * 27),
    "qdq_one_and_none": (qdq_one_and_none, 10 * 16 * 6 * 27),
    "qdq_blocks": (qdq_blocks, 12 * 18 * (3 * 32 + 32 * 5)),
    "quantize_to_int8": (quantize_to_int8, 0),
    "conv_integer": (conv_integer, 5 * 16 * 6 * 27),
    "matmul_integer": (matmul_integer, 12 * 18 * 3 * 7),
    "qlinear_conv": (qlinear_conv, 12 * 18 * 6 * 27),
    "qlinear_matmul": (qlinear_matmul, 12 * 18 * 3 * 7),
    "matmul_4_bits": (matmul_n_bits, 12 * 18 * (3 * 40 + 40 * 5)),
    "matmul_8_bits": (lambda b: matmul_n_bits(b, 8, 32, zeros=False), 12 * 18 * (120 + 200)),
}


def run(data, x):
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("case", CASES)
def test_rule_agrees_with_onnxruntime(builder, case):
    build, macs = CASES[case]
    b = builder((1, 3, "h", "w"), opset=21)
    build(b)
    data = b.bytes()
    network = load_onnx(data)
    inference = check(network, input_shape=SHAPE)
    x = RANDOM.normal(0, 1, SHAPE).astype(np.float32)
    y = run(data, x)
    found = inference.values[network.graph.outputs[0].name]
    assert (found.shape, found.dtype) == (y.shape, y.dtype)
    assert inference.macs == macs
    # What the receiver rebuilds computes the same, bit for bit.
    lossless = EncodeSettings(lossless=True, search=False)
    back = unpack(pack(network, lossless)).require_network().to_onnx()
    np.testing.assert_array_equal(run(back, x), y)


def test_scales_are_known_and_ordinary_factors_are_not(builder):
    b = builder((1, 3, "h", "w"), opset=21)
    b.node("DynamicQuantizeLinear", "x", outputs=3, out="d")
    b.constant("q", integers(np.int8, 6, 3, 1, 1))
    b.node("ConvInteger", "d_0", "q", "d_2", out="sum")
    b.node("Cast", "sum", to=TensorProto.FLOAT, out="real")
    b.node("Mul", b.constant("s", scales(1)), "d_1", out="both")
    b.node("Mul", "real", "both", out="y")
    b.node("Mul", "y", b.weight("gain", 6, 1, 1), out="z")
    assert quantiser_names(load_onnx(b.bytes()).graph) == {"s"}


@pytest.mark.parametrize(("zero", "inside"), [(np.zeros(40), True), (np.arange(40), False)])
def test_zero_points_that_are_all_the_same_stay_in_the_topology(builder, zero, inside):
    b = builder((1, 3, "h", "w"), opset=21)
    b.constant("q", integers(np.int8, 40, 3, 1, 1))
    b.constant("s", scales(40))
    b.node("DequantizeLinear", "q", "s", b.constant("z", zero.astype(np.int8)), axis=0, out="w")
    b.node("Conv", "x", "w")
    network = load_onnx(b.bytes())
    assert ("z" in network.graph.constants) == inside
    assert set(network.tensors) == ({"q", "s"} if inside else {"q", "s", "z"})


def test_a_topology_does_not_fill_up_with_zero_points(builder):
    b = builder((1, 3, "h", "w"), opset=21)
    for index in range(12):
        b.constant(f"q{index}", integers(np.int8, 9000, 1))
        b.constant(f"s{index}", scales(9000))
        b.constant(f"z{index}", np.zeros(9000, np.int8))
        b.node("DequantizeLinear", f"q{index}", f"s{index}", f"z{index}", axis=0)
    b.node("Identity", "x")
    assert len(load_onnx(b.bytes()).graph.constants) == 1


def broken_conv_zero(b):
    quantised_input(b)
    b.constant("q", integers(np.uint8, 6, 3, 3, 3))
    b.node("ConvInteger", "xq", "q", "xz", b.constant("z", np.zeros(5, np.uint8)))


def broken_types(b):
    b.node("MatMulInteger", "x", b.constant("q", integers(np.int8, 18, 7)))


def broken_bias(b):
    quantised_input(b)
    b.constant("q", integers(np.int8, 6, 3, 3, 3))
    weights = ["q", b.constant("s", scales(6)), b.constant("z", np.zeros(6, np.int8))]
    b.node("QLinearConv", "xq", "xs", "xz", *weights, "xs", "xz", b.weight("bias", 6))


def broken_output_dtype(b):
    b.constant("s", np.float32(0.1))
    b.constant("z", np.uint8(3))
    b.node("QuantizeLinear", "x", "s", "z", output_dtype=TensorProto.INT8)


def with_g_idx(b):
    b.constant("g", np.full(48, 1 << 30, np.int32))
    matmul_n_bits(b)
    b.nodes[-1].input.append("g")


def wrong_sizes(**wrong):
    def build(b):
        matmul_n_bits(b)
        for attribute in b.nodes[-1].attribute:
            if attribute.name in wrong:
                attribute.i = wrong[attribute.name]

    return build


BROKEN = {
    "zero_points": (broken_conv_zero, "zero point"),
    "types": (broken_types, "type float32"),
    "bias": (broken_bias, "type float32"),
    "output_dtype": (broken_output_dtype, "output_dtype"),
    "g_idx": (with_g_idx, "g_idx"),
    "K": (wrong_sizes(K=48), "packed"),
    "N": (wrong_sizes(N=6), "packed"),
    "huge_N": (wrong_sizes(N=2**62), "packed"),
    "negative_K": (wrong_sizes(K=-40), "K -40"),
    "bits": (wrong_sizes(bits=3), "3 bits"),
    "other_bits": (wrong_sizes(bits=8), "packed"),
    "block_size": (wrong_sizes(block_size=17), "blocks of 17"),
    "block_size_0": (wrong_sizes(block_size=0), "blocks of 0"),
    "attribute": (lambda b: matmul_n_bits(b, surprise=1), "surprise"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_a_kernel_would_trip_over_is_refused(builder, case):
    build, message = BROKEN[case]
    b = builder((1, 3, "h", "w"), opset=21)
    build(b)
    with pytest.raises(ModelError) as caught:
        check(load_onnx(b.bytes()), input_shape=SHAPE)
    assert message in " ".join(caught.value.violations)


@pytest.mark.parametrize(
    ("operator", "domain"),
    [("Relu", "com.microsoft"), ("QLinearAdd", "com.microsoft"), ("MatMulNBits", "evil")],
)
def test_no_other_operator_of_a_custom_domain(builder, operator, domain):
    b = builder((1, 3, "h", "w"), opset=21)
    b.node(operator, "x", domain=domain)
    with pytest.raises(ModelError) as caught:
        check(load_onnx(b.bytes()), input_shape=SHAPE)
    assert "custom domain" in " ".join(caught.value.violations)


def test_the_operator_of_a_custom_domain_is_not_one_of_onnx(builder):
    b = builder((1, 3, "h", "w"), opset=21)
    matmul_n_bits(b)
    b.nodes[-1].domain = ""
    with pytest.raises(ModelError) as caught:
        check(load_onnx(b.bytes()), input_shape=SHAPE)
    assert "not on the list" in " ".join(caught.value.violations)
