# SPDX-License-Identifier: Apache-2.0
"""Bytes at equal error, CPU time and memory of our coder beside NNCodec 2.1.3.

    python tests/bench/bench_nnc.py [--qp -32] [--runs 3] [--quick] [MODEL.onnx...]

Each coder codes each network in a process of its own. Sizes are compared at equal error: the size
of ours at NNCodec's root mean square error over all values, between two of our QPs on the line
through them. NNCodec's "best" is the smallest, by the same measure, over its rate weights and
unary lengths. Besides the models given, two made networks are coded: 400 small tensors, and 20 M
weights of Laplace distribution whose spread varies from row to row and along each row.

Needs the environment that ``tests/interop/setup_nncodec.sh`` builds. Asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

_ROOT = Path(__file__).resolve().parents[2]
_VENV = Path(os.environ.get("NNRVIDEO_NNCODEC_VENV") or _ROOT / ".venv" / "nncodec")
_DRIVER = _ROOT / "tests" / "interop" / "nncodec_driver.py"

_PLAIN = {"row_skipping": True}
_BEST = [
    {"row_skipping": True, "lambda_scale": weight, "cabac_unary_length_minus1": unary}
    for weight in (0.0, 0.5, 1.0)
    for unary in (0, 10)
]


def networks(models: list[Path], *, quick: bool) -> dict[str, dict[str, np.ndarray]]:
    """Float tensors of every network, by the network's name."""
    found = {path.stem: initialisers(path) for path in models}
    random = np.random.default_rng(1)
    many = {}
    for number in range(200):
        many[f"block{number}.conv.weight"] = random.laplace(0, 0.06, (8, 8, 3, 3))
        many[f"block{number}.conv.bias"] = random.normal(0, 0.05, 8)
    found["400 tensors"] = many
    if not quick:
        found["20 M weights"] = {f"layer{n}.weight": correlated(random) for n in range(10)}
    return {
        name: {key: value.astype(np.float32) for key, value in tensors.items()}
        for name, tensors in found.items()
    }


def initialisers(path: Path) -> dict[str, np.ndarray]:
    import onnx
    from onnx import numpy_helper

    arrays = {i.name: numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}
    return {name: array for name, array in arrays.items() if array.dtype == np.float32}


def correlated(random: np.random.Generator) -> np.ndarray:
    """1024 x 2048 weights whose spread wanders along a row and differs between rows."""
    wander = np.cumsum(random.normal(0, 0.03, (1024, 2048)), axis=1)
    spread = 0.02 * np.exp(wander - wander.mean(axis=1, keepdims=True))
    return random.laplace(0, 1, spread.shape) * spread * random.uniform(0.3, 1.0, (1024, 1))


def rms(tensors: dict[str, np.ndarray], archive: Path) -> float:
    """Root mean square error over all values."""
    with np.load(archive) as found:
        total = sum(
            float(np.square(found[k] - v.astype(np.float64)).sum()) for k, v in tensors.items()
        )
    return math.sqrt(total / sum(value.size for value in tensors.values()))


def ours(command: str, *arguments: object) -> dict[str, float]:
    """One measurement of ours in a process of its own."""
    call = [sys.executable, __file__, "--worker", command, *map(str, arguments)]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def worker(arguments: list[str]) -> None:
    """Codes a file and prints what it took."""
    from nnrvideo import nnc
    from nnrvideo.limits import Limits

    def peak() -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

    limits = Limits.offline()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts here
    start = peak()
    command, source, target, runs, *rest = arguments
    cpu, wall = math.inf, math.inf
    for _ in range(int(runs)):
        tensors = decoded = result = None  # of the run before: they would count in the peak
        if command == "encode":
            settings = nnc.EncodeSettings(**json.loads(rest[0]))
            with np.load(source) as archive:
                tensors = {name: archive[name] for name in archive.files}
        else:
            data, threads = Path(source).read_bytes(), int(rest[0])
        cpu_start, wall_start = time.process_time(), time.perf_counter()
        if command == "encode":
            result = nnc.encode(tensors, settings)
        else:
            decoded = nnc.decode(data, limits=limits, threads=threads)
        cpu = min(cpu, time.process_time() - cpu_start)
        wall = min(wall, time.perf_counter() - wall_start)
    added = peak() - start
    if command == "encode":
        Path(target).write_bytes(result)
    else:
        np.savez(target, **decoded.tensors)
    print(json.dumps({"seconds": cpu, "wall": wall, "added_kb": added}))


def nncodec(*arguments: object):
    """One call of NNCodec in its own environment."""
    command = [str(_VENV / "bin" / "python"), str(_DRIVER), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


class Network:
    """One network on disk, and what is measured of it."""

    def __init__(self, folder: Path, tensors: dict[str, np.ndarray], runs: int) -> None:
        self.folder, self.tensors, self.runs = folder, tensors, runs
        self.source = folder / "in.npz"
        np.savez(self.source, **tensors)
        self.bytes = sum(value.nbytes for value in tensors.values())

    def theirs(self, qp: int, options: dict) -> dict[str, float]:
        stream, back, settings = (self.folder / f"theirs.{x}" for x in ("nnc", "npz", "json"))
        settings.write_text(json.dumps({"qp": qp, **options}), encoding="utf-8")
        encoded = nncodec("encode", self.source, stream, settings, self.runs)
        (decoded,) = nncodec("decode", self.runs, stream, back)
        return {
            "bytes": stream.stat().st_size,
            "rms": rms(self.tensors, back),
            "encode": encoded["seconds"],
            "decode": decoded["seconds"],
            "encode_kb": encoded["added_kb"],
            "decode_kb": decoded["added_kb"],
        }

    def ours(self, qp: int, preset: str, runs: int | None = None, **settings) -> dict[str, float]:
        stream, back = self.folder / "ours.nnc", self.folder / "ours.npz"
        chosen = json.dumps({"preset": preset, "qp": qp, "threads": 1, **settings})
        runs = self.runs if runs is None else runs
        encoded = ours("encode", self.source, stream, runs, chosen)
        decoded = ours("decode", stream, back, runs, 1)
        two = ours("decode", stream, back, runs, 2)
        return {
            "bytes": stream.stat().st_size,
            "rms": rms(self.tensors, back),
            "encode": encoded["seconds"],
            "decode": decoded["seconds"],
            "encode_kb": encoded["added_kb"],
            "decode_kb": decoded["added_kb"],
            "two_cores": decoded["wall"] / two["wall"],
        }

    def ours_at(self, target: float, qp: int, preset: str) -> dict[str, float]:
        """Ours at an error: the line through the QPs around it, in the logarithm of the error."""
        below = above = self.ours(qp, preset)
        measured = below
        while below["rms"] > target:
            above, qp = below, qp - 1
            below = self.ours(qp, preset, runs=1)
        while above["rms"] <= target:
            below, qp = above, qp + 1
            above = self.ours(qp, preset, runs=1)
        share = math.log(target / below["rms"]) / math.log(above["rms"] / below["rms"])
        size = below["bytes"] + share * (above["bytes"] - below["bytes"])
        return {**measured, "bytes": size, "rms": target}


def show(name: str, coder: str, found: dict[str, float], best: float, floats: int) -> None:
    two = f"{found['two_cores']:.2f}" if "two_cores" in found else ""
    print(
        f"{name:20} {coder:16} {found['bytes']:11.0f} {found['bytes'] / best:7.4f} "
        f"{found['rms']:10.3g} {1e3 * found['encode']:10.1f} {1e3 * found['decode']:9.1f} {two:>6} "
        f"{1024 * found['encode_kb'] / floats:8.1f} {1024 * found['decode_kb'] / floats:8.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--qp", type=int, default=-32)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="without the 20 M weights")
    parser.add_argument("--worker", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return
    print(f"QP {options.qp}; CPU of the fastest of {options.runs} runs, one thread")
    print(
        f"{'network':20} {'coder':16} {'bytes':>11} {'of best':>7} {'rms error':>10} "
        f"{'encode ms':>10} {'decode ms':>9} {'2 thr':>6} {'enc mem':>8} {'dec mem':>8}"
    )
    for name, tensors in networks(options.models, quick=options.quick).items():
        with tempfile.TemporaryDirectory() as folder:
            network = Network(Path(folder), tensors, options.runs)
            plain = network.theirs(options.qp, _PLAIN)
            fine = network.theirs(options.qp - 2, _PLAIN)
            slope = (plain["bytes"] - fine["bytes"]) / math.log(fine["rms"] / plain["rms"])

            def at_plain(found: dict[str, float]) -> float:
                """Bytes at the plain setting's error, along the plain setting's own slope."""
                return found["bytes"] - slope * math.log(plain["rms"] / found["rms"])

            candidates = _BEST[1:4:2] if plain["encode"] > 5 else _BEST
            best = min((network.theirs(options.qp, each) for each in candidates), key=at_plain)
            best = min(
                (plain, {**best, "bytes": at_plain(best), "rms": plain["rms"]}),
                key=lambda each: each["bytes"],
            )
            show(name, "NNCodec plain", plain, best["bytes"], network.bytes)
            show(name, "NNCodec best", best, best["bytes"], network.bytes)
            equal = network.ours(
                options.qp,
                "slow",
                nonweight_qp=-75,
                rate_weight=0,
                codebook="never",
                cabac_unary_length_minus1=10,
            )
            show(name, "equal tools", equal, best["bytes"], network.bytes)
            for preset in ("fast", "medium", "slow"):
                found = network.ours_at(plain["rms"], options.qp, preset)
                show(name, preset, found, best["bytes"], network.bytes)


if __name__ == "__main__":
    main()
