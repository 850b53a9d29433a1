# SPDX-License-Identifier: Apache-2.0
"""``nnrdescribe``: compact descriptors of raw video, to match and search by."""

import gi

gi.require_version("Gst", "1.0")
import nnrvideo_shim as shim  # noqa: E402
from gi.repository import GObject, Gst  # noqa: E402

_SINK = shim.template("sink", shim.RAW_CAPS)
_SRC = shim.template("src", shim.RAW_CAPS)
_KLV = Gst.PadTemplate.new(
    "klv",
    Gst.PadDirection.SRC,
    Gst.PadPresence.REQUEST,
    Gst.Caps.from_string("meta/x-klv, parsed=(boolean)true"),
)


class NnrDescribe(Gst.Element):
    """Shell of ``nnrvideo.gst.describe``."""

    __gtype_name__ = "NnrDescribe"
    __gstmetadata__ = (
        "Neural network descriptor extractor",
        "Filter/Analyzer/Video",
        "Makes CDVA-style descriptors (NIP, loose model) of key frames. The video passes "
        "untouched; each segment's descriptors go out as a GstCustomMeta and an element message, "
        "both named nnrvideo-descriptors, as KLV for mpegtsmux (pad klv), and into a file.",
        shim.AUTHOR,
    )
    __gsttemplates__ = (_SINK, _SRC, _KLV)

    LOGIC = "describe"

    model_file = GObject.Property(
        type=str,
        default=None,
        nick="Model file",
        blurb="Descriptor model (.nnc, as 'nnrvideo describe-model' writes it) instead of the one "
        "that nnrextract finds in the stream",
        flags=shim.READY,
    )
    bits = GObject.Property(
        type=int,
        default=256,
        minimum=0,
        maximum=1024,
        nick="Bits",
        blurb="Bits of a descriptor: 256, 512 or 1024; 0 for real numbers",
        flags=shim.READY,
    )
    rotations = GObject.Property(
        type=int,
        default=4,
        minimum=1,
        maximum=4,
        nick="Rotations",
        blurb="Rotations by 90 degrees that are pooled over: 1 or 4",
        flags=shim.READY,
    )
    rate = GObject.Property(
        type=int,
        default=64,
        minimum=16,
        maximum=256,
        nick="Rate",
        blurb="Density of key frames: 16, 64 or 256, named by the cap in KiB per second",
        flags=shim.READY,
    )
    pdq = GObject.Property(
        type=bool,
        default=False,
        nick="PDQ",
        blurb="Add PDQ hashes, for copies that are nearly identical; needs the package pdqhash",
        flags=shim.READY,
    )
    location = GObject.Property(
        type=str,
        default=None,
        nick="Location",
        blurb="File (.nvd) for the descriptor stream; it appears when the stream ends",
        flags=shim.READY,
    )

    def __init__(self):
        super().__init__()
        self.logic = None
        self.klvpad = None
        shim.make_pads(self, _SINK, _SRC)

    def _stats(self):
        return self.logic.stats() if self.logic else Gst.Structure.new_empty("nnrdescribe")

    stats = GObject.Property(
        getter=_stats,
        type=Gst.Structure,
        nick="Statistics",
        blurb="segments, key-frames, descriptor-bytes: counts since READY",
        flags=GObject.ParamFlags.READABLE,
    )

    def do_request_new_pad(self, pad_template, _name, _caps):
        """One pad for KLV; a queue should follow it."""
        if self.klvpad is not None:
            return None
        pad = Gst.Pad.new_from_template(pad_template, "klv")
        self.klvpad = pad
        self.add_pad(pad)
        return pad

    def do_release_pad(self, pad):
        """The muxer goes."""
        self.klvpad = None
        self.remove_pad(pad)

    def do_change_state(self, transition):
        """The library is loaded on NULL -> READY."""
        return shim.change_state(self, transition, Gst.Element.do_change_state)


GObject.type_register(NnrDescribe)
__gstelementfactory__ = ("nnrdescribe", Gst.Rank.NONE, NnrDescribe)
