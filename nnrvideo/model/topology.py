# SPDX-License-Identifier: Apache-2.0
"""``Topology`` and ``Network``: a graph without its weights, and the two joined.

A topology is the ONNX *skeleton* that travels in the topology unit of an NNC stream: the whole
graph, with every learnt tensor declared (name, type, shape) but marked external.  The values
travel in the compressed data units under the same names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self, final

from nnrvideo.errors import ModelError, TensorMismatchError
from nnrvideo.limits import Limits
from nnrvideo.model.element_types import stored_bytes
from nnrvideo.model.exact import restore
from nnrvideo.model.graph import (
    Array,
    Graph,
    TensorDeclaration,
    parse_model,
    read_graph,
    serialize,
    write_model,
)
from nnrvideo.tensors import TensorSet

_PROTOBUF_LIMIT: Final = (1 << 31) - 1
_TENSOR_HEADER: Final = 64  # bytes of an initialiser besides its name and values, at most


@final
@dataclass(frozen=True, slots=True, repr=False)
class Topology:
    """A vetted graph without weights; make one with :meth:`parse` or :meth:`from_graph`.

    Args:
        skeleton: The canonical serialised ``ModelProto``: same graph, same bytes.
        graph: The same thing, readable.
    """

    skeleton: bytes
    graph: Graph = field(compare=False)

    @classmethod
    def parse(cls, data: bytes, *, limits: Limits | None = None) -> Self:
        """Reads a topology from an untrusted source.

        Args:
            data: A serialised ``ModelProto`` whose learnt tensors are external with the location
                ``nnc`` and nothing else.
            limits: Bounds; by default :meth:`Limits.desktop`.

        Raises:
            ModelError: Not an acceptable graph; lists every violation.
            LimitExceededError: Too large.
        """
        limits = limits or Limits.desktop()
        model = parse_model(data, limit="max_topology_bytes", limits=limits)
        return cls.from_graph(read_graph(model, limits=limits))

    @classmethod
    def from_graph(cls, graph: Graph) -> Self:
        """Writes the skeleton of a graph that has been vetted already."""
        try:
            return cls(serialize(write_model(graph)), graph)
        except (ValueError, TypeError) as error:
            raise ModelError(f"the graph cannot be written as ONNX: {error}") from error

    def __repr__(self) -> str:
        """The size of it; the bytes would fill the screen."""
        return (
            f"Topology({len(self.graph.nodes)} operators, {len(self.graph.externals)} tensors, "
            f"{len(self.skeleton)} bytes)"
        )

    def fits_in_one_file(self) -> bool:
        """True if graph and weights are below the 2 GiB that protobuf allows a message."""
        sizes = (
            stored_bytes(each.dtype, each.size) + len(each.name.encode()) + _TENSOR_HEADER
            for each in self.tensors
        )
        return len(self.skeleton) + sum(sizes) <= _PROTOBUF_LIMIT

    @property
    def tensors(self) -> tuple[TensorDeclaration, ...]:
        """What the weights must be, in the model's order."""
        return tuple(self.graph.externals.values())


@final
@dataclass(frozen=True, slots=True)
class Network:
    """A topology with weights that fit it.

    Args:
        topology: The graph.
        tensors: Values of exactly the tensors that the topology declares, as they are or in a
            form of :mod:`nnrvideo.model.exact`.  A tensor that was sent as one dimension of size
            1 fits a declaration without dimensions, and a number of another width is converted
            when nothing but its width changes.

    Raises:
        TensorMismatchError: Lists all tensors that are missing, left over, or do not fit.
    """

    topology: Topology
    tensors: TensorSet

    def __post_init__(self) -> None:
        violations: list[str] = []
        fitted: dict[str, Array] = {}
        for declaration in self.topology.tensors:
            value = self.tensors.get(declaration.name)
            if value is None:
                violations.append(f"tensor {declaration.name!r} is missing")
                continue
            try:
                fitted[declaration.name] = restore(value, declaration)
            except ValueError as error:
                violations.append(f"tensor {declaration.name!r}: {error}")
        for name in self.tensors:
            if name not in self.topology.graph.externals:
                violations.append(f"tensor {name!r} is not part of the topology")
        if violations:
            raise TensorMismatchError("the tensors do not fit the topology", violations)
        object.__setattr__(self, "tensors", TensorSet(fitted))

    @property
    def graph(self) -> Graph:
        """The graph of the topology."""
        return self.topology.graph

    def with_tensors(self, tensors: TensorSet) -> Network:
        """The same topology with other weights, for instance after an update.

        Raises:
            TensorMismatchError: The weights do not fit.
        """
        return Network(self.topology, tensors)

    def to_onnx(self) -> bytes:
        """The network as a self-contained ONNX file.

        Raises:
            ModelError: It is over the 2 GiB that protobuf allows a message.
        """
        if not self.topology.fits_in_one_file():
            raise ModelError(
                "with its weights the model is over the 2 GiB of a protobuf message; write it "
                "with external data"
            )
        return serialize(write_model(self.graph, self.tensors))
