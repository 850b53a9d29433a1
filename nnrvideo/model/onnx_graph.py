# SPDX-License-Identifier: Apache-2.0
"""ONNX files to :class:`Network` and back.

These functions read what the *user* gives: weights inside the file, or in data files beside it.
What comes out of a video is read by :meth:`Topology.parse`, which opens no file at all.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from nnrvideo.files import write_bytes
from nnrvideo.limits import Limits
from nnrvideo.model.data_files import DataFiles
from nnrvideo.model.element_types import is_integer
from nnrvideo.model.graph import (
    Array,
    Graph,
    Node,
    TensorDeclaration,
    parse_model,
    read_graph,
)
from nnrvideo.model.operators import STRUCTURAL_INPUTS
from nnrvideo.model.quantised import quantiser_names
from nnrvideo.model.topology import Network, Topology
from nnrvideo.tensors import TensorSet

_HOISTED_FROM: Final = 17  # values; smaller constants of an exporter are arithmetic, not weights
_ZERO_POINTS_INSIDE: Final = 16_384  # values; a topology may hold four times as many
_SMALL_INT64: Final = 1024  # values; shapes, axes and indices stay below
_ARITHMETIC: Final = frozenset({np.dtype(np.bool_), np.dtype(np.int32), np.dtype(np.int64)})
_SMALL_KEPT: Final = frozenset({np.dtype(np.bool_), np.dtype(np.uint8), np.dtype(np.uint16)})


def load_onnx(source: str | os.PathLike[str] | bytes, *, limits: Limits | None = None) -> Network:
    """Loads a model that the user trusts.

    The graph is kept in its order; documentation, names of nodes, inferred shapes, and metadata
    but for ``nnrvideo.*`` are dropped.  Weights become the tensors of the network; constants that
    say *how* an operator works stay inside the topology.

    Args:
        source: Path of an ``.onnx`` file, or its bytes.
        limits: Bounds on the graph; by default :meth:`Limits.offline`, for it is the user's file.

    Raises:
        ModelError: Not an ONNX model, or not one that could travel in a video.
        LimitExceededError: Too large.
        OSError: The file cannot be read.
    """
    limits = limits or Limits.offline()
    folder: Path | None = None
    if isinstance(source, bytes):
        data = source
    else:
        path = Path(source)
        folder, data = path.parent, path.read_bytes()
    model = parse_model(data, limit="max_bitstream_bytes", limits=limits)
    graph = read_graph(model, limits=limits, tensor_values=DataFiles(folder).read)
    return network_from_graph(graph, limits=limits)


def save_onnx(network: Network, path: str | os.PathLike[str]) -> None:
    """Writes a network as a self-contained ONNX file, in place of one that is there.

    Raises:
        ModelError: With its weights it is over the 2 GiB of a protobuf message;
            ``save_external`` has no such limit.
        ContainerError: The file cannot be written.
    """
    write_bytes(path, network.to_onnx(), overwrite=True)


def network_from_graph(graph: Graph, *, limits: Limits) -> Network:
    """Parts a graph with all values inside into topology and weights."""
    graph = _hoist_constants(graph)
    structural, quantisers = _structural_names(graph), quantiser_names(graph)
    constants: dict[str, Array] = {}
    weights: dict[str, Array] = {}
    room = _ZERO_POINTS_INSIDE
    for name in graph.order:
        value = graph.constants[name]
        inside = value.size == 0 or name in structural or _is_small(value)
        if name in quantisers and not inside:
            inside = value.size == 1 or (value.size <= room and _is_uniform(value))
            room -= value.size if inside else 0
        (constants if inside else weights)[name] = value
    externals = {
        name: TensorDeclaration(name, value.dtype, value.shape) for name, value in weights.items()
    }
    parted = replace(graph, constants=constants, externals=externals)
    # What we send must pass at the receiver: read it back under the receiver's rules.
    topology = Topology.parse(Topology.from_graph(parted).skeleton, limits=limits)
    return Network(topology, TensorSet(weights))


def _is_small(value: Array) -> bool:
    """True for the short lists of shape arithmetic; longer ones of these types are weights."""
    if value.dtype in _SMALL_KEPT:
        return value.size < _HOISTED_FROM
    return value.dtype == np.int64 and value.size <= _SMALL_INT64


def _is_uniform(value: Array) -> bool:
    """True for integers that are all the same, as the zero points of symmetric weights are.

    Inside the topology deflate makes nothing of them; a data unit would be mostly header.
    """
    return is_integer(value.dtype) and bool((value == value.flat[0]).all())


def _structural_names(graph: Graph) -> frozenset[str]:
    return frozenset(
        name
        for node in graph.nodes
        for index, name in enumerate(node.inputs)
        if index in STRUCTURAL_INPUTS.get(node.op_type, ())
    )


def _hoist_constants(graph: Graph) -> Graph:
    """Turns Constant nodes that hold weights into initialisers, so that NNC can code them."""
    nodes: list[Node] = []
    hoisted: dict[str, Array] = {}
    for node in graph.nodes:
        value = node.attributes.get("value") if node.op_type == "Constant" else None
        if (
            isinstance(value, np.ndarray)
            and value.dtype not in _ARITHMETIC
            and value.size >= _HOISTED_FROM
            and len(node.outputs) == 1
        ):
            hoisted[node.outputs[0]] = value
        else:
            nodes.append(node)
    if not hoisted:
        return graph
    return replace(
        graph,
        nodes=tuple(nodes),
        constants={**graph.constants, **hoisted},
        order=(*graph.order, *hoisted),
    )
