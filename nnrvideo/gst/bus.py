# SPDX-License-Identifier: Apache-2.0
"""What elements say: messages on the bus, and lines in the debug category ``nnrvideo``."""

from __future__ import annotations

import logging
from typing import Any, final

from nnrvideo.gst import native
from nnrvideo.gst._gi import GLib, GObject, Gst

_LEVELS = {logging.ERROR: 1, logging.WARNING: 2, logging.INFO: 4, logging.DEBUG: 5}


def structure(name: str, **fields: bool | float | str) -> Any:
    """A ``Gst.Structure``; underscores of the names become dashes, integers are gint64."""
    made = Gst.Structure.new_empty(name)
    for key, value in fields.items():
        made.set_value(key.replace("_", "-"), int64(value) if type(value) is int else value)
    return made


def int64(number: int) -> Any:
    """A number as 64-bit value: left alone, PyGObject takes 32 bits and overflows."""
    value = GObject.Value()
    value.init(GObject.TYPE_INT64)
    value.set_int64(number)
    return value


def post(element: Any, name: str, **fields: bool | float | str) -> None:
    """Posts an element message."""
    element.post_message(Gst.Message.new_element(element, structure(name, **fields)))


def warn(element: Any, text: str) -> None:
    """Posts a warning: the picture goes on, the enhancement does not."""
    error = GLib.Error.new_literal(Gst.StreamError.quark(), text, int(Gst.StreamError.DECODE))
    element.post_message(Gst.Message.new_warning(element, error, ""))


@final
class _ToGStreamer(logging.Handler):
    """Hands the log of the library to GStreamer's debug system."""

    def __init__(self, category: int) -> None:
        super().__init__()
        self._category = category

    def emit(self, record: logging.LogRecord) -> None:
        level = _LEVELS.get(record.levelno, 5)
        try:
            text = self.format(record)
            native.debug_log(
                self._category,
                level,
                text,
                file=record.filename,
                function=record.funcName or "",
                line=record.lineno,
            )
        except Exception:
            self.handleError(record)


def connect_log() -> None:
    """Shows what the library logs as ``GST_DEBUG=nnrvideo:LEVEL``; once for each process."""
    log = logging.getLogger("nnrvideo")
    if any(isinstance(handler, _ToGStreamer) for handler in log.handlers):
        return
    category = native.debug_category("nnrvideo", "neural networks in video")
    if category is None:
        return
    log.addHandler(_ToGStreamer(category))
    if log.level == logging.NOTSET:
        shown = native.debug_threshold(category)
        log.setLevel(
            min((py for py, gst in _LEVELS.items() if gst <= shown), default=logging.ERROR)
        )
