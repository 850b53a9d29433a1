# SPDX-License-Identifier: Apache-2.0
"""How far a network that pads inside looks, so that a picture can be cut and come out the same.

A network without padding of its own yields only what it has seen the surroundings of, so its
overlap tells all.  One that pads inside sees the edge of whatever it is given: a player that cuts
a picture into bands must add true samples on both sides.  What is computed here may be more than
needed, and never less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrvideo.model.graph import Graph, Node
from nnrvideo.model.operators import BROADCASTING, UNARY
from nnrvideo.model.topology import Network

Array = npt.NDArray[Any]

_POINTWISE: Final = (
    (UNARY - {"Softmax"})
    | BROADCASTING
    | {
        "BatchNormalization",
        "Cast",
        "Clip",
        "DequantizeLinear",
        "QuantizeLinear",
    }
)
_KERNEL: Final = 3  # samples that cubic interpolation looks aside, and one for rounding
_WINDOWS: Final = frozenset({"AveragePool", "Conv", "MaxPool"})


@dataclass(frozen=True, slots=True)
class _View:
    """What a value has seen: its samples for one of the input, and how far it looks.

    Args:
        scale: Samples for each input position, on an axis.
        reach: Input positions beyond its own place that it depends on.
    """

    scale: Fraction
    reach: Fraction


def reach_of(network: Network) -> int | None:
    """Input positions, in any direction, that an output sample depends on.

    Args:
        network: A network for pictures with channels before rows and columns.

    Returns:
        The reach; 0 for a network that never pads; None where it has no bound that can be told:
        the network looks at the whole picture, or has operators through which samples cannot be
        followed.
    """
    graph = network.graph
    shapes = {name: tensor.shape for name, tensor in network.tensors.items()}
    shapes |= {name: value.shape for name, value in graph.constants.items()}
    views = {graph.inputs[0].name: _View(Fraction(1), Fraction(0))}
    try:
        for node in graph.nodes:
            seen = [views[name] for name in node.inputs if name in views]
            if seen:
                view = _after(node, seen, shapes, graph)
                views |= dict.fromkeys(node.outputs, view)
        reach = math.ceil(views[graph.outputs[0].name].reach)
    except (_UnknownError, KeyError, ValueError):
        return None
    return reach if any(_pads(node) for node in graph.nodes) else 0


def _pads(node: Node) -> bool:
    automatic = node.text("auto_pad", "NOTSET") not in {"NOTSET", "VALID"}
    # Interpolation repeats the outermost samples, which is padding as well.
    return node.op_type in {"Pad", "Resize"} or automatic or any(node.integers("pads") or ())


class _UnknownError(Exception):
    """An operator that samples cannot be followed through."""


def _after(
    node: Node, seen: list[_View], shapes: Mapping[str, tuple[int, ...]], graph: Graph
) -> _View:
    scale, reach = seen[0].scale, max(view.reach for view in seen)
    if any(view.scale != scale for view in seen):
        raise _UnknownError
    channels_only = node.op_type in {"Concat", "Split"} and node.integer("axis", 0) == 1
    if node.op_type in _POINTWISE or channels_only:
        return _View(scale, reach)
    if node.op_type in _WINDOWS:
        wide, stride = _window(node, shapes)
        return _View(scale / stride, reach + wide / scale)
    if node.op_type == "ConvTranspose":
        wide, stride = _window(node, shapes)
        return _View(scale * stride, reach + wide / (scale * stride))
    if node.op_type == "DepthToSpace":
        return _View(scale * node.integer("blocksize", 1), reach)
    if node.op_type == "SpaceToDepth":
        block = node.integer("blocksize", 1)
        return _View(scale / block, reach + (block - 1) / scale)
    if node.op_type == "Resize":
        factor = _factor(node, graph)
        return _View(scale * factor, reach + _KERNEL / scale)
    if node.op_type in {"Pad", "Slice"}:
        return _View(scale, reach + _shift(node, graph) / scale)
    raise _UnknownError


def _factor(node: Node, graph: Graph) -> int:
    """By how much a Resize enlarges; only powers of two place samples alike in every cut."""
    scales = graph.constants[node.inputs[2]].ravel() if len(node.inputs) == 3 else np.empty(0)
    aligned = node.text("coordinate_transformation_mode", "half_pixel") == "align_corners"
    if scales.size != 4 or aligned or node.integer("antialias", 0):
        raise _UnknownError
    batch, channels, down, across = (float(value) for value in scales)
    if (batch, channels, down) != (1, 1, across) or across not in {1, 2, 4, 8}:
        raise _UnknownError
    return int(across)


def _window(node: Node, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """Samples that an output looks beyond its place, and the stride."""
    sizes = node.integers("kernel_shape")
    if sizes is None:
        sizes = shapes[node.inputs[1]][2:]
    dilations = node.integers("dilations") or (1,) * len(sizes)
    strides = node.integers("strides") or (1,) * len(sizes)
    if len(sizes) != 2 or strides[0] != strides[1] or node.integer("ceil_mode", 0):
        raise _UnknownError
    wide = max((size - 1) * step for size, step in zip(sizes, dilations, strict=True))
    # Padding may centre the window; without knowing, all of it may lie on one side.
    return wide, strides[0]


def _shift(node: Node, graph: Graph) -> int:
    """By how many samples rows and columns move at most; those must be known numbers."""
    values = [graph.constants[name] for name in node.inputs[1:] if name]
    far = np.iinfo(np.int32).max
    moves = [abs(int(v)) for value in values[:2] for v in value.ravel() if abs(int(v)) < far]
    return max(moves, default=0)
