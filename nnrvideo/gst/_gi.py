# SPDX-License-Identifier: Apache-2.0
"""GStreamer's bindings in the versions that are meant."""

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")

from gi.repository import GLib, GObject, Gst, GstVideo  # noqa: E402

__all__ = ["GLib", "GObject", "Gst", "GstVideo"]
