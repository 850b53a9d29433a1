# SPDX-License-Identifier: Apache-2.0
"""Shape rules of the operators that quantise, and of those that compute with integers.

onnxruntime's kernels for packed weights trust the sizes that they are told, so everything that
they would index with is compared here.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from nnrvideo.model.element_types import ELEMENT_TYPES, is_integer
from nnrvideo.model.graph import Node
from nnrvideo.model.shape_arithmetic import convolved, multiplied
from nnrvideo.model.shape_inputs import (
    Inputs,
    Rule,
    ShapeError,
    checked_axis,
    checked_rank,
    optional,
    require,
    require_floating,
)
from nnrvideo.model.value import Shape, Value

_FLOAT: Final = np.dtype(np.float32)
_INT32: Final = np.dtype(np.int32)
_UINT8: Final = np.dtype(np.uint8)
_BYTES: Final = (np.dtype(np.int8), _UINT8)

_N_BITS: Final = (2, 4, 8)
_N_BITS_INPUTS: Final = 6
_N_BITS_ATTRIBUTES: Final = frozenset({"K", "N", "accuracy_level", "bits", "block_size"})


def _quantize(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    value, scale, zero = require(inputs, 0), require(inputs, 1), optional(inputs, 2)
    dtype = _UINT8 if zero is None else zero.dtype
    declared = node.integer("output_dtype", 0)
    if declared:
        wanted = ELEMENT_TYPES.get(declared)
        if wanted is None or (zero is not None and wanted != dtype):
            raise ShapeError(f"output_dtype {declared} with a zero point of {dtype}")
        dtype = wanted
    require_floating(value, scale)
    _require_scale(node, value, scale, zero)
    if not is_integer(dtype) or dtype.itemsize > 2:
        raise ShapeError(f"quantises to {dtype}")
    return [Value(value.shape, dtype)]


def _dequantize(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    value, scale, zero = require(inputs, 0), require(inputs, 1), optional(inputs, 2)
    require_floating(scale)
    _require_scale(node, value, scale, zero)
    if not is_integer(value.dtype) or (zero is not None and zero.dtype != value.dtype):
        raise ShapeError(f"dequantises {value.dtype}")
    return [Value(value.shape, scale.dtype)]


def _require_scale(node: Node, value: Value, scale: Value, zero: Value | None) -> None:
    """A scale for the whole tensor, for each entry of an axis, or for each block along it."""
    single = scale.elements == 1 and zero is not None and zero.shape in ((), (1,))
    if zero is not None and zero.shape != scale.shape and not single:
        raise ShapeError(f"a scale {list(scale.shape)} and a zero point {list(zero.shape)}")
    block = node.integer("block_size", 0)
    if block:
        axis = checked_axis(node.integer("axis", 1), len(value.shape))
        blocks = -(-value.shape[axis] // block) if block > 0 else 0
        if scale.shape != (*value.shape[:axis], blocks, *value.shape[axis + 1 :]):
            raise ShapeError(f"scales {list(scale.shape)} for blocks of {block} in {value.shape}")
        return
    if len(scale.shape) > 1:
        raise ShapeError(f"a scale {list(scale.shape)}")
    if scale.elements > 1:
        axis = checked_axis(node.integer("axis", 1), len(value.shape))
        if value.shape[axis] != scale.elements:
            raise ShapeError(f"{scale.elements} scales for {list(value.shape)}")


def _dynamic_quantize(_node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    value = require(inputs, 0)
    if value.dtype != _FLOAT:
        raise ShapeError(f"quantises {value.dtype}")
    return [Value(value.shape, _UINT8), Value((), _FLOAT), Value((), _UINT8)]


def _conv_integer(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x, w = _bytes(inputs, 0), _bytes(inputs, 1)
    shape = convolved(node, x, w, None)
    _require_one_or(optional(inputs, 2), x.dtype, ())
    _require_one_or(optional(inputs, 3), w.dtype, (w.shape[0],))
    return [Value(shape, _INT32)]


def _matmul_integer(_node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    a, b = _bytes(inputs, 0), _bytes(inputs, 1)
    shape = multiplied(a, b)
    _require_one_or(optional(inputs, 2), a.dtype, ())
    _require_one_or(optional(inputs, 3), b.dtype, (b.shape[-1],))
    return [Value(shape, _INT32)]


def _qlinear_conv(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x, w, bias = _bytes(inputs, 0), _bytes(inputs, 3), optional(inputs, 8)
    if bias is not None and bias.dtype != _INT32:
        raise ShapeError(f"a bias of {bias.dtype}")
    shape = convolved(node, x, w, bias)
    return [Value(shape, _scaled(inputs, x, w, (w.shape[0],)))]


def _qlinear_matmul(_node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    a, b = _bytes(inputs, 0), _bytes(inputs, 3)
    shape = multiplied(a, b)
    return [Value(shape, _scaled(inputs, a, b, (b.shape[-1],)))]


def _scaled(inputs: Inputs, x: Value, w: Value, per_channel: Shape) -> np.dtype[Any]:
    """Checks the scales and zero points of input, weights and output; the output's type."""
    for index, wanted in ((1, ()), (4, per_channel), (6, ())):
        scale = require(inputs, index)
        require_floating(scale)
        _require_one_or(scale, scale.dtype, wanted)
    _require_one_or(require(inputs, 2), x.dtype, ())
    _require_one_or(require(inputs, 5), w.dtype, per_channel)
    zero = _bytes(inputs, 7)
    _require_one_or(zero, zero.dtype, ())
    return zero.dtype


def _require_one_or(value: Value | None, dtype: np.dtype[Any], shape: Shape) -> None:
    if value is None:
        return
    if value.dtype != dtype or value.shape not in ((), (1,), shape):
        raise ShapeError(f"a scale or zero point {list(value.shape)} of {value.dtype}")


def _bytes(inputs: Inputs, index: int) -> Value:
    value = require(inputs, index)
    if value.dtype not in _BYTES:
        raise ShapeError(f"input {index} is {value.dtype}, wanted int8 or uint8")
    return value


def _matmul_n_bits(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    if not node.attributes.keys() <= _N_BITS_ATTRIBUTES or len(inputs) > _N_BITS_INPUTS:
        raise ShapeError(f"{len(inputs)} inputs and the attributes {sorted(node.attributes)}")
    k, n, block = (node.integer(name, 0) for name in ("K", "N", "block_size"))
    bits = node.integer("bits", 4)
    if min(k, n) < 1 or bits not in _N_BITS or block < 16 or block & (block - 1):
        raise ShapeError(f"K {k}, N {n}, blocks of {block} with {bits} bits")
    a, b, scales = (require(inputs, index) for index in range(3))
    require_floating(a, scales)
    checked_rank(a, 1, 8)
    blocks = -(-k // block)
    if a.shape[-1] != k or b.dtype != _UINT8 or b.shape != (n, blocks, block * bits // 8):
        raise ShapeError(f"{list(a.shape)} times packed {list(b.shape)} of {b.dtype}")
    if scales.dtype != a.dtype or scales.shape not in ((n, blocks), (n * blocks,)):
        raise ShapeError(f"scales {list(scales.shape)} of {scales.dtype}")
    _require_packed_zeros(optional(inputs, 3), a.dtype, n, blocks, bits)
    # The kernels index with the entries of g_idx as they come.
    if optional(inputs, 4) is not None:
        raise ShapeError("g_idx")
    bias = optional(inputs, 5)
    if bias is not None and (bias.dtype != a.dtype or bias.shape != (n,)):
        raise ShapeError(f"a bias {list(bias.shape)} of {bias.dtype}")
    return [Value((*a.shape[:-1], n), a.dtype)]


def _require_packed_zeros(
    zeros: Value | None, floating: np.dtype[Any], n: int, blocks: int, bits: int
) -> None:
    if zeros is None:
        return
    row = -(-blocks * bits // 8) if zeros.dtype == _UINT8 else blocks
    if zeros.dtype not in (_UINT8, floating) or zeros.shape not in ((n, row), (n * row,)):
        raise ShapeError(f"zero points {list(zeros.shape)} of {zeros.dtype}")


def products_per_output(node: Node, inputs: Inputs) -> int:
    """Multiply-accumulates for each element of the output of an operator of this module."""
    match node.op_type:
        case "ConvInteger":
            return math.prod(require(inputs, 1).shape[1:])
        case "QLinearConv":
            return math.prod(require(inputs, 3).shape[1:])
        case "MatMulInteger" | "MatMulNBits" | "QLinearMatMul":
            return require(inputs, 0).shape[-1]
        case _:
            return 0


RULES: Final[dict[str, Rule]] = {
    "ConvInteger": _conv_integer,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "MatMulInteger": _matmul_integer,
    "MatMulNBits": _matmul_n_bits,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QuantizeLinear": _quantize,
}
