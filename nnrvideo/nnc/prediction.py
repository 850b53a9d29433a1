# SPDX-License-Identifier: Apache-2.0
"""Predictive residual encoding: an update is sent as what a prediction of it leaves over.

The standard announces it with nnr_pre_flag and leaves the arithmetic to the application.  Ours:

- The prediction of a tensor's difference is the difference that was decoded last for the same
  element id, itself with its prediction: networks that drift go on as they went.
- An element id for which no update has come since its last base, or one of another shape or kind
  of number, is predicted as zero.
- The difference is prediction plus residual: in binary32 with one rounding, or exactly for
  integers.  nnr_decompressed_data_format is applied to the sum.
- A tensor that is left out has not changed, as in every update; its prediction stays.
- Every unit has node ids, and its node must follow the one received last: what is missing in
  between would be missing in the prediction.

Spec: ISO/IEC 15938-17 (second edition), nnr_pre_flag.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnrvideo.errors import BitstreamError

Array = npt.NDArray[Any]

_INT32_MAX = (1 << 31) - 1


def predicts(prediction: Array | None, shape: tuple[int, ...], kind: str) -> bool:
    """True if an earlier difference is one of the same shape and kind of number.

    Args:
        prediction: As decoded last, or None.
        shape: Of the tensor.
        kind: ``i`` or ``f``, as in ``numpy.dtype.kind``.
    """
    return prediction is not None and prediction.shape == shape and prediction.dtype.kind == kind


def add_prediction(residual: Array, prediction: Array | None) -> Array:
    """Difference of a tensor.

    Args:
        residual: float32 or int32, as reconstructed.
        prediction: Difference decoded last for the same element id, or None.

    Returns:
        float32 or int32.

    Raises:
        BitstreamError: The sum leaves the range of its type.
    """
    if prediction is None or not predicts(prediction, residual.shape, residual.dtype.kind):
        return residual
    total: Array
    if residual.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            total = prediction.astype(np.float32, copy=False) + residual
        fits = bool(np.array_equal(np.isfinite(total), np.isfinite(residual)))
    else:
        total = prediction.astype(np.int64) + residual
        fits = not total.size or max(-int(total.min()), int(total.max())) <= _INT32_MAX
    if not fits:
        raise BitstreamError(
            "prediction and residual together are out of range", element="nnr_pre_flag"
        )
    return total.astype(residual.dtype, copy=False)


def subtract_prediction(difference: Array, prediction: Array | None) -> Array:
    """Residual that makes :func:`add_prediction` give the difference, up to rounding.

    Args:
        difference: float32 or int32, finite.
        prediction: Difference that the receiver decoded last, or None.

    Raises:
        ValueError: The residual cannot be coded; the update must go without prediction.
    """
    if prediction is None or not predicts(prediction, difference.shape, difference.dtype.kind):
        return difference
    if difference.dtype.kind == "f":
        with np.errstate(over="ignore"):
            residual: Array = difference - prediction.astype(np.float32, copy=False)
        fits = bool(np.isfinite(residual).all())
    else:
        residual = difference.astype(np.int64) - prediction
        fits = not residual.size or max(-int(residual.min()), int(residual.max())) <= _INT32_MAX
    if not fits:
        msg = "the residual of a prediction is out of range"
        raise ValueError(msg)
    return residual.astype(difference.dtype, copy=False)
