# SPDX-License-Identifier: Apache-2.0
"""What folding batch normalisation saves, and what correcting quantised networks brings.

    python tests/bench/bench_model.py [fold] [correct] [--shared FOLDER]

fold: bytes at equal error of the output, batch normalisation sent beside the weights or folded
into them, between two QPs on the line through them.
correct: a classifier's pooled descriptor at few bits, the pictures of a super-resolution network
at coarse QPs, without and with scales and biases that were measured on frames of other clips.

Needs the models and clips of the shared folder. Asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nnrvideo import Network, load_onnx, open_media
from nnrvideo.container import picture_to_rgb
from nnrvideo.limits import Limits
from nnrvideo.model import Scaled, correct, fold_batch_norm, pack, unpack
from nnrvideo.model.graph import serialize
from nnrvideo.model.prepare import for_runtime
from nnrvideo.nnc import EncodeSettings
from nnrvideo.runtime import OnnxRuntimeBackend

_ROOT = Path(__file__).resolve().parents[2]
_SHARED = Path(os.environ.get("NNRVIDEO_SHARED") or _ROOT.parent / "shared")
_BACKEND = OnnxRuntimeBackend()
_APART = 24  # pictures between two frames that are taken
_CALIBRATED_ON = ("bedroom", "cups_720p", "bbb_meadow_1080p24")
_MEASURED_ON = ("blocks", "coffee", "flower", "bbb_bird", "bbb_bunny")


def outputs(network: Network, inputs: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    model, arrays = for_runtime(network.graph, network.tensors)
    session = _BACKEND.load(serialize(model), arrays)
    return [session.run(feeds)[0] for feeds in inputs]


def received(data: bytes) -> Network:
    return unpack(data, limits=Limits.offline()).require_network()


def frames(shared: Path, clips: tuple[str, ...], count: int) -> list[np.ndarray]:
    """RGB frames of 256 columns, some of each clip."""
    found = []
    for path in sorted((shared / "data" / "clips").iterdir()):
        if not path.name.startswith(clips):
            continue
        with open_media(path) as media:
            taken = 0
            for index, decoded in enumerate(media.pictures()):
                if index % _APART == 0:
                    rgb = picture_to_rgb(decoded.picture)
                    height = round(256 * rgb.shape[0] / rgb.shape[1])
                    found.append(cv2.resize(rgb, (256, height), interpolation=cv2.INTER_AREA))
                    taken += 1
                if taken == count:
                    break
    return found


# -- fold ----------------------------------------------------------------------------------------


def with_batch_norm(data: bytes, random: np.random.Generator) -> bytes:
    """A network with batch normalisation put behind each Conv, to the same output.

    Statistics and factors are made, with the spread that trained networks have.
    """
    model = onnx.load_from_string(data)
    values = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type != "Conv" or node.input[1] not in values:
            continue
        weight = values[node.input[1]]
        bias = values.pop(node.input[2]) if len(node.input) > 2 else 0.0
        channels = len(weight)
        factors = random.lognormal(0, 0.7, channels)
        mean, variance = random.normal(0, 1, channels), random.lognormal(0, 1, channels)
        end, name = node.output[0], node.input[1]
        parts = {
            f"{name}.gamma": factors * np.sqrt(variance + 1e-5),
            f"{name}.beta": bias + factors * mean,
            f"{name}.mean": mean,
            f"{name}.var": variance,
        }
        values.update((key, each.astype(np.float32)) for key, each in parts.items())
        spread = factors.reshape(-1, *[1] * (weight.ndim - 1))
        values[name] = (weight / spread).astype(np.float32)
        del node.input[2:]
        node.output[0] = end + "/conv"
        nodes.append(helper.make_node("BatchNormalization", [node.output[0], *parts], [end]))
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        numpy_helper.from_array(each, key) for key, each in values.items()
    )
    return model.SerializeToString()


def made_network(random: np.random.Generator) -> bytes:
    """Ten convolutions of 32 channels, as they are initialised for training."""
    nodes, weights, last, before = [], [], "x", 3
    for number in range(10):
        channels = 32 if number < 9 else 3
        shape = (channels, before, 3, 3)
        weight = random.laplace(0, 1 / np.sqrt(9 * before), shape).astype(np.float32)
        bias = random.normal(0, 0.1, channels).astype(np.float32)
        weights += [numpy_helper.from_array(weight, f"layer{number}.weight")]
        weights += [numpy_helper.from_array(bias, f"layer{number}.bias")]
        inputs = [last, f"layer{number}.weight", f"layer{number}.bias"]
        nodes.append(helper.make_node("Conv", inputs, [f"c{number}"], pads=[1, 1, 1, 1]))
        last, before = f"c{number}", channels
        if number < 9:
            nodes.append(helper.make_node("Relu", [last], [f"r{number}"]))
            last = f"r{number}"
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "h", "w"])
        for name in ("x", last)
    ]
    graph = helper.make_graph(nodes, "made", ports[:1], ports[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def snr(wanted: list[np.ndarray], found: list[np.ndarray]) -> float:
    signal = sum(float(np.sum(each.astype(np.float64) ** 2)) for each in wanted)
    noise = sum(
        float(np.sum((a.astype(np.float64) - b) ** 2)) for a, b in zip(wanted, found, strict=True)
    )
    return 10 * np.log10(signal / noise)


def fold(shared: Path) -> None:
    random = np.random.default_rng(3)
    resnet = (shared / "data/models/resnet20_cifar10.onnx").read_bytes()
    forms = "beside | in blocks | scaled | folded | folded/in blocks"
    print(f"| network | coded at | output SNR | {forms} |")
    print("|---|---|---|---|---|---|---|---|")
    for label, data, size in (
        ("resnet20, batch norm put back", with_batch_norm(resnet, random), 32),
        ("made, 10 layers", with_batch_norm(made_network(random), random), 32),
    ):
        network = load_onnx(data)
        name = network.graph.inputs[0].name
        inputs = [
            {name: cv2.resize(each, (size, size)).transpose(2, 0, 1)[None].astype(np.float32) / 255}
            for each in frames(shared, _MEASURED_ON, 3)
        ]
        wanted = outputs(network, inputs)
        folded = fold_batch_norm(network)
        exact = snr(wanted, outputs(folded.multiplied(), inputs))
        sendings = {
            "beside": (network, {"blocks": False}),
            "blocks": (network, {}),
            "scaled": (folded, {}),
            "folded": (Scaled(folded.multiplied()), {}),
        }
        curves = {}
        for form, (sent, options) in sendings.items():
            points = []
            for qp in range(-54, -25, 2):
                coded = pack(sent, EncodeSettings(qp=qp), **options)
                points.append((snr(wanted, outputs(received(coded), inputs)), len(coded)))
            curves[form] = points
        for qp in (-46, -40, -34):
            target = curves["blocks"][(qp + 54) // 2][0]
            sizes = [bytes_at(points, target) for points in curves.values()]
            row = " | ".join(f"{size:.0f}" for size in sizes)
            print(f"| {label} | {qp} | {target:.1f} dB | {row} | {sizes[3] / sizes[1]:.3f} |")
        print(f"(folded exactly: {exact:.0f} dB)", file=sys.stderr)


def bytes_at(points: list[tuple[float, int]], target: float) -> float:
    """Size at which a curve first reaches an SNR, on the line between two points."""
    for (high, large), (low, small) in zip(points, points[1:], strict=False):
        if low <= target <= high:
            return small + (large - small) * (target - low) / (high - low)
    return float("nan")


# -- correct -------------------------------------------------------------------------------------


def descriptor_inputs(pictures: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """BGR less the mean of ImageNet, as the network was trained."""
    mean = np.array([104, 117, 123], np.float32)
    return [{"x": (rgb[..., ::-1] - mean).transpose(2, 0, 1)[None].copy()} for rgb in pictures]


def luma_inputs(pictures: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
    return [
        {"input": (cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[None, None] / 255).astype(np.float32)}
        for rgb in pictures
    ]


def cosine(wanted: list[np.ndarray], found: list[np.ndarray]) -> float:
    """Mean cosine of the descriptors: the average of each output map, of length 1."""
    pairs = [
        [each.mean(axis=(0, 2, 3)) for each in pair] for pair in zip(wanted, found, strict=True)
    ]
    return float(np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]))


def psnr(wanted: list[np.ndarray], found: list[np.ndarray]) -> float:
    errors = [np.mean((a.astype(np.float64) - b) ** 2) for a, b in zip(wanted, found, strict=True)]
    return float(-10 * np.log10(np.mean(errors)))


def correction(shared: Path) -> None:
    known, unknown = (frames(shared, clips, 5) for clips in (_CALIBRATED_ON, _MEASURED_ON))
    print(f"{len(known)} frames to calibrate, {len(unknown)} of other clips to measure")
    print("| network | coded at | bytes | measure | with correction: bytes | measure |")
    print("|---|---|---|---|---|---|")
    for label, prepared, measure, choices in (
        ("squeezenet10_fire9", descriptor_inputs, cosine, [{"bit_depth": n} for n in (6, 5, 4, 3)]),
        ("FSRCNN_x2", luma_inputs, psnr, [{"qp": n} for n in (-26, -22, -18, -14)]),
    ):
        network = load_onnx(shared / f"data/models/{label}.onnx")
        calibration, inputs = prepared(known), prepared(unknown)
        wanted = outputs(network, inputs)
        for choice in choices:
            settings = EncodeSettings(**choice)
            plain = pack(network, settings)
            corrected = pack(*correct(network, settings, calibration, _BACKEND))
            cells = [
                f"{len(data)} | {measure(wanted, outputs(received(data), inputs)):.3f}"
                for data in (plain, corrected)
            ]
            how = ", ".join(f"{key} {value}" for key, value in choice.items())
            print(f"| {label} | {how} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", choices=["fold", "correct"], default=["fold", "correct"])
    parser.add_argument("--shared", type=Path, default=_SHARED)
    options = parser.parse_args()
    if "fold" in options.what:
        fold(options.shared)
    if "correct" in options.what:
        correction(options.shared)


if __name__ == "__main__":
    main()
