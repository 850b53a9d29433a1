# SPDX-License-Identifier: Apache-2.0
"""Runs NNCodec 2.1.3 on files.  Started by the tests with the Python of NNCodec's environment.

    nncodec_driver.py check
    nncodec_driver.py encode IN.npz OUT.nnc OPTIONS.json RUNS
    nncodec_driver.py decode RUNS (IN.nnc OUT.npz)...
    nncodec_driver.py sequence (IN.nnc OUT.npz)...

``sequence`` keeps the receiver's memory from one bitstream to the next, as updates need.

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


MAPS = (
    "sparsification_flag", "pruning_flag", "unification_flag", "decomposition_performance_map_flag",
)  # fmt: skip


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

Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts here


def peak_kb():
    """Peak memory so far, in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


START_KB = peak_kb()


def added_kb():
    """Peak memory above what the imports took, in KiB."""
    return peak_kb() - START_KB


def fastest(runs, action):
    """Result of an action and the CPU seconds of its fastest run."""
    best, result = float("inf"), None
    for _ in range(runs):
        result = None  # of the run before: it would count twice in the peak
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
    return {"bytes": len(stream), "seconds": seconds, "added_kb": added_kb()}


def decode(source, target, runs):
    stream = Path(source).read_bytes()
    try:
        tensors, seconds = fastest(runs, lambda: nnc.decompress(bytearray(stream)))
    except (Exception, SystemExit) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    np.savez(target, **tensors)
    return {"bytes": len(stream), "seconds": seconds, "added_kb": added_kb()}


def sequence(files):
    """Through NNCodec's coder and not its front end, which forgets shapes between streams."""
    from nncodec.nnc_core import approximator, coder
    from nncodec.nnc_core.hdsp.hdsp_tool import HdspTool

    memory = {"parameters": {}, "put_node_depth": {}, "device_id": 0, "parameter_id": {}}
    history, shapes = HdspTool(True), {}
    answers = []
    for source, target in files:
        flags = [f"{level}_{kind}" for level in ("mps", "lps") for kind in MAPS]
        model = {
            "parameter_type": {}, "parameter_dimensions": dict(shapes), "parameter_index": {},
            "block_identifier": {}, "topology_storage_format": None,
            "topology_compression_format": None, "performance_maps": {"mps": {}, "lps": {}},
            "performance_map_flags": {flag: {} for flag in flags},
        }  # fmt: skip
        try:
            found = coder.decode(
                bytearray(Path(source).read_bytes()), model, hls_stats={}, oob_dict={},
                return_hls=True, approx_param_base=memory, update_base_param=True,
                tool_if=history,
            )  # fmt: skip
            headers = found.pop("dec_hls")
            if headers["mps"].get("mps_parent_signalling_enabled_flag", 0):
                history.add_data_to_hist(found["parameters"])
            shapes.update({name: list(v.shape) for name, v in found["parameters"].items()})
            approximator.rec(found)
        except (Exception, SystemExit) as error:
            answers.append({"error": f"{type(error).__name__}: {error}"})
            break
        np.savez(target, **found["parameters"])
        answers.append({})
    return answers


def main(arguments):
    match arguments:
        case ["check"]:
            return {"nncodec": "ready"}
        case ["encode", source, target, options, runs]:
            return encode(source, target, options, int(runs))
        case ["decode", runs, *files]:
            pairs = zip(files[::2], files[1::2])
            return [decode(source, target, int(runs)) for source, target in pairs]
        case ["sequence", *files]:
            return sequence(list(zip(files[::2], files[1::2])))
    raise SystemExit(__doc__)


if __name__ == "__main__":
    # NNCodec prints; our answer is the last line.
    print(json.dumps(main(sys.argv[1:])))
