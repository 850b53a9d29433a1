# SPDX-License-Identifier: Apache-2.0
"""How much of the network's own speed is left in a whole player.

    python tests/bench/bench_player.py [clip] [--threads N] [--rounds N]

Two things are timed in turn, in one process, on the same pictures with the same session settings:

* bare: ``session.run`` of the network on input tensors that lie ready, nothing else;
* pipeline: decode the H.264 file, send messages and pictures through the Enhancer, receive.

The figure is the ratio of the two medians, in pictures per second; the ratio of CPU times beside
it hardly depends on what else the machine does.  Without a clip, a 360p one is made from the
sample (or from moving noise).  Prints a table, asserts nothing.
"""

import argparse
import os
import statistics
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from nnrvideo.container import SideData, VideoWriter, open_media
from nnrvideo.limits import Limits
from nnrvideo.model import infer_contract, load_onnx, measure, pack, to_nnpfc, unpack
from nnrvideo.picture import Picture, PictureFormat
from nnrvideo.player import Enhanced, Enhancer, Status
from nnrvideo.player.filter import NetworkFilter
from nnrvideo.player.networks import load_network
from nnrvideo.runtime import OnnxRuntimeBackend, resize_picture
from nnrvideo.runtime.layout import fill_input
from nnrvideo.runtime.onnxruntime import default_threads
from nnrvideo.sei import Nnpfa, message_of, pack_records

ROOT = Path(__file__).resolve().parents[2]
SIZE = 640, 360
FRAMES = 168


def network_payload():
    """The shipped network, else a random one of the size of a good one."""
    try:
        from nnrvideo.data import base_network

        return "shipped sr2x_luma", base_network()
    except (ImportError, OSError):
        return "random, 32 channels, 4 convolutions", pack(load_onnx(random_network()))


def random_network(channels=32, layers=4):
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


def make_clip(path):
    """H.264 at 640x360 from the sample clip, back and forth until it is long enough."""
    sample = next(iter(sorted((ROOT / "samples").glob("*.mp4"))), None)
    target = PictureFormat(*SIZE)
    if sample is not None:
        with open_media(sample) as media:
            pictures = [resize_picture(item.picture, target) for item in media.pictures()]
    else:
        texture = np.random.default_rng(1).integers(0, 256, (SIZE[1], 2 * SIZE[0]), np.uint8)
        chroma = np.full((SIZE[1] // 2, SIZE[0] // 2), 128, np.uint8)
        pictures = [
            Picture((texture[:, i : i + SIZE[0]].copy(), chroma, chroma)) for i in range(84)
        ]
    pictures = (pictures + pictures[::-1]) * (1 + FRAMES // (2 * len(pictures)))
    options = {"crf": "28", "preset": "medium"}
    with VideoWriter(path, codec="libx264", options=options) as writer:
        for index, picture in enumerate(pictures[:FRAMES]):
            writer.write(picture, Fraction(index, 24))


def bare(network, batches):
    for batch in batches:
        network._run(batch)  # noqa: SLF001 - session.run, and nothing but a view of its result
    return len(batches)


def pipeline(clip, enhancer, start, decoder_threads):
    """A player's loop; returns pictures received."""
    count = 0
    enhancer.flush()
    enhancer.send_side_data(Fraction(0), start, clvs_start=True)
    with open_media(clip) as media:
        for item in media.events(threads=decoder_threads):
            if isinstance(item, SideData):
                continue
            while enhancer.send_frame(item.picture, item.pts) is Status.AGAIN:
                count += received(enhancer, None)
        enhancer.drain()
        while received(enhancer, 0):
            count += 1
    return count


def received(enhancer, timeout):
    result = enhancer.receive(timeout)
    if not isinstance(result, Enhanced):
        return 0
    assert result.info.enhanced, result.info.reason
    return 1


def timed(function, *arguments):
    """Pictures per second, and CPU milliseconds for each picture."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = function(*arguments)
    return count / (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--decoder-threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    name, payload = network_payload()
    with tempfile.TemporaryDirectory() as folder:
        clip = options.clip
        if clip is None:
            clip = Path(folder) / "clip.mp4"
            make_clip(clip)
        run(clip, name, payload, options)


def run(clip, name, payload, options):
    limits = Limits.offline()
    network = unpack(payload, limits=limits).require_network()
    contract = infer_contract(network)
    nnpfc = to_nnpfc(contract, measure(network), nnpfc_id=7, payload=payload)
    start = pack_records([message_of(nnpfc), message_of(Nnpfa.activate(7))])
    with open_media(clip) as media:
        source = media.video.format
        pictures = [item.picture for item in media.pictures()]
    backend = OnnxRuntimeBackend(threads=options.threads)
    loaded = load_network(network, nnpfc, source, backend, limits=limits)
    network_filter = NetworkFilter(loaded, nnpfc, source, limits=limits, max_memory_bytes=256 << 20)
    plan = network_filter.plan
    assert plan.count == 1, "the comparison is meant for pictures that fit in one patch"
    batches = []
    for picture in pictures:
        batch = np.empty_like(network_filter._buffer)  # noqa: SLF001
        fill_input(
            batch[0], picture, loaded.input, (-plan.overlap, -plan.overlap), network_filter._rules
        )
        batches.append(batch)
    print(
        f"network   {name}: {network.tensors.parameters} parameters, {len(payload)} bytes, "
        f"{measure(network).macs_per_sample / 1000:.2f} kMAC per output sample"
    )
    print(
        f"pictures  {len(pictures)} of {source.width}x{source.height} -> "
        f"{network_filter.target.width}x{network_filter.target.height}, one patch of "
        f"{plan.input_width}x{plan.input_height}"
    )
    print(
        f"threads   network {options.threads}, decoder {options.decoder_threads}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    results = {"bare": [], "pipeline": []}
    with Enhancer(threads=options.threads, limits=limits) as enhancer:
        timed(bare, network_filter, batches[:20])
        timed(pipeline, clip, enhancer, start, options.decoder_threads)
        for _ in range(options.rounds):
            results["bare"].append(timed(bare, network_filter, batches))
            results["pipeline"].append(
                timed(pipeline, clip, enhancer, start, options.decoder_threads)
            )
    medians = {}
    for label, rounds in results.items():
        fps = [one[0] for one in rounds]
        cpu = [one[1] for one in rounds]
        medians[label] = statistics.median(fps), statistics.median(cpu)
        print(
            f"{label:9} {medians[label][0]:7.1f} pictures/s (min {min(fps):.1f}, "
            f"max {max(fps):.1f}), {medians[label][1]:6.2f} ms CPU each"
        )
    pairs = [p[0] / b[0] for b, p in zip(results["bare"], results["pipeline"], strict=True)]
    print(
        f"ratio     {medians['pipeline'][0] / medians['bare'][0]:.3f} of the bare speed "
        f"(median of pairs {statistics.median(pairs):.3f}); "
        f"network's share of the CPU time {medians['bare'][1] / medians['pipeline'][1]:.3f}"
    )


if __name__ == "__main__":
    main()
