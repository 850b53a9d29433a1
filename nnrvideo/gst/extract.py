# SPDX-License-Identifier: Apache-2.0
"""``nnrextract``: reads the messages of each access unit in front of the decoder."""

from __future__ import annotations

import logging
from typing import Any, final

from nnrvideo.container import AccessUnit, SideDataCollector
from nnrvideo.errors import NnrVideoError
from nnrvideo.gst import sidedata
from nnrvideo.gst._gi import Gst
from nnrvideo.gst.bus import connect_log, structure, warn
from nnrvideo.gst.coded import CodedStream, writable_with
from nnrvideo.gst.element import Passing

_log = logging.getLogger(__name__)


@final
class Logic(Passing):
    """What the element does.

    Args:
        element: The shell; its property ``strip`` is asked at each access unit.
    """

    def __init__(self, element: Any) -> None:
        super().__init__(element)
        connect_log()
        self._access_units = self._side_data = self._clvs = self._message_bytes = 0
        self._complained = False
        self.reset()

    def reset(self) -> None:
        """Forgets the stream."""
        self._stream: CodedStream | None = None
        self._collector: SideDataCollector | None = None

    def stats(self) -> Any:
        """Counts since READY."""
        return structure(
            "nnrextract",
            access_units=self._access_units,
            side_data=self._side_data,
            clvs=self._clvs,
            message_bytes=self._message_bytes,
        )

    def sink_event(self, event: Any) -> bool:
        """Learns caps and segments; everything passes."""
        if event.type == Gst.EventType.CAPS:
            self._take_caps(event.parse_caps())
        elif event.type == Gst.EventType.SEGMENT and self._stream is not None:
            self._stream.segment = event.parse_segment().copy()
        elif event.type == Gst.EventType.FLUSH_STOP and self._stream is not None:
            # Decoding starts anew, so a random access point begins a sequence again.
            self._stream.restart()
            self._start_sequence(self._stream)
        return super().sink_event(event)

    def chain(self, buffer: Any) -> Any:
        """Sends the messages of an access unit ahead and marks it."""
        stream, collector = self._stream, self._collector
        if stream is None or collector is None:
            return self.element.srcpad.push(buffer)
        data = buffer.extract_dup(0, buffer.get_size())
        time = stream.time_of(buffer, data)
        unit = AccessUnit(
            data,
            pts=time,
            dts=None,
            duration=None,
            time_base=stream.time_base,
            is_keyframe=False,
            index=self._access_units,
        )
        self._access_units += 1
        found = collector.collect(unit)
        if found is not None:
            self._side_data += 1
            self._clvs += found.clvs_start
            self._message_bytes += len(found.records)
            messages = sidedata.Messages(time, found.records, found.clvs_start)
            self.element.srcpad.push_event(sidedata.event_of(messages))
        stripped = self._strip(stream, data) if self.element.strip else data
        marked = writable_with(buffer, None if stripped is data else stripped)
        sidedata.mark(marked, time, clvs_start=found is not None and found.clvs_start)
        return self.element.srcpad.push(marked)

    def _take_caps(self, caps: Any) -> None:
        stream = CodedStream.from_caps(caps)
        if self._stream is not None:
            if stream.same_coding(self._stream):
                return  # a new frame rate or the like: the sequence goes on
            stream.follow(self._stream)
        self._stream = stream
        self._start_sequence(stream)

    def _start_sequence(self, stream: CodedStream) -> None:
        self._collector = None
        try:
            self._collector = SideDataCollector(stream.carriage())
        except NnrVideoError as error:
            # A broken configuration record does not hinder playing.
            if not self._complained:
                self._complained = True
                warn(self.element, f"no networks are read: {error}")

    def _strip(self, stream: CodedStream, data: bytes) -> bytes:
        try:
            return stream.carriage().strip(data)
        except NnrVideoError as error:
            _log.debug("nothing stripped: %s", error)
            return data
