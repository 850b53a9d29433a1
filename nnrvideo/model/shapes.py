# SPDX-License-Identifier: Apache-2.0
"""Concrete shapes of every value in a graph, for one concrete input size.

Exporters compute shapes with operators (Shape, Gather, Concat, Reshape ...), so the walk carries
the *values* of small tensors along wherever they are known, and every output size is a number in
the end.  A size that depends on pixels cannot be known and is refused; so is any value larger
than the limits, before anything of that size exists.  The rules for single operators are in
:mod:`nnrvideo.model.shape_rules`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from onnx import defs

from nnrvideo.errors import ModelError
from nnrvideo.limits import Limits
from nnrvideo.model.element_types import ELEMENT_TYPES
from nnrvideo.model.graph import Graph, Node, Port
from nnrvideo.model.operators import DOMAINS
from nnrvideo.model.shape_inputs import ShapeError
from nnrvideo.model.shape_quantised import products_per_output
from nnrvideo.model.shape_rules import RULES
from nnrvideo.model.shape_values import evaluate
from nnrvideo.model.value import MAX_KNOWN, Shape, Value

_MAX_RANK: Final = 8
_TYPE_NAMES: Final = {  # as schemas call them
    dtype: {"float32": "float", "float64": "double"}.get(dtype.name, dtype.name)
    for dtype in ELEMENT_TYPES.values()
}


@final
@dataclass(frozen=True, slots=True)
class Inference:
    """What is known about one run of a graph before it runs.

    Args:
        values: Every value by name.
        macs: Multiply-accumulates of the run.
        peak_bytes: Bytes of the intermediate values that are alive together, at most.
    """

    values: Mapping[str, Value]
    macs: int
    peak_bytes: int

    def shape(self, name: str) -> Shape:
        """Shape of a value."""
        return self.values[name].shape


def infer_shapes(graph: Graph, inputs: Mapping[str, Shape], *, limits: Limits) -> Inference:
    """Walks the graph once with concrete input sizes.

    Args:
        graph: A vetted graph.
        inputs: Shape of every input of the graph.
        limits: Bounds on values and on the work.

    Raises:
        ModelError: Lists every operator that does not work at this size.
    """
    values: dict[str, Value] = {}
    violations: list[str] = []
    for name, constant in graph.constants.items():
        known = constant if constant.size <= MAX_KNOWN else None
        values[name] = Value(constant.shape, constant.dtype, known)
    for name, declaration in graph.externals.items():
        values[name] = Value(declaration.shape, declaration.dtype)
    for port in graph.inputs:
        values[port.name] = Value(input_shape(port, inputs.get(port.name)), port.dtype)
    macs = 0
    for node in graph.nodes:
        # A missing input was reported where it should have come from.
        if any(name and name not in values for name in node.inputs):
            continue
        given = [values[name] if name else None for name in node.inputs]
        rule = RULES.get(node.op_type)
        try:
            if rule is None:
                raise ShapeError("this operator is not accepted")  # noqa: TRY301
            if node.op_type not in DOMAINS:  # their rules know more than a schema would
                _require_signature(node, given, graph.opset)
            results = rule(node, given, graph.opset)
            if len(results) < len(node.outputs):
                raise ShapeError(  # noqa: TRY301
                    f"{len(node.outputs)} outputs, at most {len(results)} are accepted"
                )
            for name, result in zip(node.outputs, results, strict=False):
                _require_bounded(result, limits)
                if name:
                    values[name] = evaluate(node, given, result)
            macs += multiply_accumulates(node, given, results[0])
        except (ShapeError, ValueError) as error:
            violations.append(f"{node.label}: {error}")
    violations.extend(_port_mismatches(graph, values))
    if violations:
        raise ModelError(f"the network does not work for the input {_text(inputs)}", violations)
    return Inference(values, macs, _peak_bytes(graph, values))


def input_shape(port: Port, given: Shape | None) -> Shape:
    """Checks an input size against the declared dimensions.

    Raises:
        ModelError: The declaration has another rank or other fixed dimensions.
    """
    if given is None:
        raise ModelError(f"no size is given for the input {port.name!r}")
    if port.dims is not None:
        fits = len(port.dims) == len(given) and all(
            not isinstance(want, int) or want == have
            for want, have in zip(port.dims, given, strict=True)
        )
        if not fits:
            raise ModelError(
                f"the input {port.name!r} is declared {list(port.dims)} and cannot be {list(given)}"
            )
    return given


def multiply_accumulates(node: Node, inputs: Sequence[Value | None], output: Value) -> int:
    """Multiply-accumulates of one operator; only products with many terms count.

    Bias, activation and re-ordering are free in this count, as they are wherever the cost of
    networks is compared.
    """
    first, second = (*inputs, None, None)[:2]
    if first is None or second is None:
        return 0
    match node.op_type:
        case "Conv":
            return output.elements * math.prod(second.shape[1:])
        case "ConvTranspose":
            return first.elements * math.prod(second.shape[1:])
        case "Gemm":
            return first.elements * output.shape[1]
        case "MatMul":
            return output.elements * first.shape[-1]
        case _:
            return output.elements * products_per_output(node, inputs)


def _require_signature(node: Node, inputs: Sequence[Value | None], opset: int) -> None:
    """Compares the number of inputs and their types with the operator's schema.

    The rules, and the values computed beside them, take both for right.
    """
    fewest, most, accepted = _signature(node.op_type, opset)
    if not fewest <= len(inputs) <= most:
        raise ShapeError(f"{len(inputs)} inputs, wanted {fewest} to {most}")
    for index, value in enumerate(inputs):
        # The last one of the schema stands for all that follow, as in Concat.
        if value is not None and value.dtype not in accepted[min(index, len(accepted) - 1)]:
            raise ShapeError(f"input {index} of type {value.dtype}")


@functools.cache  # bounded: operators and their versions are few
def _signature(op_type: str, opset: int) -> tuple[int, int, tuple[frozenset[np.dtype[Any]], ...]]:
    """Fewest and most inputs of an operator, and for each the types that it may have."""
    if not defs.has(op_type, opset):
        raise ShapeError(f"operator set {opset} has no such operator")
    schema = defs.get_schema(op_type, opset)
    accepted = tuple(
        frozenset(dtype for dtype, name in _TYPE_NAMES.items() if f"tensor({name})" in formal.types)
        for formal in schema.inputs
    )
    return schema.min_input, schema.max_input, accepted


def _require_bounded(value: Value, limits: Limits) -> None:
    if len(value.shape) > _MAX_RANK:
        raise ShapeError(f"{len(value.shape)} dimensions")
    # Empty tensors exist only where their values are known: as lists of sizes.
    if any(n < 0 or (n == 0 and value.elements > 0) for n in value.shape) or (
        value.elements == 0 and len(value.shape) != 1
    ):
        raise ShapeError(f"the output would be {list(value.shape)}")
    if value.elements > limits.max_activation_elements:
        raise ShapeError(
            f"the output {list(value.shape)} is over the limit "
            f"max_activation_elements={limits.max_activation_elements}"
        )


def _port_mismatches(graph: Graph, values: Mapping[str, Value]) -> list[str]:
    found: list[str] = []
    for port in graph.outputs:
        value = values.get(port.name)
        if value is None:
            continue
        if value.dtype != port.dtype:
            found.append(f"output {port.name!r} is {value.dtype}, declared {port.dtype}")
        declared = port.dims
        if declared is not None and (
            len(declared) != len(value.shape)
            or any(
                isinstance(want, int) and want != have
                for want, have in zip(declared, value.shape, strict=False)
            )
        ):
            found.append(f"output {port.name!r} is {list(value.shape)}, declared {list(declared)}")
    return found


def _peak_bytes(graph: Graph, values: Mapping[str, Value]) -> int:
    """Largest sum of values alive at once, if each is freed after its last use."""
    last_use: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        for name in (*node.inputs, *node.outputs):
            last_use[name] = index
    for port in graph.outputs:
        last_use[port.name] = len(graph.nodes)
    dying: dict[int, list[str]] = {}
    for name, index in last_use.items():
        dying.setdefault(index, []).append(name)
    stored = set(graph.order)
    alive = sum(values[port.name].nbytes for port in graph.inputs)
    peak = alive
    for index, node in enumerate(graph.nodes):
        alive += sum(values[name].nbytes for name in node.outputs if name)
        peak = max(peak, alive)
        alive -= sum(
            values[name].nbytes for name in dying.get(index, ()) if name and name not in stored
        )
    return peak


def _text(inputs: Mapping[str, Shape]) -> str:
    return ", ".join(f"{list(shape)}" for shape in inputs.values())
