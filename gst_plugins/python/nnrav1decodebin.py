# SPDX-License-Identifier: Apache-2.0
"""``nnrav1decodebin``: decodes AV1 and runs the networks in it."""

import gi

gi.require_version("Gst", "1.0")
import nnrvideo_shim as shim  # noqa: E402
from gi.repository import GObject, Gst  # noqa: E402
from nnrvideo_shim import decodebin  # noqa: E402

_SINK = decodebin.sink_template("video/x-av1")


class NnrAv1DecodeBin(Gst.Bin):
    """Shell of ``nnrvideo.gst.decodebin`` for AV1."""

    __gtype_name__ = "NnrAv1DecodeBin"
    __gstmetadata__ = decodebin.metadata("AV1")
    __gsttemplates__ = (_SINK, decodebin.SRC)

    LOGIC = "decodebin"
    media_type = "video/x-av1"

    base_decoder = decodebin.base_decoder()

    def __init__(self):
        super().__init__()
        self.logic = None
        decodebin.build(self, _SINK)

    def do_change_state(self, transition):
        """The decoder is chosen on NULL -> READY."""
        return shim.change_state(self, transition, Gst.Bin.do_change_state)


GObject.type_register(NnrAv1DecodeBin)
__gstelementfactory__ = ("nnrav1decodebin", Gst.Rank.NONE, NnrAv1DecodeBin)
