# SPDX-License-Identifier: Apache-2.0
"""One picture in, one picture out, whatever happens: by a network, or resampled plainly.

Several threads call :meth:`Execution.process` at once.  With ``realtime`` nothing is waited for
beyond the time at which a picture is due, and the policy for late networks is kept.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import final

from nnrvideo.errors import NnrVideoError
from nnrvideo.picture import Picture, PictureFormat
from nnrvideo.player.events import Enhanced, Event, EventKind, FrameInfo
from nnrvideo.player.filter import NetworkFilter
from nnrvideo.player.library import Content, FilterLibrary
from nnrvideo.player.line import Job
from nnrvideo.player.pace import Pace
from nnrvideo.player.tiers import TierChooser
from nnrvideo.runtime.planes import PlanePool
from nnrvideo.runtime.resample import Upscaler, resize_picture

_log = logging.getLogger(__name__)

_CAUTION = 1.5  # times the expected time that must be left

NO_FILTER = "no network is active"
PREPARING = "the network is being prepared"
LATE = "the network is too slow"
SKIPPED = "skipped"
CLOSING = "the enhancer is closing"


@final
class Execution:
    """Makes output pictures.

    Args:
        library: Has the networks.
        upscaler: Kernel where no network applies.
        realtime: Never wait for a network longer than a picture can wait.
        pace: When to rest a network that is too slow.
        busy: Tells how many pictures are in work at this moment.
        tell: Takes events.
        clock: Seconds on the clock by which pictures are due.
    """

    def __init__(
        self,
        library: FilterLibrary,
        *,
        upscaler: Upscaler,
        realtime: bool,
        pace: Pace,
        busy: Callable[[], int],
        tell: Callable[[Sequence[Event]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._library = library
        self._upscaler = upscaler
        self._realtime = realtime
        self._pace = pace
        self._tiers = TierChooser()
        self._busy = busy
        self._tell = tell
        self._clock = clock
        self._pool = PlanePool()
        self._lock = threading.Lock()  # guards pace and tiers

    def process(self, job: Job) -> Enhanced:
        """Makes the output picture of a job; never raises."""
        started = time.perf_counter()
        enhanced: Picture | None = None
        content = job.contents[0] if job.contents else None
        reason = NO_FILTER
        try:
            if job.contents:
                content, enhanced, reason = self._by_network(job)
        except Exception as error:
            # Nothing below is meant to raise anything else; the picture is shown all the same.
            _log.exception("unexpected failure while enhancing")
            reason = f"internal error: {error!r}"
            self._tell([Event(EventKind.ERROR, None, reason, job.pts)])
        picture = enhanced if enhanced is not None else job.picture
        if job.target is not None and picture.format != job.target:
            into = _fitting(job, job.target) or self._pool.picture(job.target)
            picture = resize_picture(picture, job.target, self._upscaler, into)
        info = FrameInfo(
            pts=job.pts,
            enhanced=enhanced is not None,
            nnpfc_id=None if content is None else content[0].nnpfc_id,
            reason=reason,
            milliseconds=1e3 * (time.perf_counter() - started),
            late=job.due is not None and self._clock() > job.due,
            into=job.into is not None and picture.planes is job.into.planes,
        )
        return Enhanced(picture, info)

    def restart(self) -> None:
        """After a seek, see :meth:`Pace.restart`."""
        with self._lock:
            self._pace.restart()

    @property
    def state(self) -> str:
        """What the deadline policy does: "on", "paused" or "off"."""
        if self._pace.off:
            return "off"
        return "paused" if self._pace.paused else "on"

    # -- by a network ------------------------------------------------------------------------

    def _by_network(self, job: Job) -> tuple[Content, Picture | None, str]:
        """The network, and the enhanced picture, or None and why not."""
        content = self._choose(job)
        if job.plain:
            return content, None, SKIPPED
        future = self._library.request(content, job.picture.format)
        if future is None or not self._await(future, content, job):
            return content, None, PREPARING
        try:
            network = future.result()
        except CancelledError:
            return content, None, CLOSING
        except NnrVideoError as error:
            return content, None, str(error)
        if self._realtime and not self._may_run(content, job):
            return content, None, LATE
        if network.failure:
            return content, None, network.failure
        return content, *self._run(network, content, job)

    def _choose(self, job: Job) -> Content:
        target = job.target or job.picture.format
        with self._lock:
            budget = self._pace.budget(job.duration) * max(1, self._busy())
            return self._tiers.choose(job.contents, target, budget if self._realtime else None)

    def _await(self, future: Future[NetworkFilter], content: Content, job: Job) -> bool:
        """Whether a network is there, or will be as long as the picture can wait."""
        if future.done() or not self._realtime:
            return True
        if job.due is None:
            return False
        needed = self._tiers.expected(content) or self._pace.budget(job.duration)
        try:
            future.exception(timeout=max(0.0, job.due - needed - self._clock()))
        except (FutureTimeoutError, CancelledError):
            return future.done()
        return True

    def _may_run(self, content: Content, job: Job) -> bool:
        """Asks the policy; a picture for which it is too late already counts as late."""
        events: list[Event] = []
        with self._lock:
            rested = self._pace.paused
            may_run = self._pace.may_run(job.pts)
            if rested and may_run:
                self._tiers.rest(content)
                events.append(Event(EventKind.FALLBACK_OFF, None, "", job.pts))
            if may_run and job.due is not None:
                needed = _CAUTION * self._tiers.expected(content)
                may_run = self._clock() + needed <= job.due
                if not may_run:
                    events += self._judge(content, job, late=True)
        self._tell(events)
        return may_run

    def _run(
        self, network: NetworkFilter, content: Content, job: Job
    ) -> tuple[Picture | None, str]:
        started = time.perf_counter()
        try:
            picture = network.process(job.picture, job.strength, _fitting(job, network.target))
        except Exception as error:
            reason = str(error) or type(error).__name__
            first = not network.failure
            network.failure = reason
            _log.debug("network failed", exc_info=True)
            if first:
                self._tell([Event(EventKind.ERROR, content[0].nnpfc_id, reason, job.pts)])
            return None, reason
        seconds = time.perf_counter() - started
        events: list[Event] = []
        with self._lock:
            self._tiers.ran(content, job.target or job.picture.format, seconds)
            if self._realtime:
                if job.due is not None:
                    late = self._clock() > job.due
                else:
                    late = seconds / max(1, self._busy()) > self._pace.budget(job.duration)
                events = self._judge(content, job, late=late)
        self._tell(events)
        return picture, ""

    def _judge(self, content: Content, job: Job, *, late: bool) -> list[Event]:
        """Answers to a network that is late too often: a lighter one, else a pause."""
        if not self._pace.note(late=late):
            return []
        nnpfc_id = content[0].nnpfc_id
        if self._tiers.has_lighter(content, job.contents):
            self._tiers.demote(content)
            return [Event(EventKind.TIER_DROPPED, nnpfc_id, LATE, job.pts)]
        self._pace.rest(job.pts)
        rest = "for good" if self._pace.off else "for a while"
        return [Event(EventKind.FALLBACK_ON, nnpfc_id, rest, job.pts)]


def _fitting(job: Job, made: PictureFormat) -> Picture | None:
    """The caller's planes, if a result of some format can be written into them as it is."""
    into = job.into
    if into is None or into.format != made or job.target not in (None, made):
        return None
    return into
