# SPDX-License-Identifier: Apache-2.0
"""Quantisation parameters: how fine each tensor is coded, and the base they are signalled from.

Spec: ISO/IEC 15938-17, quantisation; nothing but the ranges is normative.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy import step_size
from nnrvideo.nnc.payload import MAX_STEP_EXPONENT, qp_delta_range
from nnrvideo.nnc.settings import EncodeSettings

Array = npt.NDArray[Any]

_log = logging.getLogger(__name__)

_INT32_MAX: Final = (1 << 31) - 1
_MIN_BASE, _MAX_BASE = -4096, 4095  # i(13)

_OF_RMS: Final = 2.0**-6
_OF_SMALLEST: Final = 2.0**-5
_FINEST_STEP: Final = 2.0**-19
_DEPTH_QUANTILE: Final = 0.9995
_FEW: Final = 8
"""So few values may be a factor or a slope of the whole network, and cost next to nothing."""


def quantisation_parameter(name: str, array: Array, settings: EncodeSettings) -> int:
    """QP of a tensor: the one asked for, raised where levels would need more than 31 bits.

    Args:
        name: Of the tensor.
        array: float32.
        settings: Choices of the encoder.

    Raises:
        ValueError: The QP has no step size in float32.
    """
    asked = _asked_qp(name, array, settings)
    if settings.bit_depth is not None and array.ndim > 1 and name not in settings.qp_per_tensor:
        asked = qp_of_depth(array, settings.bit_depth, settings.qp_density) if array.size else asked
    if asked is None:
        asked = nonweight_qp(array, settings.qp, settings.qp_density)
    density = settings.qp_density
    if abs(asked >> density) > MAX_STEP_EXPONENT:
        msg = f"tensor {name!r}: QP {asked} at density {density} has no step size in float32"
        raise ValueError(msg)
    largest = float(np.abs(array).max()) if array.size else 0.0
    qp = asked
    # Two steps of margin: dependent quantisation may move a level away from the nearest.
    while largest / float(step_size(qp, density)) > _INT32_MAX - 128:
        qp += 1
    if qp != asked:
        _log.warning("tensor %r: QP raised from %d to %d, levels need 31 bits", name, asked, qp)
    return qp


def is_automatic(name: str, array: Array, settings: EncodeSettings) -> bool:
    """True if nobody said how fine the tensor shall be coded."""
    return _asked_qp(name, array, settings) is None


def _asked_qp(name: str, array: Array, settings: EncodeSettings) -> int | None:
    default = settings.qp if array.ndim > 1 else settings.nonweight_qp
    return settings.qp_per_tensor.get(name, default)


def nonweight_qp(array: Array, qp: int, qp_density: int) -> int:
    """QP of a one-dimensional tensor whose error shall vanish beside that of the weights.

    An output collects the errors of many weights but of one bias only, so the weights' own step
    is fine enough, as long as it is small beside the tensor's values.  Variances and scales, told
    by their common sign, act by ratio: the smallest of them must keep its precision.

    Args:
        array: float32.
        qp: QP of the weights.
        qp_density: 0 to 7.
    """
    step = float(step_size(qp, qp_density)) if abs(qp >> qp_density) <= MAX_STEP_EXPONENT else 1.0
    if array.size < _FEW:
        step = min(step, _FINEST_STEP)
    elif bool(array.any()):
        magnitudes = np.abs(array.astype(np.float64))
        bound = math.sqrt(float(np.mean(magnitudes**2))) * _OF_RMS
        if bool((array >= 0).all()) or bool((array <= 0).all()):
            bound = min(bound, float(magnitudes[magnitudes > 0].min()) * _OF_SMALLEST)
        step = min(step, max(bound, _FINEST_STEP))
    return min(qp, qp_of_step(step, qp_density))


def qp_of_step(step: float, qp_density: int) -> int:
    """Largest QP whose step is not above ``step``.

    Args:
        step: > 0.
        qp_density: 0 to 7.

    Spec: ISO/IEC 15938-17, step size.
    """
    k = 1 << qp_density
    mantissa, exponent = math.frexp(step)  # mantissa in [0.5, 1)
    return k * (exponent - 1) + math.floor(k * (2.0 * mantissa - 1.0))


def qp_of_depth(array: Array, bits: int, qp_density: int) -> int:
    """QP that gives a tensor's values about so many bits: ``2 ** (bits - 1) - 1`` steps a side.

    The few largest values may have more, so that an outlier does not coarsen all others.

    Args:
        array: float, not empty.
        bits: 1 or more; a single bit still tells zero from either sign.
        qp_density: 0 to 7.
    """
    largest = float(np.quantile(np.abs(array.astype(np.float64)), _DEPTH_QUANTILE))
    largest = largest or float(np.abs(array).max()) or 1.0
    return qp_of_step(largest / max(1, 2 ** (bits - 1) - 1), qp_density)


def base_qp(qps: Mapping[str, int], settings: EncodeSettings) -> int:
    """mps_quantization_parameter: 0 if that reaches all QPs, else the nearest to 0 that does.

    Raises:
        ValueError: The QPs are too far apart.
    """
    if not qps:
        return 0
    low, high = min(qps.values()), max(qps.values())
    low_delta, high_delta = qp_delta_range(settings.qp_density)
    first, last = max(_MIN_BASE, high - high_delta), min(_MAX_BASE, low - low_delta)
    if first > last:
        msg = (
            f"QPs from {low} to {high} do not fit the {high_delta - low_delta + 1} values that "
            f"qp_density {settings.qp_density} can tell apart; raise the density"
        )
        raise ValueError(msg)
    return min(max(0, first), last)
