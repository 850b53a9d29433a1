# SPDX-License-Identifier: Apache-2.0
"""``Rewriter``: changes to linear operators of a network that leave the rest of it as it is.

A linear operator here is a Conv, ConvTranspose or Gemm whose weight is a tensor of the network:
each of its output channels is a product with the weight, and a bias.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final, final

import numpy as np
import numpy.typing as npt

from nnrvideo.model.graph import Array, Node, TensorDeclaration
from nnrvideo.model.topology import Network, Topology
from nnrvideo.tensors import TensorSet

LINEAR: Final = frozenset({"Conv", "ConvTranspose", "Gemm"})

Vector = npt.NDArray[np.float64]


def rows_are_outputs(node: Node) -> bool:
    """True if each row of an operator's weight makes one output channel, so that NNC can scale it.

    Args:
        node: Any operator.

    Returns:
        False also for ConvTranspose, whose rows are input channels, and what is not linear.
    """
    return node.op_type == "Conv" or (node.op_type == "Gemm" and bool(node.integer("transB", 0)))


def output_channels(node: Node, shape: tuple[int, ...]) -> int:
    """Output channels of a linear operator with a weight of this shape."""
    if rows_are_outputs(node):
        return shape[0]
    return shape[1] * (node.integer("group", 1) if node.op_type == "ConvTranspose" else 1)


def scale_outputs(node: Node, weight: Array, factors: Vector) -> Array:
    """The weight with which a linear operator gives its output channels times factors.

    Args:
        node: The operator.
        weight: float32.
        factors: One for each output channel.

    Returns:
        float32; infinite where a product is outside of its range.
    """
    shape = weight.shape
    with np.errstate(over="ignore", invalid="ignore"):
        if rows_are_outputs(node):
            product = weight * factors.reshape(-1, *[1] * (len(shape) - 1))
        elif node.op_type == "Gemm":
            product = weight * factors
        else:
            # (C, M / group, ...): each group of input channels makes outputs of its own.
            groups = node.integer("group", 1)
            parts = weight.reshape(groups, shape[0] // groups, *shape[1:])
            spread = factors.reshape(groups, 1, shape[1], *[1] * (len(shape) - 2))
            product = (parts * spread).reshape(shape)
        return product.astype(np.float32)


@final
class Rewriter:
    """A network that is being changed.

    Args:
        network: What to begin with; stays as it is.

    Attributes:
        nodes: Operators; None where one was dropped.
        tensors: Values of the network's tensors by name.
    """

    def __init__(self, network: Network) -> None:
        graph = network.graph
        self._graph = graph
        self.nodes: list[Node | None] = list(graph.nodes)
        self.tensors: dict[str, Array] = dict(network.tensors)
        self._order = list(graph.order)
        self._names = graph.names()
        self._uses = Counter(name for node in graph.nodes for name in node.inputs if name)
        self._uses.update(port.name for port in graph.outputs)
        self._used_before = set(self._uses)
        self._inside = {
            **graph.constants,
            **{
                node.outputs[0]: value
                for node in graph.nodes
                if node.op_type == "Constant"
                and isinstance(value := node.attributes.get("value"), np.ndarray)
            },
        }

    def uses(self, name: str) -> int:
        """How many inputs of operators and outputs of the graph take a value."""
        return self._uses[name]

    def value(self, name: str) -> Array | None:
        """What is known of a value before the network runs; None for nothing."""
        found = self.tensors.get(name)
        return self._inside.get(name) if found is None else found

    def own_weight(self, node: Node) -> Array | None:
        """The float32 weight of a linear operator, if nothing else uses it."""
        if node.op_type not in LINEAR or len(node.inputs) < 2 or self.uses(node.inputs[1]) != 1:
            return None
        weight = self.tensors.get(node.inputs[1])
        if weight is None or weight.dtype != np.float32 or weight.ndim < 2:
            return None
        return weight

    def bias(self, node: Node, channels: int) -> Vector | None:
        """What a linear operator adds to its output channels; None if that is not known."""
        if len(node.inputs) < 3 or not node.inputs[2]:
            return np.zeros(channels)
        value = self.value(node.inputs[2])
        if value is None or value.dtype != np.float32:
            return None
        values = value.astype(np.float64)
        if node.op_type != "Gemm":
            return values if value.shape == (channels,) else None
        # One number for all, or one for each column; anything else differs between rows.
        if value.size != 1 and value.shape not in ((channels,), (1, channels)):
            return None
        return np.broadcast_to(values.reshape(-1), channels) * _beta(node)

    def set_bias(self, index: int, values: Vector) -> Node:
        """Gives a linear operator another bias, a tensor of its own ("<weight>.bias" if new).

        Args:
            index: Number of the operator.
            values: One for each output channel.

        Returns:
            The operator as it is now.
        """
        node = self.nodes[index]
        assert node is not None
        bias = values.astype(np.float32)
        old = node.inputs[2] if len(node.inputs) > 2 else ""
        known = self.tensors.get(old)
        if known is not None and known.shape == bias.shape and self.uses(old) == 1:
            self.tensors[old] = bias
            name = old
        else:
            name = self._fresh(f"{node.inputs[1]}.bias")
            self.tensors[name] = bias
            self._order.insert(self._order.index(node.inputs[1]) + 1, name)
        attributes = {key: value for key, value in node.attributes.items() if key != "beta"}
        changed = replace(node, inputs=(*node.inputs[:2], name), attributes=attributes)
        self._put(index, changed)
        return changed

    def take_over(self, index: int, follower: int) -> None:
        """Lets an operator give the first output of the one behind it, which is dropped."""
        node, behind = self.nodes[index], self.nodes[follower]
        assert node is not None
        assert behind is not None
        self._put(follower, None)
        self._put(index, replace(node, outputs=behind.outputs[:1]))

    def network(self) -> Network:
        """The network as it is now, without tensors and constants that nothing uses any more."""
        dead = {name for name in self._used_before if not self._uses[name]}
        order = tuple(name for name in self._order if name not in dead)
        externals = {
            name: TensorDeclaration(name, self.tensors[name].dtype, self.tensors[name].shape)
            for name in order
            if name in self.tensors
        }
        constants = self._graph.constants
        graph = replace(
            self._graph,
            nodes=tuple(
                node
                for node in self.nodes
                if node is not None
                and not (node.op_type == "Constant" and dead.issuperset(node.outputs))
            ),
            constants={name: value for name, value in constants.items() if name not in dead},
            externals=externals,
            order=order,
        )
        tensors = TensorSet({name: self.tensors[name] for name in externals})
        return Network(Topology.from_graph(graph), tensors)

    def _put(self, index: int, node: Node | None) -> None:
        old = self.nodes[index]
        self._uses.subtract(name for name in (old.inputs if old else ()) if name)
        self._uses.update(name for name in (node.inputs if node else ()) if name)
        self.nodes[index] = node

    def _fresh(self, name: str) -> str:
        fresh, count = name, 0
        while fresh in self._names:
            count += 1
            fresh = f"{name}.{count}"
        self._names.add(fresh)
        return fresh


def _beta(node: Node) -> float:
    value = node.attributes.get("beta", 1.0)
    return float(value) if isinstance(value, int | float) else 1.0
