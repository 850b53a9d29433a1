# SPDX-License-Identifier: Apache-2.0
"""``Value``: what is known about a tensor before the network runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

Shape = tuple[int, ...]

MAX_KNOWN: Final = 1024
"""Values of tensors up to this many elements are carried along; shape arithmetic is smaller."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """Shape and type of a tensor, and its elements where they are known.

    Dimensions are Python integers, so that no product of hostile sizes wraps around.
    """

    shape: Shape
    dtype: np.dtype[Any]
    known: npt.NDArray[Any] | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.elements * self.dtype.itemsize
