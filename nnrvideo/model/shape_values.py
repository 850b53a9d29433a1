# SPDX-License-Identifier: Apache-2.0
"""The values of small tensors: the arithmetic on shapes that exporters write into graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrvideo.model.element_types import is_foreign
from nnrvideo.model.graph import Node
from nnrvideo.model.shape_inputs import Inputs
from nnrvideo.model.shape_order import slices
from nnrvideo.model.value import MAX_KNOWN, Value


def evaluate(node: Node, inputs: Inputs, result: Value) -> Value:
    """Adds the elements of a result, where those of all inputs are known and it is small.

    Only the operators that exporters use for shape arithmetic are computed; anything else keeps
    its elements unknown, which is always safe.
    """
    if result.known is not None or result.elements > MAX_KNOWN or len(node.outputs) != 1:
        return result
    # NumPy's functions do not take all types; no shape is ever computed in those.
    if any(is_foreign(value.dtype) for value in (*inputs, result) if value is not None):
        return result
    given = [value.known for value in inputs if value is not None]
    if len(given) != len(inputs) or any(known is None for known in given):
        return result
    arrays = [known for known in given if known is not None]
    with np.errstate(all="ignore"):
        computed = _compute(node, arrays, inputs, result)
    if computed is None or computed.shape != result.shape:
        return result
    return Value(result.shape, result.dtype, computed.astype(result.dtype, copy=False))


def _compute(
    node: Node, arrays: list[npt.NDArray[Any]], inputs: Inputs, result: Value
) -> npt.NDArray[Any] | None:
    simple = _SIMPLE.get(node.op_type)
    if simple is not None:
        return np.asarray(simple(*arrays))
    match node.op_type:
        case "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten":
            return arrays[0].reshape(result.shape)
        case "Cast":
            # A cast of a float that does not fit is undefined; let it stay unknown.
            if arrays[0].dtype.kind == "f" and not np.all(np.abs(arrays[0]) < 2**31):
                return None
            return arrays[0].astype(result.dtype)
        case "Concat":
            return np.concatenate(arrays, axis=node.integer("axis", 0))
        case "Gather":
            return np.take(arrays[0], arrays[1], axis=node.integer("axis", 0))
        case "Slice":
            return arrays[0][slices(inputs)]
        case "Transpose":
            return arrays[0].transpose(node.integers("perm"))
        case "Expand":
            return np.broadcast_to(arrays[0], result.shape)
        case "Div":
            return _divide(*arrays)
        case _:
            return None


def _divide(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """Division that truncates integers toward zero, as ONNX does."""
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if not np.all(b):
        return None
    quotient = np.abs(a) // np.abs(b)
    return np.asarray(np.where((a < 0) != (b < 0), -quotient, quotient))


_SIMPLE: Final[dict[str, Callable[..., Any]]] = {
    "Add": np.add,
    "Ceil": np.ceil,
    "Floor": np.floor,
    "Identity": lambda value: value,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Sub": np.subtract,
}
