# SPDX-License-Identifier: Apache-2.0
"""Builds the ONNX graph of the 2x super-resolution family that ``nnrvideo.training`` trains.

The graph is written node by node rather than traced out of a training framework: it holds exactly
the operators below, its bytes depend on nothing but the tensors, and making it needs no PyTorch.

    input -> Conv 6x6 stride 2 -> Relu -> (Conv 3x3 -> Relu)* -> Conv 3x3 -> Add -> DepthToSpace 4
    input -> Slice (crop) -> Conv 6x6 stride 2 with bicubic taps ----------------^

No convolution pads, so an input of ``patch + 2 * overlap`` gives an output of ``2 * patch`` with
``overlap`` = 2 x (number of trained convolutions), for every even patch size.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

_OPSET = 17
_IR_VERSION = 8  # what onnxruntime 1.22 and its older relatives all read
_BLOCK = 4  # output samples, in each direction, that one position of the inner grid produces


def bicubic_taps() -> npt.NDArray[np.float32]:
    """Taps of 2x bicubic interpolation (Keys, a = -1/2) for a stride-2 convolution.

    Returns:
        ``(16, 1, 6, 6) float32``: for each sample of the 4x4 output block, in raster order, the
        weights of the input samples from 2 before to 3 after the block's first input sample.
        Every one is a multiple of 2^-14, so float32 holds it exactly.
    """
    near, next_near, far, farthest = 111 / 128, 29 / 128, -9 / 128, -3 / 128
    before = [farthest, next_near, near, far]  # output a quarter sample before its input sample
    rows = np.zeros((_BLOCK, 6))
    for position in range(2):
        rows[2 * position, position : position + 4] = before
        rows[2 * position + 1, position + 1 : position + 5] = before[::-1]
    taps = np.einsum("ya,xb->yxab", rows, rows).reshape(_BLOCK * _BLOCK, 1, 6, 6)
    rounded: npt.NDArray[np.float32] = taps.astype(np.float32)
    return rounded


def build_sr_network(tensors: Mapping[str, npt.NDArray[np.float32]], *, name: str) -> bytes:
    """Builds the ONNX model of a 2x luma super-resolution network.

    Args:
        tensors: float32 arrays ``stem.weight (C, 1, 6, 6)``, ``stem.bias (C,)``, then for
            n = 0, 1, ... ``body.n.weight (C, C, 3, 3)`` and ``body.n.bias (C,)``,
            ``tail.weight (16, C, 3, 3)``, ``tail.bias (16,)`` and ``skip.weight (16, 1, 6, 6)``.
        name: Name of the graph.

    Returns:
        The serialised model.  Input ``input (1, 1, H, W) float32`` in [0, 1], output ``output
        (1, 1, 2 * (H - 2 * overlap), 2 * (W - 2 * overlap)) float32``, not clipped.

    Raises:
        ValueError: A tensor is missing, superfluous or of the wrong shape.
    """
    bodies = _count_bodies(tensors)
    _check_shapes(tensors, bodies)
    cut = 2 * (bodies + 2) - 2
    nodes = [
        helper.make_node(
            "Conv", ["input", "stem.weight", "stem.bias"], ["stem"],
            name="stem", kernel_shape=[6, 6], strides=[2, 2],
        ),
        helper.make_node("Relu", ["stem"], ["hidden.0"], name="stem.relu"),
    ]  # fmt: skip
    for index in range(bodies):
        layer = f"body.{index}"
        nodes += [
            helper.make_node(
                "Conv", [f"hidden.{index}", f"{layer}.weight", f"{layer}.bias"], [layer],
                name=layer, kernel_shape=[3, 3],
            ),
            helper.make_node("Relu", [layer], [f"hidden.{index + 1}"], name=f"{layer}.relu"),
        ]  # fmt: skip
    nodes += [
        helper.make_node(
            "Conv", [f"hidden.{bodies}", "tail.weight", "tail.bias"], ["tail"],
            name="tail", kernel_shape=[3, 3],
        ),
        helper.make_node(
            "Slice", ["input", "crop.starts", "crop.ends", "crop.axes"], ["inner"], name="crop"
        ),
        helper.make_node(
            "Conv", ["inner", "skip.weight"], ["skip"],
            name="skip", kernel_shape=[6, 6], strides=[2, 2],
        ),
        helper.make_node("Add", ["tail", "skip"], ["blocks"], name="add"),
        helper.make_node(
            "DepthToSpace", ["blocks"], ["output"], name="shuffle", blocksize=_BLOCK, mode="CRD"
        ),
    ]  # fmt: skip
    initializers = [numpy_helper.from_array(tensors[key], key) for key in _names(bodies)]
    initializers += [
        numpy_helper.from_array(np.array([cut, cut], dtype=np.int64), "crop.starts"),
        numpy_helper.from_array(np.array([-cut, -cut], dtype=np.int64), "crop.ends"),
        numpy_helper.from_array(np.array([2, 3], dtype=np.int64), "crop.axes"),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, "height", "width"])],
        [
            helper.make_tensor_value_info(
                "output", TensorProto.FLOAT, [1, 1, "output_height", "output_width"]
            )
        ],
        initializers,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="nnrvideo"
    )
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _names(bodies: int) -> list[str]:
    layers = ["stem", *(f"body.{index}" for index in range(bodies)), "tail"]
    return [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")] + ["skip.weight"]


def _count_bodies(tensors: Mapping[str, npt.NDArray[np.float32]]) -> int:
    bodies = sum(1 for key in tensors if key.startswith("body.") and key.endswith(".weight"))
    missing = [key for key in _names(bodies) if key not in tensors]
    extra = [key for key in tensors if key not in _names(bodies)]
    if missing or extra:
        raise ValueError(f"not the tensors of an SR network: missing {missing}, extra {extra}")
    return bodies


def _check_shapes(tensors: Mapping[str, npt.NDArray[np.float32]], bodies: int) -> None:
    channels = tensors["stem.weight"].shape[0]
    wanted: dict[str, tuple[int, ...]] = {
        "stem.weight": (channels, 1, 6, 6),
        "stem.bias": (channels,),
        "tail.weight": (_BLOCK * _BLOCK, channels, 3, 3),
        "tail.bias": (_BLOCK * _BLOCK,),
        "skip.weight": (_BLOCK * _BLOCK, 1, 6, 6),
    }
    for index in range(bodies):
        wanted[f"body.{index}.weight"] = (channels, channels, 3, 3)
        wanted[f"body.{index}.bias"] = (channels,)
    for key, shape in wanted.items():
        if tensors[key].shape != shape or tensors[key].dtype != np.float32:
            raise ValueError(
                f"{key} is {tensors[key].dtype}{tensors[key].shape}, expected float32{shape}"
            )
