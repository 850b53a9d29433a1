# SPDX-License-Identifier: Apache-2.0
"""Graphs that no exporter writes: refused with a ModelError, whichever function meets them first.

Spec: ONNX operator schemas.
"""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnrvideo.errors import ModelError
from nnrvideo.limits import Limits
from nnrvideo.model import Network, Topology, check, infer_contract, infer_shapes, load_onnx
from nnrvideo.tensors import TensorSet


def topology(*nodes, opset=17):
    """Nodes between x and y, without weights."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 8, 8]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node(*node, **attributes) for *node, attributes in nodes],
        "g", ports[:1], ports[1:],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return Topology.parse(model.SerializeToString())


@pytest.mark.parametrize("count", [0, 2, 3])
@pytest.mark.parametrize("op_type", ["Identity", "Ceil", "Floor", "Neg", "Shape", "Transpose"])
def test_number_of_inputs(op_type, count):
    """Sizes are computed from known values too, and there the count is not to be trusted either."""
    hostile = topology(
        ("Shape", ["x"], ["s"], {}),
        ("Cast", ["s"], ["f"], {"to": TensorProto.FLOAT}),
        (op_type, ["f"] * count, ["z"], {}),
        ("Cast", ["z"], ["n"], {"to": TensorProto.INT64}),
        ("Reshape", ["x", "n"], ["y"], {}),
    )
    network = Network(hostile, TensorSet({}))
    for action in (
        lambda: check(network),
        lambda: infer_contract(network),
        lambda: infer_shapes(network.graph, {"x": (1, 1, 8, 8)}, limits=Limits.desktop()),
    ):
        with pytest.raises(ModelError):
            action()


@pytest.mark.parametrize(
    "nodes",
    [
        [("Gather", ["x", "f"], ["z"], {})],
        [("Cast", ["f"], ["b"], {"to": TensorProto.BOOL}), ("Neg", ["b"], ["z"], {})],
        [("Cast", ["f"], ["b"], {"to": TensorProto.BOOL}), ("Sub", ["b", "b"], ["z"], {})],
        [("Floor", ["s"], ["z"], {})],
    ],
    ids=lambda nodes: nodes[-1][0],
)
def test_types_of_inputs(nodes):
    hostile = topology(
        ("Shape", ["x"], ["s"], {}),
        ("Cast", ["s"], ["f"], {"to": TensorProto.FLOAT}),
        *nodes,
        ("Identity", ["x"], ["y"], {}),
    )
    with pytest.raises(ModelError, match=nodes[-1][0]):
        infer_shapes(hostile.graph, {"x": (1, 1, 8, 8)}, limits=Limits.desktop())


NAMES = {
    "domain of an operator set": lambda model: model.opset_import[0].domain,
    "name of an input": lambda model: model.graph.input[0].name,
    "name of a dimension": lambda model: (
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_param
    ),
    "operator": lambda model: model.graph.node[0].op_type,
    "output of a node": lambda model: model.graph.node[0].output[0],
    "name of an attribute": lambda model: model.graph.node[0].attribute[0].name,
    "name of an initialiser": lambda model: model.graph.initializer[0].name,
    "place of external data": lambda model: model.graph.initializer[0].external_data[0].value,
    "key of a property": lambda model: model.metadata_props[0].key,
}


@pytest.mark.parametrize("load", [Topology.parse, load_onnx])
@pytest.mark.parametrize("place", NAMES)
def test_strings_that_are_not_utf8(place, load):
    """protobuf's parser takes them, and gives bytes where everybody expects text."""
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Transpose", ["in put"], ["out put"], perm=[0, 1, 3, 2])],
            "g",
            [helper.make_tensor_value_info("in put", TensorProto.FLOAT, [1, 1, "high t", 8])],
            [helper.make_tensor_value_info("out put", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.zeros(4, np.float32), "weig ht")],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("some where", 1)],
        ir_version=8,
    )
    model.opset_import[0].domain, model.opset_import[1].domain = "some where", ""
    model.graph.initializer[0].external_data.add(key="location", value="el se")
    helper.set_model_props(model, {"nnrvideo. key": "value"})
    text = NAMES[place](model).encode()
    with pytest.raises(ModelError, match="not UTF-8"):
        load(model.SerializeToString().replace(text, b"\xff" + text[1:]))


def test_operator_of_a_later_set():
    network = Network(topology(("Gelu", ["x"], ["y"], {})), TensorSet({}))
    with pytest.raises(ModelError, match="Gelu"):
        check(network)
    with pytest.raises(ModelError, match="Gelu"):
        infer_shapes(network.graph, {"x": (1, 1, 8, 8)}, limits=Limits.desktop())
