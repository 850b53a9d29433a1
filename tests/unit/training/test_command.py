# SPDX-License-Identifier: Apache-2.0
"""``python -m nnrvideo.training`` from clips to a bitstream."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.model import infer_contract, unpack
from nnrvideo.training import PairSet
from nnrvideo.training.command import main


def arguments(folder: Path, out: Path) -> list[str]:
    return [
        "--clips", str(folder), "--out", str(out), "--pairs", str(folder / "pairs.npz"),
        "--channels", "16", "--convolutions", "2", "--steps", "3", "--quantised-steps", "2",
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # The cache stands in for the clips: making pairs is tested elsewhere.
    random = np.random.default_rng(5)
    large = random.integers(0, 256, (128, 160), dtype=np.uint8)
    PairSet([large[::2, ::2].copy()], [large], [0]).save(tmp_path / "pairs.npz")
    return tmp_path


def test_writes_a_network(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "net.nnc"
    assert main(arguments(folder, out)) == 0
    assert infer_contract(unpack(out.read_bytes()).require_network()).overlap == 4
    assert f"{out}: {out.stat().st_size} bytes" in capsys.readouterr().err
    assert not (folder / "net.nnc.partial").exists()


def test_refuses_to_replace_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "net.nnc"
    out.write_bytes(b"precious")
    assert main(arguments(folder, out)) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_bytes() == b"precious"


def test_missing_torch_is_explained() -> None:
    program = (
        "import runpy, sys; sys.modules['torch'] = None; "
        "runpy.run_module('nnrvideo.training', run_name='__main__')"
    )
    result = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: nnrvideo.training needs PyTorch")
    assert "pip install nnrvideo[train]" in line
