# SPDX-License-Identifier: Apache-2.0
"""NNCodec 2.1.3 in its own environment, driven by files."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from nnrvideo import nnc
from nnrvideo.tensors import TensorSet

_HERE = Path(__file__).resolve().parent
_VENV = Path(os.environ.get("NNRVIDEO_NNCODEC_VENV") or _HERE.parents[1] / ".venv" / "nncodec")


@pytest.fixture(scope="session")
def nncodec():
    """Runs the driver with its arguments and returns what it prints."""
    python = _VENV / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no NNCodec in {_VENV}: run tests/interop/setup_nncodec.sh")

    def run(*arguments: object):
        command = [str(python), str(_HERE / "nncodec_driver.py"), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.strip().splitlines()[-1])

    return run


@pytest.fixture
def exchange(nncodec, tmp_path):
    """Has NNCodec decode streams and compares each tensor with what we decode, bit for bit."""

    def run(streams: list[bytes], names: list[str] | None = None) -> None:
        files = []
        for number, stream in enumerate(streams):
            source = tmp_path / f"{number}.nnc"
            source.write_bytes(stream)
            files += [source, tmp_path / f"{number}.npz"]
        for number, answer in enumerate(nncodec("decode", 1, *files)):
            what = names[number] if names else number
            assert "error" not in answer, (what, answer)
            assert_same(tmp_path / f"{number}.npz", nnc.decode(streams[number]).tensors, what)

    return run


def assert_same(archive: Path, ours: TensorSet, what: object = "") -> None:
    """Compares an archive of NNCodec's with tensors of ours."""
    with np.load(archive) as theirs:
        assert set(theirs.files) == set(ours), what
        for name, values in ours.items():
            found = theirs[name]
            assert found.shape == values.shape, (what, name)
            # NNCodec ignores the data format, so a float16 comes as the float32 it is made from,
            # and gives codebook values as the float64 that float32 is rounded from.
            assert found.astype(values.dtype).tobytes() == values.tobytes(), (what, name)
