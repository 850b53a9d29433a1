# SPDX-License-Identifier: Apache-2.0
"""``FilterState``: which filters apply to which picture.

Messages arrive with access units in decoding order; questions come for pictures in output order,
interleaved with the arrivals in any way that lets a picture's own access unit come first.  All
scopes of H.274 are scopes in output order, so the state keeps what it has heard on a time line per
CLVS and answers from there.

Decisions that the standard leaves to its reader:

* A CLVS begins in output at the smallest pts of its access units.  Leading pictures, which follow
  the first picture of their CLVS in decoding order and precede it in output, thus belong to the
  new CLVS: the filters of the old one have ended, those of the new one begin with their own
  picture, so leading pictures are not filtered unless they carry an activation that can apply.
* Without an access unit that starts a CLVS (playing from the middle) the first one heard does.
* A persistent activation of the update follows the update: when a newer one arrives, it applies
  from its own picture on without another NNPFA.
* Several filters for one picture are listed in the order in which their bases came; only an SEI
  processing order message could say more.
* A message that cannot be used costs its filter, never the picture: it becomes an event.  The
  same complaint is made once, not at every repetition.

Spec: Rec. ITU-T H.274 (V4, 01/2026) clauses 8.28.1.2 and 8.28.2.2.
"""

from __future__ import annotations

import enum
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Generic, TypeAlias, TypeVar, final

from nnrvideo.bits import BitReader
from nnrvideo.errors import BitstreamError, LimitExceededError, NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.sei.message import SeiMessage
from nnrvideo.sei.nnpfa import NNPFA_PAYLOAD_TYPE, Nnpfa, parse_nnpfa, validate_nnpfa
from nnrvideo.sei.nnpfc import NNPFC_PAYLOAD_TYPE, Nnpfc, parse_nnpfc
from nnrvideo.sei.semantics import filtered_inputs, validate_nnpfc

Timestamp: TypeAlias = Fraction | int  # one unit for all, e.g. seconds or ticks

# What may wait for a question.  A decoder reorders a few pictures and a player queues some
# seconds; of what a caller feeds beyond that without asking, the oldest is forgotten.
_MAX_WAITING_CLVS = 256
_MAX_WAITING_ENTRIES = 4096
_MAX_COMPLAINTS = 256  # distinct ones remembered

_T = TypeVar("_T")


@final
@dataclass(frozen=True, slots=True)
class FilterAdded:
    """A CLVS has sent the base of a filter."""

    pts: Timestamp
    nnpfc_id: int
    base: Nnpfc


@final
@dataclass(frozen=True, slots=True)
class FilterUpdated:
    """A filter has a further update, relative to its base; it replaces earlier updates."""

    pts: Timestamp
    nnpfc_id: int
    update: Nnpfc


@final
@dataclass(frozen=True, slots=True)
class FilterRejected:
    """A message is not used.

    Args:
        pts: Of its access unit.
        nnpfc_id: The filter, or None if the message could not be read that far.
        reason: For the user.
        error: What the parser or validator raised.
    """

    pts: Timestamp
    nnpfc_id: int | None
    reason: str
    error: NnrVideoError = field(compare=False)


FilterEvent: TypeAlias = FilterAdded | FilterUpdated | FilterRejected


@final
@dataclass(frozen=True, slots=True)
class ActiveFilter:
    """A filter that applies to a picture.

    Args:
        nnpfc_id: Its id.
        base: Its base message, with all properties.
        update: The update to apply to the base network, or None for the base alone.
        activation: The NNPFA in force; says which inputs may come from another CLVS
            (``nnpfa_no_prev_clvs_flag``, ``nnpfa_no_foll_clvs_flag``) and what is output.
    """

    nnpfc_id: int
    base: Nnpfc
    update: Nnpfc | None
    activation: Nnpfa

    @property
    def properties(self) -> Nnpfc:
        """The message whose properties hold: an update may bring its own."""
        if self.update is not None and self.update.nnpfc_property_present_flag:
            return self.update
        return self.base


class _Known(enum.Enum):
    """What a CLVS has said about an id so far."""

    NOTHING = enum.auto()
    BASE = enum.auto()
    UPDATE = enum.auto()


class _Said(enum.Enum):
    """What a message says."""

    BASE = enum.auto()
    UPDATE = enum.auto()
    USE_BASE = enum.auto()
    USE_UPDATE = enum.auto()
    CANCEL = enum.auto()


class _Do(enum.Enum):
    """What becomes of it."""

    ADD_BASE = enum.auto()
    COMPARE_BASE = enum.auto()
    ADD_UPDATE = enum.auto()
    SCHEDULE = enum.auto()
    NOTHING = enum.auto()
    REJECT_WITHOUT_BASE = enum.auto()
    REJECT_WITHOUT_UPDATE = enum.auto()


_TABLE = {
    (_Known.NOTHING, _Said.BASE): _Do.ADD_BASE,
    (_Known.NOTHING, _Said.UPDATE): _Do.REJECT_WITHOUT_BASE,
    (_Known.NOTHING, _Said.USE_BASE): _Do.REJECT_WITHOUT_BASE,
    (_Known.NOTHING, _Said.USE_UPDATE): _Do.REJECT_WITHOUT_BASE,
    (_Known.NOTHING, _Said.CANCEL): _Do.NOTHING,
    (_Known.BASE, _Said.BASE): _Do.COMPARE_BASE,
    (_Known.BASE, _Said.UPDATE): _Do.ADD_UPDATE,
    (_Known.BASE, _Said.USE_BASE): _Do.SCHEDULE,
    (_Known.BASE, _Said.USE_UPDATE): _Do.REJECT_WITHOUT_UPDATE,
    (_Known.BASE, _Said.CANCEL): _Do.SCHEDULE,
    (_Known.UPDATE, _Said.BASE): _Do.COMPARE_BASE,
    (_Known.UPDATE, _Said.UPDATE): _Do.ADD_UPDATE,
    (_Known.UPDATE, _Said.USE_BASE): _Do.SCHEDULE,
    (_Known.UPDATE, _Said.USE_UPDATE): _Do.SCHEDULE,
    (_Known.UPDATE, _Said.CANCEL): _Do.SCHEDULE,
}


class _TimeLine(Generic[_T]):
    """Values that hold from their pts on, each until the next."""

    __slots__ = ("_times", "_values")

    def __init__(self) -> None:
        self._times: list[Timestamp] = []
        self._values: list[_T] = []

    def put(self, pts: Timestamp, value: _T) -> None:
        """Adds a value; one at the same pts is replaced."""
        index = bisect_left(self._times, pts)
        stop = index + 1 if self._times[index : index + 1] == [pts] else index
        self._times[index:stop] = [pts]
        self._values[index:stop] = [value]
        del self._times[:-_MAX_WAITING_ENTRIES], self._values[:-_MAX_WAITING_ENTRIES]

    def at(self, pts: Timestamp) -> tuple[Timestamp, _T] | None:
        """The value that holds at ``pts`` and since when."""
        index = bisect_right(self._times, pts) - 1
        return (self._times[index], self._values[index]) if index >= 0 else None

    def forget_before(self, pts: Timestamp) -> bool:
        """Drops what no question at ``pts`` or later can reach; True if that was anything."""
        index = bisect_right(self._times, pts) - 1
        if index <= 0:
            return False
        del self._times[:index], self._values[:index]
        return True

    def __iter__(self) -> Iterator[_T]:
        return iter(self._values)


class _Filter:
    """All that one CLVS has said about one id."""

    __slots__ = ("activations", "base", "since", "updated", "updates")

    def __init__(self, base: Nnpfc, since: Timestamp) -> None:
        self.base = base
        self.since = since
        self.updated = False  # stays true when old updates are forgotten
        self.updates: _TimeLine[Nnpfc] = _TimeLine()
        self.activations: _TimeLine[Nnpfa] = _TimeLine()

    def active(self, pts: Timestamp) -> ActiveFilter | None:
        """The filter as it applies to the picture at ``pts``, or None.

        Spec: Rec. ITU-T H.274 clause 8.28.2.2 (persistence), 8.28.1.2 (scope of base and update).
        """
        entry = self.activations.at(pts)
        if entry is None or self.since > pts:
            return None
        start, activation = entry
        if activation.nnpfa_cancel_flag:
            return None
        if not activation.nnpfa_persistence_flag and start != pts:
            return None
        if activation.nnpfa_target_base_flag:
            return ActiveFilter(activation.nnpfa_target_id, self.base, None, activation)
        update = self.updates.at(pts)
        if update is None:
            return None
        return ActiveFilter(activation.nnpfa_target_id, self.base, update[1], activation)

    def payload_bytes(self) -> int:
        """Bytes of networks held; an update that is repeated is counted once."""
        held = {id(message): len(message.nnpfc_payload_byte) for message in self.updates}
        return len(self.base.nnpfc_payload_byte) + sum(held.values())


class _Clvs:
    """A coded layer video sequence on the output time line."""

    __slots__ = ("filters", "first", "index", "last", "refused")

    def __init__(self, index: int, pts: Timestamp) -> None:
        self.index = index
        self.first = pts  # smallest pts of its access units: its begin in output
        self.last = pts
        self.filters: dict[int, _Filter] = {}
        self.refused: set[int] = set()  # ids whose base was rejected


@final
class FilterState:
    """Follows NNPFC and NNPFA messages and answers which filters apply to a picture.

    Not safe for concurrent use; holds no clock and no network, only messages.

    Args:
        limits: ``max_filters`` ids in a CLVS, and ``max_filters`` times ``max_payload_bytes``
            bytes of networks altogether; a desktop's if absent.
    """

    __slots__ = ("_bytes", "_complaints", "_count", "_limits", "_line")

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._line: list[_Clvs] = []  # in both decoding and output order
        self._count = 0
        self._bytes = 0
        self._complaints: set[tuple[int, int | None, str]] = set()

    def access_unit(
        self, pts: Timestamp, messages: Iterable[SeiMessage], clvs_start: bool = False
    ) -> list[FilterEvent]:
        """Takes note of an access unit, in decoding order.

        Access units without messages should be announced too: their pts tell where a CLVS begins
        in output.

        Args:
            pts: Presentation time of its picture.
            messages: Its prefix SEI messages in the order of the stream; types other than NNPFC
                and NNPFA are ignored.
            clvs_start: The picture starts a CLVS (an IDR, or a CRA treated like one).

        Returns:
            What happened, in order; never raises for anything in the messages.
        """
        if clvs_start or not self._line:
            self._begin(pts)
        else:
            self._extend(pts)
        events: list[FilterEvent] = []
        activated: dict[int, Nnpfa] = {}
        for message in messages:
            try:
                if message.payload_type == NNPFC_PAYLOAD_TYPE:
                    events += self._characteristics(pts, message.payload)
                elif message.payload_type == NNPFA_PAYLOAD_TYPE:
                    self._activation(pts, message.payload, activated)
            except NnrVideoError as error:
                events += self._complain(pts, message, error)
        return events

    def active(self, pts: Timestamp) -> tuple[ActiveFilter, ...]:
        """Filters that apply to a picture; call in output order.

        What only earlier pictures could ask for is forgotten.

        Args:
            pts: Presentation time of the picture; its access unit has been announced.

        Returns:
            Active filters in the order of their bases, mostly none or one.
        """
        stale = len(self._line) > 1 and self._line[1].first <= pts
        while len(self._line) > 1 and self._line[1].first <= pts:
            del self._line[0]
        if not self._line or pts < self._line[0].first:
            return ()
        found = []
        for entry in self._line[0].filters.values():
            stale |= entry.updates.forget_before(pts)
            entry.activations.forget_before(pts)
            if (active := entry.active(pts)) is not None:
                found.append(active)
        if stale:
            self._recount()
        return tuple(found)

    def clvs_index(self, pts: Timestamp) -> int | None:
        """Number of the CLVS that the picture at ``pts`` belongs to, or None if unknown.

        Two input pictures of a filter are of the same CLVS if their numbers are equal; ask while
        a picture is current and keep the answer with it.
        """
        for clvs in reversed(self._line):
            if clvs.first <= pts:
                return clvs.index
        return None

    def flush(self) -> None:
        """Forgets everything heard, as after a seek; the next access unit begins a CLVS.

        Complaints made are remembered: a seek is no reason to repeat them.
        """
        self._line.clear()
        self._bytes = 0

    def _begin(self, pts: Timestamp) -> None:
        # Time that runs backwards is a splice: what stood later can never be asked for again.
        while self._line and self._line[-1].first >= pts:
            self._line.pop()
        self._line.append(_Clvs(self._count, pts))
        self._count += 1
        del self._line[:-_MAX_WAITING_CLVS]
        self._recount()

    def _extend(self, pts: Timestamp) -> None:
        clvs = self._line[-1]
        clvs.last = max(clvs.last, pts)
        if pts < clvs.first and (len(self._line) == 1 or pts > self._line[-2].last):
            clvs.first = pts

    def _characteristics(self, pts: Timestamp, payload: bytes) -> list[FilterEvent]:
        clvs = self._line[-1]
        try:
            message = parse_nnpfc(payload, self._limits)
            validate_nnpfc(message)
            return self._apply_characteristics(clvs, pts, message)
        except NnrVideoError:
            nnpfc_id = _peek_id(payload)
            if nnpfc_id is not None and nnpfc_id not in clvs.filters:
                clvs.refused.add(nnpfc_id)
            raise

    def _apply_characteristics(
        self, clvs: _Clvs, pts: Timestamp, message: Nnpfc
    ) -> list[FilterEvent]:
        nnpfc_id = message.nnpfc_id
        entry = clvs.filters.get(nnpfc_id)
        match _TABLE[_known(entry), _Said.BASE if message.nnpfc_base_flag else _Said.UPDATE]:
            case _Do.ADD_BASE:
                self._limits.require("max_filters", len(clvs.filters) + 1, "filters in a CLVS")
                message = self._hold(message)
                clvs.filters[nnpfc_id] = _Filter(message, pts)
                clvs.refused.discard(nnpfc_id)
                return [FilterAdded(pts, nnpfc_id, message)]
            case _Do.COMPARE_BASE if entry is not None:
                # Equal elements are equal bytes: the syntax has one form for each message.
                if entry.base != message:
                    raise _illegal("nnpfc_base_flag", "differs from the base of this CLVS")
                entry.since = min(entry.since, pts)
            case _Do.ADD_UPDATE if entry is not None:
                if message.nnpfc_purpose != entry.base.nnpfc_purpose:
                    raise _illegal("nnpfc_purpose", "update and base differ in purpose")
                held = entry.updates.at(pts)
                if held is not None and held[1] == message:
                    entry.updates.put(pts, held[1])
                else:
                    message = self._hold(message)
                    entry.updates.put(pts, message)
                    entry.updated = True
                    return [FilterUpdated(pts, nnpfc_id, message)]
            case _:
                raise _illegal("nnpfc_base_flag", "update without a base in this CLVS")
        return []

    def _activation(self, pts: Timestamp, payload: bytes, activated: dict[int, Nnpfa]) -> None:
        message = parse_nnpfa(payload, self._limits)
        validate_nnpfa(message)
        nnpfc_id = message.nnpfa_target_id
        if activated.setdefault(nnpfc_id, message) != message:
            raise _illegal("nnpfa_target_id", "two different activations in one access unit")
        clvs = self._line[-1]
        entry = clvs.filters.get(nnpfc_id)
        match _TABLE[_known(entry), _said(message)]:
            case _Do.SCHEDULE if entry is not None:
                outputs = len(filtered_inputs(entry.base))
                if message.nnpfa_num_output_entries > outputs:
                    raise _illegal(
                        "nnpfa_num_output_entries",
                        f"{message.nnpfa_num_output_entries} for {outputs} outputs",
                    )
                entry.activations.put(pts, message)
            case _Do.REJECT_WITHOUT_UPDATE:
                raise _illegal("nnpfa_target_base_flag", "there is no update in this CLVS")
            case _Do.REJECT_WITHOUT_BASE if nnpfc_id not in clvs.refused:
                raise _illegal("nnpfa_target_id", "there is no base in this CLVS")
            case _:  # a cancel of nothing; or the filter was refused, which has been said
                pass

    def _hold(self, message: Nnpfc) -> Nnpfc:
        """Makes room for a network; one that is held already is shared."""
        for clvs in reversed(self._line[-3:]):
            twin = clvs.filters.get(message.nnpfc_id)
            if twin is None:
                continue
            if twin.base == message:
                return twin.base
            for update in twin.updates:
                if update == message:
                    return update
        size = len(message.nnpfc_payload_byte)
        allowed = self._limits.max_filters * self._limits.max_payload_bytes
        while self._bytes + size > allowed and len(self._line) > 1:
            del self._line[0]
            self._recount()
        if self._bytes + size > allowed:
            raise LimitExceededError(
                "networks of one CLVS",
                limit="max_filters * max_payload_bytes",
                value=self._bytes + size,
                allowed=allowed,
            )
        self._bytes += size
        return message

    def _recount(self) -> None:
        self._bytes = sum(
            entry.payload_bytes() for clvs in self._line for entry in clvs.filters.values()
        )

    def _complain(
        self, pts: Timestamp, message: SeiMessage, error: NnrVideoError
    ) -> list[FilterEvent]:
        nnpfc_id = _peek_id(message.payload, message.payload_type)
        key = (message.payload_type, nnpfc_id, str(error))
        if key in self._complaints or len(self._complaints) >= _MAX_COMPLAINTS:
            return []
        self._complaints.add(key)
        return [FilterRejected(pts, nnpfc_id, str(error), error)]


def _known(entry: _Filter | None) -> _Known:
    if entry is None:
        return _Known.NOTHING
    return _Known.UPDATE if entry.updated else _Known.BASE


def _said(message: Nnpfa) -> _Said:
    if message.nnpfa_cancel_flag:
        return _Said.CANCEL
    return _Said.USE_BASE if message.nnpfa_target_base_flag else _Said.USE_UPDATE


def _peek_id(payload: bytes, payload_type: int = NNPFC_PAYLOAD_TYPE) -> int | None:
    """The filter that a message is about, even if the rest of it cannot be read."""
    bits = BitReader(payload)
    try:
        if payload_type == NNPFC_PAYLOAD_TYPE:
            bits.u("nnpfc_purpose", 16)
        return bits.ue("id")
    except BitstreamError:
        return None


def _illegal(element: str, message: str) -> BitstreamError:
    return BitstreamError(message, element=element, clause="H.274 8.28")
