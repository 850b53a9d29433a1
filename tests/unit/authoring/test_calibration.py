# SPDX-License-Identifier: Apache-2.0
"""Inputs of a network out of arrays and films."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from nnrvideo.authoring import calibration_inputs
from nnrvideo.data import base_network
from nnrvideo.errors import ContainerError, ModelError
from nnrvideo.model import load_onnx, unpack


def network(**ports):
    """A sum of inputs of the given dimensions."""
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in ports.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Max", list(ports), ["y"])], "g", inputs, [output])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return load_onnx(model.SerializeToString())


@pytest.mark.parametrize(
    ("dims", "shape", "count"),
    [
        ([1, 3, "h", "w"], (5, 3, 8, 9), 5),
        (["n", 3, 8, 9], (5, 3, 8, 9), 5),
        ([2, 3, 8, 9], (6, 3, 8, 9), 3),
        ([1, 3, "h", "w"], (4, 1, 3, 8, 9), 4),
        ([1, 3, "h", "w"], (1, 3, 8, 9), 1),
    ],
)
def test_samples_of_one_input(tmp_path, dims, shape, count):
    values = np.random.default_rng(1).random(shape)
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", first=values, second=values)
    found = calibration_inputs(network(x=dims), tmp_path / "a.npy")
    assert len(found) == count
    joined = np.concatenate([each["x"] for each in found])
    np.testing.assert_array_equal(joined, values.reshape(joined.shape).astype(np.float32))
    assert joined.dtype == np.float32
    assert len(calibration_inputs(network(x=dims), tmp_path / "a.npz")) == 2 * count


def test_samples_of_several_inputs(tmp_path):
    two = network(a=[1, 4], b=[1, 4])
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.savez(tmp_path / "both.npz", a=values, b=-values)
    found = calibration_inputs(two, tmp_path / "both.npz")
    assert [float(each["a"][0, 0] + each["b"][0, 0]) for each in found] == [0, 0, 0]
    np.savez(tmp_path / "one.npz", a=values)
    with pytest.raises(ModelError, match="'b'"):
        calibration_inputs(two, tmp_path / "one.npz")
    np.savez(tmp_path / "uneven.npz", a=values, b=values[:2])
    with pytest.raises(ModelError, match="numbers of samples"):
        calibration_inputs(two, tmp_path / "uneven.npz")


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((2, 4, 8, 9), np.float32),
        np.zeros((3, 8), np.float32),
        np.zeros((0, 3, 8, 9), np.float32),
        np.zeros((2, 3, 8, 9), np.uint8),
        np.float32(1),
    ],
)
def test_what_does_not_fit(tmp_path, value):
    np.save(tmp_path / "a.npy", value)
    with pytest.raises(ModelError, match="samples"):
        calibration_inputs(network(x=[1, 3, "h", "w"]), tmp_path / "a.npy")


def test_no_array(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY nonsense")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    for name in ("a.npy", "objects.npy"):
        with pytest.raises(ModelError, match="no array"):
            calibration_inputs(network(x=[1, 3, "h", "w"]), tmp_path / name)


def test_pictures_of_a_film(tmp_path, make_clip, decode_clip):
    clip = make_clip(tmp_path / "clip.mp4", frames=30, size=(96, 64))
    filter_network = unpack(base_network()).require_network()
    found = calibration_inputs(filter_network, clip)
    assert len(found) == 3  # of 1.25 seconds
    (name,) = (port.name for port in filter_network.graph.inputs)
    for each in found:
        assert each[name].dtype == np.float32
        assert each[name].ndim == 4
        assert 0 <= each[name].min() < each[name].max() <= 1
    assert not np.array_equal(found[0][name], found[1][name])
    with pytest.raises(ContainerError):
        calibration_inputs(filter_network, tmp_path / "missing.mp4")


def test_a_network_that_is_none_for_pictures(tmp_path, make_clip):
    clip = make_clip(tmp_path / "clip.mp4", frames=3)
    with pytest.raises(ModelError, match=r"\.npy"):
        calibration_inputs(network(a=[1, 4]), clip)
