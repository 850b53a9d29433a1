# SPDX-License-Identifier: Apache-2.0
"""The graph that runs, in onnxruntime, against the formulae of NNPFC written out in numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto

from nnrvideo.errors import UnsupportedFeatureError
from nnrvideo.model import infer_contract, load_onnx, pack, prepare, unpack
from nnrvideo.model.element_types import BFLOAT16, INT4, UINT4

CPU = ["CPUExecutionProvider"]


def session(prepared):
    options = ort.SessionOptions()
    names = list(prepared.arrays)
    values = [ort.OrtValue.ortvalue_from_numpy(np.array(prepared.arrays[n])) for n in names]
    options.add_external_initializers(names, values)
    return ort.InferenceSession(prepared.model, options, providers=CPU)


def run(prepared, x):
    assert x.dtype == prepared.input_dtype
    (y,) = session(prepared).run([prepared.output_name], {prepared.input_name: x})
    assert y.dtype == prepared.output_dtype
    return y


def plain(data, x):
    """The network itself, without any conversion."""
    s = ort.InferenceSession(data, providers=CPU)
    return s.run(None, {s.get_inputs()[0].name: x})[0]


def samples(b, shape, depth):
    dtype = np.uint8 if depth == 8 else np.uint16
    return b.random.integers(0, 2**depth, shape).astype(dtype)


def identity(b):
    b.node("Identity", "x")
    return b.bytes()


@pytest.mark.parametrize("depth", [8, 10, 16])
def test_identity_returns_every_sample(builder, depth):
    network = load_onnx(identity(builder()))
    prepared = prepare(network, infer_contract(network), input_bit_depth=depth)
    x = np.arange(2**depth).reshape(1, 1, 16, -1).astype(np.uint8 if depth == 8 else np.uint16)
    np.testing.assert_array_equal(run(prepared, x), x)


@pytest.mark.parametrize(("depth", "out_depth"), [(8, 8), (10, 10), (8, 10), (10, 8)])
def test_real_numbers(builder, valid_sr, depth, out_depth):
    network = load_onnx(valid_sr)
    prepared = prepare(
        network, infer_contract(network), input_bit_depth=depth, output_bit_depth=out_depth
    )
    x = samples(builder(), (1, 1, 26, 31), depth)
    real = (x / np.float32(2**depth - 1)).astype(np.float32)
    top = 2**out_depth - 1
    expected = np.clip(np.floor(plain(valid_sr, real).astype(np.float64) * top + 0.5), 0, top)
    y = run(prepared, x)
    assert y.shape == (1, 1, 40, 50)
    assert prepared.output_bit_depth == out_depth
    # a value within float32 rounding of a half may go either way
    assert np.abs(y.astype(int) - expected).max() <= 1
    assert np.mean(y == expected) > 0.999
    assert expected.min() == 0  # clipping was exercised


def test_half_goes_up(builder):
    """x/255 mapped to exactly k + 1/2 on a 10-bit scale of powers of two."""
    b = builder()
    b.node("Mul", "x", b.constant("zero", np.float32(0)))
    # v * 1023 = 0.5, 1.5, 2.5, 3.5: the floats below are the nearest, and the products are exact
    halves = (np.array([0.5, 1.5, 2.5, 3.5]) / 1023).astype(np.float32)
    b.node("Add", b.last, b.constant("halves", halves.reshape(1, 1, 1, 4)))
    network = load_onnx(b.bytes())
    contract = replace(infer_contract(load_onnx(identity(builder()))))
    prepared = prepare(network, contract, input_bit_depth=10)
    y = run(prepared, np.zeros((1, 1, 1, 4), np.uint16)).reshape(-1)
    exact = halves * np.float32(1023) == np.array([0.5, 1.5, 2.5, 3.5], np.float32)
    assert exact.any()
    np.testing.assert_array_equal(y[exact], np.array([1, 2, 3, 4])[exact])


def test_extremes_are_clipped(builder):
    b = builder()
    b.node("Mul", "x", b.constant("gain", np.float32(1e30)))
    b.node("Sub", b.last, b.constant("shift", np.float32(5e29)))
    network = load_onnx(b.bytes())
    contract = infer_contract(network)
    y = run(prepare(network, contract, input_bit_depth=8), np.array([[[[0, 255]]]], np.uint8))
    assert y.reshape(-1).tolist() == [0, 255]


@pytest.mark.parametrize(("depth", "tensor"), [(8, 8), (10, 8), (8, 10), (10, 10), (16, 9)])
def test_integer_tensors(builder, depth, tensor):
    """Inputs are shifted as NNPFC says; outputs are samples at the tensor's depth."""
    kind = TensorProto.UINT8 if tensor == 8 else TensorProto.UINT16
    b = builder(dtype=kind)
    b.node("Identity", "x")
    b.metadata = {f"nnrvideo.{side}_tensor_bit_depth": str(tensor) for side in ("inp", "out")}
    network = load_onnx(b.bytes(out_dtype=kind))
    prepared = prepare(network, infer_contract(network), input_bit_depth=depth)
    x = samples(b, (1, 1, 30, 30), depth)
    x[0, 0, 0, :2] = 0, 2**depth - 1
    wide = x.astype(np.int64)
    if tensor >= depth:
        expected = wide << (tensor - depth)
    else:
        shift = depth - tensor
        expected = np.clip((wide + (1 << (shift - 1))) >> shift, 0, 2**tensor - 1)
    assert prepared.output_bit_depth == tensor
    np.testing.assert_array_equal(run(prepared, x), expected)


def test_integers_held_in_floats(builder):
    b = builder()
    b.node("Add", "x", b.constant("bit", np.float32(0.5)))
    b.metadata = {
        "nnrvideo.inp_format_idc": "1",
        "nnrvideo.out_format_idc": "1",
        "nnrvideo.inp_tensor_bit_depth": "8",
        "nnrvideo.out_tensor_bit_depth": "8",
    }
    network = load_onnx(b.bytes())
    prepared = prepare(network, infer_contract(network), input_bit_depth=8)
    x = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(run(prepared, x), np.minimum(x.astype(int) + 1, 255))


def test_half_precision_network(builder):
    b = builder(dtype=TensorProto.FLOAT16)
    b.node("Identity", "x")
    network = load_onnx(b.bytes(out_dtype=TensorProto.FLOAT16))
    prepared = prepare(network, infer_contract(network), input_bit_depth=8)
    x = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(run(prepared, x), x)


def test_surplus_is_cut_off(builder):
    b = builder()
    b.conv(4, 1, pads=[1, 1, 1, 1])
    b.node("DepthToSpace", b.last, blocksize=2)
    b.metadata = {"nnrvideo.overlap": "3"}
    data = b.bytes()
    network = load_onnx(data)
    prepared = prepare(network, infer_contract(network), input_bit_depth=8)
    x = samples(b, (1, 1, 22, 30), 8)
    y = run(prepared, x)
    whole = np.clip(np.floor(plain(data, x / np.float32(255)) * 255 + 0.5), 0, 255)
    assert y.shape == (1, 1, 32, 48)
    assert np.abs(y - whole[:, :, 6:-6, 6:-6]).max() <= 1


def test_channels_last_and_five_dimensions(builder):
    b = builder((1, "h", "w", 3))
    b.node("Pad", "x", b.constant("p", np.array([0, -1, -1, 0, 0, -1, -1, 0])))
    network = load_onnx(b.bytes())
    x = samples(b, (1, 10, 12, 3), 8)
    prepared = prepare(network, infer_contract(network), input_bit_depth=8)
    np.testing.assert_array_equal(run(prepared, x), x[:, 1:-1, 1:-1])
    b = builder((1, 2, 1, "h", "w"))
    b.node("Gather", "x", b.constant("first", np.array([0])), axis=1)
    network = load_onnx(b.bytes())
    x = samples(b, (1, 2, 1, 6, 8), 8)
    prepared = prepare(network, infer_contract(network), input_bit_depth=8)
    np.testing.assert_array_equal(run(prepared, x), x[:, :1])


def test_strength_plane_is_fed_as_real_numbers(builder):
    b = builder((1, 2, "h", "w"))
    b.node("ReduceMean", "x", axes=[1])
    b.metadata = {"nnrvideo.auxiliary_inp_idc": "1"}
    network = load_onnx(b.bytes())
    prepared = prepare(network, infer_contract(network), input_bit_depth=8)
    assert prepared.input_dtype == np.float32
    y = run(prepared, np.full((1, 2, 4, 4), 1.0, np.float32))
    assert (y == 255).all()


def test_names_of_the_network_cannot_clash(builder):
    b = builder()
    b.node("Identity", "x", out="nnrvideo/samples/0")
    b.node("Identity", b.last, out="nnrvideo/cast/0")
    network = load_onnx(b.bytes())
    prepared = prepare(network, infer_contract(network), input_bit_depth=8)
    x = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(run(prepared, x), x)


def test_fsrcnn_runs(shared, builder):
    path = shared / "data/models/FSRCNN_x2.onnx"
    network = load_onnx(path)
    prepared = prepare(network, infer_contract(network), input_bit_depth=8)
    x = samples(builder(), (1, 1, 36, 48), 8)
    real = plain(path.read_bytes(), x / np.float32(255))
    expected = np.clip(np.floor(real * np.float32(255) + np.float32(0.5)), 0, 255)
    np.testing.assert_array_equal(run(prepared, x), expected)


def test_depths_out_of_range(valid_sr):
    network = load_onnx(valid_sr)
    contract = infer_contract(network)
    with pytest.raises(ValueError, match="bit depth"):
        prepare(network, contract, input_bit_depth=7)
    with pytest.raises(ValueError, match="bit depth"):
        prepare(network, contract, input_bit_depth=8, output_bit_depth=17)
    wide = replace(contract, inp_format_idc=1, inp_tensor_bit_depth=24)
    with pytest.raises(UnsupportedFeatureError, match="24 bits"):
        prepare(network, wide, input_bit_depth=8)


def quantised(b, kind):
    """A luma filter whose weights are stored as ``kind``; made of exact powers of two."""
    levels = np.arange(-4, 5).reshape(1, 1, 3, 3)
    if kind == "bfloat16":
        b.constant("w", (levels / 64).astype(BFLOAT16))
        b.node("Cast", "w", to=TensorProto.FLOAT, out="kernel")
    else:
        types = {"int8": np.dtype(np.int8), "int4": INT4, "uint4": UINT4}
        centre = 8 if kind == "uint4" else 0
        b.constant("w", (levels + centre).astype(np.int8).astype(types[kind]))
        b.constant("z", np.array(centre, np.int8).astype(types[kind]))
        b.constant("s", np.float32(1 / 64))
        b.node("DequantizeLinear", "w", "s", "z", out="kernel")
    b.node("Conv", "x", "kernel")
    return b.bytes(out_dims=[1, 1, "H", "W"])


@pytest.mark.parametrize("kind", ["int8", "int4", "uint4", "bfloat16"])
def test_weights_in_types_that_numpy_does_not_know(builder, kind):
    data = quantised(builder(opset=21), kind)
    network = unpack(pack(load_onnx(data))).require_network()
    prepared = prepare(network, infer_contract(network), input_bit_depth=8)
    x = samples(builder(), (1, 1, 12, 14), 8)
    y = run(prepared, x)
    real = plain(data, (x / np.float32(255)).astype(np.float32)).astype(np.float64)
    expected = np.clip(np.floor(real * 255 + 0.5), 0, 255)
    assert np.abs(y.astype(int) - expected).max() <= (1 if kind == "bfloat16" else 0)
