# SPDX-License-Identifier: Apache-2.0
"""What the decode bins have in common: two ghost pads, an extractor and an enhancer."""

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GObject, Gst  # noqa: E402

import nnrvideo_shim as shim  # noqa: E402

SRC = shim.template("src", shim.RAW_CAPS)


def sink_template(media_type):
    """Sink template for one of the coded formats."""
    (caps,) = [c for c in shim.CODED_CAPS.split("; ") if c.startswith(media_type)]
    return shim.template("sink", caps)


def metadata(codec):
    """``__gstmetadata__`` of the bin for a codec."""
    return (
        f"Neural network enhanced {codec} decoder",
        "Codec/Decoder/Video",
        f"Decodes {codec} by another decoder (base-decoder) and runs the neural networks that "
        "travel in the stream on the pictures. Streams without networks pass unchanged. Its "
        "rank is NONE; GST_PLUGIN_FEATURE_RANK raises it for playbin. Children: extract "
        "(nnrextract), decoder, enhance (nnrenhance).",
        shim.AUTHOR,
    )


def base_decoder():
    """The property; each class needs its own."""
    return GObject.Property(
        type=str,
        default=None,
        nick="Base decoder",
        blurb="Factory of the decoder inside; the one of the highest rank if not set",
        flags=shim.READY,
    )


def build(element, sink):
    """Fills a bin, all but the decoder, which is chosen when it is started."""
    element.extract = Gst.ElementFactory.make("nnrextract", "extract")
    element.enhance = Gst.ElementFactory.make("nnrenhance", "enhance")
    element.add(element.extract)
    element.add(element.enhance)
    for pad, pad_template in (
        (element.extract.get_static_pad("sink"), sink),
        (element.enhance.get_static_pad("src"), SRC),
    ):
        element.add_pad(Gst.GhostPad.new_from_template(pad.get_name(), pad, pad_template))
