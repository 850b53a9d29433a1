# SPDX-License-Identifier: Apache-2.0
"""Corrected layers have the mean and the spread of the original's."""

from __future__ import annotations

import functools
import logging

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from nnrvideo import model
from nnrvideo.errors import InferenceError
from nnrvideo.model import Scaled, fold_batch_norm, load_onnx, pack, unpack
from nnrvideo.nnc import EncodeSettings
from nnrvideo.runtime import OnnxRuntimeBackend
from nnrvideo.tensors import TensorSet

correct = functools.partial(model.correct, always=True)
COARSE = EncodeSettings(preset="fast", bit_depth=3)
BACKEND = OnnxRuntimeBackend(threads=1)
RANDOM = np.random.default_rng(8)
INPUTS = [{"x": RANDOM.normal(0.3, 1, (1, 3, 20, 24)).astype(np.float32)} for _ in range(4)]


def run(network, names, inputs=INPUTS):
    """Values of the graph, joined over all inputs: (channels, values)."""
    proto = onnx.load_from_string(network.to_onnx())
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_tensor_value_info(name, 1, None) for name in names)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = [session.run(None, feeds) for feeds in inputs]
    return [
        np.concatenate([np.moveaxis(each, 1, 0).reshape(each.shape[1], -1) for each in values], 1)
        for values in zip(*found, strict=True)
    ]


@pytest.fixture
def branches(builder):
    """Two branches that meet, a layer without a bias, and one that is grouped."""
    b = builder((1, 3, "h", "w"))
    stem = b.node("Relu", b.conv(12, 3))
    left = b.conv(8, 12, 1, source=stem, bias=False)
    right = b.node(
        "Conv", stem, b.weight("wg", 8, 6, 3, 3), b.weight("bg", 8), group=2, pads=[1] * 4
    )
    b.node("Relu", b.node("Concat", left, right, axis=1))
    b.conv(4, 16)
    return b.bytes()


def layers(network):
    return [node.outputs[0] for node in network.graph.nodes if node.op_type == "Conv"]


def test_each_layer_has_its_mean_and_spread_again(branches):
    network = load_onnx(branches)
    sent, settings = correct(network, COARSE, INPUTS, BACKEND)
    assert all(name in sent.scaling for name in ("w0", "w2", "wg"))
    corrected = unpack(pack(sent, settings)).require_network()
    plain = unpack(pack(network, COARSE)).require_network()
    names = layers(network)
    for wanted, found, before in zip(
        *(run(each, names) for each in (network, corrected, plain)), strict=True
    ):
        spread = wanted.std(axis=1)
        assert np.abs(found.mean(axis=1) - wanted.mean(axis=1)).max() < 0.05 * spread.mean()
        assert np.abs(found.std(axis=1) / spread - 1).max() < 0.05
        assert np.abs(before.std(axis=1) / spread - 1).max() > 0.1
    error = [np.square(run(each, names)[-1] - wanted).mean() for each in (corrected, plain)]
    assert error[0] < 0.7 * error[1]


def test_weights_keep_their_levels(branches):
    network = load_onnx(branches)
    sent, settings = correct(network, COARSE, INPUTS, BACKEND)
    corrected, plain = unpack(pack(sent, settings)), unpack(pack(network, COARSE))
    for name in ("w0", "wg"):
        np.testing.assert_array_equal(corrected.decoded.levels[name], plain.decoded.levels[name])
    for name, value in network.tensors.items():
        if value.ndim > 1:
            np.testing.assert_array_equal(sent.network.tensors[name], value)
    assert "w2.bias" in sent.network.tensors


def test_layers_of_one_depth_are_measured_together(branches):
    class Counting:
        loads = 0

        def load(self, graph, initializers):
            self.loads += 1
            return BACKEND.load(graph, initializers)

    counting = Counting()
    correct(load_onnx(branches), COARSE, INPUTS[:1], counting)
    assert counting.loads == 2 * 3


@pytest.mark.parametrize("kind", ["filter", "after coding", "input"])
def test_what_is_constant_is_not_scaled(builder, kind):
    """Zero over zero is no factor, and a filter that has gone keeps its mean."""
    b = builder((1, 3, "h", "w"))
    b.conv(6, 3)
    b.node("Relu", b.last)
    b.conv(4, 6)
    loaded = load_onnx(b.bytes())
    tensors = dict(loaded.tensors)
    weight = tensors["w0"].copy()
    weight[2] *= {"filter": 0, "after coding": 1e-4, "input": 1}[kind]
    tensors["w0"] = weight
    network = loaded.with_tensors(TensorSet(tensors))
    inputs = [{"x": np.ones((1, 3, 9, 9), np.float32)}] if kind == "input" else INPUTS
    sent, settings = correct(network, COARSE, inputs, BACKEND)
    assert all(np.isfinite(each).all() for each in sent.scaling.values())
    assert sent.scaling["w0"][2] == 1
    corrected = unpack(pack(sent, settings)).require_network()
    names = layers(network)
    for wanted, found in zip(run(network, names, inputs), run(corrected, names, inputs)):
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found.mean(axis=1), wanted.mean(axis=1), atol=0.03)


def test_biases_only_where_rows_are_no_outputs(builder):
    b = builder((1, 3, "h", "w"))
    b.node("ConvTranspose", "x", b.weight("w", 3, 8, 3, 3))
    network = load_onnx(b.bytes())
    sent, settings = correct(network, COARSE, INPUTS, BACKEND)
    assert not sent.scaling
    corrected = unpack(pack(sent, settings)).require_network()
    (wanted,), (found,) = (run(each, ["v0"]) for each in (network, corrected))
    np.testing.assert_allclose(found.mean(axis=1), wanted.mean(axis=1), atol=0.01)


def test_gemm_of_vectors(builder):
    b = builder((1, 3, "h", "w"))
    b.conv(6, 3)
    b.node("GlobalAveragePool", b.last)
    b.node("Flatten", b.last)
    bias = b.weight("b", 5)
    b.node("Gemm", b.last, b.weight("w", 5, 6), bias, transB=1, beta=2.0, out="y")
    network = load_onnx(b.bytes())
    sent, settings = correct(network, COARSE, INPUTS, BACKEND)
    corrected = unpack(pack(sent, settings)).require_network()
    (wanted,), (found,) = (run(each, ["y"]) for each in (network, corrected))
    np.testing.assert_allclose(found.mean(axis=1), wanted.mean(axis=1), atol=0.01)


def test_a_weight_that_is_shared_is_left_alone(builder):
    b = builder((1, 3, "h", "w"))
    weight = b.weight("w", 3, 3, 1, 1)
    b.node("Conv", "x", weight)
    b.node("Conv", b.last, weight)
    network = load_onnx(b.bytes())
    sent, settings = correct(network, COARSE, INPUTS, BACKEND)
    assert (sent.network.topology, sent.scaling, settings) == (network.topology, {}, COARSE)


@pytest.mark.parametrize("folded", [True, False])
def test_with_batch_normalisation(builder, folded):
    b = builder((1, 3, "h", "w"))
    b.conv(6, 3, bias=False)
    norm = [b.constant(f"p{n}", RANDOM.uniform(0.5, 2, 6).astype(np.float32)) for n in range(4)]
    b.node("BatchNormalization", b.last, *norm, out="bn")
    network = load_onnx(b.bytes())
    source = fold_batch_norm(network).multiplied() if folded else network
    sent, settings = correct(source, COARSE, INPUTS, BACKEND)
    corrected = unpack(pack(sent, settings)).require_network()
    (wanted,), (found,) = (run(each, ["bn"]) for each in (network, corrected))
    np.testing.assert_allclose(found.std(axis=1), wanted.std(axis=1), rtol=0.05)


@pytest.mark.parametrize("options", [{"low_rank": 0.9}, {"sparsity": 0.5}, {"qp_density": 4}])
def test_with_other_tools(builder, options):
    b = builder((1, 3, "h", "w"))
    b.conv(32, 3, 5)
    b.conv(4, 32, 5)
    network = load_onnx(b.bytes())
    settings = EncodeSettings(preset="fast", bit_depth=4, **options)
    plain = unpack(pack(network, settings)).require_network()
    corrected = unpack(pack(*correct(network, settings, INPUTS, BACKEND))).require_network()
    names = layers(network)
    wanted = run(network, names)[-1]
    error = [np.square(run(each, names)[-1] - wanted).mean() for each in (corrected, plain)]
    assert error[0] < error[1]


def test_only_where_it_pays(builder, caplog):
    b = builder((1, 3, "h", "w"))
    b.conv(64, 3, 5)
    b.node("Relu", b.last)
    b.conv(16, 64, 5)
    network = load_onnx(b.bytes())
    small = builder((1, 3, "h", "w"))
    small.conv(16, 3, 1)
    few_weights = load_onnx(small.bytes())
    coarse, fine = EncodeSettings(bit_depth=3), EncodeSettings(qp=-50)
    with caplog.at_level(logging.WARNING):
        sent, settings = model.correct(network, coarse, INPUTS, BACKEND)
        assert set(sent.scaling) == {"w0", "w2"}
        assert settings != coarse
        assert not caplog.records
        sent, settings = model.correct(few_weights, fine, INPUTS, BACKEND)
    assert sent.network is few_weights
    assert (dict(sent.scaling), settings) == ({}, fine)
    assert "left out" in caplog.text


def test_refusals(branches):
    network = load_onnx(branches)
    with pytest.raises(ValueError, match="inputs"):
        correct(network, COARSE, [], BACKEND)
    with pytest.raises(ValueError, match="lossy"):
        correct(network, EncodeSettings(lossless=True), INPUTS, BACKEND)
    with pytest.raises(InferenceError):
        correct(network, COARSE, [{"x": np.zeros((1, 2, 9, 9), np.float32)}], BACKEND)
    assert Scaled(network).multiplied().tensors.fingerprint() == network.tensors.fingerprint()
