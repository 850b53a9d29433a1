# SPDX-License-Identifier: Apache-2.0
"""NNCodec reads the units of lossless and of quantised networks: integers and digits alike."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnrvideo import nnc
from nnrvideo.model import load_onnx, pack
from nnrvideo.nnc.constants import PayloadType

pytestmark = pytest.mark.interop

_HERE = Path(__file__).resolve().parent
_VENV = Path(os.environ.get("NNRVIDEO_NNCODEC_VENV") or _HERE.parents[1] / ".venv" / "nncodec")


def _network() -> bytes:
    random = np.random.default_rng(17)
    weights = {
        "int8": random.integers(-127, 128, (16, 3, 3, 3)).astype(np.int8),
        "uint8": np.clip(random.normal(128, 20, (16, 27)), 0, 255).astype(np.uint8),
        "packed": random.integers(0, 256, (8, 2, 8)).astype(np.uint8),
        "int4": random.integers(-8, 8, (6, 50)).astype(np.int8).astype(ml_dtypes.int4),
        "uint4": random.integers(0, 16, (6, 50)).astype(np.int8).astype(ml_dtypes.uint4),
        "bool": random.integers(0, 2, (6, 50)).astype(np.bool_),
        "float16": random.normal(0, 1, (9, 9)).astype(np.float16),
        "bfloat16": random.normal(0, 1, (9, 9)).astype(ml_dtypes.bfloat16),
        "float64": random.normal(0, 1, (9, 9)),
        "int64": random.integers(-(2**63), 2**63, (3, 700)),
        "scales": random.uniform(0.001, 0.1, 16).astype(np.float32),
    }
    nodes = [helper.make_node("Identity", [name], [f"{name}/out"]) for name in weights]
    nodes.append(helper.make_node("Identity", ["x"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return model.SerializeToString()


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("topology", ["text", "onnx"])
def test_nncodec_reads_every_coded_unit(tmp_path, lossless, topology):
    python = _VENV / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no NNCodec in {_VENV}: run tests/interop/setup_nncodec.sh")
    stream = pack(load_onnx(_network()), nnc.EncodeSettings(lossless=lossless), topology=topology)
    # NNCodec refuses a binary topology as a whole, and its reader of raw floats fails with the
    # NumPy that its setup asks for; every other unit must be its own to read.
    units = [
        unit
        for unit in nnc.parse_units(stream)
        if not isinstance(unit, nnc.TopologyUnit)
        and getattr(unit, "nnr_compressed_data_unit_payload_type", None)
        != PayloadType.NNR_PT_RAW_FLOAT
    ]
    source, archive = tmp_path / "in.nnc", tmp_path / "out.npz"
    source.write_bytes(nnc.write_units(units))
    command = [python, _HERE / "nncodec_driver.py", "decode", 1, source, archive]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (answer,) = json.loads(done.stdout.strip().splitlines()[-1])
    assert "error" not in answer, answer
    ours = nnc.decode(source.read_bytes()).tensors
    assert {"int8", "uint8", "packed", "int4", "uint4", "bool", "int64"} <= set(ours)
    with np.load(archive) as theirs:
        assert set(theirs.files) == set(ours)
        for name, values in ours.items():
            assert theirs[name].shape == values.shape
            assert theirs[name].astype(values.dtype).tobytes() == values.tobytes(), name
