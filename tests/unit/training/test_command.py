# SPDX-License-Identifier: Apache-2.0
"""``python -m nnrvideo.training`` from clips to a bitstream."""

from __future__ import annotations

import shlex
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.container import VideoWriter
from nnrvideo.files import sha256_of
from nnrvideo.model import card_markdown, infer_contract, load_card, receive, unpack
from nnrvideo.picture import ChromaFormat, Picture
from nnrvideo.training import PairSet
from nnrvideo.training.command import main


def arguments(folder: Path, out: Path) -> list[str]:
    return [
        "--clips", str(folder), "--out", str(out), "--pairs", str(folder / "pairs.npz"),
        "--tier", "XS", "--steps", "3", "--quantised-steps", "2",
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
    contract = infer_contract(unpack(out.read_bytes()).require_network())
    assert (contract.overlap, contract.width_ratio) == (8, 2)
    said = capsys.readouterr()
    assert f"{out}: {out.stat().st_size} bytes" in said.err
    card = load_card(out)
    assert card is not None
    assert card_markdown(card) == said.out
    assert card.recipe["mode"] == "sr2x"
    assert card.recipe["tier"] == "XS"
    assert str(card.recipe["command"]).endswith(shlex.join(arguments(folder, out)))
    assert card.num_examples == 1
    assert card.energy_estimate is not None
    assert {path.name for path in folder.iterdir()} == {
        *("pairs.npz", "net.nnc", "net.nnc.card.json")
    }


def test_learns_to_enhance_and_measures_it_on_a_held_out_clip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(5)
    for name in ("seen", "unseen"):
        planes = [random.integers(0, 256, (72, 80), dtype=np.uint8) for _ in range(4)]
        with VideoWriter(tmp_path / f"{name}.mkv", codec="ffv1") as file:
            for number, plane in enumerate(planes):
                grey = np.full((36, 40), 128, np.uint8)
                file.write(Picture((plane, grey, grey), ChromaFormat.C420), Fraction(number, 25))
    out = tmp_path / "clean.nnc"
    given = [
        *("--clips", str(tmp_path), "--out", str(out), "--mode", "enhance", "--tier", "XS"),
        *("--steps", "2", "--quantised-steps", "1", "--measure", str(tmp_path / "unseen.mkv")),
    ]
    assert main(given) == 1
    assert "unseen.mkv is trained on; leave it out by --hold-out" in capsys.readouterr().err
    assert main([*given, "--hold-out", "unseen"]) == 0
    assert infer_contract(unpack(out.read_bytes()).require_network()).width_ratio == 1
    card = load_card(out)
    assert card is not None
    assert [(each.name, each.use) for each in card.data] == [
        *(("seen", "training"), ("unseen", "held out"))
    ]
    assert card.data[0].sha256 == sha256_of(tmp_path / "seen.mkv")
    assert [(row["clip"], row["codec"], row["CRF"]) for row in card.metrics] == [
        ("unseen", codec, crf) for codec in ("libx265", "libx264") for crf in (22, 28, 34)
    ]
    # It can be adapted at its own size, too.
    adapting = ["--clips", str(tmp_path / "seen.mkv"), "--base", str(out), "--steps", "1"]
    adapting += ["--refine-steps", "1", "--out", str(tmp_path / "update.nnc")]
    assert main([*adapting, "--downscaler", "area"]) == 1
    assert "--downscaler is for networks that enlarge" in capsys.readouterr().err
    assert main(adapting) == 0
    assert not (tmp_path / "update.nnc.card.json").exists()


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
    [(["--pull", "0.1"], "--pull"), (["--base", "net.nnc", "--tier", "S"], "--tier")],
)
def test_options_without_effect_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], named: str
) -> None:
    given = ["--clips", str(folder), "--out", str(folder / "out.nnc")]
    assert main([*given, *options]) == 1
    assert f"error: {named} is an option of" in capsys.readouterr().err
