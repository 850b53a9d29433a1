# SPDX-License-Identifier: Apache-2.0
"""Quantisation: step sizes, levels from values and back, uniform and dependent.

The trellis search has two implementations with the same arithmetic in the same order: the one in
``_trellis.py`` is for reading and for machines without a compiler, the native one for speed.

Spec: ISO/IEC 15938-17 quantisation; spec/nnc.md §6, §13.2, §13.3.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy import _trellis
from nnrvideo.entropy._payload import contract, expand
from nnrvideo.entropy._scan import scan_positions
from nnrvideo.entropy.backend import native
from nnrvideo.entropy.spec import MAX_LEVEL, MAX_SCAN_ORDER, MAX_UNARY_LENGTH
from nnrvideo.entropy.tables.contexts import DQ_NEXT
from nnrvideo.errors import BitstreamError

_MAX_STEP_EXPONENT: Final = 120
_DEFAULT_UNARY_LENGTH: Final = 11


def step_size(qp: int, qp_density: int) -> np.float32:
    """The quantisation step of a quantisation parameter, exactly.

    Args:
        qp: quantisation parameter, base included.
        qp_density: 0...7; every ``2 ** qp_density`` parameters double the step.

    Returns:
        ``(k + qp mod k) * 2 ** (floor(qp / k) - qp_density)`` with ``k = 2 ** qp_density``.

    Raises:
        BitstreamError: the exponent leaves what float32 holds exactly.
        ValueError: ``qp_density`` is out of range.

    Spec: spec/nnc.md §6, §15.
    """
    if not 0 <= qp_density <= 7:
        raise ValueError(f"qp_density {qp_density} is not in 0...7")
    exponent, fraction = divmod(qp, 1 << qp_density)
    if abs(exponent) > _MAX_STEP_EXPONENT:
        raise BitstreamError(
            f"quantisation parameter {qp} is out of the range of float32", clause="§6"
        )
    return np.float32(math.ldexp((1 << qp_density) + fraction, exponent - qp_density))


def uniform_quantise(
    values: npt.NDArray[np.float32], step: np.float32 | float
) -> npt.NDArray[np.int32]:
    """Nearest levels, halves away from zero.

    Args:
        values: any shape, float32, finite.
        step: quantisation step, > 0.

    Returns:
        Levels of the shape of ``values``, int32.

    Raises:
        ValueError: a value is not finite or its level exceeds 31 bits.

    Spec: spec/nnc.md §13.2.
    """
    scaled = _scaled(values, step).astype(np.float64)
    # Exact in float64, where adding a half to a float32 magnitude cannot round up to it.
    levels = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled)
    return _checked_levels(levels)


def dequantise(levels: npt.NDArray[np.int32], step: np.float32 | float) -> npt.NDArray[np.float32]:
    """Values of levels: one float32 multiplication each.

    Args:
        levels: any shape, int32.
        step: quantisation step.

    Returns:
        float32 of the shape of ``levels``.

    Spec: spec/nnc.md §6.
    """
    return levels.astype(np.float32) * np.float32(step)


def dependent_quantise(
    values: npt.NDArray[np.float32],
    step: np.float32 | float,
    lam: float = 0.0,
    scan_order: int = 0,
    unary_length: int = _DEFAULT_UNARY_LENGTH,
) -> npt.NDArray[np.int32]:
    """Levels of the cheapest path through the eight-state trellis.

    Args:
        values: (rows, cols) float32, finite.
        step: quantisation step, > 0.
        lam: weight of the rate; 0 minimises the squared error alone.
        scan_order: order the values will be coded in, 0...4.
        unary_length: greater-than flags the rate estimate assumes, 1...256.

    Returns:
        (rows, cols) int32 expanded levels, ready for ``Encoder.tensor`` and :func:`dequantise`.

    Raises:
        ValueError: a value is not finite, a level exceeds 31 bits, an argument is out of range.

    Spec: spec/nnc.md §6.1, §13.3.
    """
    if values.ndim != 2:
        raise ValueError(f"values have {values.ndim} dimensions, expected 2")
    if not 0 <= scan_order <= MAX_SCAN_ORDER or not 1 <= unary_length <= MAX_UNARY_LENGTH:
        raise ValueError("scan_order or unary_length is out of range")
    if not (lam >= 0.0 and math.isfinite(lam)):
        raise ValueError(f"lam {lam} is not a finite number >= 0")
    order = _scan(values.shape, scan_order)
    # A true quotient: the reciprocal's rounding error shows where levels are large.
    scaled = _scaled(values, step, exact=True).ravel()[order]
    _checked_levels(np.abs(scaled.astype(np.float64)) + 4.0)  # candidates reach above the value
    search = _trellis.search if native is None else native.trellis_search
    levels = np.empty(values.size, dtype=np.int32)
    levels[order] = search(scaled, lam, unary_length)
    return levels.reshape(values.shape)


def expand_levels(coded: npt.NDArray[np.int32], scan_order: int = 0) -> npt.NDArray[np.int32]:
    """Expands coded values k to levels along the dependent-quantisation state machine.

    Args:
        coded: (rows, cols) int32 values as coded; no rows are skipped.
        scan_order: order they are coded in.

    Returns:
        (rows, cols) int32 levels.

    Raises:
        ValueError: a level exceeds 31 bits.

    Spec: spec/nnc.md §6.1.
    """
    order = _scan(coded.shape, scan_order)
    state = 0
    expanded: list[int] = []
    for k in coded.ravel()[order].tolist():
        expanded.append(expand(k, state))
        state = DQ_NEXT[state][k & 1]
    levels = np.empty(coded.size, dtype=np.int32)
    levels[order] = _checked_levels(np.array(expanded, dtype=np.float64))
    return levels.reshape(coded.shape)


def contract_levels(levels: npt.NDArray[np.int32], scan_order: int = 0) -> npt.NDArray[np.int32]:
    """Values to code for levels; inverse of :func:`expand_levels`.

    Args:
        levels: (rows, cols) int32, on a path of the state machine.
        scan_order: order they are coded in.

    Returns:
        (rows, cols) int32 values k.

    Raises:
        ValueError: the levels follow no path.

    Spec: spec/nnc.md §6.1.
    """
    order = _scan(levels.shape, scan_order)
    state = 0
    contracted: list[int] = []
    for level in levels.ravel()[order].tolist():
        k = contract(level, state)
        contracted.append(k)
        state = DQ_NEXT[state][k & 1]
    coded = np.empty(levels.size, dtype=np.int32)
    coded[order] = contracted
    return coded.reshape(levels.shape)


def _scan(shape: tuple[int, ...], scan_order: int) -> npt.NDArray[np.int64]:
    rows, cols = shape
    blocks = 4 << scan_order if scan_order and rows > 1 and cols > 1 else 0
    return scan_positions(rows, cols, blocks)


def _scaled(
    values: npt.NDArray[np.float32], step: np.float32 | float, *, exact: bool = False
) -> npt.NDArray[np.float32]:
    if values.dtype != np.float32:
        raise ValueError(f"values are {values.dtype}, expected float32")
    if not (step > 0 and math.isfinite(step)):
        raise ValueError(f"step {step} is not a finite number > 0")
    with np.errstate(over="ignore", invalid="ignore"):
        if exact:
            return values / np.float32(step)
        return values * (np.float32(1) / np.float32(step))


def _checked_levels(levels: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    if not (np.abs(levels) <= MAX_LEVEL).all():  # refuses NaN as well
        raise ValueError("a value is not finite, or its level exceeds 31 bits")
    return levels.astype(np.int32)
