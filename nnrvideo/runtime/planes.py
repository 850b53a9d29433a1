# SPDX-License-Identifier: Apache-2.0
"""Memory for planes that is used again as soon as nobody looks at it any more.

Fresh memory costs a page fault for every 4 KiB: for the chroma of a 1920x1080 picture that takes
as long as resampling it.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nnrvideo.picture import Picture, PictureFormat, Plane

_MAX_SIZES = 8  # kinds of planes; a stream that changes its size for ever must not grow memory

_Block = npt.NDArray[np.uint8]


@final
class PlanePool:
    """Hands out planes; their memory comes back by itself, with the last view of it.

    Args:
        spare: Blocks of each size that are kept while nobody uses them.
    """

    def __init__(self, spare: int = 8) -> None:
        self._spare = spare
        self._blocks: dict[int, deque[_Block]] = {}

    def plane(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> Plane:
        """A plane with arbitrary samples; may be called by several threads at once.

        Args:
            shape: Rows and columns.
            dtype: Type of a sample.
        """
        size = math.prod(shape) * dtype.itemsize
        home = self._blocks.get(size)
        if home is None:
            if len(self._blocks) >= _MAX_SIZES:
                self._blocks = {}
            home = self._blocks.setdefault(size, deque(maxlen=self._spare))
        try:
            block = home.pop()  # the one used last is the warmest
        except IndexError:
            block = np.empty(size, np.uint8)
        return np.asarray(_Loan(block, home)).view(dtype).reshape(shape)

    def picture(self, wanted: PictureFormat) -> Picture:
        """A picture with arbitrary samples."""
        planes = tuple(
            self.plane(wanted.plane_shape(component), wanted.dtype)
            for component in range(wanted.chroma_format.planes)
        )
        return Picture(planes, wanted.chroma_format, wanted.bit_depth)


@final
class _Loan:
    """What the arrays of a loan refer to as the owner of their memory, by NumPy's protocol."""

    def __init__(self, block: _Block, home: deque[_Block]) -> None:
        self._block = block
        self._home = home
        self.__array_interface__ = block.__array_interface__

    def __del__(self) -> None:
        self._home.append(self._block)  # appending needs no lock, so it may happen anywhere
