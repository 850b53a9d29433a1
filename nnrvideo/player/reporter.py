# SPDX-License-Identifier: Apache-2.0
"""What an enhancer says and counts: events to its player, lines to the log, statistics."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

from nnrvideo.player.events import Event, EventKind, FrameInfo, Statistics
from nnrvideo.player.execution import LATE

_log = logging.getLogger(__name__)

_MAX_COMPLAINTS = 256  # remembered, so that each is made once
_WARNINGS = frozenset(
    {
        EventKind.NETWORK_REJECTED,
        EventKind.SIDE_DATA_REJECTED,
        EventKind.FALLBACK_ON,
        EventKind.ERROR,
    }
)


@final
class Reporter:
    """Hands events on; may be called from any thread.

    Args:
        on_event: Receives every event; None for nobody.
    """

    def __init__(self, on_event: Callable[[Event], None] | None) -> None:
        self.on_event = on_event
        self._lock = threading.Lock()
        self._complaints: set[str] = set()

    def first_time(self, complaint: str) -> bool:
        """Whether something is worth saying; whoever finds ever new faults is silenced."""
        with self._lock:
            if complaint in self._complaints or len(self._complaints) >= _MAX_COMPLAINTS:
                return False
            self._complaints.add(complaint)
            return True

    def tell(self, events: Sequence[Event]) -> None:
        """Reports events; call without holding a lock, as the callee may call back."""
        for event in events:
            if event.kind in _WARNINGS:
                which = "" if event.nnpfc_id is None else f" (nnpfc_id {event.nnpfc_id})"
                _log.warning("%s%s: %s", event.kind.value, which, event.reason)
            if self.on_event is None:
                continue
            try:
                self.on_event(event)
            except Exception:
                # The worker must outlive a mistake in somebody's display code.
                _log.exception("on_event failed")


@final
class Counts:
    """The numbers behind :class:`Statistics`; may be changed by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statistics = Statistics()

    def add(self, **increments: float) -> None:
        """Adds to some of the numbers."""
        with self._lock:
            self._statistics = _plus(self._statistics, **increments)

    def built(self, seconds: float, provider: str, precision: str) -> None:
        """Counts a network that is ready."""
        with self._lock:
            more = _plus(self._statistics, networks_built=1, build_milliseconds=1e3 * seconds)
            self._statistics = replace(more, provider=provider, precision=precision)

    def made(self, info: FrameInfo) -> None:
        """Counts an output picture."""
        with self._lock:
            if info.enhanced:
                more = _plus(self._statistics, enhanced=1, network_milliseconds=info.milliseconds)
                more = replace(more, nnpfc_id=info.nnpfc_id)
            else:
                more = _plus(self._statistics, plain=1, too_slow=int(info.reason == LATE))
            self._statistics = _plus(more, late=int(info.late))

    def snapshot(self, pace: str) -> Statistics:
        """All numbers at this moment."""
        with self._lock:
            return replace(self._statistics, pace=pace)


def _plus(statistics: Statistics, **increments: float) -> Statistics:
    changed = {name: getattr(statistics, name) + value for name, value in increments.items()}
    return replace(statistics, **changed)
