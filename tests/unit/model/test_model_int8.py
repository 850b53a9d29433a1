# SPDX-License-Identifier: Apache-2.0
"""Ranges in a bitstream, and convolutions in integers against the formula written in numpy."""

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest

from nnrvideo.data import base_network
from nnrvideo.errors import ModelError
from nnrvideo.model import (
    RANGES_TENSOR,
    ConvRanges,
    Network,
    attach_ranges,
    convolutions,
    exactness_probe,
    infer_contract,
    load_onnx,
    pack,
    prepare,
    quantisable,
    ranges_of,
    unpack,
    with_ranges,
    without_ranges,
)
from nnrvideo.nnc import EncodeSettings
from nnrvideo.tensors import TensorSet

CPU = ["CPUExecutionProvider"]
LOSSLESS = EncodeSettings(lossless=True)


@pytest.fixture
def network(builder):
    """Three convolutions: 1 -> 16 in real numbers, 16 -> 16 with Relu, 16 -> 1."""
    b = builder()
    b.conv(16, 1)
    b.node("Relu", b.last)
    b.conv(16, 16)
    b.node("Relu", b.last)
    b.conv(1, 16)
    return load_onnx(b.bytes())


RANGES = (None, ConvRanges((0, 2), (0, 3)), ConvRanges((0, 3), (-2, 2)))


def run(prepared, x):
    options = ort.SessionOptions()
    names = list(prepared.arrays)
    values = [ort.OrtValue.ortvalue_from_numpy(np.array(prepared.arrays[n])) for n in names]
    options.add_external_initializers(names, values)
    options.log_severity_level = 3
    session = ort.InferenceSession(prepared.model, options, providers=CPU)
    return session.run([prepared.output_name], {prepared.input_name: x})[0]


def test_ranges_travel_in_the_bitstream(network):
    sent = with_ranges(network, RANGES)
    received = unpack(pack(sent)).require_network()
    for wanted, got in zip(RANGES, ranges_of(received), strict=True):
        assert (wanted is None) == (got is None)
        if wanted is not None:
            assert got.input == pytest.approx(wanted.input, rel=1e-3, abs=1e-6)
            assert got.output == pytest.approx(wanted.output, rel=1e-3, abs=1e-6)


def test_ranges_are_attached_without_touching_the_weights(network):
    bitstream = pack(network)
    decoded = unpack(bitstream).require_network()
    longer = attach_ranges(bitstream, with_ranges(decoded, RANGES))
    received = unpack(longer).require_network()
    assert ranges_of(received) == RANGES
    assert without_ranges(received).tensors.fingerprint() == decoded.tensors.fingerprint()
    assert without_ranges(received).topology == decoded.topology
    assert len(longer) - len(bitstream) < 200
    with pytest.raises(ModelError, match="no ranges yet"):
        attach_ranges(longer, with_ranges(decoded, RANGES))


def test_receivers_that_know_nothing_of_ranges_compute_as_before(network):
    x = np.random.default_rng(0).uniform(0, 1, (1, 1, 20, 24)).astype(np.float32)
    results = []
    for each in (network, with_ranges(network, RANGES)):
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(each.to_onnx(), options, providers=CPU)
        results.append(session.run(None, {"x": x})[0])
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([0.0] * 4, "need float32"),
        ([0] * 4 + [0, 2, 0, np.inf] + [0, 3, -2, 2], "no ranges"),
        ([0] * 4 + [2, 0, 0, 3] + [0, 3, -2, 2], "no ranges"),
        ([0] * 4 + [0, np.nan, 0, 3] + [0, 3, -2, 2], "no ranges"),
    ],
)
def test_bad_ranges_are_refused(network, values, why):
    honest = with_ranges(network, RANGES)
    graph = honest.graph
    array = np.array(values, np.float32)
    declared = replace(graph.externals[RANGES_TENSOR], shape=array.shape)
    graph = replace(graph, externals={**graph.externals, RANGES_TENSOR: declared})
    bad = Network(
        type(honest.topology).from_graph(graph),
        TensorSet({**honest.tensors, RANGES_TENSOR: array}),
    )
    with pytest.raises(ModelError, match=why):
        ranges_of(bad)


@pytest.mark.parametrize("size", [1e-38, 3e38])
def test_absurd_ranges_make_a_graph_all_the_same(network, size):
    """They may come from a hostile sender; whoever calibrates never sends them."""
    absurd = (None, ConvRanges((-size, size), (0, size)), ConvRanges((0, size), (-size, size)))
    prepared = prepare(network, infer_contract(network), input_bit_depth=8, ranges=absurd)
    x = np.full((1, 1, 20, 20), 200, np.uint8)
    assert run(prepared, x).shape == (1, 1, 14, 14)


def test_only_wide_convolutions_gain(network):
    assert quantisable(network) == (False, True, True)
    assert [one.relu is not None for one in convolutions(network.graph)] == [True, True, False]


def test_integers_follow_the_formula(network):
    """The last two layers in numpy: uint8 activations, int8 weights, int32 sums."""
    contract = infer_contract(network)
    x = np.random.default_rng(1).integers(0, 256, (1, 1, 24, 28)).astype(np.uint8)
    prepared = prepare(network, contract, input_bit_depth=8, ranges=RANGES)
    got = run(prepared, x).astype(int)
    weights = network.tensors

    def convolve(value, weight, bias):
        windows = np.lib.stride_tricks.sliding_window_view(value, (3, 3), axis=(2, 3))
        return np.einsum("nchwyx,ocyx->nohw", windows, weight) + bias[None, :, None, None]

    def rounded(value, low, high):
        scale = (high - low) / 255
        zero = np.rint(-low / scale)
        return (np.clip(np.rint(value / scale) + zero, 0, 255) - zero) * scale

    def rounded_weight(weight):
        scale = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
        return np.rint(weight / scale) * scale

    names = [name for name in weights if name.startswith("w")]
    w = [weights[name].astype(np.float64) for name in names]
    b = [weights[name.replace("w", "b")].astype(np.float64) for name in names]
    h = np.maximum(convolve(x / 255.0, w[0], b[0]), 0)
    h = rounded(h, 0, 2)
    h = rounded(np.maximum(convolve(h, rounded_weight(w[1]), b[1]), 0), 0, 3)
    y = rounded(convolve(h, rounded_weight(w[2]), b[2]), -2, 2)
    wanted = np.clip(np.floor(y * 255 + 0.5), 0, 255)
    # A sum that lies within float rounding of a half may go to the next of 256 steps.
    step = 4 / 255 * 255
    assert np.abs(got - wanted).max() <= np.ceil(step)
    assert np.mean(np.abs(got - wanted) <= 1) > 0.99
    assert len(np.unique(got)) > 20


def test_old_operator_sets_stay_in_real_numbers(builder):
    b = builder(opset=11)
    b.conv(16, 1)
    b.conv(1, 16)
    assert quantisable(load_onnx(b.bytes())) == (False, False)


def test_shipped_network_allows_integers():
    network = unpack(base_network()).require_network()
    ranges = ranges_of(network)
    assert [one is not None for one in ranges] == [False, True, True, True, False]


def test_probe_tells_right_sums_from_saturated_ones():
    model, given, expected = exactness_probe()
    options = ort.SessionOptions()
    result = ort.InferenceSession(model, options, providers=CPU).run(None, {"x": given})[0]
    # Sums of pairs that stop at 32767 instead of reaching 2 * 255 * 127 would be half of it.
    saturated = np.rint(expected * (32767 / (2 * 255 * 127)))
    assert np.all(np.abs(saturated - expected) > 50)
    assert result.shape == expected.shape
