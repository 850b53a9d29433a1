# SPDX-License-Identifier: Apache-2.0
"""The line of pictures inside an enhancer.

Taken in by one side, worked on by several threads, and handed out by the other side in the order
in which they came.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from typing import final

from nnrvideo.picture import Picture, PictureFormat
from nnrvideo.player.events import Enhanced, Pts
from nnrvideo.player.library import Content


@final
@dataclass(slots=True, eq=False)
class Job:
    """A picture on its way.

    Args:
        picture: As decoded.
        pts: Presentation time.
        contents: Networks that apply to it, in the order of the stream.
        target: Format of the result; None leaves it to the network.
        strength: StrengthControlVal.
        duration: Seconds until the next picture.
        due: Time of the clock by which the result is wanted; None if nobody said.
        plain: Do not run a network.
        into: The caller's planes for the result, used if they are of its format.
        result: What became of it, once it is done.
    """

    picture: Picture
    pts: Pts
    contents: tuple[Content, ...]
    target: PictureFormat | None
    strength: float = 1.0
    duration: Fraction = Fraction(0)
    due: float | None = None
    plain: bool = False
    into: Picture | None = field(default=None, repr=False)
    result: Enhanced | None = field(default=None, repr=False)


@final
class Line:
    """A bounded queue that keeps its order although several threads work on it.

    Args:
        capacity: Pictures inside: waiting, in work, and finished but not taken.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()  # all that are inside, in order
        self._waiting: deque[Job] = deque()  # those that nobody works on yet
        self._working = 0
        self._closed = False

    def wait_for_room(self, timeout: float | None) -> bool:
        """Waits until a picture may come; returns whether one may."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_room or self._closed, timeout)
            return self._has_room

    def put(self, job: Job) -> None:
        """Takes a picture in; the caller has made sure of room."""
        with self._changed:
            self._jobs.append(job)
            self._waiting.append(job)
            self._changed.notify_all()

    def take(self, *, wait: bool = True) -> Job | None:
        """The next picture to work on; None once the line is closed, or if there is none.

        Args:
            wait: Wait until there is one, or the line is closed.
        """
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed or not self._waiting:
                return None
            self._working += 1
            return self._waiting.popleft()

    def finish(self, job: Job, result: Enhanced) -> bool:
        """Notes a result; returns whether anybody still wants it."""
        with self._changed:
            self._working -= 1
            job.result = result
            wanted = job in self._jobs
            self._changed.notify_all()
            return wanted

    def next(self, timeout: float | None) -> Enhanced | None:
        """The next result in order; waits while one may come, returns None if none has."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._jobs or self._jobs[0].result is not None or self._closed, timeout
            )
            if not self._jobs or self._jobs[0].result is None:
                return None
            result = self._jobs.popleft().result
            self._changed.notify_all()
            return result

    def skip(self, pts: Pts | None) -> bool:
        """Asks for plain resampling of a picture, or of all; returns whether any was waiting."""
        with self._changed:
            jobs = [job for job in self._waiting if pts is None or job.pts == pts]
            for job in jobs:
                job.plain = True
            return bool(jobs)

    def clear(self) -> int:
        """Forgets all pictures, also those in work; returns how many."""
        with self._changed:
            count = len(self._jobs)
            self._jobs.clear()
            self._waiting.clear()
            self._changed.notify_all()
            return count

    def drain(self) -> None:
        """Waits until all pictures are finished."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_finished)

    def close(self) -> None:
        """Ends the waiting of everybody; what is inside and not finished is lost."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    @property
    def busy(self) -> int:
        """Pictures in work at this moment."""
        return self._working

    @property
    def inside(self) -> int:
        """Pictures inside, whether finished or not."""
        return len(self._jobs)

    @property
    def ready(self) -> int:
        """Results that can be taken one after the other without waiting."""
        with self._changed:
            found = 0
            for job in self._jobs:
                if job.result is None:
                    break
                found += 1
            return found

    @property
    def _has_room(self) -> bool:
        return len(self._jobs) < self._capacity

    @property
    def _is_finished(self) -> bool:
        return all(job.result is not None for job in self._jobs)
