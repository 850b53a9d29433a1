# SPDX-License-Identifier: Apache-2.0
"""``nnrenhance``: runs the networks of a stream on decoded pictures.

One buffer in, one buffer out, in the streaming thread; put a queue behind the decoder to decode
and enhance side by side.  The caps of the output are agreed on with the first picture, because
only then the network that gives the size has been announced.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, final

from nnrvideo.gst import sidedata
from nnrvideo.gst._gi import Gst, GstVideo
from nnrvideo.gst.bus import connect_log, post, structure, warn
from nnrvideo.gst.element import Passing
from nnrvideo.gst.errors import BAD_FORMAT, ElementError
from nnrvideo.gst.frames import RawFormat
from nnrvideo.gst.lateness import Lateness
from nnrvideo.gst.output import Output, any_size
from nnrvideo.gst.settings import Mode, Settings, choice
from nnrvideo.picture import PictureFormat
from nnrvideo.player import Enhanced, Enhancer, Event, EventKind

_log = logging.getLogger(__name__)

_COMPLAINTS = (EventKind.NETWORK_REJECTED, EventKind.SIDE_DATA_REJECTED, EventKind.ERROR)
_AT_ONCE = (Gst.EventType.STREAM_START, Gst.EventType.FLUSH_STOP, Gst.EventType.EOS)
_DEFAULT_DURATION = sidedata.SECOND // 25
_IDLE = 100  # pictures without a network in force after which lateness is not our doing
_MAX_EARLY = 256  # access units with messages before the first picture comes out of a decoder
_CALM = 50  # pictures in time after which being late is over


@final
class Logic(Passing):
    """What the element does.

    Args:
        element: The shell; ``enabled``, ``mode`` and ``qos`` are asked at each picture, the other
            properties now.

    Raises:
        ElementError: See :class:`~nnrvideo.gst.settings.Settings`.
    """

    def __init__(self, element: Any) -> None:
        super().__init__(element)
        connect_log()
        self._settings = Settings(element)
        self._mode = choice(Mode, element.mode, "mode")
        self._wrong_mode = ""
        self._enhancer: Enhancer | None = None
        self._output = Output(element.srcpad, self._settings.upscaler)
        self._lateness = Lateness()
        self._own_latency = 0
        self._forget()

    def close(self) -> None:
        """READY -> NULL."""
        self.reset()

    def reset(self) -> None:
        """PAUSED -> READY: the stream is over; the pad's thread has stopped."""
        if self._enhancer is not None:
            self._enhancer.close()
            self._enhancer.on_event = None  # it must not keep the element alive
            self._enhancer = None
        self._output.close()
        self._lateness.reset()
        self._forget()

    def _forget(self) -> None:
        self._caps: Any = None
        self._format: RawFormat | None = None
        self._segment = Gst.Segment()
        self._segment.init(Gst.Format.TIME)
        self._held: list[Any] = []  # events that must follow the caps
        self._next = 0  # ns, where a picture without a timestamp is put
        self._idle = _IDLE
        self._calm = _CALM
        self._late = 0  # pictures that were upscaled plainly because the sink waited
        self.network_id = -1
        self.active = False
        self._model_due = True
        self._early: deque[sidedata.Messages] = deque(maxlen=_MAX_EARLY)

    def stats(self) -> Any:
        """Counts since the stream started."""
        if self._enhancer is None:
            return structure("nnrenhance", late=self._late)
        counts = self._enhancer.stats()
        return structure(
            "nnrenhance",
            frames=counts.frames_out,
            enhanced=counts.enhanced,
            plain=counts.plain,
            late=self._late,
            networks_built=counts.networks_built,
            networks_rejected=counts.networks_rejected,
            mean_network_ms=float(counts.mean_network_milliseconds),
            provider=counts.provider,
        )

    # -- events ------------------------------------------------------------------------------

    def sink_event(self, event: Any) -> bool:
        """Takes caps, segments and messages; holds back what must follow the output's caps."""
        kind = event.type
        if kind == Gst.EventType.CAPS:
            return self._take_caps(event.parse_caps())
        if kind == Gst.EventType.CUSTOM_DOWNSTREAM_STICKY:
            messages = sidedata.messages_of(event)
            if messages is not None:
                self._take_messages(messages)
                return True
        if kind == Gst.EventType.FLUSH_STOP:
            self._flush()
        elif kind == Gst.EventType.SEGMENT:
            self._segment = event.parse_segment().copy()
            self._lateness.reset()
        elif kind in (Gst.EventType.EOS, Gst.EventType.GAP):
            self._agree_without_picture()
        if self._must_wait(event):
            self._held.append(event)
            return True
        return bool(self.element.srcpad.push_event(event))

    def src_event(self, event: Any) -> bool:
        """Keeps lateness to itself as long as it can do something about it."""
        if event.type == Gst.EventType.QOS and self.element.qos:
            _, _, lateness, timestamp = event.parse_qos()
            self._lateness.report(timestamp, lateness, self._duration())
            if self._idle < _IDLE:
                return True
        elif event.type == Gst.EventType.SEEK and event.parse_seek()[0] < 0:
            _log.warning("playing backwards is refused: networks act in output order")
            return False
        return bool(self.element.sinkpad.push_event(event))

    def _must_wait(self, event: Any) -> bool:
        serialized = Gst.EventType.get_flags(event.type) & Gst.EventTypeFlags.SERIALIZED
        return bool(serialized) and self._output.format is None and event.type not in _AT_ONCE

    def _take_caps(self, caps: Any) -> bool:
        found = RawFormat.from_caps(caps)
        if found is None:
            raise ElementError(f"pictures of this format cannot be enhanced: {caps}", BAD_FORMAT)
        self._caps, self._format = caps.copy(), found
        self._report_latency()
        return True

    def _take_messages(self, messages: sidedata.Messages) -> None:
        if self._settings.model is not None:
            return
        if self._enhancer is None:
            self._early.append(messages)  # its settings depend on the first picture
        else:
            _send(self._enhancer, messages)

    def _flush(self) -> None:
        self._segment.init(Gst.Format.TIME)
        self._lateness.reset()
        self._model_due = True
        self._early.clear()
        self._held = [event for event in self._held if event.type != Gst.EventType.SEGMENT]
        if self._enhancer is not None:
            self._enhancer.flush()

    # -- queries -----------------------------------------------------------------------------

    def sink_query(self, query: Any) -> bool:
        """Sizes are free; strides are read from GstVideoMeta."""
        if query.type == Gst.QueryType.ALLOCATION:
            query.add_allocation_meta(GstVideo.video_meta_api_get_type(), None)
            return True
        return self._raw_query(self.element.sinkpad, self.element.srcpad, query)

    def src_query(self, query: Any) -> bool:
        """Sizes are free; latency grows by what a network may take."""
        if query.type == Gst.QueryType.LATENCY and self.element.latency_report:
            if not self.element.sinkpad.peer_query(query):
                return False
            live, shortest, longest = query.parse_latency()
            own = self._own_latency
            longest = longest if longest == Gst.CLOCK_TIME_NONE else longest + own
            query.set_latency(live, shortest + own, longest)
            return True
        return self._raw_query(self.element.srcpad, self.element.sinkpad, query)

    def _raw_query(self, pad: Any, other: Any, query: Any) -> bool:
        if query.type != Gst.QueryType.CAPS:
            return bool(pad.query_default(self.element, query))
        possible = pad.get_pad_template_caps()
        beyond = other.peer_query_caps(None)
        if beyond is not None and not beyond.is_any():
            possible = any_size(beyond).intersect(possible)
        wanted = query.parse_caps()
        if wanted is not None:
            possible = wanted.intersect_full(possible, Gst.CapsIntersectMode.FIRST)
        query.set_caps_result(possible)
        return True

    def _duration(self) -> int:
        """Of a picture, in ns."""
        info = self._format.info if self._format is not None else None
        if info is None or info.fps_n <= 0:
            return _DEFAULT_DURATION
        return int(sidedata.SECOND * info.fps_d // info.fps_n)

    def _report_latency(self) -> None:
        own = int(self._duration() * self._settings.deadline)
        if own != self._own_latency:
            self._own_latency = own
            self.element.post_message(Gst.Message.new_latency(self.element))

    # -- pictures ----------------------------------------------------------------------------

    def chain(self, buffer: Any) -> Any:
        """One picture in, one picture out."""
        if self._format is None:
            return Gst.FlowReturn.NOT_NEGOTIATED
        own_time = sidedata.running_time(self._segment, buffer.pts)
        marked = sidedata.marked_time(buffer)
        time = marked if marked is not None else own_time
        if time is None:
            time = self._next
        self._next = time + self._duration()
        if self._untouched():
            if not self._agree(self._format.picture_format):
                return self._refused()
            return self._output.push_input(buffer, self._format)
        plain = not self.element.enabled or self._mode is Mode.PLAIN or self._too_late(own_time)
        return self._enhance(buffer, time, plain=plain)

    def _enhance(self, buffer: Any, time: int, *, plain: bool) -> Any:
        assert self._format is not None
        enhancer = self._enhancer or self._make_enhancer(self._format.picture_format)
        pts = sidedata.seconds(time)
        if self._settings.model is not None and self._model_due:
            self._model_due = False
            enhancer.send_side_data(pts, self._settings.model, clvs_start=True, source="model-file")
        with self._format.picture_in(buffer) as picture:
            with self._output.room(self._caps, enhancer.peek(pts, picture.format)) as room:
                into = room.picture if room is not None else None
                enhancer.send_frame(picture, pts, plain=plain, into=into)
                result = enhancer.receive(timeout=None)
            if not isinstance(result, Enhanced):
                return Gst.FlowReturn.FLUSHING  # closed or flushed meanwhile
            self._note(result)
            if room is not None and result.info.into:
                return self._output.push_filled(room.buffer, buffer)
            if not self._agree(result.picture.format):
                return self._refused()
            if result.picture is not picture:
                return self._output.push(result.picture, buffer)
        return self._output.push_input(buffer, self._format)

    def _untouched(self) -> bool:
        """Whether pictures pass as they are."""
        wanted = self.element.mode
        if wanted not in (self._mode.value, self._wrong_mode):
            try:
                self._mode = choice(Mode, wanted, "mode")
            except ElementError as error:
                self._wrong_mode = wanted
                warn(self.element, f"{error}; it stays {self._mode.value}")
        return self._mode is Mode.OFF or not (self._settings.fixed or self.element.enabled)

    def _too_late(self, running_time: int | None) -> bool:
        """Whether the sink waits already, so that the network must not run."""
        if self._mode is Mode.NETWORK or not self.element.qos or self._idle >= _IDLE:
            return False
        late = self._lateness.is_late(running_time)
        if late:
            self._late += 1
            if self._calm >= _CALM:
                post(self.element, "nnrvideo-fallback", active=True, reason="the sink is waiting")
            self._calm = 0
        elif self._calm < _CALM:
            self._calm += 1
            if self._calm == _CALM:
                post(self.element, "nnrvideo-fallback", active=False, reason="")
        return late

    def _note(self, result: Enhanced) -> None:
        self.active = result.info.enhanced
        self._idle = self._idle + 1 if result.info.nnpfc_id is None else 0

    def _agree_without_picture(self) -> None:
        """Gaps come before any picture."""
        if self._format is not None and self._output.format is None:
            self._negotiate(self._format.picture_format)

    def _agree(self, target: PictureFormat) -> bool:
        """Makes sure that downstream expects pictures of a format."""
        return not self._output.needs(self._caps, target) or self._negotiate(target)

    def _negotiate(self, target: PictureFormat) -> bool:
        assert self._format is not None
        if not self._output.negotiate(self._caps, self._format, target):
            return False
        held, self._held = self._held, []
        for event in held:
            self.element.srcpad.push_event(event)
        return True

    def _refused(self) -> Any:
        flushing = self.element.srcpad.flags & Gst.PadFlags.FLUSHING
        return Gst.FlowReturn.FLUSHING if flushing else Gst.FlowReturn.NOT_NEGOTIATED

    # -- the enhancer ------------------------------------------------------------------------

    def _make_enhancer(self, source: PictureFormat) -> Enhancer:
        """The enhancer, made when the first picture comes: by then caps and liveness are known."""
        settings = self._settings
        live = self._is_live() and self._mode is not Mode.NETWORK
        enhancer = self._enhancer = Enhancer(
            output_size=self._output.size_downstream(source) if settings.fixed else None,
            geometry="fixed" if settings.fixed else "dynamic",
            fallback=settings.upscaler,
            realtime=live,
            deadline=settings.deadline,
            workers=0,
            max_memory_mib=settings.max_memory_mib,
            backend=settings.backend,
            on_event=self._tell,
        )
        _log.info("enhancing %s", "in real time" if live else "as long as it takes")
        while self._early:
            _send(enhancer, self._early.popleft())
        return enhancer

    def _is_live(self) -> bool:
        query = Gst.Query.new_latency()
        return bool(self.element.sinkpad.peer_query(query) and query.parse_latency()[0])

    def _tell(self, event: Event) -> None:
        """Passes on what the enhancer says; called from any of its threads."""
        nnpfc_id = -1 if event.nnpfc_id is None else event.nnpfc_id
        if event.kind in (EventKind.NETWORK_ACTIVATED, EventKind.NETWORK_DEACTIVATED):
            active = event.kind is EventKind.NETWORK_ACTIVATED
            self.network_id = nnpfc_id if active else -1
            time = int((event.pts or 0) * sidedata.SECOND)
            fields = {"nnpfc_id": nnpfc_id, "active": active, "running_time": time}
            post(self.element, "nnrvideo-network-changed", **fields, network=event.reason)
        elif event.kind in (EventKind.FALLBACK_ON, EventKind.FALLBACK_OFF):
            active = event.kind is EventKind.FALLBACK_ON
            reason = f"the network is too slow; off {event.reason}" if active else ""
            post(self.element, "nnrvideo-fallback", active=active, reason=reason)
        elif event.kind in _COMPLAINTS:
            post(self.element, "nnrvideo-network-rejected", nnpfc_id=nnpfc_id, reason=event.reason)
            warn(self.element, f"a network is not used, the picture is plain: {event.reason}")


def _send(enhancer: Enhancer, messages: sidedata.Messages) -> None:
    time = sidedata.seconds(messages.time)
    enhancer.send_side_data(time, messages.records, messages.clvs_start)
