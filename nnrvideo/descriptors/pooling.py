# SPDX-License-Identifier: Apache-2.0
"""Nested invariance pooling, and what makes numbers and bits of its result.

Pooling is over translations (square-root pooling in a window), then scales (the mean of the
windows' sizes), then rotations (the maximum).  All sums are float64 in an order that does not
depend on threads, so that the same features give the same bits.

Spec: none that is public; nested pooling as published for CDVA (HNIP), a loose model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrvideo.descriptors.package import Array, Projection

Vector = npt.NDArray[np.float64]

STEP_BITS: Final = 10
"""Numbers of a real descriptor are multiples of ``2 ** -STEP_BITS``."""


def pool(features: Sequence[Array], windows: Sequence[int]) -> Vector:
    """Pools the feature maps of one picture.

    Args:
        features: (C, H, W) float32, finite, for each rotation; H and W may differ between them.
        windows: Sides of the windows; one that is larger than a map is cut to it.

    Returns:
        (C,) float64 of norm 1; zeros where there are no features.
    """
    pooled = [np.mean([_square_root(each, side) for side in windows], axis=0) for each in features]
    vector: Vector = np.max(pooled, axis=0)
    return _normalised(vector)


def _square_root(features: Array, side: int) -> Vector:
    """The largest mean-like norm of any window: sqrt(sum of squares) / area."""
    channels, rows, columns = features.shape
    down, across = min(side, rows), min(side, columns)
    total = np.zeros((channels, rows + 1, columns + 1))
    np.square(features, out=total[:, 1:, 1:], dtype=np.float64)
    np.cumsum(total, axis=1, out=total)
    np.cumsum(total, axis=2, out=total)
    sums = (
        total[:, down:, across:]
        - total[:, :-down, across:]
        - total[:, down:, :-across]
        + total[:, :-down, :-across]
    )
    largest: Vector = np.sqrt(np.maximum(sums, 0).max(axis=(1, 2))) / (down * across)
    return largest


def project(vector: Vector, projection: Projection, rotations: int) -> Vector:
    """Whitened principal components of pooled features, scaled to norm 1.

    Args:
        vector: (C,) float64.
        projection: D directions.
        rotations: That were pooled over.

    Returns:
        (D,) float64.
    """
    centred = vector - projection.mean[-1 if rotations > 1 else 0]
    # einsum, unlike a BLAS product, adds in one order whatever the number of threads.
    return _normalised(np.einsum("dc,c->d", projection.whitening.astype(np.float64), centred))


def to_levels(vector: Vector) -> npt.NDArray[np.int16]:
    """A real descriptor as it is stored and compared: integers in steps of 2 ** -10."""
    return np.rint(vector * (1 << STEP_BITS)).astype(np.int16)


def to_bits(vector: Vector, projection: Projection, bits: int) -> npt.NDArray[np.uint8]:
    """Signs of a real descriptor's rotations.

    Args:
        vector: (D,) float64.
        projection: Whose rotations.
        bits: A multiple of D, or a divisor of it.

    Returns:
        (bits / 8,) uint8, the first bit most significant; 1 above 0.
    """
    count = -(-bits // vector.size)
    turned = [_hadamard(vector * signs) for signs in projection.rotation[:count]]
    return np.packbits(np.concatenate(turned)[:bits] > 0)


def _hadamard(vector: Vector) -> Vector:
    """Walsh-Hadamard transform, not scaled: only signs are taken of it."""
    size, half = vector.size, 1
    while half < size:
        pairs = vector.reshape(-1, 2, half)
        vector = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).ravel()
        half *= 2
    return vector


def _normalised(vector: Vector) -> Vector:
    norm = float(np.sqrt(np.einsum("c,c->", vector, vector)))
    return vector / norm if norm else vector
