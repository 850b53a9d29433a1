# SPDX-License-Identifier: Apache-2.0
"""Prints bytes, error and CPU time of our coder beside NNCodec 2.1.3, same QP and options.

    python tests/bench/bench_nncodec.py [--qp -32] [--runs 3] MODEL.onnx...

Needs the environment that ``tests/interop/setup_nncodec.sh`` builds.  Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
from onnx import numpy_helper

from nnrvideo import entropy, nnc

_ROOT = Path(__file__).resolve().parents[2]
_VENV = Path(os.environ.get("NNRVIDEO_NNCODEC_VENV") or _ROOT / ".venv" / "nncodec")
_DRIVER = _ROOT / "tests" / "interop" / "nncodec_driver.py"
_Result = TypeVar("_Result")


def fastest(runs: int, action: Callable[[], _Result]) -> tuple[_Result, float]:
    """Result of an action and the CPU seconds of its fastest run."""
    best = float("inf")
    for _ in range(runs):
        start = time.process_time()
        result = action()
        best = min(best, time.process_time() - start)
    return result, best


def nncodec(*arguments: object):
    """Runs NNCodec's driver."""
    command = [str(_VENV / "bin" / "python"), str(_DRIVER), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def largest_error(tensors, decoded) -> float:
    """Largest difference over all tensors."""
    return max(float(np.abs(decoded[name] - tensors[name]).max()) for name in tensors)


def compare(model: Path, qp: int, runs: int) -> None:
    """Prints the rows of one model."""
    graph = onnx.load(model).graph
    tensors = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    settings = nnc.EncodeSettings(qp=qp)
    stream, encode_seconds = fastest(runs, lambda: nnc.encode(tensors, settings))
    decoded, decode_seconds = fastest(runs, lambda: nnc.decode(stream))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "in.npz", **tensors)
        (folder / "options.json").write_text(json.dumps({"qp": qp, "row_skipping": True}))
        written = nncodec(
            "encode", folder / "in.npz", folder / "out.nnc", folder / "options.json", runs
        )
        (read,) = nncodec("decode", runs, folder / "out.nnc", folder / "out.npz")
        with np.load(folder / "out.npz") as theirs:
            their_error = largest_error(tensors, {key: theirs[key] for key in theirs.files})
    rows = [
        ("nnrvideo", len(stream), largest_error(tensors, decoded.tensors))
        + (encode_seconds, decode_seconds),
        ("NNCodec", written["bytes"], their_error, written["seconds"], read["seconds"]),
    ]
    for who, size, error, encoding, decoding in rows:
        print(
            f"{model.stem:22} {who:10} {size:9} {size / rows[1][1]:7.4f} {error:10.3g} "
            f"{1000 * encoding:9.1f} {1000 * decoding:9.1f}"
        )


def main() -> None:
    """Reads the arguments and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--qp", type=int, default=-32)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{entropy.BACKEND} backend, QP {arguments.qp}, fastest of {arguments.runs} runs")
    print("model                  coder          bytes   ratio  max error    enc ms    dec ms")
    for model in arguments.models:
        compare(model, arguments.qp, arguments.runs)


if __name__ == "__main__":
    main()
