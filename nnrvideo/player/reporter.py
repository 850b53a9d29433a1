# SPDX-License-Identifier: Apache-2.0
"""What an enhancer says and counts: events to its player, lines to the log, statistics."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, final

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
        self._numbers: dict[str, Any] = {}  # by the names of Statistics; absent: as at the start

    def add(self, **increments: float) -> None:
        """Adds to some of the numbers."""
        with self._lock:
            for name, increment in increments.items():
                self._numbers[name] = self._numbers.get(name, 0) + increment

    def built(self, seconds: float, provider: str, precision: str) -> None:
        """Counts a network that is ready."""
        self.add(networks_built=1, build_milliseconds=1e3 * seconds)
        with self._lock:
            self._numbers.update(provider=provider, precision=precision)

    def made(self, info: FrameInfo) -> None:
        """Counts an output picture."""
        if info.enhanced:
            self.add(enhanced=1, network_milliseconds=info.milliseconds, late=int(info.late))
            with self._lock:
                self._numbers["nnpfc_id"] = info.nnpfc_id
        else:
            slow = info.reason == LATE
            self.add(plain=1, too_slow=int(slow), late=int(info.late))

    def snapshot(self, pace: str) -> Statistics:
        """All numbers at this moment."""
        with self._lock:
            return Statistics(**self._numbers, pace=pace)
