# SPDX-License-Identifier: Apache-2.0
"""``Graph``: an ONNX graph as plain frozen data, and the vetted way between it and ONNX bytes.

Everything else in this package works on :class:`Graph`, and every model that leaves this package
is written anew from one.  So nothing that the reader does not know (unknown fields, functions,
metadata of a tool, a path) can travel through to onnxruntime.  Reading refuses what is malformed;
whether the operators are welcome and what they cost is :mod:`nnrvideo.model.check`'s business.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import helper, numpy_helper

from nnrvideo.errors import ModelError
from nnrvideo.limits import Limits
from nnrvideo.model.element_types import (
    ELEMENT_TYPES,
    TYPE_CODES,
    is_packed,
    stored_bytes,
)
from nnrvideo.model.operators import DOMAINS, MAX_OPSET, MIN_OPSET

Array = npt.NDArray[Any]
AttributeValue = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | Array

EXTERNAL_LOCATION: Final = "nnc"
"""What ``location`` of an external initialiser must say: the values come in the NNC stream."""

METADATA_PREFIX: Final = "nnrvideo."

_MAX_RANK: Final = 8
_MAX_NAME: Final = 1024  # characters
_MAX_LIST: Final = 256  # entries of a list attribute, inputs or outputs of a node
_MAX_INLINE: Final = 65_536  # values of all constants that may stay inside a topology together
_MAX_METADATA: Final = 64  # entries
_IR_OF_INT4: Final = 10  # the first IR version that has types of four bits


@final
@dataclass(frozen=True, slots=True)
class TensorDeclaration:
    """Name, type and shape of a tensor whose values travel elsewhere."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=object)) if self.shape else 1


@final
@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the graph.

    ``dims`` has an int for a fixed dimension, a str for a named and None for an unnamed free one;
    it is None as a whole where the model does not even tell the rank.
    """

    name: str
    dtype: np.dtype[Any]
    dims: tuple[int | str | None, ...] | None


@final
@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operator; an omitted optional input is the empty string.

    ``domain`` is empty for the operators of ``ai.onnx``.
    """

    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    domain: str = ""

    @property
    def label(self) -> str:
        """How error messages call the node."""
        return f"{self.op_type} -> {self.outputs[0]!r}" if self.outputs else self.op_type

    def integer(self, name: str, default: int) -> int:
        """An INT attribute; :class:`ValueError` if it is of another type."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            msg = f"attribute {name} is no integer"
            raise ValueError(msg)  # noqa: TRY004 - a wrong value in the model, not a wrong call
        return value

    def integers(self, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...] | None:
        """An INTS attribute, or the default when absent."""
        value = self.attributes.get(name)
        if value is None:
            return default
        if not isinstance(value, tuple) or not all(isinstance(entry, int) for entry in value):
            msg = f"attribute {name} is no list of integers"
            raise ValueError(msg)
        return tuple(int(entry) for entry in value)

    def text(self, name: str, default: str) -> str:
        """A STRING attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, str):
            msg = f"attribute {name} is no string"
            raise ValueError(msg)  # noqa: TRY004
        return value


@final
@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A whole network but for the values of its external tensors.

    Args:
        opset: Version of the ``ai.onnx`` operator set.
        inputs: Ports that the caller feeds.
        outputs: Ports that the caller reads.
        nodes: In an order in which they can run.
        constants: Values that stay inside the topology.
        externals: Tensors whose values come with the NNC stream, in the model's order.
        metadata: ``metadata_props`` whose key starts with ``nnrvideo.``, without that prefix.
        order: Names of all initialisers, constants and externals, in the model's order.
    """

    opset: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    externals: Mapping[str, TensorDeclaration]
    metadata: Mapping[str, str]
    order: tuple[str, ...]

    def types(self) -> set[np.dtype[Any]]:
        """Types of all initialisers."""
        constants = {value.dtype for value in self.constants.values()}
        return constants | {declared.dtype for declared in self.externals.values()}

    def names(self) -> set[str]:
        """Every value name in the graph."""
        found = {port.name for port in (*self.inputs, *self.outputs)} | set(self.order)
        for node in self.nodes:
            found.update(node.inputs)
            found.update(node.outputs)
        return found


def parse_model(data: bytes, *, limit: str, limits: Limits) -> onnx.ModelProto:
    """Parses protobuf bytes; nothing in them is believed yet.

    Args:
        data: A serialised ``ModelProto``.
        limit: The field of :class:`Limits` that bounds ``len(data)``.
        limits: Bounds.

    Raises:
        LimitExceededError: Too many bytes.
        ModelError: Not a ``ModelProto``.
    """
    limits.require(limit, len(data), "ONNX model bytes")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise ModelError(f"not an ONNX model: {error}") from error
    try:
        _require_text(model)
    except UnicodeDecodeError as error:
        raise ModelError(f"a name in the ONNX graph is not UTF-8: {error}") from error
    if not model.HasField("graph"):
        raise ModelError("not an ONNX model: there is no graph in it")
    return model


def _require_text(message: Any) -> None:
    """Refuses strings that are not UTF-8, anywhere in a message.

    ONNX is proto2, whose parser takes any bytes for a string.  What such a field is when it is
    read depends on the backend of protobuf: some raise, others give ``bytes`` in place of ``str``.

    Raises:
        UnicodeDecodeError: A string is not UTF-8.
    """
    texts, parts = _text_fields(message.DESCRIPTOR)
    for name in texts:
        value = getattr(message, name)
        for entry in (value,) if isinstance(value, str | bytes) else value:
            if isinstance(entry, bytes):
                entry.decode("utf-8")
    for name in parts:
        value = getattr(message, name)
        if not isinstance(value, Message):
            for part in value:
                _require_text(part)
        elif message.HasField(name):
            _require_text(value)


@functools.cache
def _text_fields(descriptor: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the fields of a message that are strings, and of those that are messages."""
    strings, messages = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE
    return (
        tuple(entry.name for entry in descriptor.fields if entry.type == strings),
        tuple(entry.name for entry in descriptor.fields if entry.type == messages),
    )


def read_graph(
    model: onnx.ModelProto,
    *,
    limits: Limits,
    tensor_values: Callable[[onnx.TensorProto], Array] | None = None,
) -> Graph:
    """Vets a parsed model and turns it into a :class:`Graph`.

    Args:
        model: The parsed model.
        limits: Bounds on nodes, tensors and parameters.
        tensor_values: How to get at the values of an external initialiser; None for a received
            topology, where the only external data are those that the NNC stream carries.

    Returns:
        The graph; with ``tensor_values`` all initialisers are in ``constants``.

    Raises:
        ModelError: With every violation that was found.
        LimitExceededError: More nodes or tensors than allowed.
    """
    limits.require("max_nodes", len(model.graph.node), "operators in the graph")
    limits.require("max_tensors", len(model.graph.initializer), "initialisers of the graph")
    return _Reader(model, limits, tensor_values).read()


class _Reader:
    """Collects violations while it walks the model once."""

    def __init__(
        self,
        model: onnx.ModelProto,
        limits: Limits,
        tensor_values: Callable[[onnx.TensorProto], Array] | None,
    ) -> None:
        self._model = model
        self._limits = limits
        self._tensor_values = tensor_values
        self._violations: list[str] = []
        self._inline = 0

    def read(self) -> Graph:
        opset = self._opset()
        constants, externals, order = self._initializers()
        graph = self._model.graph
        inputs = tuple(
            port
            for value in graph.input
            if value.name not in constants
            and value.name not in externals
            and (port := self._port(value, "input"))
        )
        outputs = tuple(port for value in graph.output if (port := self._port(value, "output")))
        nodes = tuple(node for proto in graph.node if (node := self._node(proto)))
        metadata = self._metadata()
        if not graph.output:
            self._violations.append("the graph has no output")
        if graph.sparse_initializer:
            self._violations.append("sparse initialisers are not accepted")
        self._check_wiring(inputs, outputs, nodes, order)
        if self._violations:
            raise ModelError("the ONNX graph is not acceptable", self._violations)
        return Graph(
            opset=opset,
            inputs=inputs,
            outputs=outputs,
            nodes=nodes,
            constants=constants,
            externals=externals,
            metadata=metadata,
            order=order,
        )

    def _opset(self) -> int:
        domains = {entry.domain for entry in self._model.opset_import} - set(DOMAINS.values())
        versions = {
            entry.version for entry in self._model.opset_import if entry.domain in ("", "ai.onnx")
        }
        if self._model.functions:
            self._violations.append("model-local functions are not accepted")
        if self._model.training_info:
            self._violations.append("training information is not accepted")
        # Exporters import domains that no node uses; only a received topology must be clean.
        if self._tensor_values is None and not domains <= {"", "ai.onnx"}:
            self._violations.append(f"operator domains {sorted(domains)}: only ai.onnx is accepted")
        if len(versions) != 1:
            self._violations.append("the model must import the operator set ai.onnx exactly once")
            return MIN_OPSET
        version = versions.pop()
        if not MIN_OPSET <= version <= MAX_OPSET:
            self._violations.append(
                f"operator set ai.onnx {version} is outside {MIN_OPSET}..{MAX_OPSET}"
            )
            return MIN_OPSET
        return int(version)

    def _initializers(
        self,
    ) -> tuple[dict[str, Array], dict[str, TensorDeclaration], tuple[str, ...]]:
        constants: dict[str, Array] = {}
        externals: dict[str, TensorDeclaration] = {}
        order: list[str] = []
        total = 0
        for proto in self._model.graph.initializer:
            if not self._name_ok(proto.name, "initialiser"):
                continue
            if proto.name in constants or proto.name in externals:
                self._violations.append(f"initialiser {proto.name!r} is there twice")
                continue
            declaration = self._declaration(proto)
            if declaration is None:
                continue
            total += declaration.size
            self._limits.require("max_total_elements", total, "values of all initialisers")
            order.append(proto.name)
            if proto.data_location == onnx.TensorProto.EXTERNAL and self._tensor_values is None:
                if self._is_marked(proto):
                    externals[proto.name] = declaration
                continue
            value = self._values(proto, declaration)
            if value is not None:
                constants[proto.name] = value
        return constants, externals, tuple(order)

    def _declaration(self, proto: onnx.TensorProto) -> TensorDeclaration | None:
        dtype = ELEMENT_TYPES.get(proto.data_type)
        if dtype is None:
            self._violations.append(
                f"initialiser {proto.name!r} has the element type {proto.data_type}, "
                "which is not accepted"
            )
            return None
        shape = tuple(proto.dims)
        if len(shape) > min(_MAX_RANK, self._limits.max_dimensions) or any(n < 0 for n in shape):
            self._violations.append(f"initialiser {proto.name!r} has the shape {list(shape)}")
            return None
        declaration = TensorDeclaration(proto.name, dtype, shape)
        self._limits.require("max_elements", declaration.size, f"initialiser {proto.name!r}")
        return declaration

    def _is_marked(self, proto: onnx.TensorProto) -> bool:
        entries = [(entry.key, entry.value) for entry in proto.external_data]
        if entries != [("location", EXTERNAL_LOCATION)]:
            self._violations.append(
                f"initialiser {proto.name!r} points to data outside of the NNC stream"
            )
            return False
        if proto.raw_data or _typed_values(proto):
            self._violations.append(f"external initialiser {proto.name!r} has values inside, too")
            return False
        return True

    def _values(self, proto: onnx.TensorProto, declared: TensorDeclaration) -> Array | None:
        """The values of a tensor, once it is certain that they are as many as its shape says."""
        if proto.data_location == onnx.TensorProto.EXTERNAL:
            if self._tensor_values is None:
                self._violations.append(f"constant {proto.name!r} points to data elsewhere")
                return None
            value = self._tensor_values(proto)
        else:
            # Two values of four bits are one stored byte, or one entry of int32_data.
            stored = len(proto.raw_data) // declared.dtype.itemsize or _typed_values(proto)
            packed = is_packed(declared.dtype)
            if stored != (stored_bytes(declared.dtype, declared.size) if packed else declared.size):
                self._violations.append(
                    f"tensor {proto.name!r} has {stored} {'pairs of ' * packed}values for the "
                    f"shape {list(declared.shape)}"
                )
                return None
            if self._tensor_values is None:
                self._inline += declared.size
                if self._inline > _MAX_INLINE:
                    self._violations.append(
                        f"the constants of a topology hold more than {_MAX_INLINE} values"
                    )
                    return None
            try:
                value = to_array(proto)
            except (ValueError, TypeError, RuntimeError) as error:
                self._violations.append(f"tensor {proto.name!r} cannot be read: {error}")
                return None
        if value.dtype != declared.dtype or value.shape != declared.shape:
            self._violations.append(f"the data of {proto.name!r} do not fit its declaration")
            return None
        return np.ascontiguousarray(value).reshape(declared.shape)

    def _port(self, value: onnx.ValueInfoProto, kind: str) -> Port | None:
        if not self._name_ok(value.name, kind):
            return None
        tensor = value.type.tensor_type
        dtype = ELEMENT_TYPES.get(tensor.elem_type)
        if value.type.WhichOneof("value") != "tensor_type" or dtype is None:
            self._violations.append(f"{kind} {value.name!r} is no tensor of an accepted type")
            return None
        if not tensor.HasField("shape"):
            return Port(value.name, dtype, None)
        dims: list[int | str | None] = []
        for dim in tensor.shape.dim:
            if dim.HasField("dim_value"):
                dims.append(int(dim.dim_value))
            else:
                dims.append(dim.dim_param or None)
        if len(dims) > _MAX_RANK or any(isinstance(n, int) and n <= 0 for n in dims):
            self._violations.append(f"{kind} {value.name!r} has the shape {dims[:_MAX_RANK]}")
            return None
        return Port(value.name, dtype, tuple(dims))

    def _node(self, proto: onnx.NodeProto) -> Node | None:
        label = f"{proto.op_type[:64]} -> {proto.output[0][:64] if proto.output else '?'!r}"
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        if domain != DOMAINS.get(proto.op_type, "") and domain:
            self._violations.append(f"{label}: custom domain {proto.domain[:64]!r}")
            return None
        if max(len(proto.input), len(proto.output)) > _MAX_LIST or not proto.output:
            self._violations.append(
                f"{label}: {len(proto.input)} inputs and {len(proto.output)} outputs"
            )
            return None
        names = [name for name in (*proto.input, *proto.output) if name]
        well_named = [self._name_ok(name, "value") for name in names]  # tells about each
        if not all(well_named):
            return None
        attributes: dict[str, AttributeValue] = {}
        for attribute in proto.attribute:
            if attribute.name in attributes:
                self._violations.append(f"{label}: attribute {attribute.name!r} is there twice")
            value = self._attribute(attribute, label)
            if value is not None:
                attributes[attribute.name] = value
        return Node(proto.op_type, tuple(proto.input), tuple(proto.output), attributes, domain)

    def _attribute(self, proto: onnx.AttributeProto, label: str) -> AttributeValue | None:
        kinds = onnx.AttributeProto
        if proto.ref_attr_name:
            self._violations.append(f"{label}: attribute {proto.name!r} refers to a function")
        elif max(len(proto.ints), len(proto.floats), len(proto.strings)) > _MAX_LIST:
            self._violations.append(f"{label}: attribute {proto.name!r} is too long")
        elif proto.type == kinds.INT:
            return int(proto.i)
        elif proto.type == kinds.FLOAT:
            return float(proto.f)
        elif proto.type == kinds.INTS:
            return tuple(int(entry) for entry in proto.ints)
        elif proto.type == kinds.FLOATS:
            return tuple(float(entry) for entry in proto.floats)
        elif proto.type == kinds.STRING and len(proto.s) <= _MAX_NAME:
            return proto.s.decode("utf-8", "replace")
        elif proto.type == kinds.TENSOR:
            declaration = self._declaration(proto.t)
            return None if declaration is None else self._values(proto.t, declaration)
        else:
            kind = kinds.AttributeType.Name(proto.type)
            self._violations.append(f"{label}: attribute {proto.name!r} of type {kind} is refused")
        return None

    def _metadata(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in self._model.metadata_props:
            if entry.key.startswith(METADATA_PREFIX):
                found[entry.key.removeprefix(METADATA_PREFIX)] = entry.value
        too_long = any(max(len(key), len(text)) > _MAX_NAME for key, text in found.items())
        if len(found) > _MAX_METADATA or too_long:
            self._violations.append("the nnrvideo.* metadata are too large")
            return {}
        return found

    def _name_ok(self, name: str, kind: str) -> bool:
        if 0 < len(name) <= _MAX_NAME:
            return True
        self._violations.append(f"{kind} with a name of {len(name)} characters")
        return False

    def _check_wiring(
        self,
        inputs: Iterable[Port],
        outputs: Iterable[Port],
        nodes: Iterable[Node],
        initializers: Iterable[str],
    ) -> None:
        """Single assignment, and nothing used before it is there."""
        known = set(initializers)
        for port in inputs:
            if port.name in known:
                self._violations.append(f"the name {port.name!r} is defined twice")
            known.add(port.name)
        for node in nodes:
            for name in node.inputs:
                if name and name not in known:
                    self._violations.append(f"{node.label}: input {name!r} is not defined before")
            for name in node.outputs:
                if name in known:
                    self._violations.append(f"the name {name!r} is defined twice")
                if name:
                    known.add(name)
        for port in outputs:
            if port.name not in known:
                self._violations.append(f"the output {port.name!r} is computed by no node")


def to_array(proto: onnx.TensorProto) -> Array:
    """Values of a tensor whose type is one of :data:`ELEMENT_TYPES`, bit for bit.

    Raises:
        ValueError, TypeError, RuntimeError: The values do not fit the type or the shape.
    """
    value = numpy_helper.to_array(proto)
    # The upper four bits of such a byte mean nothing; one value shall have one pattern.
    return value.astype(np.int8).astype(value.dtype) if is_packed(value.dtype) else value


def _typed_values(proto: onnx.TensorProto) -> int:
    """Number of values in the typed fields; float16 and small integers live in int32_data."""
    return max(
        len(proto.float_data),
        len(proto.double_data),
        len(proto.int32_data),
        len(proto.int64_data),
        len(proto.uint64_data),
        len(proto.string_data),
    )


@final
@dataclass(frozen=True, slots=True)
class Placement:
    """Where a data file beside the model holds the values of a tensor.

    Args:
        location: Name of the file.
        offset: Bytes from its start.
        length: Bytes of the values as ONNX stores them.
    """

    location: str
    offset: int
    length: int


def write_model(
    graph: Graph,
    values: Mapping[str, Array] = MappingProxyType({}),
    placements: Mapping[str, Placement] = MappingProxyType({}),
) -> onnx.ModelProto:
    """Builds the one canonical model of a graph.

    Args:
        graph: The graph.
        values: Values of external tensors.
        placements: Where others lie in data files; those of neither are marked as travelling in
            the NNC stream.

    Returns:
        A model without documentation, node names, producer or inferred shapes.
    """
    initializers = []
    for name in graph.order:
        if name in graph.constants:
            initializers.append(numpy_helper.from_array(graph.constants[name], name))
        elif name in values:
            initializers.append(numpy_helper.from_array(np.asarray(values[name]), name))
        else:
            initializers.append(_elsewhere(graph.externals[name], placements.get(name)))
    proto = helper.make_graph(
        [write_node(node) for node in graph.nodes],
        "nnrvideo",
        [_write_port(port) for port in graph.inputs],
        [_write_port(port) for port in graph.outputs],
        initializers,
    )
    opset = helper.make_opsetid("", graph.opset)
    # Initialisers that are no inputs and external data exist from IR version 4 on.
    ir_version = max(4, helper.find_min_ir_version_for([opset]))
    if any(is_packed(dtype) for dtype in graph.types()):
        ir_version = max(ir_version, _IR_OF_INT4)
    domains = sorted({node.domain for node in graph.nodes} - {""})
    imports = [opset, *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(proto, opset_imports=imports, ir_version=ir_version)
    if graph.metadata:
        helper.set_model_props(
            model, {METADATA_PREFIX + key: text for key, text in sorted(graph.metadata.items())}
        )
    return model


def serialize(model: onnx.ModelProto) -> bytes:
    """The bytes of a model; the same model gives the same bytes."""
    return bytes(model.SerializeToString(deterministic=True))


def write_node(node: Node) -> onnx.NodeProto:
    """One operator as ONNX writes it, without a name of its own."""
    proto = helper.make_node(
        node.op_type, list(node.inputs), list(node.outputs), domain=node.domain or None
    )
    for name, value in sorted(node.attributes.items()):
        if isinstance(value, np.ndarray):
            attribute = helper.make_attribute(name, numpy_helper.from_array(value))
        elif isinstance(value, tuple) and not value:
            # An empty list tells no type; of the accepted operators only integers may be empty.
            attribute = onnx.AttributeProto(name=name, type=onnx.AttributeProto.INTS)
        else:
            attribute = helper.make_attribute(name, value)
        proto.attribute.append(attribute)
    return proto


def _write_port(port: Port) -> onnx.ValueInfoProto:
    dims = None if port.dims is None else list(port.dims)
    return helper.make_tensor_value_info(port.name, TYPE_CODES[port.dtype], dims)


def _elsewhere(declaration: TensorDeclaration, placement: Placement | None) -> onnx.TensorProto:
    """A tensor whose values are in a data file, or come with the NNC stream."""
    proto = onnx.TensorProto(
        name=declaration.name,
        data_type=TYPE_CODES[declaration.dtype],
        dims=declaration.shape,
        data_location=onnx.TensorProto.EXTERNAL,
    )
    if placement is None:
        proto.external_data.add(key="location", value=EXTERNAL_LOCATION)
        return proto
    proto.external_data.add(key="location", value=placement.location)
    proto.external_data.add(key="offset", value=str(placement.offset))
    proto.external_data.add(key="length", value=str(placement.length))
    return proto
