# SPDX-License-Identifier: Apache-2.0
"""Zeros where they hurt least: small weights, and rows of small weights.

Zeros are cheap: a run of them costs a hundredth of a bit each, a row of them one flag.

Spec: an encoder's choice; what it did to the network may be told in sparsification maps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnrvideo.nnc.settings import EncodeSettings

Array = npt.NDArray[Any]


def sparsify(array: Array, settings: EncodeSettings) -> Array:
    """A weight with zeros as the settings ask for; anything else as it is.

    Args:
        array: float32; only two and more dimensions are touched.
        settings: Choices of the encoder.

    Returns:
        float32 of the same shape; the array itself if nothing is asked for.
    """
    if array.dtype != np.float32 or array.ndim < 2 or not array.size:
        return array
    result = array
    if settings.structured_sparsity:
        means = np.abs(array.reshape(array.shape[0], -1)).mean(axis=1, dtype=np.float64)
        weak = means < settings.structured_sparsity * means.mean()
        result = np.where(weak.reshape(-1, *[1] * (array.ndim - 1)), np.float32(0), result)
    if settings.sparsity:
        magnitudes = np.abs(result).ravel()
        count = int(settings.sparsity * magnitudes.size)
        if count:
            bound = np.partition(magnitudes, count - 1)[count - 1]
            result = np.where(np.abs(result) <= bound, np.float32(0), result)
    return result
