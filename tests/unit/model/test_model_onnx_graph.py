# SPDX-License-Identifier: Apache-2.0
"""ONNX to network and back: nothing learnt is lost, nothing else travels."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnrvideo.errors import LimitExceededError, ModelError, TensorMismatchError
from nnrvideo.limits import Limits
from nnrvideo.model import Network, Topology, load_onnx, save_onnx
from nnrvideo.tensors import TensorSet


def initializers(data):
    model = onnx.load_from_string(data)
    return {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}


@pytest.mark.parametrize("name", ["FSRCNN_x2", "resnet20_cifar10", "squeezenet10_fire9"])
def test_real_models_come_back_with_every_initialiser(shared, name):
    path = shared / "data" / "models" / f"{name}.onnx"
    before = initializers(path.read_bytes())
    network = load_onnx(path)
    after = initializers(network.to_onnx())
    assert list(after) == list(before)
    for key, value in before.items():
        assert after[key].dtype == value.dtype
        assert after[key].shape == value.shape
        np.testing.assert_array_equal(after[key], value)
    onnx.checker.check_model(network.to_onnx())
    again = load_onnx(network.to_onnx())
    assert again.topology.skeleton == network.topology.skeleton
    assert again.tensors.fingerprint() == network.tensors.fingerprint()


def test_graph_order_is_kept_and_noise_is_not(builder, valid_sr):
    network = load_onnx(valid_sr)
    before, after = onnx.load_from_string(valid_sr), onnx.load_from_string(network.to_onnx())
    wired = lambda m: [(n.op_type, list(n.input), list(n.output)) for n in m.graph.node]  # noqa: E731
    assert wired(after) == wired(before)
    assert after.producer_name == ""
    assert after.graph.doc_string == ""
    assert all(not node.name for node in after.graph.node)


def test_skeleton_holds_no_weight(valid_sr):
    network = load_onnx(valid_sr)
    model = onnx.load_from_string(network.topology.skeleton)
    assert len(model.graph.initializer) == len(network.tensors) == 6
    for tensor in model.graph.initializer:
        assert tensor.data_location == TensorProto.EXTERNAL
        assert [(e.key, e.value) for e in tensor.external_data] == [("location", "nnc")]
        assert not tensor.raw_data
    assert len(network.topology.skeleton) < len(valid_sr) / 3


def test_canonical_skeleton_is_a_fixed_point(valid_sr):
    topology = load_onnx(valid_sr).topology
    assert Topology.parse(topology.skeleton).skeleton == topology.skeleton


def test_only_our_metadata_survive(builder):
    b = builder()
    b.conv(1, 1)
    b.metadata = {"nnrvideo.overlap": "1", "author": "x", "nnrvideo.purpose": "1"}
    network = load_onnx(b.bytes())
    assert dict(network.graph.metadata) == {"overlap": "1", "purpose": "1"}
    props = onnx.load_from_string(network.to_onnx()).metadata_props
    assert {p.key for p in props} == {"nnrvideo.overlap", "nnrvideo.purpose"}


def test_structural_constants_stay_inside(builder):
    b = builder()
    b.constant("scales", np.array([1, 1, 2, 2], np.float32))
    b.constant("low", np.array(0, np.float32))
    b.constant("high", np.array(1, np.float32))
    b.constant("shape", np.array([0, 0, -1], np.int64))
    b.conv(1, 1)
    b.node("Resize", b.last, "", "scales", mode="linear")
    b.node("Clip", b.last, "low", "high")
    b.node("Reshape", b.last, "shape")
    network = load_onnx(b.bytes())
    assert set(network.graph.constants) == {"scales", "low", "high", "shape"}
    assert set(network.tensors) == {"w0", "b0"}


@pytest.mark.parametrize(
    ("dtype", "inside"),
    [
        (np.float32, False),
        (np.float16, False),
        (np.float64, False),
        (np.int32, False),
        (np.int16, False),
        (np.int8, False),
        (np.uint8, True),
        (np.bool_, True),
        (np.int64, True),
    ],
)
def test_types_and_scalars_survive(builder, dtype, inside):
    b = builder()
    b.constant("scalar", np.array(1, dtype))
    b.constant("vector", np.arange(5).astype(dtype))
    b.node("Identity", "scalar")
    b.node("Identity", "vector")
    b.node("Identity", "x")
    network = load_onnx(b.bytes())
    home = network.graph.constants if inside else network.tensors
    assert set(home) == {"scalar", "vector"}
    after = initializers(network.to_onnx())
    assert after["scalar"].shape == ()
    assert after["scalar"].dtype == after["vector"].dtype == dtype


def test_weights_in_constant_nodes_become_initialisers(builder):
    b = builder()
    weights = np.ones((4, 1, 3, 3), np.float32)
    b.node("Constant", out="kernel", value=numpy_helper.from_array(weights))
    b.node("Constant", out="small", value=numpy_helper.from_array(np.ones(4, np.float32)))
    b.node("Conv", "x", "kernel", "small")
    network = load_onnx(b.bytes())
    assert list(network.tensors) == ["kernel"]
    assert [node.op_type for node in network.graph.nodes] == ["Constant", "Conv"]
    np.testing.assert_array_equal(initializers(network.to_onnx())["kernel"], weights)


def test_initialisers_that_are_also_inputs(builder):
    b = builder()
    b.conv(1, 1)
    model = b.model()
    model.graph.input.append(helper.make_tensor_value_info("w0", TensorProto.FLOAT, [1, 1, 3, 3]))
    network = load_onnx(model.SerializeToString())
    assert [port.name for port in network.graph.inputs] == ["x"]


def test_data_file_beside_the_model(tmp_path, builder):
    b = builder()
    b.conv(64, 1, 5)
    b.conv(1, 64, 5)
    model = b.model()
    whole = load_onnx(model.SerializeToString())
    path = tmp_path / "net.onnx"
    onnx.save_model(
        model, path, save_as_external_data=True, location="weights.bin", size_threshold=64
    )
    network = load_onnx(path)
    assert network.tensors.fingerprint() == whole.tensors.fingerprint()
    assert network.topology.skeleton == whole.topology.skeleton
    with pytest.raises(ModelError, match="give the path"):
        load_onnx(path.read_bytes())


def test_short_data_file_is_refused(tmp_path, builder):
    b = builder()
    b.conv(64, 1, 5)
    path = tmp_path / "net.onnx"
    onnx.save_model(
        b.model(), path, save_as_external_data=True, location="w.bin", size_threshold=64
    )
    data = (tmp_path / "w.bin").read_bytes()
    (tmp_path / "w.bin").write_bytes(data[:100])
    with pytest.raises(ModelError, match="ends inside"):
        load_onnx(path)


def test_save_and_load(tmp_path, valid_sr):
    network = load_onnx(valid_sr)
    save_onnx(network, tmp_path / "copy.onnx")
    assert load_onnx(tmp_path / "copy.onnx").tensors.fingerprint() == network.tensors.fingerprint()


def test_other_weights_must_fit(valid_sr):
    network = load_onnx(valid_sr)
    tensors = dict(network.tensors)
    swapped = network.with_tensors(TensorSet({k: v * 2 for k, v in reversed(tensors.items())}))
    assert list(swapped.tensors) == list(tensors)
    wrong = dict(tensors)
    del wrong["w0"]
    wrong["b0"] = np.zeros(3, np.float32)
    wrong["w2"] = np.zeros((8, 8, 3, 3), np.int32)
    wrong["extra"] = np.zeros(1, np.float32)
    with pytest.raises(TensorMismatchError) as caught:
        network.with_tensors(TensorSet(wrong))
    assert len(caught.value.violations) == 4


def test_one_element_becomes_a_scalar_again(builder):
    b = builder()
    b.constant("gain", np.array(1.5, np.float32))
    b.node("Mul", "x", "gain")
    network = load_onnx(b.bytes())
    back = Network(network.topology, TensorSet({"gain": np.array([1.5], np.float32)}))
    assert back.tensors["gain"].shape == ()


def test_integers_are_converted_only_without_loss(builder):
    b = builder()
    b.constant("q", np.arange(9, dtype=np.int8).reshape(1, 1, 3, 3))
    b.constant("s", np.array(0.5, np.float32))
    b.node("DequantizeLinear", "q", "s")
    b.node("Conv", "x", b.last)
    network = load_onnx(b.bytes())
    wide = np.arange(9, dtype=np.int32).reshape(1, 1, 3, 3)
    assert Network(network.topology, TensorSet({"q": wide})).tensors["q"].dtype == np.int8
    with pytest.raises(TensorMismatchError, match="do not fit the declared type"):
        Network(network.topology, TensorSet({"q": wide + 200}))


def test_limits_on_the_users_file(valid_sr):
    with pytest.raises(LimitExceededError, match="max_bitstream_bytes"):
        load_onnx(valid_sr, limits=Limits(max_bitstream_bytes=100))
    with pytest.raises(LimitExceededError, match="max_nodes"):
        load_onnx(valid_sr, limits=Limits(max_nodes=2))


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_onnx(tmp_path / "none.onnx")
