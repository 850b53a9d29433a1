# SPDX-License-Identifier: Apache-2.0
"""``nnrh265decodebin``: decodes H.265 and runs the networks in it."""

import gi

gi.require_version("Gst", "1.0")
import nnrvideo_shim as shim  # noqa: E402
from gi.repository import GObject, Gst  # noqa: E402
from nnrvideo_shim import decodebin  # noqa: E402

_SINK = decodebin.sink_template("video/x-h265")


class NnrH265DecodeBin(Gst.Bin):
    """Shell of ``nnrvideo.gst.decodebin`` for H.265."""

    __gtype_name__ = "NnrH265DecodeBin"
    __gstmetadata__ = decodebin.metadata("H.265")
    __gsttemplates__ = (_SINK, decodebin.SRC)

    LOGIC = "decodebin"
    media_type = "video/x-h265"

    base_decoder = decodebin.base_decoder()

    def __init__(self):
        super().__init__()
        self.logic = None
        decodebin.build(self, _SINK)

    def do_change_state(self, transition):
        """The decoder is chosen on NULL -> READY."""
        return shim.change_state(self, transition, Gst.Bin.do_change_state)


GObject.type_register(NnrH265DecodeBin)
__gstelementfactory__ = ("nnrh265decodebin", Gst.Rank.NONE, NnrH265DecodeBin)
