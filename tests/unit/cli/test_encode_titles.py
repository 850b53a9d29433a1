# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo encode`` with networks of the title's own: table, JSON, report, one line of error."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.cli.main import main
from nnrvideo.data import base_network
from nnrvideo.model import load_card, unpack
from nnrvideo.report import from_json


@pytest.fixture(scope="module")
def film(make_clip, tmp_path_factory) -> Path:
    return make_clip(tmp_path_factory.mktemp("film") / "film.mp4", frames=6)


def encode(film: Path, target: Path, *more: str) -> int:
    return main(
        ["encode", "-i", str(film), str(target), "--mode", "enhance", "--steps", "10",
         "-c:v", "libx264", "-preset", "ultrafast", "-crf", "34", *more]
    )  # fmt: skip


def fails(capsys, code: int, status: int) -> str:
    assert status == code
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_table_says_what_was_tried(film, tmp_path, capsys) -> None:
    assert encode(film, tmp_path / "out.mp4", "--report", str(tmp_path / "r.html")) == 0
    told = capsys.readouterr().out
    for words in ("plain, CRF 34", "enhance XS, CRF 34", "chosen", "no network is worth its bits"):
        assert words in told
    page = (tmp_path / "r.html").read_text()
    assert "enhance XS, not worth its bits" in page and "plain libx264" in page
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.mp4", "r.html"]


def test_the_same_for_programs(film, tmp_path, capsys) -> None:
    report = tmp_path / "r.json"
    options = ["--json", "--report", str(report), "--work", str(tmp_path / "work")]
    assert encode(film, tmp_path / "out.mp4", *options, "--updates", "none") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["target"] == "psnr" and facts["chosen"] is None
    (tried,) = facts["candidates"]
    assert tried["mode"] == "enhance" and tried["point"]["bits"]["base"] > 4000
    assert tried["gain"] < 0 and tried["kmac_per_sample"] == 0.489
    assert facts["plain"]["bits"]["video"] > 0
    found = from_json(report.read_bytes())
    assert len(found.anchors) == len(facts["curve"]) >= 3
    assert found.coded[0].bits.networks > 4000
    assert (tmp_path / "work").is_dir()


def test_the_network_is_kept_with_its_card(film, tmp_path, capsys) -> None:
    kept = tmp_path / "net.nnc"
    options = ["--updates", "none", "--keep-network", str(kept), "--seed", "3", "-q"]
    assert encode(film, tmp_path / "out.mp4", *options) == 0
    card = load_card(kept)  # which refuses one of another bitstream
    assert card is not None and unpack(kept.read_bytes()).require_network()
    (data,) = card.data
    assert data.sha256 == hashlib.sha256(film.read_bytes()).hexdigest()
    assert card.recipe["seed"] == 3 and card.recipe["steps"] == 10
    assert card.recipe["quality"] == "CRF 34" and card.recipe["codec"] == "libx264"
    assert card.metrics[0]["gain over plain at equal bits"] < 0
    assert card.energy_estimate is not None and card.energy_estimate.cpu_seconds > 0
    # Nothing that lies there is written over, and that is known before hours of work.
    (tmp_path / "out.mp4").unlink()
    assert "exists" in fails(capsys, 2, encode(film, tmp_path / "out.mp4", *options))
    kept.unlink()
    assert "card.json" in fails(capsys, 2, encode(film, tmp_path / "out.mp4", *options))


def test_options_of_training_need_a_mode_that_trains(film, tmp_path, capsys) -> None:
    for option, spelt in (
        (["--target", "vmaf"], "--target"),
        (["--budget", "3"], "--budget"),
        (["-pass", "2"], "-pass"),
        (["--complexity-limit", "1"], "--complexity-limit"),
        (["--work", "x"], "--work"),
        (["--keep-network", "x"], "--keep-network"),
    ):
        status = main(["encode", "-i", str(film), str(tmp_path / "out.mp4"), *option])
        assert fails(capsys, 2, status).startswith(f"nnrvideo encode: {spelt} is an option of")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget", "0"], "budget is a positive number"),
        (["--budget", "nan"], "budget is a positive number"),
        (["--steps", "3"], "at least 10 steps"),
        (["--repeat", "-1"], "repeat is 0 seconds or more"),
        (["--report", "r.pdf"], "--report takes a file .html or .json"),
        (["-pass", "2"], "two passes are for a bit rate"),
        (["-crf", "good"], "-crf takes a number"),
        (["--target", "ms-ssim"], "MS-SSIM needs pictures of at least 161"),
    ],
)
def test_mistakes_are_one_clear_line(film, tmp_path, capsys, options, message) -> None:
    assert message in fails(capsys, 2, encode(film, tmp_path / "out.mp4", *options))
    assert not list(tmp_path.iterdir())


def test_without_libvmaf_it_cannot_decide(film, tmp_path, capsys, monkeypatch) -> None:
    from nnrvideo.metrics import VmafError

    def none() -> None:
        raise VmafError("no ffmpeg with libvmaf: install one with: pip install 'nnrvideo[vmaf]'")

    monkeypatch.setattr("nnrvideo.training.title.encode.find_vmaf", none)
    line = fails(capsys, 5, encode(film, tmp_path / "out.mp4", "--target", "vmaf"))
    assert "pip install 'nnrvideo[vmaf]'" in line


def test_without_torch_it_cannot_train(film, tmp_path, capsys, monkeypatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *a: None if name == "torch" else found(name, *a)
    )
    line = fails(capsys, 5, encode(film, tmp_path / "out.mp4"))
    assert "pip install nnrvideo[train]" in line


def test_a_source_that_is_no_film(tmp_path, capsys) -> None:
    source = tmp_path / "s.mp4"
    source.write_bytes(b"no film")
    assert "s.mp4" in fails(capsys, 1, encode(source, tmp_path / "out.mp4"))
    assert "s.mp4" in fails(capsys, 1, encode(tmp_path / "no" / "s.mp4", tmp_path / "out.mp4"))


def test_a_ladder_of_two_sizes(film, tmp_path, capsys) -> None:
    options = ["--ladder", "64,48:30", "--updates", "none", "--json"]
    assert encode(film, tmp_path / "out-{height}p.mp4", *options) == 0
    rungs = json.loads(capsys.readouterr().out)
    assert [Path(each["output"]).name for each in rungs] == ["out-64p.mp4", "out-48p.mp4"]
    assert [each["plain"]["knob"] for each in rungs] == ["CRF 34", "CRF 30"]
    assert all((tmp_path / f"out-{height}p.mp4").stat().st_size for height in (64, 48))


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("out.mp4", ["--ladder", "80"], "must contain {height}"),
        ("out-{height}.mp4", ["--ladder", "80", "--network", "n.nnc"], "not for a --ladder"),
        ("out-{height}.mp4", ["--ladder", "80", "--mode", "base"], "option of training"),
        ("out-{height}.mp4", ["--ladder", "80", "--mode", "auto"], "one mode"),
        ("out.mp4", ["--network", "n.nnc", "--keep-network", "k.nnc"], "--keep-network"),
    ],
)
def test_impossible_ladders_and_networks(film, tmp_path, capsys, output, options, message) -> None:
    status = encode(film, tmp_path / output, *options)
    assert status == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_a_rung_is_a_number(film, tmp_path, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        encode(film, tmp_path / "out-{height}p.mp4", "--ladder", "80p")
    assert "'80p' is no HEIGHT or HEIGHT:CRF" in capsys.readouterr().err


def test_a_network_that_is_given_is_used(film, tmp_path, capsys) -> None:
    kept = tmp_path / "net.nnc"
    quiet = ["--updates", "none", "-q"]
    assert encode(film, tmp_path / "first.mp4", *quiet, "--keep-network", str(kept)) == 0
    options = ["--updates", "none", "--json", "--network", str(kept)]
    assert encode(film, tmp_path / "second.mp4", *options) == 0
    (tried,) = json.loads(capsys.readouterr().out)["candidates"]
    assert tried["network_bytes"] == kept.stat().st_size and tried["steps"] == 0
    # The shipped one doubles pictures.
    kept.write_bytes(base_network())
    assert encode(film, tmp_path / "third.mp4", *options) == 2
    assert "the network is for sr2x, not for enhance" in capsys.readouterr().err
