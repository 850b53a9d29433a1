# SPDX-License-Identifier: Apache-2.0
"""When to give up on a network that is too slow for real time, and for how long.

Players of LCEVC settled on this policy: a late enhancement is worse than none, so pause it, longer
at the second time, and leave it off for the session at the third.  Pure arithmetic on the numbers
handed in; there is no clock in here.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import final

_WATCHED = 16  # pictures that are looked back on
_LATE = 6  # of them: one slow picture is the scheduler's fault, six are the network's
_PAUSES = (Fraction(4), Fraction(16))  # seconds of video; the third time it is for good
_FORGIVEN_AFTER = 600  # pictures in time after which earlier pauses are forgotten


@final
class Pace:
    """Decides picture by picture whether a network may run.

    Args:
        deadline: Share of a picture's duration that the network may take, above 0.

    Raises:
        ValueError: ``deadline`` is not positive.
    """

    def __init__(self, deadline: float) -> None:
        if deadline <= 0:
            raise ValueError(f"deadline must be positive, got {deadline}")
        self._deadline = deadline
        self._recent: deque[bool] = deque(maxlen=_WATCHED)  # whether late
        self._in_time = 0
        self._pauses = 0
        self._resume_at: Fraction | None = None
        self._off = False

    @property
    def paused(self) -> bool:
        """Whether the network is resting."""
        return self._off or self._resume_at is not None

    @property
    def off(self) -> bool:
        """Whether the network is off for good."""
        return self._off

    def may_run(self, pts: Fraction | int) -> bool:
        """Whether the network may run for the picture at ``pts`` (seconds)."""
        if self._resume_at is not None and pts >= self._resume_at:
            self._resume_at = None
        return not self.paused

    def budget(self, duration: Fraction | float) -> float:
        """Seconds that a network may take for a picture of that duration."""
        return self._deadline * float(duration)

    def note(self, *, late: bool) -> bool:
        """Notes whether a picture was late; returns whether that is once too often.

        Being too slow is then answered by :meth:`rest`, or by a lighter network.
        """
        self._recent.append(late)
        if not late:
            self._in_time += 1
            if self._in_time >= _FORGIVEN_AFTER:
                self._pauses = 0
            return False
        self._in_time = 0
        if sum(self._recent) < _LATE:
            return False
        self._recent.clear()
        return True

    def rest(self, pts: Fraction | int) -> None:
        """Begins a pause at ``pts`` (seconds); the third is for good."""
        if self._pauses < len(_PAUSES):
            self._resume_at = Fraction(pts) + _PAUSES[self._pauses]
            self._pauses += 1
        else:
            self._off = True

    def restart(self) -> None:
        """After a seek: times have jumped, so a running pause has no end; history is kept."""
        self._recent.clear()
        self._resume_at = None
