# SPDX-License-Identifier: Apache-2.0
"""``nnrenhance``: runs the networks of a stream on decoded pictures."""

import gi

gi.require_version("Gst", "1.0")
import nnrvideo_shim as shim  # noqa: E402
from gi.repository import GObject, Gst  # noqa: E402

_SINK = shim.template("sink", shim.RAW_CAPS)
_SRC = shim.template("src", shim.RAW_CAPS)


class NnrEnhance(Gst.Element):
    """Shell of ``nnrvideo.gst.enhance``."""

    __gtype_name__ = "NnrEnhance"
    __gstmetadata__ = (
        "Neural network enhancer",
        "Filter/Effect/Converter/Video/Scaler",
        "Runs the neural networks that nnrextract found in the coded video on the decoded "
        "pictures. Every picture comes out: enhanced, or upscaled plainly where no network "
        "applies, works or is fast enough.",
        shim.AUTHOR,
    )
    __gsttemplates__ = (_SINK, _SRC)

    LOGIC = "enhance"

    enabled = GObject.Property(
        type=bool,
        default=True,
        nick="Enabled",
        blurb="Run networks; if not, pictures are upscaled plainly (scale-policy fixed) or "
        "pass untouched (dynamic)",
        flags=shim.PLAYING,
    )
    mode = GObject.Property(
        type=str,
        default="auto",
        nick="Mode",
        blurb="auto: networks, never at the price of real time; network: wait for them and run "
        "them however long it takes; plain: upscale plainly; off: pass untouched",
        flags=shim.PLAYING,
    )
    scale_policy = GObject.Property(
        type=str,
        default="fixed",
        nick="Scale policy",
        blurb="fixed: one output size throughout, that of downstream's caps, else of the first "
        "network announced before the first picture; dynamic: the size of each picture, with "
        "new caps where it changes",
        flags=shim.READY,
    )
    upscaler = GObject.Property(
        type=str,
        default="bicubic",
        nick="Upscaler",
        blurb="Kernel of the plain upscale: bilinear, bicubic or lanczos",
        flags=shim.READY,
    )
    model_file = GObject.Property(
        type=str,
        default=None,
        nick="Model file",
        blurb="Network (.nnc with its topology, as 'nnrvideo pack' writes it) to run instead of "
        "those in the stream",
        flags=shim.READY,
    )
    execution_provider = GObject.Property(
        type=str,
        default=None,
        nick="Execution provider",
        blurb="onnxruntime's execution provider, e.g. CPUExecutionProvider; the best present if "
        "not set",
        flags=shim.READY,
    )
    threads = GObject.Property(
        type=int,
        default=0,
        minimum=0,
        maximum=1024,
        nick="Threads",
        blurb="Threads of a network; 0: as many as the process has cores, at most 4",
        flags=shim.READY,
    )
    max_memory = GObject.Property(
        type=int,
        default=256,
        minimum=1,
        maximum=1 << 20,
        nick="Maximum memory",
        blurb="Bound on the memory of one run of a network, in MiB; pictures are cut into "
        "patches to keep it",
        flags=shim.READY,
    )
    deadline = GObject.Property(
        type=float,
        default=0.8,
        minimum=0.01,
        maximum=1000.0,
        nick="Deadline",
        blurb="Share of a picture's duration that a network may take in live pipelines; also the "
        "latency that is reported",
        flags=shim.READY,
    )
    qos = GObject.Property(
        type=bool,
        default=True,
        nick="QoS",
        blurb="When the sink is late, upscale plainly and keep the QoS event, so that no picture "
        "is dropped upstream; if not, QoS events pass",
        flags=shim.PLAYING,
    )
    latency_report = GObject.Property(
        type=bool,
        default=True,
        nick="Latency report",
        blurb="Add deadline x duration of a picture to the latency of live pipelines",
        flags=shim.READY,
    )

    def __init__(self):
        super().__init__()
        self.logic = None
        shim.make_pads(self, _SINK, _SRC)

    def _network_id(self):
        return self.logic.network_id if self.logic else -1

    def _active(self):
        return bool(self.logic and self.logic.active)

    def _stats(self):
        return self.logic.stats() if self.logic else Gst.Structure.new_empty("nnrenhance")

    network_id = GObject.Property(
        getter=_network_id,
        type=int,
        default=-1,
        minimum=-1,
        nick="Network id",
        blurb="nnpfc_id of the network in force, -1 for none",
        flags=GObject.ParamFlags.READABLE,
    )
    active = GObject.Property(
        getter=_active,
        type=bool,
        default=False,
        nick="Active",
        blurb="Whether the latest picture was enhanced by a network",
        flags=GObject.ParamFlags.READABLE,
    )
    stats = GObject.Property(
        getter=_stats,
        type=Gst.Structure,
        nick="Statistics",
        blurb="frames, enhanced, plain, late (plain because the sink waited), networks-built, "
        "networks-rejected, mean-network-ms, provider: since the stream started",
        flags=GObject.ParamFlags.READABLE,
    )

    def do_change_state(self, transition):
        """The library is loaded on NULL -> READY."""
        return shim.change_state(self, transition, Gst.Element.do_change_state)


GObject.type_register(NnrEnhance)
__gstelementfactory__ = ("nnrenhance", Gst.Rank.NONE, NnrEnhance)
