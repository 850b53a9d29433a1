# SPDX-License-Identifier: Apache-2.0
"""``Enhancer``: messages and decoded pictures go in, enhanced pictures come out.

The caller decodes; worker threads run the networks; a builder thread makes them.  Side data are
sent in decoding order, pictures in output order, and the two meet by their timestamps.  Whatever a
stream contains, every picture sent yields exactly one picture with the same timestamp: enhanced if
a network applies and works, else resampled plainly, and an event says why.

    caller   send_side_data ──► FilterState      send_frame ──► Line          receive ◄── Line
    workers                                      Line ──► filter or plain resampler ──► Line
    builder                     NNC decode, check, load, warm up ──► filter

With ``realtime=False`` (files) the workers wait for networks, so the output depends on the stream
alone.  With ``realtime=True`` nothing waits longer than a picture can: pictures are resampled
plainly until the network is ready, and while it is too slow.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from types import TracebackType
from typing import Literal, Self, final

from nnrvideo.errors import NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.picture import Picture, PictureFormat
from nnrvideo.player import characteristics
from nnrvideo.player.events import (
    Enhanced,
    Event,
    EventKind,
    FrameInfo,
    Pts,
    Statistics,
    Status,
)
from nnrvideo.player.execution import LATE, Execution
from nnrvideo.player.filter import NetworkFilter
from nnrvideo.player.library import (
    Content,
    FilterLibrary,
    MemoryShare,
    fingerprint,
    properties_of,
)
from nnrvideo.player.line import Job, Line
from nnrvideo.player.networks import Resolver
from nnrvideo.player.pace import Pace
from nnrvideo.player.precision import Precision
from nnrvideo.runtime.base import InferenceBackend
from nnrvideo.runtime.onnxruntime import OnnxRuntimeBackend, default_threads
from nnrvideo.runtime.resample import Upscaler
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

_MAX_COMPLAINTS = 256  # remembered, so that each is made once
_DEFAULT_DURATION = Fraction(1, 25)  # of a picture, until two of them have told
_WARNINGS = frozenset(
    {
        EventKind.NETWORK_REJECTED,
        EventKind.SIDE_DATA_REJECTED,
        EventKind.FALLBACK_ON,
        EventKind.ERROR,
    }
)


@final
class Enhancer:
    """Applies the networks of a stream to its pictures.

    Use it as a context manager, or call :meth:`close`.  The methods may be called from different
    threads; ``on_event`` is called from whichever thread finds out.

    Args:
        output_size: Width and height of every output picture; None leaves it to the first network
            that is announced before the first picture, else to that picture.
        geometry: "fixed": all output pictures have one size and sample format, whatever networks
            come and go.  "dynamic": each has what its network makes, or the input's.
        fallback: Kernel for pictures, and colour components, without a network.
        realtime: Never wait for a network longer than a picture can wait; timestamps are then
            seconds.
        deadline: Share of a picture's duration that a network may take in real time.
        threads: Threads for networks; None for at most 4.
        workers: Pictures in work at the same time, which share the threads out among them.  As
            many as threads gives the most pictures per second; 1 the shortest time for each.
        providers: Execution providers in order of preference; None for the best present.
        precision: "auto" computes in 8-bit integers where the encoder allows it and the processor
            does it exactly; "fp32" never; "int8" as "auto", with a warning where it cannot be.
        max_memory_mib: Bound on the memory of the networks at work and of the pictures in the
            queue, in MiB; networks run in bands of pictures to keep it.
        queue_size: Pictures inside the enhancer, waiting, in work and finished together.
        source: Format of the pictures to come, so that networks are built before the first.
        limits: Bounds on what a stream may ask for; a desktop's if absent.
        backend: Runs the networks instead of ONNX Runtime; ``threads`` and ``providers`` are its
            own business then.  With several workers its sessions are run by several threads.
        resolver: Finds networks that are named by URI; None refuses them: a stream must not make
            a player fetch things.
        on_event: Receives every :class:`Event`.
        clock: Seconds on the clock of ``due``, see :meth:`send_frame`.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        *,
        output_size: tuple[int, int] | None = None,
        geometry: Literal["fixed", "dynamic"] = "fixed",
        fallback: Upscaler | str = Upscaler.BICUBIC,
        realtime: bool = False,
        deadline: float = 0.8,
        threads: int | None = None,
        workers: int = 1,
        providers: Sequence[str] | None = None,
        precision: Precision | str = Precision.AUTO,
        max_memory_mib: int = 256,
        queue_size: int = 6,
        source: PictureFormat | None = None,
        limits: Limits | None = None,
        backend: InferenceBackend | None = None,
        resolver: Resolver | None = None,
        on_event: Callable[[Event], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if geometry not in ("fixed", "dynamic"):
            raise ValueError(f"geometry is fixed or dynamic, not {geometry!r}")
        if output_size is not None and min(output_size) < 1:
            raise ValueError(f"output size {output_size} is impossible")
        if min(queue_size, max_memory_mib, workers) < 1:
            raise ValueError("queue_size, max_memory_mib and workers must be at least 1")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        self.on_event = on_event
        self._limits = limits or Limits.desktop()
        self._fixed = geometry == "fixed"
        self._wanted_size = output_size
        each = max(1, (threads or default_threads()) // workers)
        upscaler = Upscaler(fallback)
        self._library = FilterLibrary(
            backend or OnnxRuntimeBackend(providers=providers, threads=each),
            limits=self._limits,
            memory=MemoryShare(max_memory_mib << 20, workers, queue_size),
            upscaler=upscaler,
            resolver=resolver,
            precision=Precision(precision),
            on_built=self._on_built,
        )
        self._line = Line(max(queue_size, workers))
        self._execution = Execution(
            self._library,
            upscaler=upscaler,
            realtime=realtime,
            pace=Pace(deadline),
            busy=lambda: self._line.busy,
            tell=self._tell,
            clock=clock,
        )
        self._lock = threading.RLock()  # guards all below
        self._state = FilterState(self._limits)
        self._announced: Content | None = None  # first base heard
        self._bases: dict[int, Nnpfc] = {}  # latest base of each filter
        self._target: PictureFormat | None = None  # fixed geometry, once known
        self._source = source  # latest input format
        self._last_pts: Pts | None = None
        self._active: Content | None = None  # of the latest picture sent
        self._several_reported = False
        self._complaints: set[str] = set()
        self._statistics = Statistics()
        self._closed = False
        self._workers = [
            threading.Thread(target=self._work, name=f"nnrvideo-enhancer-{index}", daemon=True)
            for index in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    # -- what goes in ------------------------------------------------------------------------

    def send_side_data(
        self, pts: Pts, records: bytes, clvs_start: bool = False, *, source: str = "sei"
    ) -> None:
        """Takes the messages of one access unit; cheap, and never raises for their content.

        Args:
            pts: Presentation time of the access unit's picture.
            records: Concatenated ``sei_message()`` structures, any payload types; empty if the
                access unit has none but starts a CLVS.
            clvs_start: The picture starts a coded layer video sequence, which ends the scope of
                all earlier networks.
            source: Where they come from ("sei", "obu", "container", "file"); for messages.

        Raises:
            ValueError: The enhancer is closed.
        """
        events: list[Event] = []
        with self._lock:
            self._require_open()
            messages: Sequence[SeiMessage] = ()
            try:
                messages = parse_records(records, self._limits)
            except NnrVideoError as error:
                reason = f"{source} side data: {error}"
                if self._first_time(reason):
                    events.append(Event(EventKind.SIDE_DATA_REJECTED, None, reason, pts))
            if clvs_start:
                self._bases.clear()  # each sequence sends its own
            for heard in self._state.access_unit(pts, messages, clvs_start):
                events += self._note(heard)
        self._tell(events)

    def send_frame(
        self,
        picture: Picture,
        pts: Pts,
        *,
        strength: float = 1.0,
        plain: bool = False,
        due: float | None = None,
        timeout: float | None = 0.0,
    ) -> Status:
        """Takes one decoded picture.

        Args:
            picture: Its planes must stay unchanged until the result has been received.
            pts: Presentation time, growing from picture to picture; the side data of this and of
                all earlier access units must have been sent.
            strength: StrengthControlVal for networks that take one, 0 to 1.
            plain: Resample it plainly, as :meth:`skip` asks for, because it is late already.
            due: Time on the clock by which the result is wanted, with ``realtime``.  The network
                runs if it is expected to be done by then; without it, a network is too slow if it
                takes more than its share of the time between pictures.
            timeout: Seconds to wait for room in the queue; None waits as long as it takes.

        Returns:
            ``OK``, or ``AGAIN`` if the queue is full: receive first, then send it again.

        Raises:
            ValueError: The enhancer is closed.
        """
        if not self._line.wait_for_room(timeout):
            self._require_open()
            return Status.AGAIN
        with self._lock:
            self._require_open()
            self._source = picture.format
            if self._fixed and self._target is None:
                self._target = self._fixed_target(picture.format)
            contents, events = self._activate(pts)
            self._line.put(
                Job(
                    picture,
                    pts,
                    contents,
                    self._target,
                    strength,
                    self._duration(pts),
                    due,
                    plain,
                )
            )
            self._statistics = _plus(self._statistics, frames_in=1)
        self._tell(events)
        return Status.OK

    def skip(self, pts: Pts | None = None) -> bool:
        """Asks for plain resampling of a picture that has been sent, because time is short.

        Args:
            pts: Its time; None for all that wait.

        Returns:
            Whether a picture was still waiting.
        """
        return self._line.skip(pts)

    def wait_for_networks(self, timeout: float | None = None) -> bool:
        """Waits until no network is being built, so that playing can start with it.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Returns:
            Whether all that were announced are ready or rejected.
        """
        return self._library.wait(timeout)

    # -- what comes out ----------------------------------------------------------------------

    def receive(self, timeout: float | None = 0.0) -> Enhanced | Literal[Status.AGAIN]:
        """The next output picture, in the order of sending.

        Args:
            timeout: Seconds to wait for a picture in work; None waits as long as it takes.

        Returns:
            The picture, or ``AGAIN`` if none is ready; at once if none is in work.
        """
        result = self._line.next(timeout)
        if result is None:
            return Status.AGAIN
        with self._lock:
            self._statistics = _plus(self._statistics, frames_out=1)
        return result

    @property
    def ready(self) -> int:
        """Pictures that :meth:`receive` would hand out one after the other without waiting."""
        return self._line.ready

    @property
    def pending(self) -> int:
        """Pictures that were sent and not received."""
        return self._line.inside

    def peek(self, pts: Pts, source: PictureFormat | None = None) -> PictureFormat | None:
        """Format of the output picture that the picture at ``pts`` will become.

        Args:
            pts: Presentation time; its side data have been sent, later pictures have not.
            source: Format of the input pictures; may be left out once one has been sent.

        Returns:
            The format, or None while ``source`` is unknown.
        """
        with self._lock:
            source = source or self._source
            if self._target is not None or source is None:
                return self._target
            if self._fixed:
                return self._fixed_target(source)
            active = self._state.active(pts)
            content = (active[0].base, active[0].update) if active else None
            return self._signalled_format(content, source) or source

    @property
    def output_format(self) -> PictureFormat | None:
        """Format of all output pictures; None before the first picture or if it is dynamic."""
        return self._target

    @property
    def output_size(self) -> tuple[int, int] | None:
        """Width and height of all output pictures; None while unknown or if it is dynamic."""
        if self._target is not None:
            return self._target.width, self._target.height
        return self._wanted_size if self._fixed else None

    def stats(self) -> Statistics:
        """Counts so far."""
        with self._lock:
            return replace(self._statistics, pace=self._execution.state)

    # -- life cycle --------------------------------------------------------------------------

    def flush(self) -> None:
        """Forgets all pictures and all messages, as for a seek; returns at once.

        Networks that were built stay in memory, so a stream that repeats them loses nothing.
        """
        with self._lock:
            dropped = self._line.clear()
            self._state.flush()
            self._bases.clear()
            self._execution.restart()
            self._last_pts = None
            self._active = None
            self._statistics = _plus(self._statistics, flushed=dropped)

    def drain(self) -> None:
        """Waits until every picture sent is ready to be received."""
        self._line.drain()

    def close(self) -> None:
        """Stops the threads; pictures inside are lost.  Closing twice does no harm."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._line.close()
        self._library.close()
        for worker in self._workers:
            worker.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- the caller's side -------------------------------------------------------------------

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError("the enhancer is closed")

    def _note(self, heard: FilterEvent) -> list[Event]:
        """Reacts to what the activation state made of a message."""
        match heard:
            case FilterRejected(pts=pts, nnpfc_id=nnpfc_id, reason=reason):
                kind = EventKind.NETWORK_REJECTED
                self._statistics = _plus(self._statistics, networks_rejected=1)
                return [Event(kind, nnpfc_id, reason, pts)]
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
        """Builds a network before it is activated, so that its first picture need not wait."""
        if self._source is not None:
            self._library.request(content, self._source, optional=True)

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

    def _duration(self, pts: Pts) -> Fraction:
        last, self._last_pts = self._last_pts, pts
        grown = Fraction(pts) - Fraction(last) if last is not None else Fraction(0)
        return grown if grown > 0 else _DEFAULT_DURATION

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

    def _first_time(self, complaint: str) -> bool:
        """Whether something is worth saying; whoever finds ever new faults is silenced."""
        if complaint in self._complaints or len(self._complaints) >= _MAX_COMPLAINTS:
            return False
        self._complaints.add(complaint)
        return True

    def _tell(self, events: Sequence[Event]) -> None:
        """Reports events; call without holding the lock, as the callee may call back."""
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

    # -- the builder's side ------------------------------------------------------------------

    def _on_built(
        self, content: Content, result: NetworkFilter | NnrVideoError, seconds: float
    ) -> None:
        nnpfc_id = content[0].nnpfc_id
        events = []
        with self._lock:
            if isinstance(result, NetworkFilter):
                self._statistics = replace(
                    _plus(self._statistics, networks_built=1, build_milliseconds=1e3 * seconds),
                    provider=result.provider,
                    precision=result.precision.name,
                )
                events.append(Event(EventKind.NETWORK_READY, nnpfc_id, fingerprint(content)))
                reason = result.precision.reason
                if reason and self._first_time(reason):
                    _log.warning("fp32 instead of int8 (nnpfc_id %d): %s", nnpfc_id, reason)
            elif self._first_time(f"{fingerprint(content)} {result}"):
                self._statistics = _plus(self._statistics, networks_rejected=1)
                events.append(Event(EventKind.NETWORK_REJECTED, nnpfc_id, str(result)))
        self._tell(events)

    # -- the workers' side -------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._line.take()) is not None:
            result = self._execution.process(job)
            with self._lock:
                if self._line.finish(job, result):
                    self._count(result.info)

    def _count(self, info: FrameInfo) -> None:
        if info.enhanced:
            self._statistics = replace(
                _plus(self._statistics, enhanced=1, network_milliseconds=info.milliseconds),
                nnpfc_id=info.nnpfc_id,
            )
        else:
            slow = info.reason == LATE
            self._statistics = _plus(self._statistics, plain=1, too_slow=int(slow))
        self._statistics = _plus(self._statistics, late=int(info.late))


def _plus(statistics: Statistics, **increments: float) -> Statistics:
    changed = {name: getattr(statistics, name) + value for name, value in increments.items()}
    return replace(statistics, **changed)
