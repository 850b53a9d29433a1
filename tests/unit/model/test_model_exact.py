# SPDX-License-Identifier: Apache-2.0
"""Lossless networks: every initialiser of every type comes back with the same SHA-256."""

from __future__ import annotations

import hashlib

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from nnrvideo.errors import TensorMismatchError
from nnrvideo.model import (
    check,
    diff,
    load_npz,
    load_onnx,
    measure,
    pack,
    receive,
    save_npz,
    unpack,
)
from nnrvideo.model.element_types import BFLOAT16, ELEMENT_TYPES, INT4, TYPE_CODES, UINT4
from nnrvideo.model.exact import carriers, patterns_of, restore
from nnrvideo.model.graph import TensorDeclaration
from nnrvideo.nnc import DataUnit, EncodeSettings, decode, encode
from nnrvideo.nnc.constants import PayloadType
from nnrvideo.tensors import TensorSet

LOSSLESS = EncodeSettings(lossless=True, search=False)
RANDOM = np.random.default_rng(15938)


def digests(data):
    """SHA-256 of type, shape and values of every initialiser of an ONNX file."""
    found = {}
    for proto in onnx.load_from_string(data).graph.initializer:
        content = onnx.TensorProto()
        content.CopyFrom(proto)
        if not content.raw_data:
            content = numpy_helper.from_array(numpy_helper.to_array(proto))
        head = f"{proto.data_type} {list(proto.dims)} ".encode()
        found[proto.name] = hashlib.sha256(head + content.raw_data).hexdigest()
    return found


def bits(dtype, *shape):
    """An array of random bit patterns, NaN of every kind among them."""
    dtype = np.dtype(dtype)
    if dtype in (INT4, UINT4):
        low = -8 if dtype == INT4 else 0
        return RANDOM.integers(low, low + 16, shape).astype(np.int8).astype(dtype)
    if dtype == np.bool_:
        return RANDOM.integers(0, 2, shape).astype(np.bool_)
    count = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(RANDOM.bytes(count), f"u{dtype.itemsize}").view(dtype).reshape(shape)


def normal(dtype, *shape):
    return RANDOM.normal(0, 0.1, shape).astype(np.float32).astype(dtype)


def quantised(dtype, *shape):
    low, high = {"int8": (-127, 127), "uint8": (0, 255), "int4": (-7, 7)}[np.dtype(dtype).name]
    middle = (low + high + 1) // 2
    values = np.clip(np.rint(RANDOM.laplace(middle, (high - low) / 16, shape)), low, high)
    return values.astype(np.int8 if low < 0 else np.uint8).astype(dtype)


# --- networks -----------------------------------------------------------------------------------


def conv(b):
    b.conv(8, 3)
    b.node("Relu", b.last)
    b.conv(3, 8)


def conv_transpose(b):
    b.node("ConvTranspose", "x", b.weight("w", 3, 5, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1])


def gemm(b):
    b.node("GlobalAveragePool", "x")
    b.node("Flatten", b.last)
    b.node("Gemm", b.last, b.weight("m", 5, 3), b.weight("c", 5), transB=1)


def matmul(b):
    b.node("Transpose", "x", perm=[0, 2, 3, 1])
    b.node("MatMul", b.last, b.weight("m", 3, 7))


def prelu(b):
    b.conv(8, 3)
    b.node("PRelu", b.last, b.weight("a", 8, 1, 1))


def batch_normalization(b):
    b.conv(4, 3)
    names = [b.weight(name, 4) for name in ("scale", "shift", "mean")]
    b.node("BatchNormalization", b.last, *names, b.constant("var", np.ones(4, np.float32)))


def sub_pixel(b):
    b.conv(12, 3, pads=[1, 1, 1, 1])
    b.node("DepthToSpace", b.last, blocksize=2, mode="CRD")


def attention(b):
    b.node("GlobalAveragePool", "x")
    b.conv(3, 3, 1)
    b.node("Sigmoid", b.last)
    b.node("Mul", "x", b.last)


def qdq_conv(b, dtype=np.int8, **attributes):
    b.constant("q", quantised(dtype, 16, 3, 3, 3))
    b.constant("scales", np.abs(normal(np.float32, 16)) + 0.001)
    b.constant("zeros", np.zeros(16, np.int8).astype(dtype))
    kernel = b.node("DequantizeLinear", "q", "scales", "zeros", axis=0, **attributes)
    b.constant("bias", RANDOM.integers(-(2**20), 2**20, 16).astype(np.int32))
    bias = b.node("DequantizeLinear", "bias", "scales", axis=0)
    b.node("Conv", "x", kernel, bias)


def qdq_uint8(b):
    qdq_conv(b, np.uint8)


def qdq_int4_blocks(b):
    b.constant("q", quantised(INT4, 64, 8))
    b.constant("scales", np.abs(normal(np.float32, 4, 8)) + 0.001)
    b.node("DequantizeLinear", "q", "scales", axis=0, block_size=16, out="m")
    b.constant("grow", normal(np.float32, 3, 64))
    b.node("Transpose", "x", perm=[0, 2, 3, 1])
    b.node("MatMul", b.last, "grow")
    b.node("MatMul", b.last, "m")


def matmul_n_bits(b):
    n, k, block = 8, 32, 16
    b.constant("grow", normal(np.float32, 3, k))
    b.constant("packed", quantised(np.uint8, n, k // block, block // 2))
    b.constant("scales", np.abs(normal(np.float32, n * k // block)) + 0.001)
    b.constant("zeros", bits(np.uint8, n * (k // block) // 2))
    b.node("Transpose", "x", perm=[0, 2, 3, 1])
    b.node("MatMul", b.last, "grow")
    inputs = [b.last, "packed", "scales", "zeros"]
    b.node("MatMulNBits", *inputs, domain="com.microsoft", K=k, N=n, bits=4, block_size=block)


def dynamic(b):
    b.node("DynamicQuantizeLinear", "x", outputs=3, out="dq")
    b.constant("q", quantised(np.int8, 6, 3, 3, 3))
    b.constant("scale", np.float32([0.0123]))
    b.node("ConvInteger", "dq_0", "q", "dq_2", out="sum")
    b.node("Cast", "sum", to=TensorProto.FLOAT, out="real")
    b.node("Mul", "dq_1", "scale", out="factor")
    b.node("Mul", "real", "factor")


def matmul_integer(b):
    b.node("Transpose", "x", perm=[0, 2, 3, 1])
    b.node("DynamicQuantizeLinear", b.last, outputs=3, out="dq")
    b.constant("q", quantised(np.uint8, 3, 40))
    b.constant("zeros", np.full(40, 128, np.uint8))
    b.constant("scales", np.abs(normal(np.float32, 40)) + 0.001)
    b.node("MatMulInteger", "dq_0", "q", "dq_2", "zeros", out="sum")
    b.node("Cast", "sum", to=TensorProto.FLOAT, out="real")
    b.node("Mul", "real", "scales")


def qlinear_conv(b):
    b.constant("s", np.float32(0.01))
    b.constant("z", np.uint8(128))
    b.node("QuantizeLinear", "x", "s", "z", out="xq")
    b.constant("q", quantised(np.int8, 20, 3, 3, 3))
    b.constant("scales", np.abs(normal(np.float32, 20)) + 0.001)
    b.constant("zeros", np.zeros(20, np.int8))
    b.constant("bias", RANDOM.integers(-900, 900, 20).astype(np.int32))
    b.node("QLinearConv", "xq", "s", "z", "q", "scales", "zeros", "s", "z", "bias", out="yq")
    b.node("DequantizeLinear", "yq", "s", "z")


def cast_weights(dtype):
    """Weights in a narrow or wide type that are cast for the convolution."""

    def build(b):
        b.constant("w", normal(np.float32, 8, 3, 3, 3).astype(dtype))
        b.constant("odd", bits(dtype, 3, 7))
        b.constant("one", bits(dtype, 1).reshape(()))
        b.node("Cast", "w", to=TensorProto.FLOAT, out="kernel")
        b.node("Identity", "odd")
        b.node("Identity", "one")
        b.node("Conv", "x", "kernel")

    return build


NETWORKS = {
    "conv": conv,
    "conv_transpose": conv_transpose,
    "gemm": gemm,
    "matmul": matmul,
    "prelu": prelu,
    "batch_normalization": batch_normalization,
    "sub_pixel": sub_pixel,
    "attention": attention,
    "qdq_int8": qdq_conv,
    "qdq_uint8": qdq_uint8,
    "qdq_int4_blocks": qdq_int4_blocks,
    "matmul_n_bits": matmul_n_bits,
    "conv_integer": dynamic,
    "matmul_integer": matmul_integer,
    "qlinear_conv": qlinear_conv,
    "float16": cast_weights(np.float16),
    "bfloat16": cast_weights(BFLOAT16),
    "float64": cast_weights(np.float64),
    "float32": cast_weights(np.float32),
}


@pytest.fixture(params=NETWORKS)
def model(builder, request):
    b = builder((1, 3, "h", "w"), opset=21)
    NETWORKS[request.param](b)
    return b.bytes()


@pytest.mark.parametrize("topology", ["onnx", "text"])
def test_every_network_is_lossless(model, topology):
    network = load_onnx(model)
    check(network, finite=False)
    coded = pack(network, LOSSLESS, topology=topology)
    back = unpack(coded).require_network()
    assert back.topology == network.topology
    assert digests(back.to_onnx()) == digests(model)


@pytest.mark.parametrize("topology", ["onnx", "text"])
@pytest.mark.parametrize("dtype", ELEMENT_TYPES.values(), ids=str)
def test_every_bit_pattern_of_every_type(builder, dtype, topology):
    b = builder(opset=21)
    shapes = [(5, 3, 2), (41,), (2, 1, 9), (1, 20), (2, 33), (4, 4), (1,), ()]
    for index, shape in enumerate(shapes):
        b.node("Identity", b.constant(f"t{index}", bits(dtype, *shape)))
    b.node("Identity", b.constant("empty", bits(dtype, 0)))
    b.node("Identity", b.constant("many", bits(dtype, 5000)))
    b.node("Identity", "x")
    data = b.bytes()
    back = unpack(pack(load_onnx(data), LOSSLESS, topology=topology)).require_network()
    assert digests(back.to_onnx()) == digests(data)


@pytest.mark.parametrize("settings", [EncodeSettings(), EncodeSettings(profile=0, search=False)])
@pytest.mark.parametrize(
    "name", ["qdq_int8", "qdq_uint8", "qdq_int4_blocks", "matmul_n_bits", "conv_integer"]
    + ["matmul_integer", "qlinear_conv"],
)  # fmt: skip
def test_what_is_quantised_already_is_not_quantised_again(builder, name, settings):
    b = builder((1, 3, "h", "w"), opset=21)
    NETWORKS[name](b)
    b.node("Mul", b.last, b.weight("gain", 1, 1, 1, 1), out="gained")
    data = b.bytes()
    network = load_onnx(data)
    coded = pack(network, settings)
    back = unpack(coded).require_network()
    before, after = digests(data), digests(back.to_onnx())
    lossy = {"gain", "grow"}
    assert {key for key in before if before[key] != after[key]} <= lossy
    payloads = {
        unit.topology_elem_ids[0]: unit.nnr_compressed_data_unit_payload_type
        for unit in decode(coded).units
        if isinstance(unit, DataUnit)
    }
    weights = {"q", "packed"} & set(payloads)
    assert weights and {payloads[key] for key in weights} == {PayloadType.NNR_PT_INT}
    if "scales" in payloads:
        assert payloads["scales"] in {PayloadType.NNR_PT_RAW_FLOAT, PayloadType.NNR_PT_INT}
    assert payloads["gain"] == PayloadType.NNR_PT_FLOAT


def test_four_bit_weights_take_about_their_entropy(builder):
    nibbles = np.clip(np.rint(RANDOM.normal(8, 1.6, (64, 8, 32))), 0, 15).astype(np.uint8)
    packed = nibbles[..., ::2] | nibbles[..., 1::2] << 4
    arrays, own = carriers({"b": packed}, EncodeSettings())
    assert arrays["b"].shape == (2, *packed.shape)
    size = len(encode(arrays, EncodeSettings(), per_tensor=own))
    shares = np.bincount(nibbles.reshape(-1)) / nibbles.size
    entropy = -sum(p * np.log2(p) for p in shares if p) * nibbles.size / 8
    assert size < 1.03 * entropy + 60
    assert size < 0.8 * packed.nbytes


def test_centred_bytes_beat_plain_ones():
    weights = quantised(np.uint8, 64, 100)
    sizes = {}
    for plain in (False, True):
        arrays, own = carriers({"w": weights}, EncodeSettings(), plain=plain)
        sizes[plain] = len(encode(arrays, EncodeSettings(), per_tensor=own))
        declared = TensorDeclaration("w", weights.dtype, weights.shape)
        np.testing.assert_array_equal(restore(arrays["w"], declared), weights)
    assert sizes[False] < 0.95 * sizes[True]


def test_without_a_graph(builder, tmp_path):
    b = builder(opset=21)
    names = ("float16", "float64", "int8", "int16", "int32", "int64")
    for name in names:
        values = np.arange(2000).astype(name).reshape(40, 50)
        b.node("Identity", b.constant(name, values))
    b.node("Identity", "x")
    network = load_onnx(b.bytes())
    tensors = unpack(pack(network, LOSSLESS, topology="none")).tensors
    assert tensors.fingerprint() == network.tensors.fingerprint()
    save_npz(tensors, tmp_path / "t.npz")
    assert load_npz(tmp_path / "t.npz").fingerprint() == network.tensors.fingerprint()


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(40, np.uint8),
        np.zeros(40, np.bool_),
        np.zeros(40, BFLOAT16),
        np.zeros(40, INT4),
        np.full(4000, 2**40),
        np.full(40, 0.1),
    ],
    ids=lambda value: value.dtype.name,
)
def test_types_that_need_the_graph_are_refused_by_name_without(builder, value):
    b = builder(opset=21)
    b.node("Identity", b.constant("culprit", value))
    b.node("Identity", "x")
    network = load_onnx(b.bytes())
    with pytest.raises(ValueError, match="'culprit'.*graph"):
        pack(network, LOSSLESS, topology="none")


def test_lossy_without_a_graph_can_be_joined_with_it_again(builder):
    b = builder((1, 3, "h", "w"), opset=21)
    qdq_uint8(b)
    b.node("Identity", b.constant("half", normal(BFLOAT16, 8, 8)))
    network = load_onnx(b.bytes())
    tensors = unpack(pack(network, topology="none")).tensors
    back = network.with_tensors(tensors)
    np.testing.assert_array_equal(back.tensors["q"], network.tensors["q"])
    assert back.tensors["half"].dtype == BFLOAT16


def test_truth_values_are_0_or_1():
    with pytest.raises(ValueError, match="'flags'.*neither 0 nor 1"):
        carriers({"flags": np.array([0, 2], np.uint8).view(np.bool_)}, LOSSLESS)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ((UINT4, (5,)), np.full((1, 5), 8, np.int32)),
        ((UINT4, (5,)), np.full(5, 16, np.int8)),
        ((INT4, (5,)), np.full(5, -9, np.int8)),
        ((np.uint8, (5,)), np.full((2, 5), -9, np.int32)),
        ((np.uint8, (5,)), np.full((3, 5), 0, np.int32)),
        ((np.uint8, (5,)), np.full((0, 5), 0, np.int32)),
        ((np.int64, (5,)), np.full((4, 5), 32768, np.int32)),
        ((np.bool_, (5,)), np.full(5, 2, np.int32)),
        ((np.bool_, (5,)), np.zeros(5, np.float32)),
        ((np.float16, (5,)), np.zeros((2, 5), np.float32)),
        ((np.float32, (5,)), np.zeros((3, 5), np.int32)),
        ((np.float32, (5,)), np.full((2, 5), 1 << 15, np.int32)),
        ((BFLOAT16, (5,)), np.zeros(5, np.int32)),
        ((np.int8, (5,)), np.zeros((1, 5), np.int32)),
        ((np.uint8, ()), np.full(1, -5, np.int32)),
    ],
    ids=str,
)
def test_forged_forms_are_refused(declared, value):
    with pytest.raises(ValueError):
        restore(value, TensorDeclaration("t", np.dtype(declared[0]), declared[1]))


def test_a_stream_with_digits_of_another_shape_does_not_fit(builder):
    b = builder(opset=21)
    b.node("Identity", b.constant("t", bits(np.uint8, 4, 30)))
    b.node("Identity", "x")
    network = load_onnx(b.bytes())
    with pytest.raises(TensorMismatchError, match="shape"):
        network.with_tensors({"t": np.zeros((2, 30, 4), np.int32)})


def test_complexity_counts_weights_not_bytes(builder):
    b = builder((1, 3, "h", "w"), opset=21)
    b.constant("grow", normal(np.float32, 3, 16))
    b.constant("packed", quantised(np.uint8, 3, 1, 8))
    b.constant("scales", np.ones(3, np.float32))
    b.node("Transpose", "x", perm=[0, 2, 3, 1])
    b.node("MatMul", b.last, "grow")
    b.node("MatMulNBits", b.last, "packed", "scales", domain="com.microsoft", K=16, N=3, bits=4,
           block_size=16)  # fmt: skip
    b.node("Transpose", b.last, perm=[0, 3, 1, 2])
    cost = measure(load_onnx(b.bytes()))
    assert cost.parameters == 3 * 16 + 3 * 16 + 3
    assert cost.macs_per_sample == 3 * 16 + 16 * 3


# --- properties ---------------------------------------------------------------------------------


@given(st.data())
def test_any_bits_in_any_shape_come_back(data):
    dtype = data.draw(st.sampled_from(list(ELEMENT_TYPES.values())))
    shape = tuple(data.draw(st.lists(st.integers(1, 5), max_size=3)))
    size = int(np.prod(shape))
    if dtype in (INT4, UINT4, np.dtype(np.bool_)):
        top = 1 if dtype == np.bool_ else 15
        raw = data.draw(st.lists(st.integers(0, top), min_size=size, max_size=size))
        low = 8 if dtype == INT4 else 0
        values = (np.array(raw, np.int8) - np.int8(low)).astype(dtype).reshape(shape)
    else:
        length = size * dtype.itemsize
        raw = data.draw(st.binary(min_size=length, max_size=length))
        values = np.frombuffer(raw, f"u{dtype.itemsize}").view(dtype).reshape(shape)
    plain = data.draw(st.booleans())
    arrays, own = carriers({"t": values}, LOSSLESS, plain=plain)
    stream = encode(arrays, LOSSLESS, per_tensor=own)
    found = restore(decode(stream).tensors["t"], TensorDeclaration("t", dtype, shape))
    assert (found.dtype, found.shape) == (dtype, shape)
    assert patterns_of(found).tobytes() == patterns_of(values).tobytes()


def test_signalling_nan_in_a_file(builder):
    patterns = {
        np.dtype(np.float16): [0x7C01, 0xFC01, 0x7E00, 0x8000, 0x0001, 0x7C00],
        BFLOAT16: [0x7F81, 0xFF81, 0x7FC0, 0x8000, 0x0001, 0x7F80],
        np.dtype(np.float32): [0x7F800001, 0xFF800001, 0x7FC00000, 1 << 31, 1, 0x7F800000],
        np.dtype(np.float64): [0x7FF0000000000001, 0xFFF4000000000000, 1 << 63, 1, 0x7FF << 52],
    }
    b = builder(opset=21)
    for dtype, values in patterns.items():
        raw = np.array(values, f"<u{dtype.itemsize}").tobytes()
        b.initializers.append(
            helper.make_tensor(dtype.name, TYPE_CODES[dtype], [len(values)], raw, raw=True)
        )
        b.node("Identity", dtype.name)
    b.node("Identity", "x")
    data = b.bytes()
    for topology in ("onnx", "text"):
        back = unpack(pack(load_onnx(data), LOSSLESS, topology=topology)).require_network()
        assert digests(back.to_onnx()) == digests(data)


def test_element_types_are_those_of_onnx():
    assert ELEMENT_TYPES == {code: helper.tensor_dtype_to_np_dtype(code) for code in ELEMENT_TYPES}
    assert np.dtype(ml_dtypes.bfloat16) == BFLOAT16


@pytest.mark.parametrize("topology", ["onnx", "text"])
def test_updates_go_on_from_every_form(builder, topology):
    kinds = (np.uint8, np.uint16, np.int8, INT4, UINT4, BFLOAT16, np.float16)
    b = builder(opset=21)
    for index, dtype in enumerate(kinds):
        b.node("Identity", b.constant(f"t{index}", normal(np.float32, 6, 40).astype(dtype)))
    b.node("Identity", "x")
    network = load_onnx(b.bytes())
    base = receive(pack(network, LOSSLESS, topology=topology))
    new = {}
    for name, value in network.tensors.items():
        moved = value.astype(np.float32)
        moved[2] = 1
        new[name] = moved.astype(value.dtype)
    after = receive(diff(base, new, EncodeSettings(qp=-60)), base)
    for name, value in new.items():
        found = after.tensors[name]
        assert found.dtype == value.dtype
        error = np.abs(found.astype(np.float64) - value.astype(np.float64)).max()
        assert error <= (0.01 if value.dtype in (BFLOAT16, np.float16) else 0), name
    again = receive(pack(network.with_tensors(TensorSet(new)), LOSSLESS, topology="text"), base)
    assert again.tensors.fingerprint() == TensorSet(new).fingerprint()
