# SPDX-License-Identifier: Apache-2.0
"""Between the types of ONNX and what NNC carries: every bit arrives.

The skeleton of the graph declares the type and shape of each tensor, so a data unit need not.
Three forms exist, and :func:`restore` tells them apart by type and shape alone:

- *values*: an integer or float tensor in the declared shape, converted to the declared type;
- *binary32 of a narrower float*: the same, exact if the lower bits are 0;
- *digits* (:mod:`nnrvideo.nnc.exact`): an integer tensor with one more dimension in front.

===============  ==================================  =============================================
declared type    values                              digits
===============  ==================================  =============================================
float32          RAW_FLOAT                           4 of 8 bits or 2 of 16, if that is smaller
float16          RAW_FLOAT, data format float16      2 of 8 bits or 1 of 16, if that is smaller
bfloat16         RAW_FLOAT                           2 of 8 bits or 1 of 16, if that is smaller
float64          RAW_FLOAT, data format float64,     4 of 16 bits
                 if binary32 holds all values
int8, int16      INT, data format int8, int16
int32, int64     INT, within 31 bits and sign        2, 4 of 16 bits
int4, bool       INT, data format int8
uint4            INT, data format int8               1 of 4 bits, if that is smaller
uint8            INT                                 1, 2, 4 of 8, 4, 2 bits, if that is smaller
uint16           INT                                 1 of 16 bits, 2 of 8, if that is smaller
===============  ==================================  =============================================

Two digits of uint8 are what MatMulNBits packs into a byte: the weights themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from nnrvideo.model.element_types import (
    BFLOAT16,
    INT4,
    UINT4,
    DType,
    is_floating,
    is_foreign,
    is_integer,
)
from nnrvideo.model.graph import Array, TensorDeclaration
from nnrvideo.nnc import EncodeSettings
from nnrvideo.nnc.exact import (
    Fold,
    cheapest_unary_length,
    from_single,
    is_single,
    join_digits,
    split_digits,
)

_INT32_MAX: Final = (1 << 31) - 1
_MAX_CHOSEN: Final = 16  # bits of the widest type for which digits may be the cheaper form
_SAMPLE: Final = 1 << 18  # about how many values the choice of a form looks at
_DEFAULT_UNARY: Final = EncodeSettings().cabac_unary_length_minus1


@final
@dataclass(frozen=True, slots=True)
class _Digits:
    """How the digits of a type are made; ``counts`` are those that a sender tries."""

    width: int
    fold: Fold
    counts: tuple[int, ...]


_DIGITS: Final[dict[DType, _Digits]] = {
    np.dtype(np.float16): _Digits(16, Fold.FLOAT, (2, 1)),
    BFLOAT16: _Digits(16, Fold.FLOAT, (2, 1)),
    np.dtype(np.float32): _Digits(32, Fold.FLOAT, (4, 2)),
    np.dtype(np.float64): _Digits(64, Fold.FLOAT, (4,)),
    np.dtype(np.int32): _Digits(32, Fold.SIGNED, (2,)),
    np.dtype(np.int64): _Digits(64, Fold.SIGNED, (4,)),
    UINT4: _Digits(4, Fold.UNSIGNED, (1,)),
    np.dtype(np.uint8): _Digits(8, Fold.UNSIGNED, (1, 2, 4)),
    np.dtype(np.uint16): _Digits(16, Fold.UNSIGNED, (1, 2)),
}

# What a bitstream without a graph says about its tensors; any other type needs the graph.
_SELF_DESCRIBING: Final = frozenset(
    np.dtype(name) for name in ("float32", "float16", "float64", "int8", "int16", "int32", "int64")
)


# --- sender -------------------------------------------------------------------------------------


def carriers(
    tensors: Mapping[str, Array],
    settings: EncodeSettings,
    *,
    exact: Collection[str] = (),
    plain: bool = False,
    graph: bool = True,
) -> tuple[dict[str, Array], dict[str, EncodeSettings]]:
    """What to hand to the encoder for the tensors of a network.

    Args:
        tensors: Name to array of any accepted element type.
        settings: Choices of the encoder for the bitstream.
        exact: Names of floating-point tensors to keep exact even where ``settings`` are lossy.
        plain: Prefer values to digits, for receivers that do not know our digits.
        graph: The receiver learns the declared types.

    Returns:
        Name to array, in the same order, and the settings of the tensors that differ from
        ``settings``.

    Raises:
        ValueError: Without a graph, a value or (if lossless) a type that NNC cannot tell; a
            truth value that is neither 0 nor 1.  The message names the tensor.
    """
    arrays: dict[str, Array] = {}
    own: dict[str, EncodeSettings] = {}
    for name, value in tensors.items():
        chosen = replace(settings, lossless=True) if name in exact else settings
        if not graph and chosen.lossless and value.dtype not in _SELF_DESCRIBING:
            msg = f"tensor {name!r}: without its graph NNC cannot tell that it is {value.dtype}"
            raise ValueError(msg)
        array, length = _carrier(name, value, chosen, plain=plain or not graph)
        if not graph and array.ndim > max(1, value.ndim):
            msg = f"tensor {name!r}: {value.dtype} values beyond NNC's types need the graph"
            raise ValueError(msg)
        if length is not None and settings.cabac_unary_length_minus1 == _DEFAULT_UNARY:
            chosen = replace(chosen, cabac_unary_length_minus1=length - 1)
        arrays[name] = array
        if chosen is not settings:
            own[name] = chosen
    return arrays, own


def _carrier(
    name: str, value: Array, settings: EncodeSettings, *, plain: bool
) -> tuple[Array, int | None]:
    """The array to encode and, for integers, the number of greater-than flags to do it with."""
    values = _values(name, value, settings)
    layout = _DIGITS.get(value.dtype)
    if values is not None and (is_floating(value.dtype) and not settings.lossless):
        return values, None
    # Wider integers go as digits only where they must: otherwise their values are small.
    small = layout is not None and (layout.width <= _MAX_CHOSEN or is_floating(value.dtype))
    useful = small and not plain
    counts = [0] if values is not None else []  # 0 stands for values
    if layout is not None and (useful or values is None):
        # One digit of a number without dimensions would look like its value.
        counts += [count for count in layout.counts if count > 1 or value.ndim]
    patterns = patterns_of(value)

    def form(count: int, step: int = 1) -> Array:
        if count == 0 or layout is None:
            assert values is not None
            return values if step == 1 else values.reshape(-1)[::step]
        chosen = patterns if step == 1 else patterns.reshape(-1)[::step]
        return split_digits(chosen, layout.width, count, layout.fold)

    step = value.size // _SAMPLE | 1  # odd, so that it does not follow the rows
    priced = [(*_price(form(count, step), max(1, count)), count) for count in counts]
    _, length, best = min(priced, key=lambda entry: entry[0])
    return form(best), length


def _price(candidate: Array, distributions: int) -> tuple[float, int | None]:
    """Bits of an array, and the number of greater-than flags to code it with."""
    if candidate.dtype.kind == "f" or candidate.size == 0:
        return 32.0 * candidate.size, None
    rows = candidate.astype(np.int32, copy=False).reshape(distributions, -1)
    length, bits = cheapest_unary_length(rows)
    return bits, length


def _values(name: str, value: Array, settings: EncodeSettings) -> Array | None:
    """The tensor in the declared shape and a type of the encoder, or None if none holds it."""
    dtype = value.dtype
    if dtype == np.bool_:
        flags = value.view(np.uint8)
        if flags.size and int(flags.max()) > 1:
            msg = f"tensor {name!r}: a truth value is neither 0 nor 1"
            raise ValueError(msg)
        return flags.astype(np.int8)
    if dtype in (INT4, UINT4):
        return value.astype(np.int8)
    if dtype == BFLOAT16:
        return widened(value)
    if dtype == np.float64:
        return None if settings.lossless and not is_single(value) else value
    if dtype.kind == "u":
        return value.astype(np.int32)
    if dtype in (np.dtype(np.int32), np.dtype(np.int64)):
        inside = (
            int(value.min(initial=0)) >= -_INT32_MAX and int(value.max(initial=0)) <= _INT32_MAX
        )
        return value if inside else None
    return value


def widened(value: Array) -> Array:
    """A bfloat16 array as float32, bit for bit."""
    wide: Array = (patterns_of(value).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return wide


def patterns_of(value: Array) -> Array:
    """Bit patterns of an array as unsigned integers of its shape."""
    if is_foreign(value.dtype) and value.dtype != BFLOAT16:
        return value.astype(np.uint8)
    contiguous = np.asarray(value, order="C")
    return contiguous.view(f"u{contiguous.dtype.itemsize}")


# --- receiver -----------------------------------------------------------------------------------


def restore(value: Array, declared: TensorDeclaration) -> Array:
    """Turns a tensor from a bitstream into what the graph declares.

    Args:
        value: As decoded; untrusted.
        declared: Type and shape.

    Returns:
        An array of the declared type and shape.  A float that the declared type cannot hold is
        rounded; an integer never is.

    Raises:
        ValueError: Another shape, another kind of number, or values that do not fit.
    """
    if _require_shape(value, declared):
        return _from_digits(value, declared)
    value = value.reshape(declared.shape)
    if value.dtype == declared.dtype:
        return value
    if is_floating(value.dtype) and is_floating(declared.dtype):
        return _narrowed(value, declared.dtype)
    if is_integer(value.dtype) and declared.dtype == np.bool_:
        _require_within(value, 0, 1, declared.dtype)
        return value.astype(np.bool_)
    if not (is_integer(value.dtype) and is_integer(declared.dtype)):
        msg = f"type {value.dtype}, declared {declared.dtype}"
        raise ValueError(msg)
    _require_within(value, *_range_of(declared.dtype), declared.dtype)
    return value.astype(declared.dtype)


def restore_parts(
    value: Array, declared: TensorDeclaration, size: int
) -> Iterator[tuple[int, Array]]:
    """The same, a part at a time, for tensors of which there is no room for a second one.

    Args:
        value: As decoded; untrusted.
        declared: Type and shape.
        size: Values of a part; the last has what is left.

    Yields:
        How many values come before the part, row-major, and the part, of one dimension.

    Raises:
        ValueError: As for :func:`restore`.
    """
    digits = _require_shape(value, declared)
    rows = value.reshape(value.shape[0], -1) if digits else value.reshape(-1)
    for first in range(0, declared.size, size):
        part = rows[..., first : first + size]
        yield (
            first,
            restore(part, TensorDeclaration(declared.name, declared.dtype, part.shape[-1:])),
        )


def _require_shape(value: Array, declared: TensorDeclaration) -> bool:
    """Whether a tensor has the form of digits; an error if it has no form of the declared one."""
    if value.shape == declared.shape:
        return False
    # An NNC stream has no tensors without dimensions (ISO/IEC 15938-17, NNR_NDU header).
    if value.shape == (1,) and declared.shape == ():
        return False
    if not are_digits(value, declared):
        msg = f"shape {list(value.shape)}, declared {list(declared.shape)}"
        raise ValueError(msg)
    return True


def are_digits(value: Array, declared: TensorDeclaration) -> bool:
    """True if a tensor has the form of digits of what the graph declares.

    Args:
        value: As decoded; untrusted.
        declared: Type and shape.
    """
    return (
        is_integer(value.dtype)
        and declared.dtype in _DIGITS
        and value.ndim == len(declared.shape) + 1
        and value.shape[1:] == declared.shape
        and value.shape != (1,)
    )


def _from_digits(value: Array, declared: TensorDeclaration) -> Array:
    layout = _DIGITS[declared.dtype]
    patterns = join_digits(value, layout.width, layout.fold)
    if declared.dtype == UINT4:
        return patterns.astype(np.uint8).astype(UINT4)
    unsigned = patterns.astype(f"u{declared.dtype.itemsize}")
    restored: Array = unsigned.view(declared.dtype)
    return restored


def _narrowed(value: Array, dtype: DType) -> Array:
    if value.dtype == np.float32 and dtype == BFLOAT16:
        patterns = patterns_of(value)
        if not np.any(patterns & np.uint32(0xFFFF)):
            exact: Array = (patterns >> np.uint32(16)).astype(np.uint16).view(BFLOAT16)
            return exact
    if value.dtype == np.float32 and dtype in (np.dtype(np.float16), np.dtype(np.float64)):
        return from_single(value, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        return value.astype(dtype)


def _range_of(dtype: DType) -> tuple[int, int]:
    if is_foreign(dtype):
        return (-8, 7) if dtype == INT4 else (0, 15)
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _require_within(value: Array, low: int, high: int, dtype: DType) -> None:
    numbers = value.astype(np.int8) if is_foreign(value.dtype) else value
    if numbers.size and not low <= int(numbers.min()) <= int(numbers.max()) <= high:
        msg = f"values do not fit the declared type {dtype}"
        raise ValueError(msg)
