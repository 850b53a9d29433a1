# SPDX-License-Identifier: Apache-2.0
"""Tiny networks for the tests of the model package."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper


class GraphBuilder:
    """Writes small ONNX models node by node."""

    def __init__(self, dims=(1, 1, "h", "w"), *, opset=17, dtype=TensorProto.FLOAT):
        self.nodes, self.initializers = [], []
        self.opset, self.dtype, self.dims = opset, dtype, dims
        self.random = np.random.default_rng(7)
        self.last = "x"
        self.metadata = {}

    def constant(self, name, value):
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, name, *shape):
        return self.constant(name, self.random.normal(0, 0.2, shape).astype(np.float32))

    def node(self, op_type, *inputs, out=None, outputs=1, **attributes):
        out = out or f"v{len(self.nodes)}"
        outs = [out] if outputs == 1 else [f"{out}_{i}" for i in range(outputs)]
        self.nodes.append(
            helper.make_node(op_type, list(inputs), outs, name=f"n{len(self.nodes)}", **attributes)
        )
        self.last = outs[0]
        return out if outputs == 1 else outs

    def conv(self, out_channels, in_channels, size=3, *, source=None, bias=True, **attributes):
        index = len(self.nodes)
        inputs = [
            source or self.last,
            self.weight(f"w{index}", out_channels, in_channels, size, size),
        ]
        if bias:
            inputs.append(self.weight(f"b{index}", out_channels))
        return self.node("Conv", *inputs, **attributes)

    def model(self, output=None, out_dims=None, out_dtype=TensorProto.FLOAT):
        output = output or self.last
        graph = helper.make_graph(
            self.nodes,
            "test",
            [helper.make_tensor_value_info("x", self.dtype, list(self.dims))],
            [helper.make_tensor_value_info(output, out_dtype, out_dims)],
            self.initializers,
            doc_string="to be dropped",
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset)],
            producer_name="someone",
            ir_version=10,
        )
        if self.metadata:
            helper.set_model_props(model, self.metadata)
        return model

    def bytes(self, *arguments, **keywords):
        return self.model(*arguments, **keywords).SerializeToString()


@pytest.fixture
def builder():
    return GraphBuilder


@pytest.fixture
def valid_sr(builder):
    """Luma, 2x, valid convolutions: overlap 3, any size."""
    b = builder()
    b.conv(8, 1)
    b.node("Relu", b.last)
    b.conv(8, 8)
    b.node("Relu", b.last)
    b.conv(4, 8)
    b.node("DepthToSpace", b.last, blocksize=2, mode="CRD")
    return b.bytes()


@pytest.fixture
def same_enhance(builder):
    """Luma and chroma, same size, padded convolutions."""
    b = builder((1, 3, "h", "w"))
    b.conv(8, 3, pads=[1, 1, 1, 1])
    b.node("Relu", b.last)
    b.conv(3, 8, pads=[1, 1, 1, 1])
    b.node("Add", b.last, "x")
    return b.bytes()


@pytest.fixture
def every_type(builder):
    """A tensor of each element type, some over a page, scalars and an empty one."""
    b = builder(opset=21)
    random = np.random.default_rng(3)
    for dtype in (
        "float32 float16 float64 bfloat16 int8 int16 int32 int64 uint8 uint16 bool int4 uint4"
    ).split():
        array = np.asarray(random.integers(0, 2 if dtype == "bool" else 8, (41, 57)))
        known = np.dtype(getattr(ml_dtypes, dtype, None) or dtype)
        b.constant(dtype, array.astype(known))
        b.node("Identity", dtype)
    b.constant("wide", np.arange(2000) << 40)
    b.node("Identity", "wide")
    b.constant("scalar", np.array(2.5, np.float32))
    b.node("Mul", "x", "scalar")
    return b.bytes()
