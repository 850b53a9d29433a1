# SPDX-License-Identifier: Apache-2.0
"""Ranges of activations: what an encoder measures so that a player may compute in 8-bit integers.

Integers of 8 bits need to know between which numbers a value lies, and only pictures tell.  The
encoder has pictures and the time to compare, so it measures, and sends the ranges with the
network: as one more tensor of the graph that no operator reads, named :data:`RANGES_TENSOR`.
Every other receiver carries it along and computes as before.  An update can send new ranges like
any other tensor.

    float32 [4 * N] for the N operators ``Conv`` of the graph, in their order:
    low and high of the input, low and high of the output (after the Relu that alone reads it,
    if there is one); four zeros for a convolution that must stay in floating point
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from nnrvideo.errors import ModelError
from nnrvideo.limits import Limits
from nnrvideo.model.graph import Array, Graph, Node, TensorDeclaration
from nnrvideo.model.topology import Network, Topology
from nnrvideo.nnc import (
    DataUnit,
    EncodeSettings,
    TopologyUnit,
    decode,
    encode,
    parse_units,
    write_units,
)
from nnrvideo.nnc.topology import pack_topology
from nnrvideo.tensors import TensorSet

RANGES_TENSOR: Final = "nnrvideo.activation_ranges"

_FIELDS: Final = 4


@final
@dataclass(frozen=True, slots=True)
class Convolution:
    """A ``Conv`` together with the Relu behind it.

    Args:
        node: The operator.
        relu: The Relu that alone reads its output, or None.
    """

    node: Node
    relu: Node | None

    @property
    def input(self) -> str:
        """Name of the value that it reads."""
        return self.node.inputs[0]

    @property
    def output(self) -> str:
        """Name of the value that it makes, after its Relu."""
        return (self.relu or self.node).outputs[0]


@final
@dataclass(frozen=True, slots=True)
class ConvRanges:
    """Between which numbers the input and the output of a convolution lie, low and high."""

    input: tuple[float, float]
    output: tuple[float, float]


Ranges = tuple[ConvRanges | None, ...]
"""For each convolution of a graph; None where it stays in floating point."""


def convolutions(graph: Graph) -> tuple[Convolution, ...]:
    """All convolutions of a graph, in its order."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    kept = {port.name for port in graph.outputs}
    found = []
    for node in graph.nodes:
        if node.op_type != "Conv":
            continue
        behind = readers.get(node.outputs[0], [])
        alone = len(behind) == 1 and node.outputs[0] not in kept
        relu = behind[0] if alone and behind[0].op_type == "Relu" else None
        found.append(Convolution(node, relu))
    return tuple(found)


def ranges_of(network: Network) -> Ranges | None:
    """The ranges that came with a network.

    Args:
        network: The network; not trusted.

    Returns:
        The ranges, or None if it has none.

    Raises:
        ModelError: They do not fit the graph, or are no ranges.
    """
    tensor = network.tensors.get(RANGES_TENSOR)
    if tensor is None:
        return None
    count = len(convolutions(network.graph))
    if tensor.dtype.kind != "f" or tensor.shape != (_FIELDS * count,):
        raise ModelError(
            f"{RANGES_TENSOR} is {tensor.dtype}{list(tensor.shape)}, but {count} convolutions "
            f"need float32[{_FIELDS * count}]"
        )
    values = tensor.astype(np.float64).reshape(count, _FIELDS)
    return tuple(_conv_ranges(index, row) for index, row in enumerate(values))


def _conv_ranges(index: int, row: Array) -> ConvRanges | None:
    low_in, high_in, low_out, high_out = (float(value) for value in row)
    if low_in == high_in == low_out == high_out == 0:
        return None
    if not np.all(np.isfinite(row)) or low_in >= high_in or low_out >= high_out:
        raise ModelError(
            f"{RANGES_TENSOR} of convolution {index}: "
            f"{low_in:g}..{high_in:g} and {low_out:g}..{high_out:g} are no ranges"
        )
    return ConvRanges((low_in, high_in), (low_out, high_out))


def with_ranges(network: Network, ranges: Sequence[ConvRanges | None]) -> Network:
    """The network with ranges to travel with it, in place of any that it has.

    Raises:
        ValueError: Not as many ranges as convolutions.
    """
    plain = without_ranges(network)
    count = len(convolutions(plain.graph))
    if len(ranges) != count:
        raise ValueError(f"{len(ranges)} ranges for {count} convolutions")
    values = np.zeros((count, _FIELDS), np.float32)
    for row, one in zip(values, ranges, strict=True):
        if one is not None:
            row[:] = *one.input, *one.output
    graph = plain.graph
    declared = TensorDeclaration(RANGES_TENSOR, np.dtype(np.float32), (values.size,))
    graph = replace(
        graph,
        externals={**graph.externals, RANGES_TENSOR: declared},
        order=(*graph.order, RANGES_TENSOR),
    )
    tensors = TensorSet({**plain.tensors, RANGES_TENSOR: values.reshape(-1)})
    return Network(Topology.from_graph(graph), tensors)


def without_ranges(network: Network) -> Network:
    """The network alone, as it computes; the same object if it has no ranges."""
    if RANGES_TENSOR not in network.graph.order:
        return network
    return changed(network, drop={RANGES_TENSOR})


def changed(
    network: Network,
    *,
    nodes: Sequence[Node] | None = None,
    add: Mapping[str, Array] | None = None,
    drop: set[str] | frozenset[str] = frozenset(),
) -> Network:
    """A network with other operators, with tensors added, and with tensors left out.

    Args:
        network: The network; stays as it is.
        nodes: All operators of the new graph; None keeps them.
        add: New tensors by name.
        drop: Names of tensors and constants that nothing reads any more.
    """
    add = add or {}
    graph = network.graph
    externals = {k: v for k, v in graph.externals.items() if k not in drop}
    externals |= {k: TensorDeclaration(k, v.dtype, v.shape) for k, v in add.items()}
    graph = replace(
        graph,
        nodes=graph.nodes if nodes is None else tuple(nodes),
        constants={k: v for k, v in graph.constants.items() if k not in drop},
        externals=externals,
        order=(*(name for name in graph.order if name not in drop), *add),
    )
    tensors = {k: v for k, v in network.tensors.items() if k not in drop}
    return Network(Topology.from_graph(graph), TensorSet({**tensors, **add}))


def attach_ranges(bitstream: bytes, network: Network) -> bytes:
    """Puts the ranges of a network into its bitstream; the coded weights stay bit for bit.

    Args:
        bitstream: A network with an ONNX topology, trusted.
        network: What it decodes to, :func:`with_ranges`.

    Returns:
        The bitstream with another topology unit and one more data unit.

    Raises:
        ModelError: The bitstream carries no ONNX topology, is layered, or holds ranges already.
    """
    limits = Limits.offline()
    decoded = decode(bitstream, limits=limits)
    if decoded.topology is None or decoded.is_update or RANGES_TENSOR in decoded.tensors:
        raise ModelError("ranges belong into a base network that has a graph and no ranges yet")
    payload = replace(decoded.topology, data=network.topology.skeleton)
    units = parse_units(bitstream, limits)
    # Without loss, so that the unit depends on no quantisation parameter of the bitstream.
    lossless = EncodeSettings(lossless=True)
    ranges = encode({RANGES_TENSOR: network.tensors[RANGES_TENSOR]}, lossless)
    units = [pack_topology(payload) if isinstance(u, TopologyUnit) else u for u in units]
    units += [unit for unit in parse_units(ranges) if isinstance(unit, DataUnit)]
    return write_units(units)
