# SPDX-License-Identifier: Apache-2.0
"""Folding gives the same network, or leaves it alone."""

from __future__ import annotations

import io
import logging

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnrvideo import model, nnc
from nnrvideo.model import fold_batch_norm, load_onnx, pack, unpack
from nnrvideo.nnc import EncodeSettings, Role

FAST = EncodeSettings(preset="fast", qp=-40)


def run(data, dims):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(2).normal(0, 1, dims).astype(np.float32)
    return session.run(None, {"x": x})


def batch_norm(b, channels, source=None, *, prefix=None, outputs=1, **attributes):
    """A batch normalisation with factors of either sign, some large."""
    prefix = prefix or f"bn{len(b.nodes)}"
    random = np.random.default_rng(len(b.nodes))
    values = {
        "gamma": random.normal(0, 1, channels),
        "beta": random.normal(0, 1, channels),
        "mean": random.normal(0, 1, channels),
        "var": random.lognormal(0, 2, channels),
    }
    names = [f"{prefix}/{name}" for name in values]
    known = {tensor.name for tensor in b.initializers}
    for name, value in zip(names, values.values(), strict=True):
        if name not in known:
            b.constant(name, value.astype(np.float32))
    source = source or b.last
    return b.node("BatchNormalization", source, *names, outputs=outputs, **attributes)


def operators(network):
    return [node.op_type for node in network.graph.nodes]


def assert_folded(data, dims, *, scaled=None):
    network = load_onnx(data)
    folded = fold_batch_norm(network)
    assert "BatchNormalization" not in operators(folded.network)
    assert not any(name.startswith("bn") for name in folded.network.tensors)
    if scaled is not None:
        assert set(folded.scaling) == set(scaled)
    before, after = run(data, dims), run(folded.multiplied().to_onnx(), dims)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-5 * np.abs(old).max())
    assert network.tensors.fingerprint() == load_onnx(data).tensors.fingerprint()
    return folded


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("epsilon", [None, 0.1])
def test_conv(builder, bias, epsilon):
    b = builder((1, 3, "h", "w"))
    b.conv(8, 3, bias=bias)
    batch_norm(b, 8, **({} if epsilon is None else {"epsilon": epsilon}))
    b.node("Relu", b.last)
    folded = assert_folded(b.bytes(), (1, 3, 9, 9), scaled={"w0"})
    assert list(folded.network.tensors) == ["w0", "b0" if bias else "w0.bias"]


@pytest.mark.parametrize("groups", [2, 8])
def test_grouped_and_depthwise_conv(builder, groups):
    b = builder((1, 8, "h", "w"))
    b.node("Conv", "x", b.weight("w", 16, 8 // groups, 3, 3), group=groups)
    batch_norm(b, 16)
    assert_folded(b.bytes(), (1, 8, 9, 9), scaled={"w"})


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_conv_has_its_outputs_in_the_second_dimension(builder, groups, bias):
    b = builder((1, 4, "h", "w"))
    weights = [b.weight("w", 4, 6, 2, 2), *([b.weight("b", 6 * groups)] if bias else [])]
    b.node("ConvTranspose", "x", *weights, group=groups, strides=[2, 2])
    batch_norm(b, 6 * groups)
    assert_folded(b.bytes(), (1, 4, 5, 5), scaled=set())


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("shape", [None, (6,), (1, 6), (1,), ()])
def test_gemm(builder, transposed, shape):
    b = builder((5, 4))
    weights = [b.weight("w", *((6, 4) if transposed else (4, 6)))]
    if shape is not None:
        weights.append(b.constant("b", np.full(shape, 0.75, np.float32)))
    b.node("Gemm", "x", *weights, transB=transposed, alpha=0.5, beta=3.0)
    batch_norm(b, 6)
    assert_folded(b.bytes(), (5, 4), scaled={"w"} if transposed else set())


def test_a_bias_for_each_row_of_a_gemm_stays(builder):
    b = builder((5, 4))
    b.node("Gemm", "x", b.weight("w", 4, 6), b.weight("b", 5, 6))
    batch_norm(b, 6)
    assert_left_alone(b.bytes())


def test_one_behind_another(builder):
    b = builder((1, 3, "h", "w"))
    b.conv(4, 3)
    batch_norm(b, 4)
    batch_norm(b, 4)
    batch_norm(b, 4)
    assert_folded(b.bytes(), (1, 3, 6, 6), scaled={"w0"})


def test_what_is_shared_stays_for_the_others(builder):
    """Parameters of two normalisations, and a bias that a convolution without one uses, too."""
    b = builder((1, 3, "h", "w"))
    bias = b.weight("bias", 4)
    first = b.node("Conv", "x", b.weight("w0", 4, 3, 1, 1), bias)
    batch_norm(b, 4, prefix="bn")
    second = b.node("Conv", "x", b.weight("w1", 4, 3, 1, 1), bias)
    batch_norm(b, 4, second, prefix="bn")
    b.node("Add", f"v{len(b.nodes) - 1}", "v1")
    b.node("Conv", b.last, b.weight("w2", 4, 4, 1, 1), bias)
    assert first != second
    folded = assert_folded(b.bytes(), (1, 3, 6, 6), scaled={"w0", "w1"})
    assert list(folded.network.tensors) == ["bias", "w0", "w0.bias", "w1", "w1.bias", "w2"]


def test_name_of_a_new_bias_that_is_taken(builder):
    b = builder((1, 3, "h", "w"))
    b.node("Conv", "x", b.weight("w", 4, 3, 1, 1))
    batch_norm(b, 4)
    b.node("Mul", b.last, b.weight("w.bias", 1))
    folded = assert_folded(b.bytes(), (1, 3, 6, 6))
    assert list(folded.network.tensors) == ["w", "w.bias.1", "w.bias"]


def test_parameters_in_constant_nodes(builder):
    b = builder((1, 3, "h", "w"))
    values = np.array([0.5, 1, 2, 3], np.float32)
    names = [
        b.node("Constant", out=f"c{n}", value=numpy_helper.from_array(values * (n + 1)))
        for n in range(4)
    ]
    b.conv(4, 3, source="x")
    b.node("BatchNormalization", b.last, *names)
    folded = assert_folded(b.bytes(), (1, 3, 6, 6), scaled={"w4"})
    assert operators(folded.network) == ["Conv"]


def test_output_of_the_graph_keeps_its_name(builder):
    b = builder((1, 3, "h", "w"))
    b.conv(4, 3)
    batch_norm(b, 4)
    folded = assert_folded(b.bytes(), (1, 3, 6, 6))
    assert folded.network.graph.outputs == load_onnx(b.bytes()).graph.outputs


def assert_left_alone(data):
    network = load_onnx(data)
    folded = fold_batch_norm(network)
    assert folded.network.topology == network.topology
    assert folded.network.tensors.fingerprint() == network.tensors.fingerprint()
    assert not folded.scaling


def test_convolution_with_another_consumer(builder):
    b = builder((1, 3, "h", "w"))
    conv = b.conv(4, 3)
    batch_norm(b, 4)
    b.node("Add", b.last, conv)
    assert_left_alone(b.bytes())


def test_convolution_whose_output_is_that_of_the_graph(builder):
    b = builder((1, 3, "h", "w"))
    conv = b.conv(4, 3)
    batch_norm(b, 4)
    proto = b.model()
    proto.graph.output.append(helper.make_tensor_value_info(conv, TensorProto.FLOAT, None))
    assert_left_alone(proto.SerializeToString())


def test_shared_weight(builder):
    b = builder((1, 3, "h", "w"))
    weight = b.weight("w", 3, 3, 1, 1)
    b.node("Conv", "x", weight)
    batch_norm(b, 3)
    b.node("Conv", b.last, weight)
    batch_norm(b, 3)
    assert_left_alone(b.bytes())


@pytest.mark.parametrize("opset", [13, 17])
def test_statistics_of_the_batch(builder, opset):
    b = builder((1, 3, "h", "w"), opset=opset)
    b.conv(4, 3)
    if opset == 13:
        batch_norm(b, 4, outputs=5)
    else:
        batch_norm(b, 4, outputs=3, training_mode=1)
    assert_left_alone(b.bytes())


@pytest.mark.parametrize("which", [2, 3, 4])
def test_values_that_are_not_fixed(builder, which):
    b = builder((1, 4, "h", "w"))
    b.node("GlobalAveragePool", "x", out="mean4d")
    b.constant("flat", np.array([-1]))
    b.node("Reshape", "mean4d", "flat", out="vector")
    b.conv(4, 4, source="x")
    batch_norm(b, 4)
    node = b.nodes[-1] if which > 2 else b.nodes[-2]
    node.input[which] = "vector"
    assert_left_alone(b.bytes())


def test_negative_variance_and_overflow(builder):
    for variance in (-1.0, 1e-45, np.nan):
        b = builder((1, 3, "h", "w"))
        b.conv(4, 3)
        batch_norm(b, 4, epsilon=0.0)
        named = {tensor.name.split("/")[-1]: tensor for tensor in b.initializers}
        var, gamma = named["var"], named["gamma"]
        var.CopyFrom(numpy_helper.from_array(np.full(4, variance, np.float32), var.name))
        gamma.CopyFrom(numpy_helper.from_array(np.full(4, 1e30, np.float32), gamma.name))
        assert_left_alone(b.bytes())


# -- what is sent --------------------------------------------------------------------------------


@pytest.fixture
def classifier(builder):
    """Two convolutions with normalisation and one without."""
    b = builder((1, 3, "h", "w"))
    b.conv(16, 3, bias=False)
    batch_norm(b, 16)
    b.node("Relu", b.last)
    b.conv(16, 16)
    batch_norm(b, 16)
    b.node("Relu", b.last)
    b.conv(4, 16)
    return b.bytes()


def test_normalisation_travels_with_its_weight(classifier):
    network = load_onnx(classifier)
    data = pack(network, FAST)
    units = [unit for unit in nnc.parse_units(data) if isinstance(unit, nnc.DataUnit)]
    assert [len(unit.topology_elem_ids) for unit in units] == [5, 6, 2]
    assert len(data) < len(pack(network, FAST, blocks=False))
    back = unpack(data).require_network()
    assert back.topology == network.topology
    for name, value in network.tensors.items():
        np.testing.assert_allclose(back.tensors[name], value, atol=0.01)


def close(data, sent, dims, tolerance):
    back = unpack(sent).require_network()
    assert "BatchNormalization" not in operators(back)
    (expected,), (found,) = run(data, dims), run(back.to_onnx(), dims)
    assert np.sqrt(np.mean((found - expected) ** 2)) < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("topology", ["onnx", "text"])
def test_local_scaling_arrives(classifier, topology):
    folded = fold_batch_norm(load_onnx(classifier))
    data = pack(folded, FAST, topology=topology)
    units = [unit for unit in nnc.parse_units(data) if isinstance(unit, nnc.DataUnit)]
    assert [unit.topology_elem_ids for unit in units] == [
        ("w0", "w0_scaling", "w0.bias"), ("w3", "w3_scaling", "b3"), ("w6", "b6"),
    ]  # fmt: skip
    close(classifier, data, (1, 3, 12, 12), 1e-2)
    streamed = dict(nnc.iter_tensors(io.BytesIO(data)))
    for name, value in unpack(data).tensors.items():
        np.testing.assert_array_equal(streamed[name], value)


def test_local_scaling_arrives_under_short_ids(classifier):
    folded = fold_batch_norm(load_onnx(classifier))
    data = pack(folded, FAST, ids="short")
    units = [unit for unit in nnc.parse_units(data) if isinstance(unit, nnc.DataUnit)]
    assert all(
        name.removesuffix("_scaling").isdigit() for u in units for name in u.topology_elem_ids
    )
    assert unpack(data).tensors.fingerprint() == unpack(pack(folded, FAST)).tensors.fingerprint()


def test_multiplied_weights_arrive_in_layers(classifier):
    folded = fold_batch_norm(load_onnx(classifier)).multiplied()
    close(classifier, pack(folded, layers=(6, 4)), (1, 3, 12, 12), 1e-2)


def test_local_scaling_needs_a_block(classifier):
    folded = fold_batch_norm(load_onnx(classifier))
    for wrong in ({"blocks": False}, {"layers": (4, 2)}):
        with pytest.raises(ValueError, match="local scalings"):
            pack(folded, FAST, **wrong)
    with pytest.raises(ValueError, match="local scalings"):
        pack(folded, EncodeSettings(lossless=True))


def test_name_of_a_local_scaling_that_is_taken(builder):
    b = builder((1, 3, "h", "w"))
    b.node("Conv", "x", b.weight("w", 4, 3, 1, 1))
    batch_norm(b, 4)
    b.node("Mul", b.last, b.weight("w_scaling", 1))
    folded = fold_batch_norm(load_onnx(b.bytes()))
    with pytest.raises(ValueError, match="w_scaling"):
        pack(folded, FAST)
    close(b.bytes(), pack(folded.multiplied(), FAST), (1, 3, 6, 6), 1e-2)


def test_update_of_a_folded_network(classifier):
    folded = fold_batch_norm(load_onnx(classifier))
    base = model.receive(pack(folded, FAST))
    new = {name: value + np.float32(0.01) for name, value in base.tensors.items()}
    after = model.receive(model.diff(base, new, FAST), base)
    for name, value in new.items():
        np.testing.assert_allclose(after.tensors[name], value, atol=2e-3)


def test_coarse_variances_are_told(classifier, caplog):
    network = load_onnx(classifier)
    with caplog.at_level(logging.WARNING):
        pack(network, EncodeSettings(preset="fast", nonweight_qp=-75))
        pack(network, EncodeSettings(preset="fast"))
        assert not caplog.records
        pack(network, EncodeSettings(preset="fast", nonweight_qp=-12))
    assert "/var" in caplog.text
    with pytest.raises(ValueError, match="no step size"):
        pack(network, EncodeSettings(nonweight_qp=1 << 40))
    assert Role.VARIANCE in model.blocks.find_blocks(network.graph)[0]
