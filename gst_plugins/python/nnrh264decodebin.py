# SPDX-License-Identifier: Apache-2.0
"""``nnrh264decodebin``: decodes H.264 and runs the networks in it."""

import gi

gi.require_version("Gst", "1.0")
import nnrvideo_shim as shim  # noqa: E402
from gi.repository import GObject, Gst  # noqa: E402
from nnrvideo_shim import decodebin  # noqa: E402

_SINK = decodebin.sink_template("video/x-h264")


class NnrH264DecodeBin(Gst.Bin):
    """Shell of ``nnrvideo.gst.decodebin`` for H.264."""

    __gtype_name__ = "NnrH264DecodeBin"
    __gstmetadata__ = decodebin.metadata("H.264")
    __gsttemplates__ = (_SINK, decodebin.SRC)

    LOGIC = "decodebin"
    media_type = "video/x-h264"

    base_decoder = decodebin.base_decoder()

    def __init__(self):
        super().__init__()
        self.logic = None
        decodebin.build(self, _SINK)

    def do_change_state(self, transition):
        """The decoder is chosen on NULL -> READY."""
        return shim.change_state(self, transition, Gst.Bin.do_change_state)


GObject.type_register(NnrH264DecodeBin)
__gstelementfactory__ = ("nnrh264decodebin", Gst.Rank.NONE, NnrH264DecodeBin)
