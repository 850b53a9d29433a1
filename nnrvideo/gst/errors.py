# SPDX-License-Identifier: Apache-2.0
"""Errors that end a pipeline; the shells post them on the bus."""

from __future__ import annotations

from typing import Any, final

from nnrvideo.gst._gi import Gst

MISSING_LIBRARY = Gst.LibraryError.quark(), Gst.LibraryError.INIT
BAD_FILE = Gst.ResourceError.quark(), Gst.ResourceError.OPEN_READ
BAD_SETTING = Gst.LibraryError.quark(), Gst.LibraryError.SETTINGS
BAD_FORMAT = Gst.StreamError.quark(), Gst.StreamError.FORMAT


@final
class ElementError(Exception):
    """An element cannot go on.

    Args:
        text: What is wrong and what to do, for the user.
        gst_error: GStreamer's error domain and code.
    """

    def __init__(self, text: str, gst_error: tuple[Any, Any]) -> None:
        super().__init__(text)
        self.gst_error = gst_error
