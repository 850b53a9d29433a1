# SPDX-License-Identifier: Apache-2.0
"""Real, tiny networks in real NNPFC messages; each leaves a mark by which it can be told apart."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnrvideo.model import infer_contract, load_onnx, pack, to_nnpfc
from nnrvideo.nnc import EncodeSettings, encode
from nnrvideo.picture import ChromaFormat, Picture, PictureFormat
from nnrvideo.sei import Nnpfa, message_of, pack_records
from nnrvideo.tensors import TensorSet

LOSSLESS = EncodeSettings(lossless=True)


def onnx_model(nodes, weights, channels_in=1, channels_out=1, metadata=None, dims=None):
    graph = helper.make_graph(
        nodes,
        "test",
        [
            helper.make_tensor_value_info(
                "input", TensorProto.FLOAT, dims or [1, channels_in, "h", "w"]
            )
        ],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, channels_out, "H", "W"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if metadata:
        helper.set_model_props(model, {f"nnrvideo.{k}": str(v) for k, v in metadata.items()})
    return model.SerializeToString()


def upscaler(mark=0, scale=2):
    """Nearest-neighbour upscale of luma that adds ``mark`` (in 8-bit steps)."""
    count = scale * scale
    weights = {
        "weight": np.ones((count, 1, 1, 1), np.float32),
        "bias": np.full((count,), mark / 255, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "weight", "bias"], ["many"]),
        helper.make_node("DepthToSpace", ["many"], ["output"], blocksize=scale),
    ]
    return load_onnx(onnx_model(nodes, weights))


def blur(mark=0, channels=1, size=3, metadata=None, dims=None):
    """Valid convolution of ``size`` squared, so with an overlap; same picture size."""
    rng = np.random.default_rng(7)
    kernel = rng.uniform(0.2, 1, (channels, channels, size, size)).astype(np.float32)
    kernel /= kernel.sum(axis=(1, 2, 3), keepdims=True)
    weights = {"weight": kernel, "bias": np.full((channels,), mark / 255, np.float32)}
    nodes = [helper.make_node("Conv", ["input", "weight", "bias"], ["output"])]
    return load_onnx(onnx_model(nodes, weights, channels, channels, metadata=metadata, dims=dims))


def base_message(network, nnpfc_id=7, **changes):
    nnpfc = to_nnpfc(
        infer_contract(network), None, nnpfc_id=nnpfc_id, payload=pack(network, LOSSLESS)
    )
    return replace(nnpfc, **changes)


def update_message(base, tensors):
    """An update that replaces tensors."""
    return type(base)(
        nnpfc_purpose=base.nnpfc_purpose,
        nnpfc_id=base.nnpfc_id,
        nnpfc_base_flag=False,
        nnpfc_property_present_flag=False,
        nnpfc_payload_byte=encode(TensorSet(tensors), LOSSLESS),
    )


def records(*messages):
    return pack_records([message_of(message) for message in messages])


def flat(value=100, width=16, height=12, chroma=ChromaFormat.C420, depth=8):
    shape = PictureFormat(width, height, chroma, depth)
    return Picture(
        tuple(
            np.full(shape.plane_shape(c), value if c == 0 else 60 * c, shape.dtype)
            for c in range(chroma.planes)
        ),
        chroma,
        depth,
    )


def noise(width=16, height=12, chroma=ChromaFormat.C420, depth=8, seed=0):
    rng = np.random.default_rng(seed)
    shape = PictureFormat(width, height, chroma, depth)
    return Picture(
        tuple(
            rng.integers(0, 1 << depth, shape.plane_shape(c)).astype(shape.dtype)
            for c in range(chroma.planes)
        ),
        chroma,
        depth,
    )


@pytest.fixture(scope="session")
def nets():
    """All of the above."""
    return SimpleNamespace(
        upscaler=upscaler,
        blur=blur,
        base=base_message,
        update=update_message,
        records=records,
        flat=flat,
        noise=noise,
        activate=Nnpfa.activate,
        cancel=Nnpfa.cancel,
        onnx_model=onnx_model,
        LOSSLESS=LOSSLESS,
    )
