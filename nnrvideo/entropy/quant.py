# SPDX-License-Identifier: Apache-2.0
"""Quantisation: step sizes, levels from values and back, uniform and dependent.

The trellis search has two implementations with the same arithmetic in the same order: the one in
``_trellis.py`` is for reading and for machines without a compiler, the native one for speed.

Spec: ISO/IEC 15938-17 quantisation; spec/nnc.md §6, §13.2, §13.3.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy import _trellis
from nnrvideo.entropy._payload import contract, expand
from nnrvideo.entropy._scan import scan_positions
from nnrvideo.entropy.backend import native
from nnrvideo.entropy.spec import MAX_LEVEL, TensorChoices, TensorSpec
from nnrvideo.entropy.tables.contexts import DQ_NEXT
from nnrvideo.errors import BitstreamError

_MAX_STEP_EXPONENT: Final = 120
_DEFAULT_UNARY_LENGTH: Final = 11
_DEFAULT_CHOICES: Final = TensorChoices()


@lru_cache(maxsize=256)
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
    values = levels.astype(np.float32)
    values *= np.float32(step)
    return values


def quantise(
    values: npt.NDArray[np.float32],
    step: np.float32 | float,
    spec: TensorSpec,
    choices: TensorChoices = _DEFAULT_CHOICES,
    *,
    lam: float = 0.0,
) -> npt.NDArray[np.int32]:
    """Levels of small distortion and rate, found for exactly the payload they will be coded in.

    With ``spec.dq_flag`` the cheapest path of the eight-state trellis, else one decision for each
    value. Rates come from contexts that start as ``choices`` says and follow what is decided,
    temporal and history contexts included.

    Args:
        values: (rows, cols) float32, finite.
        step: quantisation step, > 0.
        spec: what the payload syntax depends on; without codebook.
        choices: initialisation, skipped rows, which become 0, and history flag.
        lam: weight of the rate; 0 minimises the squared error alone, 1 is right at high rates.

    Returns:
        (rows, cols) int32 levels, expanded ones with ``dq_flag``, ready for ``Encoder.tensor``
        with the same ``spec`` and skipped rows.

    Raises:
        ValueError: a value is not finite, a level exceeds 31 bits, an argument is out of range.

    Spec: spec/nnc.md §6.1, §13.2, §13.3.
    """
    if values.shape != (spec.rows, spec.cols) or values.dtype != np.float32:
        raise ValueError(
            f"values are {values.dtype}{values.shape}, expected float32{(spec.rows, spec.cols)}"
        )
    if not (lam >= 0.0 and math.isfinite(lam)):
        raise ValueError(f"lam {lam} is not a finite number >= 0")
    if not (step > 0 and math.isfinite(step)):
        raise ValueError(f"step {step} is not a finite number > 0")
    if spec.codebook_size:
        raise ValueError("a codebook has no evenly spaced levels")
    search = _trellis.quantise_tensor if native is None else native.quantise_tensor
    levels: npt.NDArray[np.int32] = search(values, np.float32(step), lam, spec, choices)
    return levels


def dependent_quantise(
    values: npt.NDArray[np.float32],
    step: np.float32 | float,
    lam: float = 0.0,
    scan_order: int = 0,
    unary_length: int = _DEFAULT_UNARY_LENGTH,
) -> npt.NDArray[np.int32]:
    """Levels of the cheapest path through the eight-state trellis, for a tensor of its own.

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
    rows, cols = values.shape
    spec = TensorSpec(
        rows,
        cols,
        general_profile_idc=1,
        unary_length=unary_length,
        dq_flag=True,
        scan_order=scan_order,
    )
    return quantise(values, step, spec, lam=lam)


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


def _scaled(values: npt.NDArray[np.float32], step: np.float32 | float) -> npt.NDArray[np.float32]:
    if values.dtype != np.float32:
        raise ValueError(f"values are {values.dtype}, expected float32")
    if not (step > 0 and math.isfinite(step)):
        raise ValueError(f"step {step} is not a finite number > 0")
    with np.errstate(over="ignore", invalid="ignore"):
        return values * (np.float32(1) / np.float32(step))


def _checked_levels(levels: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    if not (np.abs(levels) <= MAX_LEVEL).all():  # refuses NaN as well
        raise ValueError("a value is not finite, or its level exceeds 31 bits")
    return levels.astype(np.int32)
