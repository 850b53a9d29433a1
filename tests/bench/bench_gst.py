# SPDX-License-Identifier: Apache-2.0
"""What ``nnrenhance`` costs beyond the network, and whether a slow network keeps real time.

    python tests/bench/bench_gst.py [--pictures N] [--no-real-time]

Needs GStreamer, and its gi in this environment ("nnrvideo gst install").

First: 960x540 to 1920x1080 by the shipped network.  Everything happens in the streaming thread,
from the arrival of a buffer to the return of the push, and so is its CPU time taken; of that,
``session.run`` with one thread.  The element's own share is the difference.  Resampling, which is
making samples where the network makes none (chroma), is shown apart; OpenCV has one thread for it,
so that nothing escapes.  The same with plain upscaling, and with pictures that pass untouched.

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

import cv2
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


def figures(times):
    """CPU times grow with what the neighbours of the core do; the fastest tenth is our own."""
    if len(times) < 2:
        return "-"
    return f"{statistics.quantiles(times, n=10)[0]:.3f} {statistics.median(times):.3f}"


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
    from nnrvideo.player.filter import NetworkFilter
    from nnrvideo.runtime import resample

    chain, run, resampling = [], [], []
    cv2.setNumThreads(1)
    resample.resize_plane = timed(resample.resize_plane, resampling)
    enhance.Logic.chain = timed(enhance.Logic.chain, chain)
    made = NetworkFilter.__init__

    def init(self, network, *arguments, **named):
        made(self, network, *arguments, **named)
        network.session.run = timed(network.session.run, run)
        network.session.run_into = timed(network.session.run_into, run)

    NetworkFilter.__init__ = init
    (folder / "net.nnc").write_bytes(base_network())
    raw = "video/x-raw,format={},width=960,height=540,framerate=25/1"
    print(f"CPU ms of a picture, fastest tenth and median of {pictures}, 960x540 to 1920x1080, "
          f"load {os.getloadavg()[0]:.1f}")  # fmt: skip
    print(f"{'':24}" + "".join(f"{name:>18}" for name in
          ("element", "network", "own", "resampling", "own, rest")))  # fmt: skip
    network = f"model-file={folder}/net.nnc"
    for title, name, settings, after in (
        ("shipped network, I420", "I420", network, "! fakesink"),
        ("shipped network, NV12", "NV12", network, "! fakesink"),
        ("plain", "I420", "mode=plain", "! video/x-raw,width=1920,height=1080 ! fakesink"),
        ("untouched", "I420", "mode=off", "! fakesink"),
    ):
        for times in (chain, run, resampling):
            times.clear()
        play(
            f"videotestsrc pattern=ball num-buffers={pictures} ! {raw.format(name)} "
            f"! nnrenhance name=e threads=1 max-memory=1024 {settings} {after} sync=false"
        )
        # The first picture agrees on formats, and waits for the network.
        count = len(chain)
        each = len(resampling) // count
        parts = [sum(resampling[i * each : (i + 1) * each]) for i in range(count)]
        own = [a - b for a, b in zip(chain, run or [0.0] * count, strict=True)]
        rest = [a - b for a, b in zip(own, parts, strict=True)]
        columns = (chain, run, own, parts, rest)
        print(f"{title:24}" + "".join(f"{figures(times[1:]):>18}" for times in columns))
    planes = [np.ones((1080, 1920), np.uint8), *np.ones((2, 540, 960), np.uint8)]
    small = np.zeros((270, 480), np.uint8)

    def move():
        for plane in planes:
            plane.copy()

    def chroma():
        for _ in range(2):
            resize_plane(small, 960, 540, 8)

    for title, function in (("copying the output", move), ("bicubic chroma", chroma)):
        times = []
        for _ in range(pictures):
            timed(function, times)()
        print(f"  for comparison, into new memory: {title:20} {figures(times)}")


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
    parser.add_argument("--no-real-time", action="store_true", help="only the first part")
    options = parser.parse_args()
    Gst.init(None)
    with tempfile.TemporaryDirectory() as name:
        overhead(Path(name), options.pictures)
        if not options.no_real_time:
            print()
            real_time(Path(name), options.pictures)


if __name__ == "__main__":
    main()
