# SPDX-License-Identifier: Apache-2.0
"""When to give up on a network that is too slow for real time, and for how long.

Players of LCEVC settled on this policy: a late enhancement is worse than none, so pause it, longer
at the second time, and leave it off for the session at the third.  Pure arithmetic on the numbers
handed in; there is no clock in here.
"""

from __future__ import annotations

from fractions import Fraction
from typing import final

_LATE_IN_A_ROW = 6  # one slow picture is the scheduler's fault, six are the network's
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
        self._late = 0
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

    def ran(self, pts: Fraction | int, seconds: float, duration: Fraction | float) -> bool:
        """Notes how long a picture took.

        Args:
            pts: Its presentation time in seconds.
            seconds: Wall time that the network took.
            duration: Time until the next picture in seconds.

        Returns:
            Whether this starts a pause.
        """
        if seconds <= self._deadline * float(duration):
            self._late = 0
            self._in_time += 1
            if self._in_time >= _FORGIVEN_AFTER:
                self._pauses = 0
            return False
        self._in_time = 0
        self._late += 1
        if self._late < _LATE_IN_A_ROW:
            return False
        self._late = 0
        if self._pauses < len(_PAUSES):
            self._resume_at = Fraction(pts) + _PAUSES[self._pauses]
            self._pauses += 1
        else:
            self._off = True
        return True

    def restart(self) -> None:
        """After a seek: times have jumped, so a running pause has no end; history is kept."""
        self._late = 0
        self._resume_at = None
