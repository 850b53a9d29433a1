# SPDX-License-Identifier: Apache-2.0
"""``nnrinsert``: puts a network and its updates into parsed coded video."""

import gi

gi.require_version("Gst", "1.0")
import nnrvideo_shim as shim  # noqa: E402
from gi.repository import GLib, GObject, Gst  # noqa: E402

_SINK = shim.template("sink", shim.CODED_CAPS)
_SRC = shim.template("src", shim.CODED_CAPS)


class NnrInsert(Gst.Element):
    """Shell of ``nnrvideo.gst.insert``."""

    __gtype_name__ = "NnrInsert"
    __gstmetadata__ = (
        "Neural network inserter",
        "Codec/Parser/Converter/Video",
        "Puts a neural network and its updates into parsed H.264 and H.265 (as NNPFC and NNPFA "
        "SEI messages) and AV1 (the same in metadata OBUs), at every point where a receiver can "
        "join.",
        shim.AUTHOR,
    )
    __gsttemplates__ = (_SINK, _SRC)

    LOGIC = "insert"

    location = GObject.Property(
        type=str,
        default=None,
        nick="Location",
        blurb="Network to insert: .nnc with its topology, as 'nnrvideo pack' writes it",
        flags=shim.READY,
    )
    updates = GObject.Property(
        type=str,
        default=None,
        nick="Updates",
        blurb="SECONDS=FILE,SECONDS=FILE: from which running time on which update of the "
        "network, as 'nnrvideo diff' writes it, is in force",
        flags=shim.READY,
    )
    nnpfc_id = GObject.Property(
        type=int,
        default=7,
        minimum=0,
        maximum=254,
        nick="nnpfc_id",
        blurb="Identity of the filter; 7 to 14 and 127 to 254 suit every reader",
        flags=shim.READY,
    )
    activate = GObject.Property(
        type=bool,
        default=True,
        nick="Activate",
        blurb="Activate the network; if not, it is only on board",
        flags=shim.READY,
    )
    keep_existing = GObject.Property(
        type=bool,
        default=False,
        nick="Keep existing",
        blurb="Keep networks that the video carries already; if not, they are removed",
        flags=shim.READY,
    )

    def __init__(self):
        super().__init__()
        self.logic = None
        shim.make_pads(self, _SINK, _SRC)

    def _stats(self):
        return self.logic.stats() if self.logic else Gst.Structure.new_empty("nnrinsert")

    stats = GObject.Property(
        getter=_stats,
        type=Gst.Structure,
        nick="Statistics",
        blurb="access-units, positions (that carry the network), message-bytes: since READY",
        flags=GObject.ParamFlags.READABLE,
    )

    @GObject.Signal(
        name="update",
        flags=GObject.SignalFlags.RUN_LAST | GObject.SignalFlags.ACTION,
        return_type=bool,
        arg_types=(GLib.Bytes,),
    )
    def send_update(self, bitstream):
        """Action: sends an update of the network from the next picture on."""
        return bool(self.logic and self.logic.update(bitstream.get_data()))

    def do_change_state(self, transition):
        """The library is loaded on NULL -> READY."""
        return shim.change_state(self, transition, Gst.Element.do_change_state)


GObject.type_register(NnrInsert)
__gstelementfactory__ = ("nnrinsert", Gst.Rank.NONE, NnrInsert)
