# SPDX-License-Identifier: Apache-2.0
"""``nnrextract``: finds the networks in coded video, in front of the decoder."""

import gi

gi.require_version("Gst", "1.0")
import nnrvideo_shim as shim  # noqa: E402
from gi.repository import GObject, Gst  # noqa: E402

_SINK = shim.template("sink", shim.CODED_CAPS)
_SRC = shim.template("src", shim.CODED_CAPS)


class NnrExtract(Gst.Element):
    """Shell of ``nnrvideo.gst.extract``."""

    __gtype_name__ = "NnrExtract"
    __gstmetadata__ = (
        "Neural network extractor",
        "Codec/Parser/Converter/Video",
        "Finds NNPFC and NNPFA messages in parsed H.264, H.265 and AV1 and sends them past the "
        "decoder to nnrenhance; the video itself passes untouched. Networks travel as sticky "
        "events, the identity of each picture as a GstCustomMeta named "
        "nnrvideo-access-unit.",
        shim.AUTHOR,
    )
    __gsttemplates__ = (_SINK, _SRC)

    LOGIC = "extract"

    strip = GObject.Property(
        type=bool,
        default=False,
        nick="Strip",
        blurb="Remove the networks from the video after reading them, for decoders that "
        "stumble over messages they do not know",
        flags=shim.PLAYING,
    )

    def __init__(self):
        super().__init__()
        self.logic = None
        shim.make_pads(self, _SINK, _SRC)

    def _stats(self):
        return self.logic.stats() if self.logic else Gst.Structure.new_empty("nnrextract")

    stats = GObject.Property(
        getter=_stats,
        type=Gst.Structure,
        nick="Statistics",
        blurb="access-units, side-data (access units with messages), clvs (sequences begun), "
        "message-bytes: counts since READY",
        flags=GObject.ParamFlags.READABLE,
    )

    def do_change_state(self, transition):
        """The library is loaded on NULL -> READY."""
        return shim.change_state(self, transition, Gst.Element.do_change_state)


GObject.type_register(NnrExtract)
__gstelementfactory__ = ("nnrextract", Gst.Rank.NONE, NnrExtract)
