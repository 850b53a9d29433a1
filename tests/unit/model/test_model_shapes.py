# SPDX-License-Identifier: Apache-2.0
"""Shape inference against what onnxruntime really produces."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto

from nnrvideo.errors import ModelError
from nnrvideo.limits import Limits
from nnrvideo.model import check, infer_shapes, load_onnx
from nnrvideo.model.operators import ALLOWED_OPERATORS
from nnrvideo.model.shape_rules import RULES

LIMITS = Limits.desktop()


def test_every_allowed_operator_has_a_rule():
    assert set(RULES) == ALLOWED_OPERATORS


def i64(*values):
    return np.array(values, np.int64)


def f32(*values):
    return np.array(values, np.float32)


def ratios(b):
    """The arithmetic that an exporter writes for x.shape * 2."""
    b.node("Shape", "x", out="shape")
    b.constant("two", i64(2, 3))
    b.node("Gather", "shape", b.constant("hw", i64(2, 3)), out="size")
    b.node("Mul", "size", b.constant("twice", i64(2, 2)), out="big")
    b.node("Slice", "shape", b.constant("s", i64(0)), b.constant("e", i64(2)), out="nc")
    b.node("Concat", "nc", "big", out="full", axis=0)
    b.node("Resize", "x", "", "", "full", mode="nearest")


CASES = {
    "conv_valid": lambda b: b.conv(4, 3),
    "conv_stride": lambda b: b.conv(4, 3, strides=[2, 2], pads=[1, 0, 1, 0]),
    "conv_dilated": lambda b: b.conv(4, 3, dilations=[2, 3]),
    "conv_same": lambda b: b.conv(4, 3, auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv_grouped": lambda b: b.conv(6, 1, group=3),
    "conv_transpose": lambda b: b.node(
        "ConvTranspose", "x", b.weight("w", 3, 5, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1]
    ),
    "conv_transpose_odd": lambda b: b.node(
        "ConvTranspose",
        "x",
        b.weight("w", 3, 5, 3, 3),
        strides=[2, 2],
        output_padding=[1, 1],
        dilations=[2, 1],
    ),
    "max_pool_ceil": lambda b: b.node(
        "MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1
    ),
    "average_pool": lambda b: b.node(
        "AveragePool", "x", kernel_shape=[2, 3], strides=[2, 3], pads=[0, 1, 1, 0]
    ),
    "global_pool": lambda b: b.node("GlobalAveragePool", "x"),
    "reduce": lambda b: b.node("ReduceMean", "x", axes=[2, 3], keepdims=0),
    "prelu": lambda b: b.node("PRelu", "x", b.weight("a", 3, 1, 1)),
    "clip": lambda b: b.node(
        "Clip", "x", b.constant("l", np.float32(0)), b.constant("h", np.float32(1))
    ),
    "broadcast": lambda b: b.node("Mul", "x", b.weight("k", 3, 1, 1)),
    "depth_to_space": lambda b: (
        b.conv(12, 3),
        b.node("DepthToSpace", b.last, blocksize=2, mode="CRD"),
    ),
    "space_to_depth": lambda b: b.node("SpaceToDepth", "x", blocksize=2),
    "pad_reflect": lambda b: b.node(
        "Pad", "x", b.constant("p", i64(0, 0, 1, 2, 0, 0, 3, 4)), mode="reflect"
    ),
    "pad_negative": lambda b: b.node("Pad", "x", b.constant("p", i64(0, 0, -1, 0, 0, 0, -2, 1))),
    "resize_scales": lambda b: b.node(
        "Resize", "x", "", b.constant("k", f32(1, 1, 1.5, 2.25)), mode="linear"
    ),
    "resize_sizes": ratios,
    "slice_steps": lambda b: b.node(
        "Slice",
        "x",
        b.constant("s", i64(-1, 1)),
        b.constant("e", i64(-(2**63), 2**62)),
        b.constant("a", i64(2, 3)),
        b.constant("t", i64(-1, 3)),
    ),
    "split": lambda b: (
        b.node("Split", "x", b.constant("n", i64(1, 2)), outputs=2, axis=1, out="part"),
        b.node("Concat", "part_1", "part_0", axis=1),
    ),
    "transpose": lambda b: b.node("Transpose", "x", perm=[0, 2, 3, 1]),
    "reshape": lambda b: b.node("Reshape", "x", b.constant("r", i64(0, 3, -1))),
    "flatten": lambda b: b.node("Flatten", "x", axis=2),
    "unsqueeze": lambda b: (
        b.node("Unsqueeze", "x", b.constant("u", i64(1))),
        b.node("Squeeze", b.last, b.constant("q", i64(0, 1))),
    ),
    "expand": lambda b: b.node("Expand", "x", b.constant("e", i64(2, 1, 1, 1))),
    "tile": lambda b: b.node("Tile", "x", b.constant("t", i64(1, 2, 1, 3))),
    "constant_of_shape": lambda b: (
        b.node("ConstantOfShape", b.constant("c", i64(1, 3, 1, 1))),
        b.node("Add", "x", b.last),
    ),
    "batch_norm": lambda b: b.node(
        "BatchNormalization",
        "x",
        b.weight("g", 3),
        b.weight("h", 3),
        b.weight("m", 3),
        b.constant("v", np.ones(3, np.float32)),
    ),
    "qdq": lambda b: (
        b.constant("scale", np.float32(0.01)),
        b.constant("zero", np.uint8(128)),
        b.node("QuantizeLinear", "x", "scale", "zero"),
        b.node("DequantizeLinear", b.last, "scale", "zero"),
    ),
    "cast": lambda b: (b.node("Cast", "x", to=TensorProto.FLOAT16), b.node("Cast", b.last, to=1)),
    "matmul": lambda b: (
        b.node("Transpose", "x", perm=[0, 2, 3, 1]),
        b.node("MatMul", b.last, b.weight("m", 3, 7)),
    ),
    "gemm": lambda b: (
        b.node("GlobalAveragePool", "x"),
        b.node("Flatten", b.last),
        b.node("Gemm", b.last, b.weight("m", 5, 3), b.weight("c", 5), transB=1),
    ),
    "min_max": lambda b: (
        b.node("Max", "x", b.weight("k", 1), b.weight("j", 3, 1, 1)),
        b.node("Softmax", b.last, axis=1),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_rule_agrees_with_onnxruntime(builder, case):
    b = builder((1, 3, "h", "w"))
    CASES[case](b)
    data = b.bytes()
    network = load_onnx(data)
    for height, width in ((12, 18), (16, 14)):
        shape = (1, 3, height, width)
        inference = check(network, input_shape=shape)
        x = b.random.normal(0, 1, shape).astype(np.float32)
        (y,) = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": x})
        found = inference.values[network.graph.outputs[0].name]
        assert found.shape == y.shape
        assert found.dtype == y.dtype


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("FSRCNN_x2", (1, 1, 33, 47)),
        ("resnet20_cifar10", (2, 3, 32, 32)),
        ("squeezenet10_fire9", (1, 3, 97, 120)),
    ],
)
def test_real_models_agree_with_onnxruntime(shared, name, shape):
    path = shared / "data" / "models" / f"{name}.onnx"
    network = load_onnx(path)
    inference = check(network, input_shape=shape)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: np.zeros(shape, np.float32)})
    assert inference.shape(network.graph.outputs[0].name) == y.shape


def test_macs_of_known_layers(builder):
    b = builder((1, 8, "h", "w"))
    b.conv(16, 2, 3, group=4, bias=False)  # 16 * 2 * 9 products for each of 8x8 outputs
    b.node("ConvTranspose", b.last, b.weight("t", 16, 4, 2, 2), strides=[2, 2])  # 64*16*4*4
    b.node("Transpose", b.last, perm=[0, 2, 3, 1])
    b.node("MatMul", b.last, b.weight("m", 4, 5))  # 256 * 4 * 5
    network = load_onnx(b.bytes())
    inference = infer_shapes(network.graph, {"x": (1, 8, 10, 10)}, limits=LIMITS)
    assert inference.macs == 64 * 16 * 2 * 9 + 64 * 16 * 4 * 4 + 256 * 4 * 5


def test_peak_is_what_lives_together(builder):
    b = builder()
    for _ in range(5):
        b.node("Relu", b.last)
    network = load_onnx(b.bytes())
    inference = infer_shapes(network.graph, {"x": (1, 1, 100, 100)}, limits=LIMITS)
    assert inference.peak_bytes == 2 * 40_000


def test_all_violations_at_once(builder):
    b = builder((1, 3, "h", "w"))
    b.node("Conv", "x", b.weight("w", 4, 5, 3, 3))  # channels
    b.node("SpaceToDepth", "x", blocksize=7)  # size
    b.node("Reshape", "x", b.constant("r", i64(5, 5)))  # count
    with pytest.raises(ModelError) as caught:
        check(load_onnx(b.bytes()), input_shape=(1, 3, 16, 16))
    assert len(caught.value.violations) == 3


def test_declared_dimensions_are_held_to(builder):
    b = builder((1, 1, 16, 16))
    b.conv(1, 1)
    network = load_onnx(b.bytes(out_dims=[1, 1, 16, 16]))
    with pytest.raises(ModelError, match="declared"):
        check(network)
    with pytest.raises(ModelError, match="cannot be"):
        check(network, input_shape=(1, 1, 20, 20))
