# SPDX-License-Identifier: Apache-2.0
"""Values that must arrive bit for bit: what carries them, and how they are put together again.

NNC has integers of 31 bits and sign, and binary32.  Everything here works on bit patterns:
arithmetic may quiet a signalling NaN or flush a denormal number.

A tensor whose type neither carries goes as *digits*: each value's pattern of ``width`` bits is
cut into ``k`` digits of ``b = width / k`` bits (at most 16), and the digits travel as an integer
tensor with one more dimension of size ``k`` in front, the least significant digit first.  Digits
are moved so that likely values come near 0, where the entropy coder is cheap:

- ``UNSIGNED``: each digit less ``2 ** (b - 1)``, so that the middle of the range becomes 0;
- ``SIGNED``: balanced digits, ``value = sum(digit[i] * 2 ** (b * i))`` modulo ``2 ** width``;
- ``FLOAT``: lower digits as for ``UNSIGNED``.  The top digit, which starts with the sign, is read
  as two's complement and xored with ``2 ** (b - 2) - 1`` if it is 0 or more, else with
  ``2 ** (b - 2)``: numbers just below 2 become 0 and -1, smaller ones go outwards.

The additional dimension is what marks them: a receiver that knows the tensor's shape from the
graph cannot take digits for values, and one that does not sees integers, not weights.
"""

from __future__ import annotations

import math
from enum import Enum
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Levels = npt.NDArray[np.int32]

MAX_DIGIT_BITS: Final = 16

_UNARY_LENGTHS: Final = (11, 4, 24, 48, 96, 160)  # at most 256; the first wins ties
_CHEAPEST_BIN: Final = 0.012  # bits; what a bin costs whose value is certain
_LEARNING: Final = 10.0  # bits; what a flag costs until its context has adapted
_COUNTED: Final = 1 << 17  # magnitudes below are counted, those above sorted
_NAN_16, _NAN_32, _NAN_64 = 0x7C00, 0x7F80_0000, 0x7FF0_0000_0000_0000


class Fold(Enum):
    """How the digits of a type are moved towards 0."""

    UNSIGNED = 0
    SIGNED = 1
    FLOAT = 2


# --- floating point -----------------------------------------------------------------------------


def to_single(values: Array) -> npt.NDArray[np.float32]:
    """Converts to binary32; the payload of a NaN keeps its upper bits.

    Args:
        values: float16 (exact for every pattern), float32 (itself) or float64 (rounded).

    Returns:
        float32, C-contiguous, of the same shape.
    """
    if values.dtype == np.float32:
        return np.asarray(values, np.float32, order="C")
    if values.dtype == np.float16:
        half = np.asarray(values, np.float16, order="C").view(np.uint16)
        return np.asarray(_half_table()[half]).view(np.float32)
    double = np.asarray(values, np.float64, order="C")
    with np.errstate(over="ignore", invalid="ignore"):
        single = np.asarray(double.astype(np.float32))
    bits = double.view(np.uint64)
    payload = (bits >> np.uint64(29)).astype(np.uint32) & np.uint32(0x7F_FFFF)
    _patch_nans(double, single, bits, _NAN_32, payload)
    return single


def from_single(values: npt.NDArray[np.float32], dtype: npt.DTypeLike) -> Array:
    """Converts binary32 to float16 (rounded) or float64 (exact), NaN by its bits.

    The inverse of :func:`to_single` for all float16, and for those float64 of which
    :func:`is_single` is true.

    Args:
        values: float32 of any shape.
        dtype: ``np.float16`` or ``np.float64``.
    """
    values = np.asarray(values, np.float32, order="C")
    with np.errstate(over="ignore", invalid="ignore"):
        converted = np.asarray(values.astype(dtype))
    bits = values.view(np.uint32)
    if converted.dtype == np.float16:
        payload = (bits >> np.uint32(13)).astype(np.uint16) & np.uint16(0x3FF)
        _patch_nans(values, converted, bits, _NAN_16, payload)
    elif converted.dtype == np.float64:
        long = bits.astype(np.uint64) & np.uint64(0x7F_FFFF)
        _patch_nans(values, converted, bits, _NAN_64, long << np.uint64(29))
    return converted


def is_single(values: npt.NDArray[np.float64]) -> bool:
    """True if binary32 holds every value of a float64 array bit for bit."""
    double = np.asarray(values, np.float64, order="C")
    back = from_single(to_single(double), np.float64)
    return bool(np.array_equal(back.view(np.uint64), double.view(np.uint64)))


def _patch_nans(source: Array, target: Array, bits: Array, head: int, payload: Array) -> None:
    """Writes NaN patterns into ``target`` where ``source`` has some; a payload of 0 becomes 1."""
    where = np.isnan(source)
    if not where.any():
        return
    unsigned = target.view(f"u{target.dtype.itemsize}")
    sign = (bits[where] >> (8 * bits.dtype.itemsize - 1)).astype(unsigned.dtype)
    kept = np.maximum(payload[where].astype(unsigned.dtype), 1)
    unsigned[where] = sign << (8 * unsigned.dtype.itemsize - 1) | unsigned.dtype.type(head) | kept


@cache
def _half_table() -> npt.NDArray[np.uint32]:
    """Pattern of binary16 -> pattern of the same number in binary32."""
    half = np.arange(1 << 16, dtype=np.uint32)
    exponent, fraction = half >> 10 & 0x1F, half & 0x3FF
    normal = (exponent + 112) << 23 | fraction << 13
    # A denormal number f * 2^-24 is (f / 2^n) * 2^(n - 24) with n = floor(log2 f).
    top = np.frexp(np.maximum(fraction, 1).astype(np.float64))[1].astype(np.uint32) - 1
    denormal = (top + 103) << 23 | (fraction << (23 - top)) & 0x7F_FFFF
    magnitude = np.where(exponent > 0, normal, np.where(fraction > 0, denormal, 0))
    magnitude = np.where(exponent == 0x1F, _NAN_32 | fraction << 13, magnitude)
    table: npt.NDArray[np.uint32] = (magnitude | (half >> 15) << 31).astype(np.uint32)
    return table


# --- digits -------------------------------------------------------------------------------------


def split_digits(patterns: Array, width: int, count: int, fold: Fold) -> Levels:
    """Cuts bit patterns into digits.

    Args:
        patterns: Unsigned integers below ``2 ** width``, any shape.
        width: Bits of a value, 4 to 64.
        count: Digits of a value; divides ``width`` into digits of 2 to 16 bits.
        fold: How the digits are moved towards 0.

    Returns:
        int32 of shape ``(count, *patterns.shape)``.

    Raises:
        ValueError: ``count`` does not fit ``width``.
    """
    bits = _digit_bits(width, count)
    half, mask = 1 << (bits - 1), (1 << bits) - 1
    levels = np.empty((count, patterns.size), np.int32)
    rest = np.ascontiguousarray(patterns).reshape(-1).astype(np.uint64).view(np.int64)
    for index in range(count):
        if fold is Fold.SIGNED:
            digit = ((rest + half) & mask) - half
            rest = (rest - digit) >> bits
        else:
            digit = (rest & mask) - half
            rest >>= bits
            if fold is Fold.FLOAT and index == count - 1:
                # The minus above has inverted the first bit; undone, it is the sign.
                digit = _fold_top(digit ^ -half, bits)
        levels[index] = digit
    return levels.reshape(count, *patterns.shape)


def join_digits(levels: Array, width: int, fold: Fold) -> npt.NDArray[np.uint64]:
    """Inverse of :func:`split_digits`.

    Args:
        levels: Integers of shape ``(count, *shape)``; from a stream, untrusted.
        width: Bits of a value.
        fold: How the digits had been moved.

    Returns:
        uint64 of shape ``shape``, below ``2 ** width``.

    Raises:
        ValueError: ``count`` does not fit ``width``, or a digit is out of range.
    """
    bits = _digit_bits(width, levels.shape[0])
    half, mask = 1 << (bits - 1), (1 << bits) - 1
    if levels.size and not -half <= int(levels.min()) <= int(levels.max()) < half:
        msg = f"a digit does not fit {bits} bits"
        raise ValueError(msg)
    rows = levels.reshape(levels.shape[0], -1).astype(np.int64)
    patterns = np.zeros(rows.shape[1], np.uint64)
    last = len(rows) - 1
    for index, digit in enumerate(rows):
        if fold is Fold.UNSIGNED or (fold is Fold.FLOAT and index < last):
            digit = digit + half
        elif fold is Fold.FLOAT:
            digit = _fold_top(digit, bits) & mask
        # Unsigned arithmetic wraps around; balanced digits need that.
        patterns = patterns + (digit.astype(np.uint64) << np.uint64(bits * index))
    return (patterns & np.uint64((1 << width) - 1)).reshape(levels.shape[1:])


def _fold_top(digit: npt.NDArray[np.int64], bits: int) -> npt.NDArray[np.int64]:
    quarter = 1 << (bits - 2)
    return digit ^ np.where(digit < 0, quarter, quarter - 1)


def _digit_bits(width: int, count: int) -> int:
    if count < 1 or width % count or not 2 <= width // count <= MAX_DIGIT_BITS:
        msg = f"{count} digits do not make {width} bits"
        raise ValueError(msg)
    return width // count


# --- what it costs ------------------------------------------------------------------------------


def cheapest_unary_length(levels: Levels) -> tuple[int, float]:
    """The number of greater-than flags that should code integers in the fewest bits.

    A flag of its own for each magnitude adapts to any distribution but costs time and a little
    even where it is certain; beyond the flags follow exponential classes with equally likely
    members.

    Args:
        levels: int32; each entry of the first dimension has its own distribution.

    Returns:
        ``cabac_unary_length_minus1 + 1``, and the bits it should take.
    """
    rows = np.abs(levels.reshape(len(levels), -1).astype(np.int64))
    histograms = [_histogram(row) for row in rows]
    negative = int(np.count_nonzero(levels < 0))
    signs = _entropy(np.array([negative, np.count_nonzero(levels) - negative]))
    costs = {
        length: signs + sum(_magnitude_bits(*each, length) for each in histograms if each[0].size)
        for length in _UNARY_LENGTHS
    }
    best = min(costs, key=lambda length: costs[length])
    return best, costs[best]


def _histogram(values: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Array]:
    """Distinct values in ascending order, and how often each occurs."""
    if int(values.max(initial=0)) >= _COUNTED:
        return np.unique(values, return_counts=True)
    counts = np.bincount(values)
    present = np.flatnonzero(counts)
    return present, counts[present]


def _magnitude_bits(values: npt.NDArray[np.int64], counts: Array, length: int) -> float:
    escaped = values > length
    classes = np.floor(np.log2(np.maximum(values - length, 1))).astype(np.int64)
    symbols = np.where(escaped, length + 1 + classes, values)
    merged = np.zeros(int(symbols.max(initial=0)) + 1, np.int64)
    np.add.at(merged, symbols, counts)
    bins = np.minimum(values, length) + np.where(escaped, classes, 0)
    suffixes = float((counts * classes)[escaped].sum())
    flags = min(length, int(values[-1]))
    overhead = _LEARNING * flags + _CHEAPEST_BIN * float((counts * bins).sum())
    return _entropy(merged) + suffixes + overhead


def _entropy(counts: Array) -> float:
    """Bits of symbols that occur so often, in all."""
    present = counts[counts > 0].astype(np.float64)
    total = float(present.sum())
    return float((present * (math.log2(total) - np.log2(present))).sum()) if total else 0.0
