# SPDX-License-Identifier: Apache-2.0
"""Which access unit carries which message: pure planning, no file and no clock.

The scope of both messages is the coded layer video sequence (CLVS), so everything is repeated
where a receiver can join; activation counts in output order, insertion in decoding order.

Spec: Rec. ITU-T H.274 (V3) clauses 8.28.1.2, 8.28.2.2 (scope, persistence, cancellation).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal, final

from nnrvideo.sei import Nnpfa, Nnpfc, SeiMessage, message_of, random_access_messages

Positions = Literal["random-access", "clvs-start"]
Span = tuple[Fraction | None, Fraction | None]
"""From which presentation time (seconds) to before which; None for the beginning and the end."""

ALWAYS: tuple[Span, ...] = ((None, None),)


@final
@dataclass(frozen=True, slots=True)
class UnitTiming:
    """What planning needs to know about an access unit."""

    time: Fraction  # presentation, seconds
    clvs_start: bool
    random_access: bool


@final
@dataclass(frozen=True, slots=True)
class FilterPlan:
    """One filter on its way through a film.

    Args:
        base: Base message with its network.
        updates: ``(time, update)`` in increasing time (seconds): from when on which update of the
            base is in force; None for the base itself.
        spans: When pictures are filtered: in increasing order, without overlap.
        activate: Whether to activate the filter at all.
        persistent: Activate to the end of each CLVS rather than each picture by itself.

    Raises:
        ValueError: The times do not increase.
    """

    base: Nnpfc
    updates: tuple[tuple[Fraction, Nnpfc | None], ...] = ()
    spans: tuple[Span, ...] = ALWAYS
    activate: bool = True
    persistent: bool = True

    def __post_init__(self) -> None:
        times = [time for time, _ in self.updates]
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError("the times of the updates do not increase")
        if any(None not in (start, end) and end <= start for start, end in self.spans):  # type: ignore[operator]
            raise ValueError("the filter ends before it starts")
        for (_, end), (start, _) in pairwise(self.spans):
            if end is None or start is None or start < end:
                raise ValueError("the spans of the filter overlap or are out of order")

    def is_active(self, time: Fraction) -> bool:
        """Whether a picture shown at this time is filtered."""
        at = bisect_right(self.spans, time, key=lambda span: time if span[0] is None else span[0])
        if not self.activate or not at:
            return False
        end = self.spans[at - 1][1]
        return end is None or time < end

    def update_at(self, time: Fraction) -> Nnpfc | None:
        """The update in force for a picture shown at this time."""
        at = bisect_right(self.updates, time, key=lambda item: item[0])
        return self.updates[at - 1][1] if at else None


def schedule(
    units: Sequence[UnitTiming],
    plan: FilterPlan,
    positions: Positions = "random-access",
    *,
    repeat: Fraction = Fraction(0),
) -> dict[int, list[SeiMessage]]:
    """Plans the messages of one filter.

    Args:
        units: Access units of the film in decoding order.
        plan: What shall happen.
        positions: Repeat at every point where decoding can start, or only where a CLVS starts
            (smaller, but a receiver that joins at an open group of pictures waits).
        repeat: Seconds that pass at least before the network is repeated inside a CLVS; where a
            CLVS starts it is repeated all the same, because nothing of the one before holds.

    Returns:
        Messages to insert, by index of the access unit.

    Raises:
        ValueError: The filter is outside the writing profile.
    """
    messages: dict[int, list[SeiMessage]] = {}
    joins = [
        index
        for index, unit in enumerate(units)
        if index == 0 or unit.clvs_start or (positions == "random-access" and unit.random_access)
    ]
    equipped: set[int] = set()  # joins from which on whoever has listened so far has the base
    sent: Fraction | None = None  # when the base was sent last in this CLVS
    for index, stop in pairwise([*joins, len(units)]):
        if units[index].clvs_start:
            sent = None
        needed = not plan.activate or any(map(plan.is_active, _shown_between(units, index, stop)))
        if needed and (sent is None or units[index].time - sent >= repeat):
            sent = units[index].time
            _send_base(units, plan, messages, index, stop)
        if sent is not None:
            equipped.add(index)
    for since, _ in plan.updates:
        shown = _first_shown(units, since)
        # Without a base in reach the update waits for the next one, which brings it along.
        if shown is None or shown in messages or _last_join(joins, shown) not in equipped:
            continue
        time = units[shown].time
        if plan.activate and not plan.is_active(time):
            continue  # it is sent where it is first used
        update = plan.update_at(time)  # a later one than this, if they follow so closely
        messages[shown] = [message_of(update)] if update is not None else []
        if plan.persistent and plan.is_active(time):
            messages[shown].append(_activation(plan, time))
    if not plan.activate:
        return messages
    if plan.persistent:
        _starts_and_ends(units, plan, messages)
    else:
        for index, unit in enumerate(units):
            if plan.is_active(unit.time):
                messages.setdefault(index, []).append(_activation(plan, unit.time))
    if plan.updates:
        _complete_updates(units, plan, messages)
    return messages


def _send_base(
    units: Sequence[UnitTiming],
    plan: FilterPlan,
    messages: dict[int, list[SeiMessage]],
    index: int,
    stop: int,
) -> None:
    """Sends the base, and what is in force of its updates, at a join."""
    # A base holds from its picture on in output order, so where a CLVS starts it is needed
    # once more at the first picture that is decoded after the start and shown before it.
    leader = _first_leading(units, index, stop) if units[index].clvs_start else None
    for carrier in [index] if leader is None else [index, leader]:
        time = units[carrier].time
        active = plan.is_active(time)
        messages[carrier] = list(
            random_access_messages(
                plan.base, plan.update_at(time), activate=plan.persistent and active
            )
        )


def _complete_updates(
    units: Sequence[UnitTiming], plan: FilterPlan, messages: dict[int, list[SeiMessage]]
) -> None:
    """Sends an update once more wherever another one, or none, would be in force.

    What holds from a picture on counts in the order in which pictures are shown, and a receiver
    knows nothing of what is decoded later.  So the right update must be in force by all that a
    CLVS carries, and by what it has carried up to the picture in question.
    """
    base = message_of(plan.base)
    coded = {id(update): message_of(update) for _, update in plan.updates if update is not None}
    known = {base, *coded.values()}

    def complete(order: Sequence[int]) -> bool:
        added = False
        carried: list[tuple[Fraction, SeiMessage]] = []  # by time
        for index in order:
            here, time = messages[index], units[index].time
            for message in here:
                if message in known:
                    insort(carried, (time, message), key=lambda item: item[0])
            update, activation = plan.update_at(time), _activation(plan, time)
            if update is None or activation not in here:
                continue
            at = bisect_right(carried, time, key=lambda item: item[0])
            wanted = coded[id(update)]
            if not at or carried[at - 1][1] != wanted:
                here.insert(here.index(activation), wanted)
                carried.insert(at, (time, wanted))
                added = True
        return added

    starts = [index for index, unit in enumerate(units) if index == 0 or unit.clvs_start]
    for start, stop in pairwise([*starts, len(units)]):
        decoded = [index for index in sorted(messages) if start <= index < stop]
        shown = sorted(decoded, key=lambda index: units[index].time)
        while complete(decoded) or complete(shown):
            pass


def _starts_and_ends(
    units: Sequence[UnitTiming], plan: FilterPlan, messages: dict[int, list[SeiMessage]]
) -> None:
    """Switches on and off inside a CLVS."""
    for start, end in plan.spans:
        index = None if start is None else _first_shown(units, start)
        if index is not None and plan.is_active(units[index].time):
            activation = _activation(plan, units[index].time)
            here = messages.setdefault(index, [])
            if activation not in here:
                here.append(activation)
        index = None if end is None else _first_shown(units, end)
        if index is None or index == 0 or plan.is_active(units[index].time):
            continue
        # A new CLVS without the network has forgotten everything anyway.
        if not units[index].clvs_start or index in messages:
            cancel = message_of(Nnpfa.cancel(plan.base.nnpfc_id))
            here = messages.setdefault(index, [])
            if cancel not in here:
                here.append(cancel)


def _activation(plan: FilterPlan, time: Fraction) -> SeiMessage:
    return message_of(
        Nnpfa.activate(
            plan.base.nnpfc_id, base=plan.update_at(time) is None, persistent=plan.persistent
        )
    )


def _last_join(joins: Sequence[int], index: int) -> int:
    """Where a receiver last had to be able to begin, at or before an access unit."""
    return joins[bisect_right(joins, index) - 1]


def _shown_between(units: Sequence[UnitTiming], start: int, stop: int) -> list[Fraction]:
    """Times of the pictures that rely on what ``start`` carries, of all those before ``stop``.

    Pictures that lead ``stop`` rely on it too, as long as no CLVS starts there.
    """
    times = [unit.time for unit in units[start:stop]]
    if stop < len(units) and not units[stop].clvs_start:
        until = next(
            (at for at in range(stop + 1, len(units)) if units[at].random_access), len(units)
        )
        times += [u.time for u in units[stop + 1 : until] if u.time < units[stop].time]
    return times


def _first_leading(units: Sequence[UnitTiming], start: int, stop: int) -> int | None:
    """Index of the picture shown first among those decoded after ``start``, shown before it."""
    leading = [at for at in range(start + 1, stop) if units[at].time < units[start].time]
    return min(leading, key=lambda at: units[at].time, default=None)


def _first_shown(units: Sequence[UnitTiming], time: Fraction) -> int | None:
    """Index of the first picture in output order that is shown at ``time`` or later."""
    later = [index for index, unit in enumerate(units) if unit.time >= time]
    return min(later, key=lambda index: units[index].time, default=None)
