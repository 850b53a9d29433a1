# SPDX-License-Identifier: Apache-2.0
"""Shape rules of the operators that move samples: order, size, and shapes themselves."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Final

import numpy as np

from nnrvideo.model.graph import Node
from nnrvideo.model.shape_inputs import (
    Inputs,
    Rule,
    ShapeError,
    broadcast,
    checked_axis,
    checked_rank,
    given_axes,
    known_elements,
    known_integers,
    optional,
    require,
)
from nnrvideo.model.value import MAX_KNOWN, Shape, Value

_INT64: Final = np.dtype(np.int64)
_FLOAT: Final = np.dtype(np.float32)


def _concat(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    given = [require(inputs, index) for index in range(len(inputs))]
    if not given:
        raise ShapeError("nothing to join")
    first = given[0]
    axis = checked_axis(node.integer("axis", 0), len(first.shape))
    for other in given[1:]:
        if other.dtype != first.dtype or _without(other, axis) != _without(first, axis):
            raise ShapeError(f"cannot join {[list(value.shape) for value in given]}")
    total = sum(value.shape[axis] for value in given)
    return [Value((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype)]


def _without(value: Value, axis: int) -> Shape:
    return (*value.shape[:axis], *value.shape[axis + 1 :])


def _split(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    axis = checked_axis(node.integer("axis", 0), len(x.shape))
    given = optional(inputs, 1)
    parts = list(node.integers("split") or ())
    if given is not None:
        parts = known_integers(given, "split")
    if not parts:
        count = node.integer("num_outputs", len(node.outputs))
        if count != len(node.outputs):
            raise ShapeError(f"num_outputs {count} for {len(node.outputs)} outputs")
        step = -(-x.shape[axis] // count)
        parts = [step] * (count - 1) + [x.shape[axis] - step * (count - 1)]
    if len(parts) != len(node.outputs) or min(parts) < 1 or sum(parts) != x.shape[axis]:
        raise ShapeError(f"splits {x.shape[axis]} into {parts}")
    return [Value((*x.shape[:axis], part, *x.shape[axis + 1 :]), x.dtype) for part in parts]


def slices(inputs: Inputs) -> tuple[slice, ...]:
    """The Python slices that a Slice operator means, one for each axis of its input."""
    x = require(inputs, 0)
    rank = len(x.shape)
    starts = known_integers(require(inputs, 1), "starts")
    ends = known_integers(require(inputs, 2), "ends")
    given_axes, given_steps = optional(inputs, 3), optional(inputs, 4)
    axes = known_integers(given_axes, "axes") if given_axes else list(range(len(starts)))
    steps = known_integers(given_steps, "steps") if given_steps else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ShapeError("starts, ends, axes and steps differ in length")
    result = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = checked_axis(axis, rank)
        if step == 0 or result[at] != slice(None):
            raise ShapeError(f"step {step} on axis {at}")
        n = x.shape[at]
        first = start + n if start < 0 else start
        last = end + n if end < 0 else end
        # ONNX clamps to 0..n going up, and to -1..n-1 going down.
        if step > 0:
            result[at] = slice(min(max(first, 0), n), min(max(last, 0), n), step)
        else:
            low = min(max(last, -1), n - 1)
            result[at] = slice(min(max(first, 0), n - 1), None if low < 0 else low, step)
    return tuple(result)


def _slice(_node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    chosen = slices(inputs)
    shape = tuple(len(range(*s.indices(n))) for s, n in zip(chosen, x.shape, strict=True))
    return [Value(shape, x.dtype)]


def _gather(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x, indices = require(inputs, 0), require(inputs, 1)
    axis = checked_axis(node.integer("axis", 0), len(x.shape))
    # Unknown indices could be out of range at run time.
    for entry in known_elements(indices, "indices").reshape(-1):
        checked_axis(int(entry), x.shape[axis])
    return [Value((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)]


def _pad(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    rank = len(x.shape)
    pads = known_integers(require(inputs, 1), "pads")
    fill, given_axes = optional(inputs, 2), optional(inputs, 3)
    axes = known_integers(given_axes, "axes") if given_axes else list(range(rank))
    mode = node.text("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap") or len(pads) != 2 * len(axes):
        raise ShapeError(f"{mode!r} padding of {pads}")
    if fill is not None and (fill.elements != 1 or fill.dtype != x.dtype):
        raise ShapeError("the fill value is no scalar of the input's type")
    shape = list(x.shape)
    for i, axis in enumerate(axes):
        at = checked_axis(axis, rank)
        before, after = pads[i], pads[i + len(axes)]
        if mode == "reflect" and max(before, after) >= x.shape[at]:
            raise ShapeError(f"reflects {max(before, after)} of {x.shape[at]} samples")
        shape[at] += before + after
    if min(shape, default=1) < 1:
        raise ShapeError(f"the output would be {shape}")
    return [Value(tuple(shape), x.dtype)]


def _resize(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    rank = len(x.shape)
    if node.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        raise ShapeError("tf_crop_and_resize")
    if node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ShapeError("keep_aspect_ratio_policy")
    axes = [checked_axis(axis, rank) for axis in node.integers("axes") or range(rank)]
    scales, sizes = optional(inputs, 2), optional(inputs, 3)
    shape = list(x.shape)
    if scales is not None and scales.elements:
        factors = [float(entry) for entry in known_elements(scales, "scales").reshape(-1)]
        if len(factors) != len(axes) or not all(0 < f < 65536 for f in factors):
            raise ShapeError(f"scales {factors}")
        for axis, factor in zip(axes, factors, strict=True):
            shape[axis] = math.floor(Fraction(factor) * x.shape[axis])
    elif sizes is not None:
        wanted = known_integers(sizes, "sizes")
        if len(wanted) != len(axes):
            raise ShapeError(f"sizes {wanted}")
        for axis, size in zip(axes, wanted, strict=True):
            shape[axis] = size
    else:
        raise ShapeError("neither scales nor sizes")
    if min(shape) < 1:
        raise ShapeError(f"the output would be {shape}")
    return [Value(tuple(shape), x.dtype)]


def _blocks(node: Node, x: Value) -> int:
    checked_rank(x, 4, 4)
    block = node.integer("blocksize", 0)
    if block < 1:
        raise ShapeError(f"blocksize {block}")
    return block


def _depth_to_space(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    block = _blocks(node, x)
    n, c, h, w = x.shape
    if c % (block * block):
        raise ShapeError(f"{c} channels into blocks of {block}x{block}")
    return [Value((n, c // (block * block), h * block, w * block), x.dtype)]


def _space_to_depth(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    block = _blocks(node, x)
    n, c, h, w = x.shape
    if h % block or w % block:
        raise ShapeError(f"{w}x{h} samples into blocks of {block}x{block}")
    return [Value((n, c * block * block, h // block, w // block), x.dtype)]


def _transpose(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    order = node.integers("perm") or tuple(reversed(range(len(x.shape))))
    if sorted(order) != list(range(len(x.shape))):
        raise ShapeError(f"perm {order} of {list(x.shape)}")
    return [Value(tuple(x.shape[i] for i in order), x.dtype)]


def _reshape(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    wanted = known_integers(require(inputs, 1), "shape")
    if len(wanted) > 8 or wanted.count(-1) > 1 or min(wanted, default=1) < -1:
        raise ShapeError(f"shape {wanted[:16]}")
    if not node.integer("allowzero", 0):
        if any(n == 0 and i >= len(x.shape) for i, n in enumerate(wanted)):
            raise ShapeError(f"shape {wanted} of {list(x.shape)}")
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    rest = math.prod(n for n in wanted if n != -1)
    if -1 in wanted:
        if not rest or x.elements % rest:
            raise ShapeError(f"{list(x.shape)} cannot become {wanted}")
        wanted = [x.elements // rest if n == -1 else n for n in wanted]
    if math.prod(wanted) != x.elements:
        raise ShapeError(f"{list(x.shape)} cannot become {wanted}")
    return [Value(tuple(wanted), x.dtype)]


def _flatten(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    axis = node.integer("axis", 1)
    if not -len(x.shape) <= axis <= len(x.shape):
        raise ShapeError(f"axis {axis}")
    at = axis if axis >= 0 else axis + len(x.shape)
    return [Value((math.prod(x.shape[:at]), math.prod(x.shape[at:])), x.dtype)]


def _squeeze(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    axes = given_axes(node, inputs, 1)
    rank = len(x.shape)
    chosen = (
        {i for i, n in enumerate(x.shape) if n == 1}
        if axes is None
        else {checked_axis(axis, rank) for axis in axes}
    )
    if any(x.shape[i] != 1 for i in chosen):
        raise ShapeError(f"squeezes the axes {sorted(chosen)} of {list(x.shape)}")
    return [Value(tuple(n for i, n in enumerate(x.shape) if i not in chosen), x.dtype)]


def _unsqueeze(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    axes = given_axes(node, inputs, 1) or []
    rank = len(x.shape) + len(axes)
    chosen = {checked_axis(axis, rank) for axis in axes}
    if len(chosen) != len(axes) or rank > 8:
        raise ShapeError(f"axes {axes}")
    old = iter(x.shape)
    return [Value(tuple(1 if i in chosen else next(old) for i in range(rank)), x.dtype)]


def _expand(_node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    wanted = known_integers(require(inputs, 1), "shape")
    if len(wanted) > 8 or min(wanted, default=1) < 1:
        raise ShapeError(f"shape {wanted[:16]}")
    return [Value(broadcast([x.shape, tuple(wanted)]), x.dtype)]


def _tile(_node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    repeats = known_integers(require(inputs, 1), "repeats")
    if len(repeats) != len(x.shape) or min(repeats, default=1) < 1:
        raise ShapeError(f"repeats {repeats[:16]}")
    return [Value(tuple(n * r for n, r in zip(x.shape, repeats, strict=True)), x.dtype)]


def _shape(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    x = require(inputs, 0)
    end = node.attributes.get("end")
    part = x.shape[slice(node.integer("start", 0), end if isinstance(end, int) else None)]
    return [Value((len(part),), _INT64, np.array(part, np.int64))]


def _constant(node: Node, _inputs: Inputs, _opset: int) -> list[Value]:
    forms = [node.attributes[name] for name in _CONSTANT_TYPES if name in node.attributes]
    if len(forms) != 1 or len(node.attributes) != 1:
        raise ShapeError(f"a constant with the attributes {sorted(node.attributes)}")
    name = next(iter(node.attributes))
    value = np.asarray(forms[0], _CONSTANT_TYPES[name])
    return [Value(value.shape, value.dtype, value if value.size <= MAX_KNOWN else None)]


_CONSTANT_TYPES: Final[dict[str, np.dtype[Any] | None]] = {
    "value": None,
    "value_float": _FLOAT,
    "value_floats": _FLOAT,
    "value_int": _INT64,
    "value_ints": _INT64,
}


def _constant_of_shape(node: Node, inputs: Inputs, _opset: int) -> list[Value]:
    wanted = known_integers(require(inputs, 0), "shape")
    fill = node.attributes.get("value", np.zeros(1, np.float32))
    if not isinstance(fill, np.ndarray) or fill.size != 1:
        raise ShapeError("the value is no tensor of one element")
    if len(wanted) > 8 or min(wanted, default=1) < 0:
        raise ShapeError(f"shape {wanted[:16]}")
    shape = tuple(wanted)
    known = None
    if math.prod(shape) <= MAX_KNOWN:
        known = np.full(shape, fill.reshape(()), fill.dtype)
    return [Value(shape, fill.dtype, known)]


RULES: Final[dict[str, Rule]] = {
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
