# SPDX-License-Identifier: Apache-2.0
"""Builds the ONNX graphs of the network family that ``nnrvideo.training`` trains.

The graph is written node by node rather than traced out of a training framework: it holds exactly
the operators below, its bytes depend on nothing but the tensors, and making it needs no PyTorch.

    input -> Conv 6x6 stride 2 -> Relu -> (Conv 3x3 -> Relu)* -> Conv 3x3 -> Add -> DepthToSpace E
    input -> Slice (crop) -> Conv 6x6 stride 2 with fixed taps ------------------^

Each position of the inner grid stands for 2x2 input samples and makes ExE output samples: E = 4
doubles width and height, 3 makes them half as large again, 2 keeps them, where the fixed taps only
copy and the rest removes artefacts.

No convolution pads, so an input of ``patch + 2 * overlap`` gives an output of ``E / 2 * patch``
with ``overlap`` = 2 x (number of trained convolutions), for every even patch size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

_OPSET = 17
_IR_VERSION = 8  # what onnxruntime 1.22 and its older relatives all read

IN_BLOCK: Final = 2
"""Input samples, in each direction, that one position of the inner grid stands for."""

OUT_BLOCKS: Final = (2, 3, 4)
"""Output samples, in each direction, that one position of the inner grid may make."""

_TAP_BITS: Final = 7  # of a row of taps; those of doubling are short fractions by nature


def skip_taps(out_block: int) -> npt.NDArray[np.float32]:
    """Taps of bicubic interpolation (Keys, a = -1/2) by ``out_block / 2``, for a stride of 2.

    Args:
        out_block: 2 (copies), 3 or 4.

    Returns:
        ``(out_block ** 2, 1, 6, 6) float32``: for each sample of the output block, in raster
        order, the weights of the input samples from 2 before to 3 after the block's first one.
        Every tap is a multiple of 2^-14, so float32 holds it exactly, and each row sums up to 1.

    Raises:
        ValueError: ``out_block`` is none of these.
    """
    if out_block not in OUT_BLOCKS:
        raise ValueError(f"an output block of {out_block} is none of {OUT_BLOCKS}")
    rows = np.zeros((out_block, 6))
    for position in range(out_block):
        centre = (position + 0.5) * IN_BLOCK / out_block - 0.5
        first = math.floor(centre) - 1
        for sample in range(first, first + 4):
            rows[position, sample + 2] = _keys(centre - sample)
    if out_block == 3:
        rows = np.round(rows * 2**_TAP_BITS) / 2**_TAP_BITS
        middle = rows.argmax(axis=1)
        rows[range(3), middle] += 1 - rows.sum(axis=1)
    taps = np.einsum("ya,xb->yxab", rows, rows).reshape(out_block**2, 1, 6, 6)
    rounded: npt.NDArray[np.float32] = taps.astype(np.float32)
    return rounded


def _keys(distance: float) -> float:
    """Keys' cubic convolution kernel."""
    x = abs(distance)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def out_block_of(tensors: Mapping[str, npt.NDArray[np.float32]]) -> int:
    """Output samples, in each direction, of a position of a network's inner grid.

    Raises:
        ValueError: The tensors are not those of such a network.
    """
    tail = tensors.get("tail.weight")
    block = 0 if tail is None or tail.ndim != 4 else math.isqrt(tail.shape[0])
    if tail is None or block not in OUT_BLOCKS or block * block != tail.shape[0]:
        raise ValueError("not the tensors of a block network: tail.weight is missing or odd")
    return block


def build_block_network(tensors: Mapping[str, npt.NDArray[np.float32]], *, name: str) -> bytes:
    """Builds the ONNX model of a luma network.

    Args:
        tensors: float32 arrays ``stem.weight (C, 1, 6, 6)``, ``stem.bias (C,)``, then for
            n = 0, 1, ... ``body.n.weight (C, C, 3, 3)`` and ``body.n.bias (C,)``,
            ``tail.weight (E * E, C, 3, 3)``, ``tail.bias (E * E,)`` and
            ``skip.weight (E * E, 1, 6, 6)``.
        name: Name of the graph.

    Returns:
        The serialised model.  Input ``input (1, 1, H, W) float32`` in [0, 1], output ``output
        (1, 1, E / 2 * (H - 2 * overlap), E / 2 * (W - 2 * overlap)) float32``, not clipped.

    Raises:
        ValueError: A tensor is missing, superfluous or of the wrong shape.
    """
    bodies = _count_bodies(tensors)
    block = out_block_of(tensors)
    _check_shapes(tensors, bodies, block)
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
            "DepthToSpace", ["blocks"], ["output"], name="shuffle", blocksize=block, mode="CRD"
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
        raise ValueError(f"not the tensors of a block network: missing {missing}, extra {extra}")
    return bodies


def _check_shapes(tensors: Mapping[str, npt.NDArray[np.float32]], bodies: int, block: int) -> None:
    channels = tensors["stem.weight"].shape[0]
    outputs = block * block
    wanted: dict[str, tuple[int, ...]] = {
        "stem.weight": (channels, 1, 6, 6),
        "stem.bias": (channels,),
        "tail.weight": (outputs, channels, 3, 3),
        "tail.bias": (outputs,),
        "skip.weight": (outputs, 1, 6, 6),
    }
    for index in range(bodies):
        wanted[f"body.{index}.weight"] = (channels, channels, 3, 3)
        wanted[f"body.{index}.bias"] = (channels,)
    for key, shape in wanted.items():
        if tensors[key].shape != shape or tensors[key].dtype != np.float32:
            raise ValueError(
                f"{key} is {tensors[key].dtype}{tensors[key].shape}, expected float32{shape}"
            )
