# SPDX-License-Identifier: Apache-2.0
"""The kind ``encode``: the options of the verb, and nothing that a stranger could abuse."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nnrvideo.authoring import probe
from nnrvideo.cli.args import _ENCODER_OPTIONS
from nnrvideo.data import base_network
from nnrvideo.errors import JobError
from nnrvideo.jobs import JobList, run_jobs
from nnrvideo.training.encode_job import ENCODE, OPTIONS
from nnrvideo.training.kinds import TRAINING_OPTIONS


def one_job(tmp_path, **arguments):
    given = {"source": "film.mp4", "target": "coded.mkv"} | arguments
    jobs = [{"id": "a", "kind": "encode", "arguments": given}]
    return JobList.from_json({"format": "nnrvideo-jobs", "version": 1, "jobs": jobs}, base=tmp_path)


def test_takes_the_options_of_the_command_line():
    assert {each.removeprefix("-") for each in _ENCODER_OPTIONS} == OPTIONS


def test_encodes_with_the_shipped_network(make_clip, tmp_path):
    make_clip(tmp_path / "film.mp4", frames=14)
    jobs = one_job(
        tmp_path, codec="libx264", duration="1/2", options={"preset": "ultrafast", "g": "6"}
    )
    outcome = run_jobs(jobs, tmp_path / "run").require()["a"]
    assert outcome.result["pictures"] == 12
    assert outcome.result["coded"] == [48, 32]
    assert outcome.result["copies"] == 2
    assert outcome.result["files"] == ["coded.mkv"]
    assert len(probe(tmp_path / "run" / "a" / "files" / "coded.mkv").networks) == 1
    assert run_jobs(jobs, tmp_path / "run").outcomes["a"].fresh is False


def test_a_shipped_network_by_its_name(make_clip, tmp_path):
    make_clip(tmp_path / "film.mp4", frames=3)
    fast = {"codec": "libx264", "options": {"preset": "ultrafast"}}
    jobs = one_job(tmp_path, network="sr2x_luma", **fast)
    result = run_jobs(jobs, tmp_path / "run").require()["a"].result
    assert result["network_bytes"] == len(base_network("sr2x_luma"))
    # A file of that name goes before, and its content makes another job of it.
    (tmp_path / "sr2x_luma").write_bytes(b"no network")
    assert run_jobs(jobs, tmp_path / "run").outcomes["a"].state == "failed"
    missing = one_job(tmp_path, network="sr3x", **fast)
    assert "cannot read" in run_jobs(missing, tmp_path / "other").outcomes["a"].error


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"target": "list.m3u8"}, "target: the suffix must be out of"),
        ({"target": "coded"}, "target: the suffix must be out of"),
        ({"steps": 10}, "steps: is for training"),
        ({"mode": "sr3x"}, "mode: must be out of base, enhance"),
        ({"metric": "vmaf"}, "metric: is for training"),
        ({"mode": "auto", "metric": "mse"}, "metric: must be out of psnr, ms-ssim"),
        ({"duration": "soon"}, "duration: must be a number of seconds"),
        ({"duration": "1/0"}, "duration: must be a number of seconds"),
        ({"duration": "-1"}, "duration: must be positive"),
        ({"options": {"stats": "x"}}, "options: there is no 'stats'"),
        ({"options": {"x265-params": "crf=3:csv=here"}}, "'csv=here' makes the encoder"),
        ({"options": {"x265-params": "lambda-file=x"}}, "makes the encoder read or write a file"),
        ({"options": {"x264-params": "STATS=x"}}, "makes the encoder read or write a file"),
        ({"options": {"x264-params": "dump_yuv=x"}}, "makes the encoder read or write a file"),
        ({"options": {"svtav1-params": "fgs-table=x"}}, "makes the encoder read or write a file"),
        ({"options": {"x264-params": "anything=../x"}}, "makes the encoder read or write a file"),
    ],
)
def test_refuses_by_name_before_anything_runs(tmp_path, wrong, message):
    with pytest.raises(JobError, match=f"job 'a': {message}" if ": " in message else message):
        one_job(tmp_path, **wrong)


def test_takes_the_training_options_of_the_command_line():
    assert set(TRAINING_OPTIONS) < set(ENCODE.fields)


def test_honest_parameters_pass(tmp_path):
    one_job(tmp_path, options={"x265-params": "keyint=60:no-sao=1:aq-mode=3", "crf": "20"})


def test_trains_on_the_title(make_clip, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")
    make_clip(tmp_path / "film.mp4", frames=6)
    jobs = one_job(
        tmp_path,
        mode="enhance",
        tiers=["S"],
        steps=10,
        seed=3,
        codec="libx264",
        options={"crf": "30", "preset": "ultrafast"},  # which has no mbtree: the same bits
    )
    outcomes = [run_jobs(jobs, tmp_path / name).require()["a"] for name in ("one", "two")]
    assert outcomes[0].result["candidates"][0]["mode"] == "enhance"
    assert outcomes[0].result == outcomes[1].result
    hashes = {each.files["coded.mkv"].sha256 for each in outcomes}
    assert len(hashes) == 1
    assert set(ENCODE.fields) >= jobs.jobs[0].arguments.keys()


def test_a_network_for_a_title_is_its_base(make_clip, tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")
    make_clip(tmp_path / "film.mp4", frames=2)
    (tmp_path / "n.nnc").write_bytes(base_network())
    given = []

    def encode_title(_source, target, _settings, *, base, **_more):
        given.append(base)
        target.write_bytes(b"film")
        return SimpleNamespace(to_json=lambda: {"training_seconds": 0.0})

    monkeypatch.setattr("nnrvideo.training.title.encode_title", encode_title)
    run_jobs(one_job(tmp_path, mode="sr2x", network="n.nnc"), tmp_path / "run").require()
    run_jobs(one_job(tmp_path, mode="sr2x"), tmp_path / "other").require()
    assert given == [base_network(), None]
