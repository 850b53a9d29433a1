# SPDX-License-Identifier: Apache-2.0
"""How much of the network's own speed is left in a whole player.

    python tests/bench/bench_player.py [clip] [--size 360|540] [--channels N] [--precision fp32]
                                       [--encode] [--threads N] [--rounds N] [--json FILE]

Timed in turn, in one process, on the same pictures with the same weights:

* bare: ``session.run`` on input tensors that lie ready, nothing else: one session with all
  threads, and as many sessions of one thread at the same time; the better of the two counts;
* player: the file in, decoded, messages read, enhanced, and pictures thrown away;
* encode: the same, and coded by x264 ultrafast into a file.

Figures are medians over rounds and the median of the ratios of neighbours, in pictures per second;
the share of the CPU time hardly depends on what else the machine does.  Without a clip, one is
made from the sample.  Prints a table, asserts nothing.
"""

import argparse
import json
import os
import resource
import statistics
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from nnrvideo.authoring import embed
from nnrvideo.container import VideoWriter, open_media, open_writer
from nnrvideo.data import base_network
from nnrvideo.limits import Limits
from nnrvideo.model import infer_contract, load_onnx, measure, pack, to_nnpfc, unpack
from nnrvideo.picture import PictureFormat
from nnrvideo.player import Precision, enhanced_pictures
from nnrvideo.player.filter import NetworkFilter
from nnrvideo.player.networks import load_network
from nnrvideo.player.precision import PrecisionPolicy
from nnrvideo.runtime import OnnxRuntimeBackend, resize_picture
from nnrvideo.runtime.layout import fill_input
from nnrvideo.runtime.onnxruntime import default_threads

ROOT = Path(__file__).resolve().parents[2]
SIZES = {360: (640, 360), 540: (960, 540)}
FRAMES = 96


def random_network(channels, layers=4):
    """Unshuffle, plain convolutions, shuffle: what onnxruntime runs at the peak of the machine."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes = [helper.make_node("SpaceToDepth", ["input"], ["x0"], blocksize=2)]
    weights, width = [], 4
    for layer in range(layers):
        last = layer == layers - 1
        out = 16 if last else channels
        weight = rng.normal(0, 0.1, (out, width, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{layer}"))
        result = f"x{layer + 1}" if last else f"c{layer}"
        nodes.append(helper.make_node("Conv", [f"x{layer}", f"w{layer}"], [result]))
        if not last:
            nodes.append(helper.make_node("Relu", [result], [f"x{layer + 1}"]))
        width = out
    nodes.append(helper.make_node("DepthToSpace", [f"x{layers}"], ["output"], blocksize=4))
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, "h", "w"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, "H", "W"])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def make_clip(path, size):
    """H.264 from the sample clip, back and forth until it is long enough."""
    with open_media(ROOT / "samples" / "bbb_sample.mp4") as media:
        pictures = [resize_picture(item.picture, PictureFormat(*size)) for item in media.pictures()]
    pictures = (pictures + pictures[::-1]) * (1 + FRAMES // (2 * len(pictures)))
    options = {"crf": "28", "preset": "medium"}
    with VideoWriter(path, codec="libx264", options=options) as writer:
        for index, picture in enumerate(pictures[:FRAMES]):
            writer.write(picture, Fraction(index, 24))


class Bare:
    """The network and nothing else."""

    def __init__(self, payload, pictures, precision, threads):
        limits = Limits.offline()
        network = unpack(payload, limits=limits).require_network()
        nnpfc = to_nnpfc(infer_contract(network), measure(network), nnpfc_id=7, payload=payload)
        source = pictures[0].format
        self.threads = threads
        self.filters = []
        for count in (threads, 1):
            backend = OnnxRuntimeBackend(threads=count)
            policy = PrecisionPolicy(Precision(precision), backend)
            loaded = load_network(network, nnpfc, source, backend, limits=limits, precision=policy)
            self.filters.append(
                NetworkFilter(loaded, nnpfc, source, limits=limits, max_memory_bytes=1 << 30)
            )
        self.precision = loaded.precision.name
        one = self.filters[0]
        plan = one.plan
        assert plan.count == 1, "the comparison is meant for pictures that fit in one patch"
        self.target = one.target
        self.batches = []
        for picture in pictures:
            with one._borrowed_buffer() as buffer:
                batch = np.empty_like(buffer)
            corner = -plan.overlap, -plan.overlap
            fill_input(batch[0], picture, loaded.input, corner, one._rules)
            self.batches.append(batch)

    def together(self):
        for batch in self.batches:
            self.filters[0]._run(batch)  # session.run, and a view of its result
        return len(self.batches)

    def side_by_side(self):
        rest = iter(self.batches)
        lock = threading.Lock()

        def work():
            while True:
                with lock:
                    batch = next(rest, None)
                if batch is None:
                    return
                self.filters[1]._run(batch)

        workers = [threading.Thread(target=work) for _ in range(self.threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return len(self.batches)


def play(clip, options, sink=None):
    count = 0
    with open_media(clip) as media:
        for item in enhanced_pictures(
            media,
            threads=options.threads,
            precision=options.precision,
            limits=Limits.offline(),
            max_memory_mib=1024,
        ):
            assert item.enhanced, item.reason
            if sink is not None:
                sink.write(item.picture, item.pts)
            count += 1
    return count


def play_and_encode(clip, options, folder):
    with open_media(clip) as media:
        writer = open_writer(
            folder / "out.mp4",
            like=media.video,
            codec="libx264",
            options={"preset": "ultrafast", "crf": "23"},
            overwrite=True,
        )
    with writer as sink:
        return play(clip, options, sink)


def timed(function, *arguments):
    """Pictures per second, and CPU milliseconds for each picture."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = function(*arguments)
    return count / (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--size", type=int, choices=SIZES, default=360)
    parser.add_argument("--channels", type=int, help="a random network of that width")
    parser.add_argument("--precision", choices=("auto", "fp32", "int8"), default="fp32")
    parser.add_argument("--encode", action="store_true")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    name = "shipped sr2x_luma"
    payload = base_network()
    if options.channels:
        name = f"random, {options.channels} channels, 4 convolutions"
        payload = pack(load_onnx(random_network(options.channels)))
    with tempfile.TemporaryDirectory() as folder:
        clip = options.clip
        if clip is None:
            clip = Path(folder) / "clip.mp4"
            make_clip(clip, SIZES[options.size])
        coded = Path(folder) / "coded.mp4"
        embed(clip, coded, payload)
        run(coded, name, payload, options, Path(folder))


def run(clip, name, payload, options, folder):
    with open_media(clip) as media:
        pictures = [item.picture for item in media.pictures()]
    bare = Bare(payload, pictures, options.precision, options.threads)
    source, target = pictures[0].format, bare.target
    print(f"network   {name}, {bare.precision}")
    print(
        f"pictures  {len(pictures)} of {source.width}x{source.height} -> "
        f"{target.width}x{target.height}; {options.threads} threads, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    runs = {
        "bare, one session": (bare.together,),
        "bare, side by side": (bare.side_by_side,),
        "player": (play, clip, options),
    }
    if options.encode:
        runs["player and x264"] = (play_and_encode, clip, options, folder)
    results = {label: [] for label in runs}
    for round_ in range(options.rounds + 1):
        for label, call in runs.items():
            figures = timed(*call)
            if round_:  # the first one warms up
                results[label].append(figures)
    bares = [max(a[0], b[0]) for a, b in zip(*list(results.values())[:2], strict=True)]
    table = {}
    for label, rounds in results.items():
        ratio = statistics.median(one[0] / best for one, best in zip(rounds, bares, strict=True))
        table[label] = {
            "fps": statistics.median(one[0] for one in rounds),
            "cpu_ms": statistics.median(one[1] for one in rounds),
            "of_bare": ratio,
        }
        print(
            f"{label:19} {table[label]['fps']:6.1f} pictures/s, "
            f"{table[label]['cpu_ms']:6.2f} ms CPU each, {ratio:.3f} of the better bare"
        )
    share = table["bare, side by side"]["cpu_ms"] / table["player"]["cpu_ms"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"share of the CPU time {share:.3f}; peak memory of this process {peak:.0f} MiB")
    if options.json:
        table["cpu_share"], table["peak_mib"] = share, peak
        options.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
