# SPDX-License-Identifier: Apache-2.0
"""What shape rules share: access to an operator's inputs that says what is missing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

from nnrvideo.model.element_types import is_floating
from nnrvideo.model.graph import Node
from nnrvideo.model.value import Shape, Value

Inputs = Sequence[Value | None]
Rule = Callable[[Node, Inputs, int], list[Value]]


class ShapeError(Exception):
    """An operator does not accept its inputs; never leaves this package."""


def require(inputs: Inputs, index: int) -> Value:
    """An input that must be there."""
    value = inputs[index] if index < len(inputs) else None
    if value is None:
        raise ShapeError(f"input {index} is missing")
    return value


def optional(inputs: Inputs, index: int) -> Value | None:
    """An input that may be left out, at the end or by an empty name."""
    return inputs[index] if index < len(inputs) else None


def known_elements(value: Value, what: str) -> npt.NDArray[Any]:
    """The elements of a tensor, which must not depend on pixels."""
    if value.known is None:
        raise ShapeError(f"{what} depends on pixels or is too long")
    return value.known


def known_integers(value: Value, what: str) -> list[int]:
    """The elements of a list of integers, which must not depend on pixels."""
    if value.dtype.kind not in "iu" or len(value.shape) > 1:
        raise ShapeError(f"{what} is no list of integers")
    return [int(entry) for entry in known_elements(value, what).reshape(-1)]


def checked_axis(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        raise ShapeError(f"axis {axis} of a tensor of rank {rank}")
    return axis % rank


def checked_rank(value: Value, low: int, high: int) -> int:
    """The rank, within bounds."""
    if not low <= len(value.shape) <= high:
        raise ShapeError(f"an input of rank {len(value.shape)}, wanted {low} to {high}")
    return len(value.shape)


def require_floating(*values: Value | None) -> None:
    """Refuses tensors of integers."""
    for value in values:
        if value is not None and not is_floating(value.dtype):
            raise ShapeError(f"an input of type {value.dtype}")


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape to which all the others stretch, as numpy and ONNX do it."""
    result: list[int] = []
    for dims in itertools.zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        sizes = {n for n in dims if n != 1}
        if len(sizes) > 1:
            raise ShapeError(f"shapes {[list(shape) for shape in shapes]} do not go together")
        result.append(sizes.pop() if sizes else 1)
    return tuple(reversed(result))


def given_axes(node: Node, inputs: Inputs, index: int) -> list[int] | None:
    """Axes are an attribute in old versions of an operator and an input in newer ones."""
    given = optional(inputs, index)
    if given is not None:
        return known_integers(given, "axes")
    listed = node.integers("axes")
    return None if listed is None else list(listed)
