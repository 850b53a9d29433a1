# SPDX-License-Identifier: Apache-2.0
"""``nnrinsert``: puts a network and its updates into parsed coded video, on the sending side."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any, final

from nnrvideo.authoring import StreamEmbedder, describe, update_message
from nnrvideo.errors import NnrVideoError
from nnrvideo.gst import sidedata
from nnrvideo.gst._gi import Gst
from nnrvideo.gst.bus import connect_log, structure, warn
from nnrvideo.gst.coded import CodedStream, writable_with
from nnrvideo.gst.element import Passing
from nnrvideo.gst.errors import (
    BAD_FILE,
    BAD_FORMAT,
    BAD_SETTING,
    ElementError,
)
from nnrvideo.model import receive
from nnrvideo.sei import Nnpfc, check_picture


@final
class Logic(Passing):
    """What the element does.

    Args:
        element: The shell; its properties are read when it is started.

    Raises:
        ElementError: A file is missing or is no network, or a property cannot be used.
    """

    def __init__(self, element: Any) -> None:
        super().__init__(element)
        connect_log()
        if not element.location:
            raise ElementError("location is not set: which network shall be inserted?", BAD_SETTING)
        self._base = _base(element.location, element.nnpfc_id)
        self._received = receive(self._base.nnpfc_payload_byte)  # what every receiver will have
        self._planned = self._read_updates(element.updates or "")
        self._lock = Lock()
        self._now: list[Nnpfc] = []  # updates that begin with the next access unit
        self._complained = False
        self._access_units = self._positions = self._message_bytes = 0
        self.reset()

    def reset(self) -> None:
        """Forgets the stream, not the updates that were asked for."""
        self._stream: CodedStream | None = None
        self._embedder: StreamEmbedder | None = None

    def stats(self) -> Any:
        """Counts since READY."""
        now = self._embedder
        return structure(
            "nnrinsert",
            access_units=self._access_units,
            positions=self._positions + (now.positions if now else 0),
            message_bytes=self._message_bytes + (now.message_bytes if now else 0),
        )

    def update(self, bitstream: bytes) -> bool:
        """Sends an update from the next access unit on; from any thread.

        Returns:
            Whether it can be sent; the bus says why not.
        """
        try:
            message = self._update_of(bitstream)
        except NnrVideoError as error:
            warn(self.element, f"the update is not sent: {error}")
            return False
        with self._lock:
            self._now.append(message)
        return True

    def sink_event(self, event: Any) -> bool:
        """Learns caps and segments; everything passes."""
        if event.type == Gst.EventType.CAPS:
            self._take_caps(event.parse_caps())
        elif event.type == Gst.EventType.SEGMENT and self._stream is not None:
            self._stream.segment = event.parse_segment().copy()
        elif event.type == Gst.EventType.FLUSH_STOP:
            for part in (self._stream, self._embedder):
                if part is not None:
                    part.restart()
        return super().sink_event(event)

    def chain(self, buffer: Any) -> Any:
        """Pushes an access unit with what it has to carry."""
        stream, embedder = self._stream, self._embedder
        if stream is None or embedder is None:
            return Gst.FlowReturn.NOT_NEGOTIATED
        data = buffer.extract_dup(0, buffer.get_size())
        time = sidedata.seconds(stream.time_of(buffer, data))
        self._access_units += 1
        with self._lock:
            due, self._now = self._now, []
        for message in due:
            self._planned = {t: m for t, m in self._planned.items() if t < time} | {time: message}
            embedder.add_update(time, message)
        try:
            edited = embedder.access_unit(data, time)
        except NnrVideoError as error:
            if not self._complained:
                self._complained = True
                warn(self.element, f"an access unit is left as it is: {error}")
            edited = data
        made = buffer if edited is data else writable_with(buffer, edited)
        return self.element.srcpad.push(made)

    def _update_of(self, bitstream: bytes) -> Nnpfc:
        """The message for an update, proven by doing what a receiver does.

        Raises:
            NnrVideoError: It is no update of this network.
        """
        receive(bitstream, self._received)
        return update_message(self._base, bitstream)

    def _read_updates(self, text: str) -> dict[Fraction, Nnpfc]:
        """Reads "SECONDS=FILE,SECONDS=FILE"."""
        found = {}
        for item in filter(None, text.split(",")):
            time, equals, path = item.partition("=")
            try:
                since = Fraction(time.strip())
            except (ValueError, ZeroDivisionError):
                equals = ""
            if not equals:
                raise ElementError(
                    f"updates reads SECONDS=FILE,SECONDS=FILE; {item!r} is not like that",
                    BAD_SETTING,
                )
            try:
                found[since] = self._update_of(_read(path.strip()))
            except NnrVideoError as error:
                raise ElementError(
                    f"{path} is not an update of {self.element.location}: {error}", BAD_FILE
                ) from error
        return dict(sorted(found.items()))

    def _take_caps(self, caps: Any) -> None:
        stream = CodedStream.from_caps(caps)
        if self._stream is not None:
            if stream.same_coding(self._stream):
                return
            stream.follow(self._stream)
        if stream.picture_format is not None:
            try:
                check_picture(self._base, stream.picture_format)
            except NnrVideoError as error:
                raise ElementError(
                    f"{self.element.location} does not fit this video: {error}", BAD_FORMAT
                ) from error
        if self._embedder is not None:
            self._positions += self._embedder.positions
            self._message_bytes += self._embedder.message_bytes
        self._stream = stream
        self._embedder = StreamEmbedder(
            stream.carriage(),
            self._base,
            updates=self._planned,
            activate=self.element.activate,
            keep_existing=self.element.keep_existing,
        )


def _base(location: str, nnpfc_id: int) -> Nnpfc:
    try:
        return describe(_read(location), nnpfc_id=nnpfc_id)
    except (NnrVideoError, ValueError) as error:
        raise ElementError(
            f"{location} is not a network as 'nnrvideo pack' writes it: {error}", BAD_FILE
        ) from error


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ElementError(f"{path} cannot be read: {error.strerror}", BAD_FILE) from error
