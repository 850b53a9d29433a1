# SPDX-License-Identifier: Apache-2.0
"""How messages travel past the decoder, from ``nnrextract`` to ``nnrenhance``.

Two ways, because no single one does: a decoder hands on events early and with every frame it
drops, never late; metas come with exactly their picture, but die with a frame that is dropped.

* The messages of an access unit go by the sticky event ``nnrvideo-side-data``, with the time of
  its picture.  They may come early: the activation state is asked by time.
* The identity of a picture goes by the custom meta ``nnrvideo-access-unit``: whatever a decoder or
  a converter does to timestamps, this is the time that the messages were sent with.

Times are running times in nanoseconds, with a sign: they grow where timestamps start again (a
splice, a loop), and pictures before the start of the segment, which are decoded and clipped, have
negative ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

from nnrvideo.gst import native
from nnrvideo.gst._gi import Gst
from nnrvideo.gst.bus import int64

EVENT = "nnrvideo-side-data"
META = "nnrvideo-access-unit"
SECOND = int(Gst.SECOND)

# Registering twice is an error, and the registry of metas outlives a reload of this module.
if Gst.Meta.get_info(META) is None:
    Gst.Meta.register_custom(META, [], None, None)


@final
@dataclass(frozen=True, slots=True)
class Messages:
    """Content of one event."""

    time: int  # signed running time of the picture in ns
    records: bytes  # concatenated sei_message() structures
    clvs_start: bool


def seconds(time: int) -> Fraction:
    """Nanoseconds as the library's exact seconds."""
    return Fraction(time, SECOND)


def running_time(segment: Any, pts: int) -> int | None:
    """Signed running time of a timestamp in ns; None if there is none."""
    if pts == Gst.CLOCK_TIME_NONE or segment.format != Gst.Format.TIME:
        return None
    sign, time = segment.to_running_time_full(Gst.Format.TIME, pts)
    return sign * int(time) if sign else None


def event_of(messages: Messages) -> Any:
    """The event that carries messages."""
    structure = Gst.Structure.new_empty(EVENT)
    structure.set_value("time", int64(messages.time))
    if messages.records:
        structure.set_value("records", Gst.Buffer.new_wrapped(messages.records))
    structure.set_value("clvs-start", messages.clvs_start)
    return Gst.Event.new_custom(Gst.EventType.CUSTOM_DOWNSTREAM_STICKY, structure)


def messages_of(event: Any) -> Messages | None:
    """What an event carries; None if it is another event, or somebody else's attempt."""
    structure = event.get_structure()
    if structure is None or structure.get_name() != EVENT:
        return None
    time, records = structure.get_value("time"), structure.get_value("records")
    if not isinstance(time, int) or not isinstance(records, Gst.Buffer | None):
        return None
    return Messages(
        time=time,
        records=b"" if records is None else records.extract_dup(0, records.get_size()),
        clvs_start=bool(structure.get_value("clvs-start")),
    )


def mark(buffer: Any, time: int, *, clvs_start: bool) -> None:
    """Notes on an access unit which picture it is; ``buffer`` must be writable."""
    native.add_custom_meta(buffer, META, time=time, clvs_start=clvs_start)


def marked_time(buffer: Any) -> int | None:
    """The time that an access unit, now a picture, was marked with."""
    meta = buffer.get_custom_meta(META)
    if meta is None:
        return None
    time = meta.get_structure().get_value("time")
    return None if time is None else int(time)
