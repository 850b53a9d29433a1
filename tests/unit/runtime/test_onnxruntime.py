# SPDX-License-Identifier: Apache-2.0
"""The ONNX Runtime backend with real graphs."""

import logging

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nnrvideo.errors import InferenceError
from nnrvideo.runtime import OnnxRuntimeBackend


def external(name, dims):
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="nnc")
    return tensor


def scaling_graph(dims=("n", 1, "h", "w")):
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "weight"], ["y"])],
        "scale",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, dims)],
        [external("weight", [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def test_weights_come_from_outside_and_may_be_read_only():
    weight = np.array([3.0], np.float32)
    weight.flags.writeable = False
    session = OnnxRuntimeBackend().load(scaling_graph(), {"weight": weight})
    assert session.inputs[0].shape == (None, 1, None, None)
    assert session.inputs[0].dtype == np.float32
    assert session.provider == "CPUExecutionProvider"
    x = np.ones((2, 1, 3, 4), np.float32)
    x.flags.writeable = False
    del weight
    assert (session.run({"x": x})[0] == 3).all()


def test_wanted_provider_that_is_missing_is_reported(caplog):
    backend = OnnxRuntimeBackend(providers=["NoSuchExecutionProvider"])
    with caplog.at_level(logging.WARNING):
        session = backend.load(scaling_graph(), {"weight": np.float32([1])})
    assert session.provider == "CPUExecutionProvider"
    assert "NoSuchExecutionProvider" in session.fallbacks[0]
    assert "NoSuchExecutionProvider" in caplog.text


def test_default_needs_no_report():
    assert OnnxRuntimeBackend().load(scaling_graph(), {"weight": np.float32([1])}).fallbacks == ()


def test_garbage_is_an_inference_error():
    with pytest.raises(InferenceError, match="CPUExecutionProvider"):
        OnnxRuntimeBackend().load(b"garbage", {})


def test_missing_weight_is_an_inference_error():
    with pytest.raises(InferenceError):
        OnnxRuntimeBackend().load(scaling_graph(), {})


def test_wrong_input_is_an_inference_error():
    session = OnnxRuntimeBackend().load(scaling_graph(), {"weight": np.float32([1])})
    with pytest.raises(InferenceError) as caught:
        session.run({"x": np.ones((2, 2), np.float32)})
    assert caught.value.provider == "CPUExecutionProvider"


def test_input_that_no_picture_can_fill():
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "strings",
        [helper.make_tensor_value_info("x", TensorProto.STRING, [1])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    with pytest.raises(InferenceError, match="string"):
        OnnxRuntimeBackend().load(model.SerializeToString(), {})


def test_capabilities_name_what_is_here():
    capabilities = OnnxRuntimeBackend(threads=3).capabilities()
    assert "CPUExecutionProvider" in capabilities.providers
    assert capabilities.threads == 3


def test_threads_are_at_least_one():
    with pytest.raises(ValueError, match="threads"):
        OnnxRuntimeBackend(threads=0)
