# SPDX-License-Identifier: Apache-2.0
"""A small backbone with random weights: enough to tell pictures apart, and fast."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nnrvideo as nv
from nnrvideo.descriptors import Manifest, learn

CHANNELS = 64


def random_rgb(seed: int, rows: int = 72, columns: int = 128) -> np.ndarray:
    """Blobs of colour with edges, different for each seed."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns]
    picture = np.zeros((rows, columns, 3))
    for _ in range(12):
        a, b, c = generator.normal(size=3)
        mask = np.sin(a * x / 9 + b * y / 9 + 3 * c) > generator.uniform(-0.5, 0.8)
        picture[mask] = generator.integers(0, 256, 3)
    return picture.astype(np.uint8)


def backbone_proto(seed: int = 0, channels: int = CHANNELS) -> onnx.ModelProto:
    """Three convolutions that divide the size by 8."""
    generator = np.random.default_rng(seed)
    nodes, weights, source, before = [], [], "x", 3
    for index, (after, side) in enumerate(((16, 5), (32, 3), (channels, 3))):
        scale = (2 / (before * side * side)) ** 0.5 / (60 if index == 0 else 1)
        values = generator.normal(0, scale, (after, before, side, side)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{index}"))
        weights.append(numpy_helper.from_array(np.zeros(after, np.float32), f"b{index}"))
        pad = side // 2
        nodes.append(
            helper.make_node(
                "Conv", [source, f"w{index}", f"b{index}"], [f"c{index}"],
                strides=[2, 2], pads=[pad] * 4,
            )
        )  # fmt: skip
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"]))
        source, before = f"r{index}", after
    graph = helper.make_graph(
        nodes,
        "backbone",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, [1, channels, "fh", "fw"])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture(scope="session")
def backbone_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("backbone") / "net.onnx"
    path.write_bytes(backbone_proto().SerializeToString())
    return path


@pytest.fixture(scope="session")
def backbone(backbone_file):
    return nv.load_onnx(backbone_file)


@pytest.fixture(scope="session")
def model(backbone):
    manifest = Manifest(long_side=128, windows=(2, 3), name="test", min_quality=0)
    pictures = [random_rgb(seed) for seed in range(100, 180)]
    return learn(backbone, manifest, pictures, dimensions=64)
