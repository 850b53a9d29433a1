# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo jobs``: plan, run, status, their exit codes and their lines."""

from __future__ import annotations

import json

import pytest

from nnrvideo.cli.main import main


@pytest.fixture
def films(make_clip, tmp_path, monkeypatch):
    """Two films whose names give one id, and one that is broken."""
    folder = tmp_path / "films"
    folder.mkdir()
    make_clip(folder / "a film.mp4", frames=4)
    make_clip(folder / "a-film.mp4", frames=5)
    (folder / "broken.mp4").write_bytes(b"no film")
    monkeypatch.chdir(tmp_path)
    return tmp_path


PLAN = ["jobs", "plan", "-i", "films/*.mp4", "list.json", "-c:v", "libx264", "-crf", "35"]


def test_plan_run_status(films, capsys):
    assert main([*PLAN, "-preset", "ultrafast", "-t", "0.1", "--suffix", ".mkv"]) == 0
    assert capsys.readouterr().out == "list.json: 3 jobs\n"
    jobs = json.loads((films / "list.json").read_bytes())["jobs"]
    assert [each["id"] for each in jobs] == ["a-film", "a-film.2", "broken"]
    assert jobs[0]["arguments"] == {
        "source": "films/a film.mp4",
        "target": "a-film.mkv",
        "options": {"crf": "35", "preset": "ultrafast"},
        "duration": "1/10",
        "codec": "libx264",
    }
    assert main(["jobs", "status", "list.json"]) == 0
    assert "list.jobs: 3 ready" in capsys.readouterr().out
    assert main(["jobs", "run", "list.json", "--workers", "2", "-progress", "-"]) == 1
    told = capsys.readouterr()
    assert "jobs=3\ntotal=3\n" in told.out
    assert "list.jobs: 2 of 3 jobs done, 0 of them earlier" in told.out
    assert told.err.startswith("broken: failed: ContainerError: cannot open")
    assert (films / "list.jobs" / "a-film.2" / "files" / "a-film.2.mkv").is_file()
    assert main(["jobs", "status", "list.json", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["counts"] == {"done": 2, "failed": 1}
    assert "sha256" in facts["jobs"][0]["outcome"]["files"]["a-film.mkv"]
    (films / "films" / "broken.mp4").write_bytes((films / "films" / "a film.mp4").read_bytes())
    assert main(["jobs", "run", "list.json", "--json"]) == 0
    assert [each["fresh"] for each in json.loads(capsys.readouterr().out).values()] == [
        False,
        False,
        True,
    ]


def test_modes_and_networks_go_into_the_list(films):
    network = films / "net.nnc"
    network.write_bytes(b"")
    assert main([*PLAN, "-q", "--network", "net.nnc"]) == 0
    job = json.loads((films / "list.json").read_bytes())["jobs"][0]
    assert job["arguments"]["network"] == "net.nnc"
    assert main([*PLAN, "-y", "-q", "--mode", "auto", "--tiers", "S,M", "--steps", "20"]) == 0
    job = json.loads((films / "list.json").read_bytes())["jobs"][0]
    assert job["arguments"]["tiers"] == ["S", "M"]
    assert job["arguments"]["mode"] == "auto"
    assert job["arguments"]["steps"] == 20


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["plan", "-i", "films/*.xyz", "list.json"], 2, "no file matches films/*.xyz"),
        (["plan", "-i", "films/*.mp4", "list.json", "-progress", "-"], 2, "--progress has no"),
        (["plan", "-i", "films/*.mp4", "list.json", "--suffix", ".m3u8"], 1, "target: the suffix"),
        (["plan", "-i", "films/*.mp4", "films/broken.mp4"], 2, "exists already"),
        (["run", "films/broken.mp4"], 1, "no proper JSON"),
        (["run", "missing.json"], 1, "No such file"),
        (["status", "films/broken.mp4", "--folder", "films/a-film.mp4"], 2, "is no folder"),
    ],
)
def test_mistakes_are_one_clear_line(films, capsys, arguments, code, message):
    assert main(["jobs", *arguments]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_no_worker_is_refused(films, capsys):
    assert main([*PLAN, "-q"]) == 0
    assert main(["jobs", "run", "list.json", "--workers", "0"]) == 2
    assert "--workers must be at least 1" in capsys.readouterr().err
