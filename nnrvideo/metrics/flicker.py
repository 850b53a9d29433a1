# SPDX-License-Identifier: Apache-2.0
"""Temporal stability: how much the difference to the source changes from picture to picture.

With the error e(t) = picture(t) - source(t), flicker is the root mean square of e(t) - e(t-1) over
all luma samples of all pairs of neighbours within a scene, in 8-bit levels.  A constant error does
not flicker; an error that boils does.  Errors that are independent from picture to picture flicker
by sqrt(2) times their own root mean square, so an enhancement is held against the plain picture:
their ratio is 1 where it neither calms nor stirs.

The eye sees flicker where the source stands still.  *Static* flicker is the same figure over the
samples whose source moved by no more than two 8-bit levels; where nothing stands still there is
none.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[Any]

_STILL = 2  # 8-bit levels


class Flicker(NamedTuple):
    """Change of the error from one picture to the next; those of a scene are added up."""

    squared: int  # sum over luma samples, in levels of the pictures' own depth
    samples: int


@final
class FlickerMeter:
    """Flicker of luma over a sequence.

    Args:
        bit_depth: Bits of a sample.
    """

    def __init__(self, bit_depth: int = 8) -> None:
        self._unit = 1 << (bit_depth - 8)
        self._reference: Plane | None = None
        self._error: npt.NDArray[np.int32] | None = None
        self._sum = self._static_sum = self._samples = self._static_samples = 0

    def add(self, reference: Plane, plane: Plane, *, new_scene: bool = False) -> Flicker | None:
        """Takes one more picture.

        Args:
            reference: (rows, columns) unsigned samples of the source.
            plane: Samples of the same shape and depth.
            new_scene: There is a cut before this picture, so that it has no neighbour.

        Returns:
            What this picture adds; None without a neighbour.
        """
        added = None
        source = reference.astype(np.int32)
        error = plane - source
        if self._error is not None and self._reference is not None and not new_scene:
            change = error - self._error
            change *= change
            still = np.abs(source - self._reference) <= _STILL * self._unit
            added = Flicker(int(change.sum(dtype=np.int64)), change.size)
            self._sum += added.squared
            self._static_sum += int(change.sum(where=still, dtype=np.int64))
            self._samples += change.size
            self._static_samples += int(np.count_nonzero(still))
        self._reference, self._error = source, error
        return added

    def flicker(self) -> float | None:
        """Root mean square of the change, in 8-bit levels; None without a pair of neighbours."""
        return self._level(self._sum, self._samples)

    def static_flicker(self) -> float | None:
        """The same where the source stands still; None where it never does."""
        return self._level(self._static_sum, self._static_samples)

    def _level(self, total: int, samples: int) -> float | None:
        return math.sqrt(total / samples) / self._unit if samples else None
