# SPDX-License-Identifier: Apache-2.0
"""``python -m nnrvideo.training`` from clips to a bitstream."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.model import infer_contract, receive, unpack
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


def test_adapts_a_base(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, out = folder / "net.nnc", folder / "update.nnc"
    assert main(arguments(folder, base)) == 0
    given = ["--clips", str(folder), "--pairs", str(folder / "pairs.npz"), "--out", str(out)]
    assert main([*given, "--base", str(base), "--steps", "4", "--refine-steps", "2"]) == 0
    assert "dB after the update" in capsys.readouterr().err
    sent = receive(base.read_bytes())
    assert receive(out.read_bytes(), sent).tensors.fingerprint() != sent.tensors.fingerprint()


@pytest.mark.parametrize(
    ("options", "named"),
    [(["--pull", "0.1"], "--pull"), (["--base", "net.nnc", "--channels", "8"], "--channels")],
)
def test_options_without_effect_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], named: str
) -> None:
    given = ["--clips", str(folder), "--out", str(folder / "out.nnc")]
    assert main([*given, *options]) == 1
    assert f"error: {named} is an option of" in capsys.readouterr().err
