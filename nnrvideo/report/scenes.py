# SPDX-License-Identifier: Apache-2.0
"""Cuts between scenes, seen on the source while it goes by.

With d(t) the mean absolute luma difference of neighbouring pictures, reduced eight times, a cut is
where both d(t) and its jump |d(t) - d(t-1)| are over 6 % of the full range: motion keeps d high
without a jump.  (A cut in a cartoon has 26 %, the fastest motion of ten clips 3 %.)  Scenes are at
least 0.25 s long, so that a flash does not make three of them.

Pictures without content, such as black ones between or before others, are scenes of their own
however softly they fade: a filter has nothing to do there.  Flat is what has a standard deviation
of less than 0.4 % of the full range.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nnrvideo.picture import Picture
from nnrvideo.runtime import resize_plane

_REDUCTION = 8
_THRESHOLD = 0.06  # of the full range
_SHORTEST = Fraction(1, 4)  # seconds
_FLAT = 0.004  # of the full range


@final
class SceneFinder:
    """Tells for each picture whether a scene begins with it.

    Attributes:
        starts: Indices of the pictures with which scenes begin.
    """

    def __init__(self) -> None:
        self.starts: list[int] = []
        self._pictures = 0
        self._begin = Fraction(0)
        self._last: npt.NDArray[Any] | None = None
        self._last_difference = 0.0
        self._last_flat = False

    def add(self, picture: Picture, pts: Fraction) -> bool:
        """Takes the next picture of the source.

        Args:
            picture: The picture.
            pts: Its time in seconds.
        """
        small = resize_plane(
            picture.planes[0],
            max(picture.width // _REDUCTION, 1),
            max(picture.height // _REDUCTION, 1),
            picture.bit_depth,
        ).astype(np.float32)
        peak = (1 << picture.bit_depth) - 1
        flat = float(small.std()) < _FLAT * peak
        cut = self._last is None
        if self._last is not None:
            difference = float(np.abs(small - self._last).mean()) / peak
            jump = abs(difference - self._last_difference)
            cut = min(difference, jump) > _THRESHOLD or flat != self._last_flat
            cut = cut and pts - self._begin >= _SHORTEST
            self._last_difference = difference
        self._last, self._last_flat = small, flat
        if cut:
            self.starts.append(self._pictures)
            self._begin = pts
        self._pictures += 1
        return cut
