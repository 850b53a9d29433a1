# SPDX-License-Identifier: Apache-2.0
"""Which pictures of a film get a descriptor: key frames and segments at three rate points.

Every few pictures the colour signature is compared with that of the last key frame; enough of a
change makes a key frame, and much of it since the segment's first, if the descriptors do not match
either, a new segment.  Steps and thresholds are those of CDVA's experimentation model; that a still
scene gets a key frame now and then is ours: with a single one, one unlucky picture decides whether
a copy is found and where it ends.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, final

import numpy as np
import numpy.typing as npt

from nnrvideo.descriptors.frames import signature_distance

Signature = npt.NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class RatePoint:
    """One operating point.

    Args:
        step: Every so many pictures one is looked at.
        change: Distance of signatures that makes a key frame.
        longest: Seconds after which a picture that was looked at is a key frame in any case.
        bytes_per_second: Most bytes of a second of video, in the mean over a segment.
    """

    step: int
    change: float
    longest: float
    bytes_per_second: int


RATE_POINTS: Final = {
    16: RatePoint(9, 0.7, 4.0, 16 << 10),
    64: RatePoint(7, 0.6, 2.0, 64 << 10),
    256: RatePoint(5, 0.5, 1.0, 256 << 10),
}
"""By their names: 16, 64 and 256 (KiB per second)."""

_BOUNDARY: Final = 1.98
_MAX_KEY_FRAMES: Final = 64  # of a segment: what comes live must not wait for ever


class Decision(enum.Enum):
    """What a picture is."""

    NOTHING = 0
    KEY_FRAME = 1
    NEW_SEGMENT = 2  # and its first key frame


class KeyFrameSelector:
    """Decides picture by picture.

    Args:
        rate: Name of the rate point.

    Raises:
        ValueError: There is no such rate point.
    """

    def __init__(self, rate: int) -> None:
        if rate not in RATE_POINTS:
            msg = f"rate {rate} is none of {', '.join(map(str, RATE_POINTS))}"
            raise ValueError(msg)
        self.point = RATE_POINTS[rate]
        self._seen = 0
        self._first: Signature | None = None
        self._last: Signature | None = None
        self._last_time = Fraction(0)
        self._count = 0

    def looks(self) -> bool:
        """Counts a picture; whether it is one to be looked at."""
        self._seen += 1
        return (self._seen - 1) % self.point.step == 0

    def decide(
        self, signature: Signature, time: Fraction, matches_last: Callable[[], bool]
    ) -> Decision:
        """What a picture that was looked at is.

        Args:
            signature: Its colours.
            time: When it is shown, in seconds.
            matches_last: Whether its descriptor matches that of the last key frame; asked only
                where that decides.
        """
        if self._first is None or self._last is None:
            return self._begin(signature, time)
        changed = signature_distance(signature, self._last) > self.point.change
        if not changed and time - self._last_time < self.point.longest:
            return Decision.NOTHING
        if self._count >= _MAX_KEY_FRAMES or (
            signature_distance(signature, self._first) > _BOUNDARY and not matches_last()
        ):
            return self._begin(signature, time)
        self._last, self._last_time = signature, time
        self._count += 1
        return Decision.KEY_FRAME

    def _begin(self, signature: Signature, time: Fraction) -> Decision:
        self._first = self._last = signature
        self._last_time = time
        self._count = 1
        return Decision.NEW_SEGMENT
