# SPDX-License-Identifier: Apache-2.0
"""What the messages of a stream mean for its pictures: which networks, and which output format.

Messages come in decoding order, pictures in output order; nothing here runs or builds a network.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import final

from nnrvideo.errors import NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.picture import PictureFormat
from nnrvideo.player import characteristics
from nnrvideo.player.events import Event, EventKind, Pts
from nnrvideo.player.library import Content, fingerprint, properties_of
from nnrvideo.player.reporter import Reporter
from nnrvideo.sei import (
    FilterAdded,
    FilterEvent,
    FilterRejected,
    FilterState,
    FilterUpdated,
    Nnpfc,
    SeiMessage,
    parse_records,
)

_log = logging.getLogger(__name__)

_DEFAULT_DURATION = Fraction(1, 25)  # of a picture, until two of them have told


@final
class Stream:
    """Follows one stream; the caller holds a lock around each call.

    Args:
        limits: Bounds on what the stream may ask for.
        output_size: Width and height of all output pictures; None leaves it to the stream.
        fixed: All output pictures have one format.
        source: Format of the pictures to come, if known.
        reporter: Tells complaints apart.
        announce: Called with every network that is heard of, and the format of the pictures
            once that is known.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        output_size: tuple[int, int] | None,
        fixed: bool,
        source: PictureFormat | None,
        reporter: Reporter,
        announce: Callable[[Content, PictureFormat], object],
    ) -> None:
        self._limits = limits
        self._wanted_size = output_size
        self._fixed = fixed
        self._source = source  # latest input format
        self._reporter = reporter
        self._announce = announce
        self._state = FilterState(limits)
        self._announced: Content | None = None  # first base heard
        self._bases: dict[int, Nnpfc] = {}  # latest base of each filter
        self._last_pts: Pts | None = None
        self._active: Content | None = None  # of the latest picture
        self._several_reported = False
        self.target: PictureFormat | None = None  # of all output pictures, once known

    def hear(self, pts: Pts, records: bytes, *, clvs_start: bool, source: str) -> list[Event]:
        """Takes the messages of an access unit; returns what is worth telling."""
        events: list[Event] = []
        messages: Sequence[SeiMessage] = ()
        try:
            messages = parse_records(records, self._limits)
        except NnrVideoError as error:
            reason = f"{source} side data: {error}"
            if self._reporter.first_time(reason):
                events.append(Event(EventKind.SIDE_DATA_REJECTED, None, reason, pts))
        if clvs_start:
            self._bases.clear()  # each sequence sends its own
        for heard in self._state.access_unit(pts, messages, clvs_start):
            events += self._note(heard)
        return events

    def picture(
        self, pts: Pts, source: PictureFormat
    ) -> tuple[tuple[Content, ...], Fraction, list[Event]]:
        """The next picture in output order.

        Returns:
            Networks that apply to it, in the order of the stream; its duration in seconds; what
            is worth telling.
        """
        self._source = source
        if self._fixed and self.target is None:
            self.target = self._fixed_target(source)
        contents, events = self._activate(pts)
        return contents, self._duration(pts), events

    def peek(self, pts: Pts, source: PictureFormat | None) -> PictureFormat | None:
        """Format of the output picture that a picture will become; None while unknown."""
        source = source or self._source
        if self.target is not None or source is None:
            return self.target
        if self._fixed:
            return self._fixed_target(source)
        active = self._state.active(pts)
        content = (active[0].base, active[0].update) if active else None
        return self._signalled_format(content, source) or source

    @property
    def output_size(self) -> tuple[int, int] | None:
        """Width and height of all output pictures; None while unknown or if it is dynamic."""
        if self.target is not None:
            return self.target.width, self.target.height
        return self._wanted_size if self._fixed else None

    def flush(self) -> None:
        """Forgets all messages, as for a seek."""
        self._state.flush()
        self._bases.clear()
        self._last_pts = None
        self._active = None

    # -- networks ----------------------------------------------------------------------------

    def _note(self, heard: FilterEvent) -> list[Event]:
        """Reacts to what the activation state made of a message."""
        match heard:
            case FilterRejected(pts=pts, nnpfc_id=nnpfc_id, reason=reason):
                return [Event(EventKind.NETWORK_REJECTED, nnpfc_id, reason, pts)]
            case FilterAdded(base=base, nnpfc_id=nnpfc_id):
                if self._announced is None:
                    self._announced = base, None
                self._bases[nnpfc_id] = base
                self._prepare((base, None))
            case FilterUpdated(update=update, nnpfc_id=nnpfc_id):
                _log.debug(
                    "update of filter %d, %d bytes", nnpfc_id, len(update.nnpfc_payload_byte)
                )
                known = self._bases.get(nnpfc_id)
                if known is not None:
                    self._prepare((known, update))
        return []

    def _prepare(self, content: Content) -> None:
        """Has a network built before it is activated, so that its first picture need not wait."""
        if self._source is not None:
            self._announce(content, self._source)

    def _activate(self, pts: Pts) -> tuple[tuple[Content, ...], list[Event]]:
        """Finds the networks for a picture and reports a change of the first."""
        contents: list[Content] = [(one.base, one.update) for one in self._state.active(pts)]
        alternatives = tuple(one for one in contents if self._is_alternative(one, contents[0]))
        if len(alternatives) < len(contents) and not self._several_reported:
            self._several_reported = True
            # Only an SEI processing order message could say how to chain them.
            ids = ", ".join(str(base.nnpfc_id) for base, _ in contents)
            _log.warning("several networks are active (%s); only the first is applied", ids)
        first = contents[0] if contents else None
        events: list[Event] = []
        if first is not None and first != self._active:
            kind = EventKind.NETWORK_ACTIVATED
            events.append(Event(kind, first[0].nnpfc_id, fingerprint(first), pts))
        elif first is None and self._active is not None:
            kind = EventKind.NETWORK_DEACTIVATED
            events.append(Event(kind, self._active[0].nnpfc_id, "", pts))
        self._active = first
        return alternatives, events

    def _is_alternative(self, content: Content, first: Content) -> bool:
        """Whether a network does the same for a picture as the first one, in other time."""
        if content is first:
            return True
        assert self._source is not None
        formats = [self._signalled_format(one, self._source) for one in (first, content)]
        purposes = {properties_of(one).nnpfc_purpose for one in (first, content)}
        return formats[0] is not None and formats[0] == formats[1] and len(purposes) == 1

    # -- formats and times -------------------------------------------------------------------

    def _duration(self, pts: Pts) -> Fraction:
        last, self._last_pts = self._last_pts, pts
        grown = pts - last if last is not None else 0
        return Fraction(grown) if grown > 0 else _DEFAULT_DURATION

    def _fixed_target(self, source: PictureFormat) -> PictureFormat:
        signalled = self._signalled_format(self._announced, source) or source
        return signalled.scaled(*self._wanted_size) if self._wanted_size else signalled

    def _signalled_format(
        self, content: Content | None, source: PictureFormat
    ) -> PictureFormat | None:
        if content is None:
            return None
        try:
            properties = properties_of(content)
            characteristics.require_supported(properties)
            return characteristics.output_format(properties, source, self._limits)
        except NnrVideoError:
            return None  # said in full when the network is built
