# SPDX-License-Identifier: Apache-2.0
"""Shape rules of the operators that compute: element-wise, convolutions, pooling, matrices."""

from __future__ import annotations

from typing import Final

import numpy as np

from nnrvideo.model.element_types import ELEMENT_TYPES
from nnrvideo.model.graph import Node
from nnrvideo.model.operators import BROADCASTING, UNARY
from nnrvideo.model.shape_inputs import (
    Inputs,
    Rule,
    ShapeError,
    broadcast,
    checked_axis,
    checked_rank,
    given_axes,
    optional,
    require,
    require_floating,
)
from nnrvideo.model.value import Shape, Value

_INT64: Final = np.dtype(np.int64)
_FLOAT: Final = np.dtype(np.float32)


def _unary(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    value = require(inputs, 0)
    if node.op_type not in ("Abs", "Identity", "Neg", "Relu"):
        require_floating(value)
    if node.op_type == "Softmax":
        checked_axis(node.integer("axis", -1), len(value.shape))
    return [Value(value.shape, value.dtype)]


def _clip(_node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    value = require(inputs, 0)
    for bound in inputs[1:3]:
        if bound is not None and (bound.shape != () or bound.dtype != value.dtype):
            raise ShapeError(f"a bound {list(bound.shape)} {bound.dtype}")
    return [Value(value.shape, value.dtype)]


def _broadcasting(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    given = [require(inputs, index) for index in range(len(inputs))]
    if not given or (len(given) != 2 and node.op_type not in ("Max", "Min")):
        raise ShapeError(f"{len(given)} inputs")
    if node.op_type != "Pow" and len({value.dtype for value in given}) != 1:
        raise ShapeError(f"inputs of the types {[str(value.dtype) for value in given]}")
    shape = broadcast([value.shape for value in given])
    if node.op_type == "PRelu":
        require_floating(*given)
        if shape != given[0].shape:
            raise ShapeError(f"a slope {list(given[1].shape)} for {list(given[0].shape)}")
    return [Value(shape, given[0].dtype)]


def _cast(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    dtype = ELEMENT_TYPES.get(node.integer("to", 0))
    if dtype is None:
        raise ShapeError("the target type is not accepted")
    return [Value(require(inputs, 0).shape, dtype)]


def _batch_normalization(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    value = require(inputs, 0)
    checked_rank(value, 2, 5)
    require_floating(value)
    if node.integer("training_mode", 0):
        raise ShapeError("training mode")
    for index in range(1, 5):
        if require(inputs, index).shape != (value.shape[1],):
            raise ShapeError(f"input {index} is not one value for each channel")
    return [Value(value.shape, value.dtype)]


def _spatial(
    node: Node, name: str, count: int, default: int, *, low: int = 1, repeat: int = 1
) -> tuple[int, ...]:
    values = node.integers(name, (default,) * (count * repeat))
    if values is None or len(values) != count * repeat or any(n < low for n in values):
        raise ShapeError(f"attribute {name} = {values}")
    return values


def _window(node: Node, size: Shape, kernel: Shape, *, ceil: bool = False) -> Shape:
    """Output size of a sliding window, as Conv and the pools count it."""
    count = len(size)
    strides = _spatial(node, "strides", count, 1)
    dilations = _spatial(node, "dilations", count, 1)
    pads = _spatial(node, "pads", count, 0, low=0, repeat=2)
    auto_pad = node.text("auto_pad", "NOTSET")
    result: list[int] = []
    for i, n in enumerate(size):
        reach = (kernel[i] - 1) * dilations[i] + 1
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            result.append(-(-n // strides[i]))
            continue
        if auto_pad not in ("NOTSET", "VALID"):
            raise ShapeError(f"auto_pad {auto_pad!r}")
        padded = n + (pads[i] + pads[i + count] if auto_pad == "NOTSET" else 0)
        if padded < reach:
            raise ShapeError(f"a window of {reach} on {padded} samples")
        steps = padded - reach
        out = (-(-steps // strides[i]) if ceil else steps // strides[i]) + 1
        # A window that would start in the trailing padding does not count.
        if ceil and (out - 1) * strides[i] >= n + pads[i]:
            out -= 1
        result.append(out)
    return tuple(result)


def _kernel(node: Node, shape: Shape) -> Shape:
    declared = node.integers("kernel_shape", shape)
    if declared != shape:
        raise ShapeError(f"kernel_shape {declared} for weights of {list(shape)}")
    return shape


def _conv(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x, w, bias = require(inputs, 0), require(inputs, 1), optional(inputs, 2)
    require_floating(x, w, bias)
    if x.dtype != w.dtype:
        raise ShapeError(f"weights of {w.dtype} for {x.dtype}")
    return [Value(convolved(node, x, w, bias), x.dtype)]


def convolved(node: Node, x: Value, w: Value, bias: Value | None) -> Shape:
    """Shape that a convolution yields, whatever its types.

    Args:
        node: With the attributes of Conv.
        x: Input, of rank 3 to 5.
        w: Weights of the same rank.
        bias: One value for each output channel, if there is one.

    Raises:
        ShapeError: They do not go together.
    """
    rank = checked_rank(x, 3, 5)
    group = node.integer("group", 1)
    if len(w.shape) != rank:
        raise ShapeError(f"weights {list(w.shape)} for {list(x.shape)}")
    if group < 1 or w.shape[0] % group or x.shape[1] != w.shape[1] * group:
        raise ShapeError(f"{x.shape[1]} channels for weights {list(w.shape)} in {group} groups")
    if bias is not None and bias.shape != (w.shape[0],):
        raise ShapeError(f"a bias {list(bias.shape)} for {w.shape[0]} channels")
    size = _window(node, x.shape[2:], _kernel(node, w.shape[2:]))
    return (x.shape[0], w.shape[0], *size)


def _conv_transpose(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x, w, bias = require(inputs, 0), require(inputs, 1), optional(inputs, 2)
    rank = checked_rank(x, 3, 5)
    require_floating(x, w, bias)
    count = rank - 2
    group = node.integer("group", 1)
    if len(w.shape) != rank or group < 1 or x.shape[1] != w.shape[0] or w.shape[0] % group:
        raise ShapeError(f"weights {list(w.shape)} for {list(x.shape)}")
    channels = w.shape[1] * group
    if bias is not None and bias.shape != (channels,):
        raise ShapeError(f"a bias {list(bias.shape)} for {channels} channels")
    if "output_shape" in node.attributes:
        raise ShapeError("output_shape fixes the size of the picture")
    kernel = _kernel(node, w.shape[2:])
    strides = _spatial(node, "strides", count, 1)
    dilations = _spatial(node, "dilations", count, 1)
    extra = _spatial(node, "output_padding", count, 0, low=0)
    pads = _spatial(node, "pads", count, 0, low=0, repeat=2)
    auto_pad = node.text("auto_pad", "NOTSET")
    size: list[int] = []
    for i, n in enumerate(x.shape[2:]):
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            size.append(n * strides[i])
            continue
        trimmed = pads[i] + pads[i + count] if auto_pad == "NOTSET" else 0
        full = (n - 1) * strides[i] + extra[i] + (kernel[i] - 1) * dilations[i] + 1
        size.append(full - trimmed)
    if min(size) < 1:
        raise ShapeError(f"the output would be {size}")
    return [Value((x.shape[0], channels, *size), x.dtype)]


def _pool(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    rank = checked_rank(x, 3, 5)
    kernel = node.integers("kernel_shape")
    if kernel is None or len(kernel) != rank - 2 or min(kernel) < 1:
        raise ShapeError(f"kernel_shape {kernel}")
    size = _window(node, x.shape[2:], kernel, ceil=bool(node.integer("ceil_mode", 0)))
    return [Value((*x.shape[:2], *size), x.dtype)]


def _global_pool(_node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    rank = checked_rank(x, 3, 5)
    return [Value((*x.shape[:2], *(1,) * (rank - 2)), x.dtype)]


def _gemm(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    a, b, c = require(inputs, 0), require(inputs, 1), optional(inputs, 2)
    require_floating(a, b, c)
    checked_rank(a, 2, 2)
    checked_rank(b, 2, 2)
    m, k = reversed(a.shape) if node.integer("transA", 0) else a.shape
    k_b, n = reversed(b.shape) if node.integer("transB", 0) else b.shape
    if k != k_b or (c is not None and broadcast([(m, n), c.shape]) != (m, n)):
        raise ShapeError(f"matrices {list(a.shape)} and {list(b.shape)}")
    return [Value((m, n), a.dtype)]


def _matmul(_node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    a, b = require(inputs, 0), require(inputs, 1)
    if a.dtype != b.dtype:
        raise ShapeError(f"matrices of {a.dtype} and {b.dtype}")
    return [Value(multiplied(a, b), a.dtype)]


def multiplied(a: Value, b: Value) -> Shape:
    """Shape of a product of matrices, or of stacks of them, whatever their types.

    Raises:
        ShapeError: They do not go together.
    """
    checked_rank(a, 2, 8)
    checked_rank(b, 2, 8)
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(f"matrices {list(a.shape)} and {list(b.shape)}")
    batch = broadcast([a.shape[:-2], b.shape[:-2]])
    return (*batch, a.shape[-2], b.shape[-1])


def _reduce(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    rank = len(x.shape)
    axes = given_axes(node, inputs, 1)
    if not axes:
        axes = [] if node.integer("noop_with_empty_axes", 0) else list(range(rank))
    chosen = {checked_axis(axis, rank) for axis in axes}
    keep = bool(node.integer("keepdims", 1))
    shape = tuple(1 if i in chosen else n for i, n in enumerate(x.shape) if keep or i not in chosen)
    return [Value(shape, x.dtype)]


RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(BROADCASTING, _broadcasting),
    "AveragePool": _pool,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "ReduceMean": _reduce,
}
