# SPDX-License-Identifier: Apache-2.0
"""The time of a film while it plays: it can be stopped and set, and follows the sound."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import final

_JUMP = 0.2  # seconds of difference that are made up for at once
_STANDING = 3600.0  # seconds that are left while time does not pass
_GENTLY = 0.1  # share of a smaller difference that is made up for at each look


@final
class MediaClock:
    """Seconds of the film.

    Args:
        source: Seconds of a clock that always runs.
    """

    def __init__(self, source: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._at = 0.0  # film time when _since was taken
        self._since = source()
        self._running = False

    def time(self) -> float:
        """The film's time now."""
        with self._lock:
            return self._now()

    def time_for_deadlines(self) -> float:
        """The film's time, or far earlier while it stands still: nothing is urgent then."""
        with self._lock:
            return self._now() - (0.0 if self._running else _STANDING)

    @property
    def running(self) -> bool:
        """Whether time passes."""
        return self._running

    def set(self, at: float) -> None:
        """Moves the time of the film."""
        with self._lock:
            self._at, self._since = at, self._source()

    def run(self, *, running: bool) -> None:
        """Lets the time pass, or stops it."""
        with self._lock:
            self._at, self._since = self._now(), self._source()
            self._running = running

    def follow(self, heard: float) -> float:
        """Comes closer to what is heard at this moment; viewers notice jumps of sound, not these.

        Args:
            heard: The film's time by the sound.

        Returns:
            By how many seconds the pictures were ahead of the sound.
        """
        with self._lock:
            ahead = self._now() - heard
            correction = ahead if abs(ahead) > _JUMP else ahead * _GENTLY
            self._at, self._since = self._now() - correction, self._source()
            return ahead

    def _now(self) -> float:
        return self._at + (self._source() - self._since if self._running else 0.0)
