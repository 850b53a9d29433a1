# SPDX-License-Identifier: Apache-2.0
"""What ``nnrenhance`` costs beyond the network, and whether a slow network keeps real time.

    python tests/bench/bench_gst.py [--pictures N]

Needs GStreamer, and its gi in this environment ("nnrvideo gst install").

First: 960x540 to 1920x1080 by the shipped network.  CPU time of each picture is taken where it is
spent: in the streaming thread (mapping, handing over, copying out, pushing), in the worker, and in
``session.run`` inside the worker, which has one thread.  The element's own share is all but the
last; resampling, which is making a picture where the network makes none (its chroma), is shown
apart.  The same with plain upscaling, and with pictures that pass untouched.

Second: a network that takes about four times the duration of a picture, with a sink that keeps
time.  How many pictures came out, how many were enhanced, and how long it took of the nominal time.

Prints tables, asserts nothing.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from nnrvideo.data import base_network
from nnrvideo.gst import setup
from nnrvideo.runtime.resample import resize_plane

os.environ["GST_PLUGIN_PATH"] = str(setup.plugin_folder())

import gi  # noqa: E402

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402


def timed(function, times):
    """The function, with the CPU time of its thread noted at each call."""

    def wrapper(*arguments, **named):
        begin = time.thread_time()
        try:
            return function(*arguments, **named)
        finally:
            times.append(1e3 * (time.thread_time() - begin))

    return wrapper


def undisturbed(times):
    """CPU times grow with what the neighbours of the core do; the fastest tenth is our own."""
    return statistics.quantiles(times, n=10)[0] if len(times) > 1 else 0.0


def play(description):
    """Runs a pipeline to its end; returns it, stopped, and the seconds it took."""
    pipeline = Gst.parse_launch(description)
    pipeline.set_state(Gst.State.PAUSED)
    pipeline.get_state(Gst.CLOCK_TIME_NONE)
    begin = time.perf_counter()
    pipeline.set_state(Gst.State.PLAYING)
    message = pipeline.get_bus().timed_pop_filtered(
        Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR
    )
    seconds = time.perf_counter() - begin
    if message.type == Gst.MessageType.ERROR:
        sys.exit(message.parse_error()[0].message)
    element = pipeline.get_by_name("e")
    stats = element.get_property("stats") if element is not None else None
    pipeline.set_state(Gst.State.NULL)
    return stats, seconds


def overhead(folder, pictures):
    from nnrvideo.gst import enhance
    from nnrvideo.player import filter as network_filter
    from nnrvideo.player.enhancer import Enhancer
    from nnrvideo.player.filter import NetworkFilter
    from nnrvideo.runtime import resample

    chain, worker, run, resampling = [], [], [], []
    for module in (network_filter, resample):
        module.resize_plane = timed(module.resize_plane, resampling)
    enhance.Logic.chain = timed(enhance.Logic.chain, chain)
    Enhancer._enhance = timed(Enhancer._enhance, worker)
    made = NetworkFilter.__init__

    def init(self, network, *arguments, **named):
        made(self, network, *arguments, **named)
        network.session.run = timed(network.session.run, run)

    NetworkFilter.__init__ = init
    (folder / "net.nnc").write_bytes(base_network())
    raw = "video/x-raw,format={},width=960,height=540,framerate=25/1"
    print(f"CPU ms of a picture, fastest tenth of {pictures}, 960x540 to 1920x1080")
    print(f"{'':28}{'streaming':>10}{'worker':>10}{'network':>10}{'own':>10}{'resampling':>12}"
          f"{'own, rest':>11}")  # fmt: skip
    network = f"model-file={folder}/net.nnc"
    for title, name, settings, after in (
        ("shipped network, I420", "I420", network, "! fakesink"),
        ("shipped network, NV12", "NV12", network, "! fakesink"),
        ("plain", "I420", "mode=plain", "! video/x-raw,width=1920,height=1080 ! fakesink"),
        ("untouched", "I420", "mode=off", "! fakesink"),
    ):
        for times in (chain, worker, run, resampling):
            times.clear()
        play(
            f"videotestsrc pattern=ball num-buffers={pictures} ! {raw.format(name)} "
            f"! nnrenhance name=e threads=1 max-memory=1024 {settings} {after} sync=false"
        )
        c = undisturbed(chain)
        w, r = undisturbed(worker), undisturbed(run)
        own = undisturbed([a + b - d for a, b, d in zip(chain, worker, run or [0.0] * len(worker),
                                                       strict=False)] or chain)  # fmt: skip
        s = undisturbed(resampling) * round(len(resampling) / max(1, len(worker)))
        print(f"{title:28}{c:10.3f}{w:10.3f}{r:10.3f}{own:10.3f}{s:12.3f}{own - s:11.3f}")
    planes = [np.ones((1080, 1920), np.uint8), *np.ones((2, 540, 960), np.uint8)]
    small = np.zeros((270, 480), np.uint8)

    def move():
        for plane in planes:
            plane.copy()

    def resample():
        for _ in range(2):
            resize_plane(small, 960, 540, 8)

    for title, function in (("copying the output", move), ("bicubic chroma", resample)):
        times = []
        for _ in range(pictures):
            timed(function, times)()
        print(f"  for comparison: {title:50}{undisturbed(times):10.3f}")


def real_time(folder, pictures):
    from onnx import TensorProto, helper, numpy_helper

    from nnrvideo.model import load_onnx, pack
    from nnrvideo.nnc import EncodeSettings

    rng = np.random.default_rng(0)
    shapes = {"a": (48, 1, 3, 3), "b": (48, 48, 3, 3), "c": (4, 48, 3, 3)}
    weights = {k: (rng.normal(size=s) * 0.05).astype(np.float32) for k, s in shapes.items()}
    pads = [1, 1, 1, 1]
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"], pads=pads),
        helper.make_node("Conv", ["p", "b"], ["q"], pads=pads),
        helper.make_node("Conv", ["q", "c"], ["r"], pads=pads),
        helper.make_node("DepthToSpace", ["r"], ["y"], blocksize=2),
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, "H", "W"])],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "slow.nnc").write_bytes(
        pack(load_onnx(model.SerializeToString()), EncodeSettings(preset="fast"))
    )
    size = "video/x-raw,format=I420,width=640,height=360"
    network = f"nnrenhance name=e threads=1 model-file={folder}/slow.nnc"
    stats, _ = play(
        f"videotestsrc num-buffers=8 ! {size},framerate=25/1 ! {network} mode=network "
        "! fakesink sync=false"
    )
    needed = stats.get_value("mean-network-ms")
    rate = max(1, round(4e3 / needed))
    print(f"\na network of {needed:.0f} ms at {rate} pictures per second, sink in real time")
    print(f"{'':14}{'out':>6}{'enhanced':>10}{'plain':>7}{'seconds':>9}{'nominal':>9}")
    for title, settings in (("qos (default)", ""), ("qos=false", "qos=false")):
        stats, seconds = play(
            f"videotestsrc num-buffers={pictures} ! {size},framerate={rate}/1 "
            f"! {network} {settings} ! fakesink sync=true qos=true"
        )
        out, by_network, plain = (stats.get_value(n) for n in ("frames", "enhanced", "plain"))
        print(f"{title:14}{out:6}{by_network:10}{plain:7}{seconds:9.2f}{pictures / rate:9.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=120)
    options = parser.parse_args()
    Gst.init(None)
    with tempfile.TemporaryDirectory() as name:
        real_time(Path(name), options.pictures)
        print()
        overhead(Path(name), options.pictures)


if __name__ == "__main__":
    main()
