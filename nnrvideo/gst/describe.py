# SPDX-License-Identifier: Apache-2.0
"""``nnrdescribe``: compact descriptors of raw video, while it passes.

Each segment, once it is complete, is a whole descriptor stream.  It goes out as a custom meta of
the buffer that ends it, as an element message on the bus, as a KLV packet for a muxer if the pad
``klv`` was asked for, and into a file if one is named.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, final

from nnrvideo.descriptors import DescribeOptions, Describer, Form, Header, load_model
from nnrvideo.descriptors.extractor import Extractor
from nnrvideo.descriptors.files import packets
from nnrvideo.descriptors.models import StreamModels
from nnrvideo.descriptors.stream import MAGIC, Item, StreamWriter
from nnrvideo.errors import NnrVideoError
from nnrvideo.files import OutputFile
from nnrvideo.gst import native, sidedata
from nnrvideo.gst._gi import Gst
from nnrvideo.gst.bus import connect_log, int64, structure, warn
from nnrvideo.gst.coded import writable_with
from nnrvideo.gst.element import Passing
from nnrvideo.gst.errors import BAD_FILE, BAD_FORMAT, BAD_SETTING, ElementError
from nnrvideo.gst.frames import RawFormat
from nnrvideo.gst.klv import KlvPad

_log = logging.getLogger(__name__)

META: Final = "nnrvideo-descriptors"
_TIME_BASE: Final = Fraction(1, sidedata.SECOND)
_DEFAULT_DURATION: Final = Fraction(1, 25)

if Gst.Meta.get_info(META) is None:
    Gst.Meta.register_custom(META, [], None, None)


@final
class Logic(Passing):
    """What the element does.

    Args:
        element: The shell; its properties are asked now.

    Raises:
        ElementError: The model cannot be used, a property is wrong, or the file cannot be written.
    """

    def __init__(self, element: Any) -> None:
        super().__init__(element)
        connect_log()
        try:
            self._options = DescribeOptions(
                form=Form(element.bits, element.rotations),
                rate=element.rate,
                pdq=element.pdq,
                threads=1,
            )
            Describer(self._options, _TIME_BASE, _DEFAULT_DURATION)
        except (ValueError, ImportError) as error:
            raise ElementError(str(error), BAD_SETTING) from error
        self._model = None
        if element.model_file:
            try:
                self._model = load_model(Path(element.model_file).read_bytes())
                Extractor(self._model, self._options.form, threads=1)
            except (NnrVideoError, OSError) as error:
                raise ElementError(f"{element.model_file}: {error}", BAD_FILE) from error
        self._klv = KlvPad(element)
        self._key_frames = self._segments = self._bytes = 0
        self._output: OutputFile | None = None
        self._file: Any = None
        self._writer = StreamWriter()
        self._forget()

    def _forget(self) -> None:
        self._format: RawFormat | None = None
        self._describer: Describer | None = None
        self._header: Header | None = None
        self._models = StreamModels()
        self._complained = False
        self._segment = Gst.Segment()
        self._segment.init(Gst.Format.TIME)

    def reset(self) -> None:
        """PAUSED -> READY: what is open is completed."""
        self._finish()
        self._forget()

    def stats(self) -> Any:
        """Counts since READY."""
        return structure(
            "nnrdescribe",
            segments=self._segments,
            key_frames=self._key_frames,
            descriptor_bytes=self._bytes,
        )

    def sink_event(self, event: Any) -> bool:
        """Learns caps, segments and models; everything passes."""
        if event.type == Gst.EventType.CAPS:
            self._take_caps(event.parse_caps())
        elif event.type == Gst.EventType.SEGMENT:
            self._segment = event.parse_segment().copy()
        elif event.type == Gst.EventType.CUSTOM_DOWNSTREAM_STICKY and self._model is None:
            messages = sidedata.messages_of(event)
            if messages is not None:
                self._models.take(sidedata.seconds(messages.time), messages.records)
        elif event.type == Gst.EventType.FLUSH_STOP and self._describer is not None:
            self._send(self._describer.finish())
            self._segment.init(Gst.Format.TIME)
        elif event.type == Gst.EventType.EOS:
            self._finish()
        if self.element.klvpad is None:
            return super().sink_event(event)
        self._klv.follow(event)
        # By default it would go to that pad, too.
        return bool(self.element.srcpad.push_event(event))

    def _query(self, pad: Any, other: Any, query: Any) -> bool:
        if self.element.klvpad is not None:
            # By default caps would have to suit that pad, too.
            if query.type == Gst.QueryType.CAPS:
                caps = other.peer_query_caps(query.parse_caps())
                query.set_caps_result(caps.intersect(pad.get_pad_template_caps()))
                return True
            if query.type == Gst.QueryType.ACCEPT_CAPS:
                caps = query.parse_accept_caps()
                fits = caps.is_subset(pad.get_pad_template_caps())
                query.set_accept_caps_result(fits and other.peer_query_accept_caps(caps))
                return True
        return super()._query(pad, other, query)

    def chain(self, buffer: Any) -> Any:
        """Looks at a picture and passes it on, with the segment that it ends if there is one."""
        self._klv.tick(buffer)
        try:
            done = self._look_at(buffer)
        except (NnrVideoError, ValueError, OSError) as error:
            # What is described may suffer, the video never.
            self._complain(error)
            done = b""
        if done:
            buffer = writable_with(buffer, None)
            native.add_bytes_meta(buffer, META, Gst.Buffer.new_wrapped(done))
        return self.element.srcpad.push(buffer)

    def _look_at(self, buffer: Any) -> bytes:
        time = sidedata.marked_time(buffer)
        if time is None:
            time = sidedata.running_time(self._segment, buffer.pts)
        if self._format is None or time is None or self._describer is None:
            return b""
        pts = sidedata.seconds(time)
        items: list[Item] = []
        model = self._models.due(pts) if self._model is None else None
        if model is not None:
            items += self._describer.use(model)
        with self._format.picture_in(buffer) as picture:
            items += self._describer.push(picture, pts)
        return self._send(items)

    def _take_caps(self, caps: Any) -> None:
        found = RawFormat.from_caps(caps)
        if found is None:
            raise ElementError(f"pictures of this format cannot be described: {caps}", BAD_FORMAT)
        self._format = found
        if self._describer is not None:
            return
        numerator, denominator = found.info.fps_n, found.info.fps_d
        duration = Fraction(denominator, numerator) if numerator else _DEFAULT_DURATION
        self._describer = Describer(self._options, _TIME_BASE, duration)
        if self._model is not None:
            self._send(self._describer.use(self._model))

    def _send(self, items: Iterable[Item]) -> bytes:
        """Writes what is complete; returns the last segment as a stream."""
        last = b""
        for item in items:
            self._write(item)
            if isinstance(item, Header):
                self._header = item
                continue
            assert self._header is not None
            ((start, end, last),) = packets([self._header, item])
            self._segments += 1
            self._key_frames += len(item.times)
            self._bytes += len(last)
            self._klv.send(last)
            message = Gst.Structure.new_empty(META)
            message.set_value("start", int64(int(start / _TIME_BASE)))
            message.set_value("end", int64(int(end / _TIME_BASE)))
            message.set_value("stream", Gst.Buffer.new_wrapped(last))
            self.element.post_message(Gst.Message.new_element(self.element, message))
        return last

    def _write(self, item: Item) -> None:
        if not self.element.location:
            return
        if self._file is None:
            self._output = OutputFile(self.element.location, overwrite=True)
            self._file = self._output.temporary.open("wb")
            self._file.write(MAGIC)
            self._writer = StreamWriter()
            if self._header is not None and not isinstance(item, Header):
                self._file.write(self._writer.unit(self._header))
        self._file.write(self._writer.unit(item))

    def _finish(self) -> None:
        try:
            if self._describer is not None:
                self._send(self._describer.finish())
            if self._file is not None and self._output is not None:
                self._file.close()
                self._output.commit()
        except (NnrVideoError, ValueError, OSError) as error:
            self._complain(error)
            with contextlib.suppress(OSError):
                if self._output is not None:
                    self._output.discard()
        self._file = self._output = None

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            warn(self.element, f"descriptors are missing from here on: {error}")
        _log.debug("no descriptor: %s", error)
