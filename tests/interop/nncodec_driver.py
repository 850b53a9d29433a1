# SPDX-License-Identifier: Apache-2.0
"""Runs NNCodec 2.1.3 on files.  Started by the tests with the Python of NNCodec's environment.

    nncodec_driver.py check
    nncodec_driver.py encode IN.npz OUT.nnc OPTIONS.json RUNS
    nncodec_driver.py decode RUNS (IN.nnc OUT.npz)...

Prints one line of JSON: bytes written and CPU seconds of the fastest run, or for ``decode`` one
entry for each file, with the error where NNCodec refuses it.
"""

import importlib.abc
import importlib.machinery
import json
import sys
import time
import types
from pathlib import Path

# NNCodec imports these at start; its tensor coder uses none of them.
NOT_NEEDED = {
    "cv2", "flwr", "h5py", "hydra", "matplotlib", "omegaconf", "pandas", "PIL", "ptflops",
    "sentencepiece", "sklearn", "tensorflow", "torch", "torchmetrics", "torchvision", "tqdm",
    "wandb",
}  # fmt: skip


class Anything(type):
    """A class that has every attribute, so that ``class X(torch.nn.Module)`` can be executed."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name, (), {})


class EmptyModule(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name, (), {"__init__": lambda self, *args, **kwargs: None})


class EmptyModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        wanted = name.split(".")[0] in NOT_NEEDED or name.startswith("nncodec.framework")
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if wanted else None

    def create_module(self, spec):
        module = EmptyModule(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, EmptyModules())
import numpy as np  # noqa: E402
from nncodec import nnc  # noqa: E402


def fastest(runs, action):
    """Result of an action and the CPU seconds of its fastest run."""
    best, result = float("inf"), None
    for _ in range(runs):
        start = time.process_time()
        result = action()
        best = min(best, time.process_time() - start)
    return result, best


def encode(source, target, options, runs):
    with np.load(source) as archive:
        tensors = {name: archive[name] for name in archive.files}
    settings = json.loads(Path(options).read_text(encoding="utf-8"))
    stream, seconds = fastest(
        runs, lambda: nnc.compress(dict(tensors), return_bitstream=True, **settings)
    )
    Path(target).write_bytes(stream)
    return {"bytes": len(stream), "seconds": seconds}


def decode(source, target, runs):
    stream = Path(source).read_bytes()
    try:
        tensors, seconds = fastest(runs, lambda: nnc.decompress(bytearray(stream)))
    except (Exception, SystemExit) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    np.savez(target, **tensors)
    return {"bytes": len(stream), "seconds": seconds}


def main(arguments):
    match arguments:
        case ["check"]:
            return {"nncodec": "ready"}
        case ["encode", source, target, options, runs]:
            return encode(source, target, options, int(runs))
        case ["decode", runs, *files]:
            pairs = zip(files[::2], files[1::2])
            return [decode(source, target, int(runs)) for source, target in pairs]
    raise SystemExit(__doc__)


if __name__ == "__main__":
    # NNCodec prints; our answer is the last line.
    print(json.dumps(main(sys.argv[1:])))
