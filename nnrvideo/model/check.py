# SPDX-License-Identifier: Apache-2.0
"""The gate before a session: may this network run here at all?

Nothing that came out of a video reaches onnxruntime before :func:`check` has passed it.  The
reader in :mod:`nnrvideo.model.graph` has refused malformed graphs already; here the operators are
compared with the list of :mod:`nnrvideo.model.operators`, every node with the schema that ONNX
publishes for it, and every size with the limits.  All violations are told at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import checker

from nnrvideo.errors import ModelError
from nnrvideo.limits import Limits
from nnrvideo.model.element_types import is_floating
from nnrvideo.model.graph import Graph, Port, write_node
from nnrvideo.model.operators import ALLOWED_OPERATORS, DOMAINS
from nnrvideo.model.shapes import Inference, infer_shapes
from nnrvideo.model.topology import Network
from nnrvideo.model.value import Shape

# What a free dimension is taken for when the caller does not tell.  Networks that halve or divide
# the picture want multiples; one of these suits any that NNPFC can ask for.
_NOMINAL_SIZES = (256, 240, 192, 224)
_MAX_TOLD = 50  # violations in one error; a hostile graph could have ten thousand


def check(
    network: Network,
    *,
    limits: Limits | None = None,
    input_shape: Shape | None = None,
    finite: bool = True,
) -> Inference:
    """Refuses a network that is not acceptable.

    Args:
        network: The network, from a file or from a stream.
        limits: Bounds; by default :meth:`Limits.desktop`.
        input_shape: The size to check the shapes for.  When it is not given, the first dimension
            counts as 1 where it is free, and the others as 256 or a little less.
        finite: Refuse weights that are infinite or not a number.  A sender that keeps every bit
            may let them pass; a player never.

    Returns:
        The shapes and costs at that size.

    Raises:
        ModelError: Lists every violation (the first fifty).
    """
    limits = limits or Limits.desktop()
    violations = [
        *_operator_violations(network.graph),
        *_budget_violations(network, limits),
        *(_value_violations(network) if finite else ()),
    ]
    inference: Inference | None = None
    try:
        inference = _inference(network.graph, input_shape, limits)
    except ModelError as error:
        violations.extend(error.violations or (str(error),))
    if violations or inference is None:
        raise ModelError("the network is not acceptable", violations[:_MAX_TOLD])
    return inference


def _inference(graph: Graph, input_shape: Shape | None, limits: Limits) -> Inference:
    if input_shape is not None:
        shapes = {port.name: input_shape for port in graph.inputs}
        return infer_shapes(graph, shapes, limits=limits)
    first: ModelError | None = None
    for size in _NOMINAL_SIZES:
        shapes = {port.name: _nominal_shape(port, size) for port in graph.inputs}
        try:
            return infer_shapes(graph, shapes, limits=limits)
        except ModelError as error:
            first = first or error
    assert first is not None
    raise first


def _nominal_shape(port: Port, size: int) -> Shape:
    if port.dims is None:
        raise ModelError(f"the input {port.name!r} does not tell its rank")
    return tuple(
        dim if isinstance(dim, int) else (size if index else 1)
        for index, dim in enumerate(port.dims)
    )


def _operator_violations(graph: Graph) -> Iterator[str]:
    context = checker.C.CheckerContext()
    context.ir_version = onnx.IR_VERSION
    context.opset_imports = {"": graph.opset, **dict.fromkeys(DOMAINS.values(), 1)}
    known: dict[str, str] = {}
    for node in graph.nodes:
        if node.op_type not in ALLOWED_OPERATORS or node.domain != DOMAINS.get(node.op_type, ""):
            yield f"{node.label}: the operator {node.op_type} is not on the list"
            continue
        # Whether a kind of node fits its schema does not depend on its names; ask once for each.
        proto = write_node(node)
        key = _anonymous(proto)
        if key not in known:
            known[key] = _schema_violation(proto, context)
        if known[key]:
            yield f"{node.label}: {known[key]}"


def _anonymous(proto: onnx.NodeProto) -> str:
    shape = [bool(name) for name in proto.input], len(proto.output)
    attributes = [(entry.name, entry.type) for entry in proto.attribute]
    return f"{proto.op_type} {shape} {attributes}"


def _schema_violation(proto: onnx.NodeProto, context: checker.C.CheckerContext) -> str:
    try:
        checker.check_node(proto, context)
    except (checker.ValidationError, RuntimeError) as error:
        return str(error).splitlines()[0][:200]
    return ""


def _budget_violations(network: Network, limits: Limits) -> Iterator[str]:
    graph = network.graph
    for limit, value, what in (
        ("max_nodes", len(graph.nodes), "operators"),
        ("max_tensors", len(graph.order), "tensors"),
        ("max_parameters", network.tensors.parameters, "parameters"),
        ("max_topology_bytes", len(network.topology.skeleton), "bytes of topology"),
    ):
        allowed = getattr(limits, limit)
        if value > allowed:
            yield f"{value} {what} are over the limit {limit}={allowed}"


def _value_violations(network: Network) -> Iterator[str]:
    """Infinite weights make pictures of NaN, and NaN has no defined sample value."""
    for name, tensor in network.tensors.items():
        # NumPy warns of signalling NaN.
        with np.errstate(invalid="ignore"):
            acceptable = not is_floating(tensor.dtype) or bool(np.all(np.isfinite(tensor)))
        if not acceptable:
            yield f"tensor {name!r} has values that are infinite or not a number"
