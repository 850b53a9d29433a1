# SPDX-License-Identifier: Apache-2.0
"""A pad that says in KLV packets what was found in the video, for a muxer of MPEG-TS."""

from __future__ import annotations

from typing import Any, final

from nnrvideo.container.timed import klv_packet
from nnrvideo.gst._gi import Gst

_FOLLOWED = frozenset(
    {Gst.EventType.SEGMENT, Gst.EventType.FLUSH_START, Gst.EventType.FLUSH_STOP, Gst.EventType.EOS}
)


@final
class KlvPad:
    """The sparse stream beside the video; nothing at all while nobody has asked for the pad.

    Packets carry the time of the picture at hand, so that they come in order; the time that they
    speak of is inside.  Between them each picture leaves a gap, or a muxer would wait for them.

    Args:
        element: The shell, whose ``klvpad`` is the pad or None.
    """

    def __init__(self, element: Any) -> None:
        self._element = element
        self._now = Gst.CLOCK_TIME_NONE

    def follow(self, event: Any) -> None:
        """Passes on what an event of the video says about this stream, too."""
        pad = self._element.klvpad
        if pad is None:
            return
        if event.type == Gst.EventType.STREAM_START:
            pad.push_event(Gst.Event.new_stream_start(f"{event.parse_stream_start()}/klv"))
        elif event.type == Gst.EventType.CAPS:
            pad.push_event(Gst.Event.new_caps(pad.get_pad_template_caps()))
        elif event.type in _FOLLOWED:
            pad.push_event(event)

    def tick(self, buffer: Any) -> None:
        """A picture passes."""
        self._now = buffer.pts
        pad = self._element.klvpad
        if pad is not None and buffer.pts != Gst.CLOCK_TIME_NONE:
            pad.push_event(Gst.Event.new_gap(buffer.pts, buffer.duration))

    def send(self, body: bytes) -> None:
        """Something was found; who does not listen any more is no error."""
        pad = self._element.klvpad
        if pad is not None:
            packet = Gst.Buffer.new_wrapped(klv_packet(body))
            packet.pts = packet.dts = self._now
            pad.push(packet)
