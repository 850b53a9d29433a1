# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo bdrate``: tables, JSON and exit codes."""

import json

import pytest

from nnrvideo.cli.main import main

ANCHOR = "rate,psnr_y,vmaf,name\n100,30,50,a\n200,33,70,b\n400,35.5,85,c\n800,37,93,d\n"
TEST = "rate,psnr_y,vmaf,ssim\n90,30,52,1\n180,33,72,1\n360,35.5,86,1\n720,37,94,1\n"


@pytest.fixture
def files(tmp_path):
    def make(anchor=ANCHOR, test=TEST):
        paths = tmp_path / "anchor.csv", tmp_path / "test.csv"
        for path, text in zip(paths, (anchor, test), strict=True):
            path.write_text(text)
        return [str(path) for path in paths]

    return make


def test_json_has_every_common_metric(files, capsys):
    assert main(["bdrate", *files(), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert list(facts["metrics"]) == ["psnr_y", "vmaf"]
    psnr = facts["metrics"]["psnr_y"]
    assert psnr["rate_percent"] == pytest.approx(-10)
    assert psnr["quality_overlap"] == 1
    assert facts["method"] == "pchip"


def test_table(files, capsys):
    assert main(["bdrate", *files(), "--metric", "psnr_y", "--method", "cubic"]) == 0
    out = capsys.readouterr().out
    assert "-10.00 %" in out
    assert "30 .. 37" in out
    assert "vmaf" not in out


def test_a_refused_metric_is_told_and_ends_with_1(files, capsys):
    falling = TEST.replace(",72,", ",40,")
    assert main(["bdrate", *files(test=falling)]) == 1
    out = capsys.readouterr().out
    assert "-10.00 %" in out
    assert "vmaf: the test does not rise: from rate 90 to 180" in out


def test_little_overlap(files, capsys):
    shifted = "rate,psnr_y\n90,36\n180,38\n360,39\n720,40\n"
    assert main(["bdrate", *files(test=shifted)]) == 1
    assert "share 14% of their quality range" in capsys.readouterr().out
    assert main(["bdrate", *files(test=shifted), "--min-overlap", "10"]) == 0
    assert "share only 14%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--metric", "ssim"], 2, "anchor.csv has no metric 'ssim'"),
        (["--metric", "nothing"], 2, "both files have: psnr_y, vmaf"),
        (["--rate", "kbps"], 1, "no column 'kbps'"),
        (["--min-overlap", "120"], 2, "0 to 100"),
    ],
)
def test_wrong_use(files, capsys, arguments, code, message):
    assert main(["bdrate", *files(), *arguments]) == code
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1
