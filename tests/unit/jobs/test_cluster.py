# SPDX-License-Identifier: Apache-2.0
"""The same list on a Dask cluster: the same output, and a killed worker costs time only."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from nnrvideo.errors import JobError
from nnrvideo.jobs import JobList, dask_cluster, job_status, local_workers, run_jobs

distributed = pytest.importorskip("distributed", reason="Dask is the optional extra [cluster]")


def kill_workers(address: str) -> None:
    """Kills every process of the cluster that does jobs."""
    with distributed.Client(address, set_as_default=False) as client:
        for pid in client.run(os.getpid).values():
            os.kill(pid, signal.SIGKILL)


def running(jobs: JobList, folder: Path) -> set[str]:
    return {each.id for each in job_status(jobs, folder) if each.state == "running"}


def wait_for(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited for ever"
        time.sleep(0.01)


class Background(threading.Thread):
    """A list being run."""

    def __init__(self, *arguments) -> None:
        super().__init__()
        self._arguments = arguments
        self.report = None

    def run(self) -> None:
        self.report = run_jobs(*self._arguments)


def test_killed_workers_cost_time_only(dask_scheduler, make_list, calls, tmp_path):
    jobs = make_list(
        ("a", "wait", {"until": str(tmp_path / "go")}),
        ("b", "add", {"a": 1, "b": 2}),
        ("c", "fail", {}),
        ("d", "add", {"a": 1, "b": {"$result": ["b", "sum"]}}, "b", "a"),
    )
    thread = Background(jobs, tmp_path / "run", dask_cluster(dask_scheduler))
    thread.start()
    wait_for(lambda: {"wait", "add", "fail"} <= set(calls()))
    wait_for(lambda: running(jobs, tmp_path / "run") == {"a"})
    kill_workers(dask_scheduler)
    wait_for(lambda: calls().count("wait") == 2)
    (tmp_path / "go").touch()
    thread.join()
    outcomes = thread.report.outcomes
    assert {name: each.state for name, each in outcomes.items()} == {
        "a": "done",
        "b": "done",
        "c": "failed",
        "d": "done",
    }
    assert outcomes["d"].result["sum"] == 4
    assert "this cannot be done" in outcomes["c"].error
    # Dask computes again what died with a worker; what was done is found done.
    assert calls().count("add") == 2
    assert not list((tmp_path / "run").rglob("*.part*"))


def test_titles_are_the_same_as_from_local_processes(dask_scheduler, make_clip, tmp_path):
    for number in range(4):
        make_clip(tmp_path / f"film{number}.mp4", frames=30 + number, size=(320, 192))
    jobs = JobList.from_json(
        {
            "format": "nnrvideo-jobs",
            "version": 1,
            "jobs": [
                {
                    "id": f"film{number}",
                    "kind": "encode",
                    "arguments": {
                        "source": f"film{number}.mp4",
                        "target": "coded.mp4",
                        # Not libx264: with mbtree it gives other bits now and then.
                        "codec": "libx265",
                        "options": {"crf": "30", "preset": "fast"},
                    },
                }
                for number in range(4)
            ],
        },
        base=tmp_path,
    )
    local = run_jobs(jobs, tmp_path / "local", local_workers(2)).require()
    thread = Background(jobs, tmp_path / "cluster", dask_cluster(dask_scheduler))
    thread.start()
    wait_for(lambda: running(jobs, tmp_path / "cluster"))
    kill_workers(dask_scheduler)
    thread.join()
    cluster = thread.report.require()
    hashes = {name: each.files["coded.mp4"].sha256 for name, each in local.items()}
    assert {name: each.files["coded.mp4"].sha256 for name, each in cluster.items()} == hashes
    assert {n: o.result for n, o in cluster.items()} == {n: o.result for n, o in local.items()}
    assert len(set(hashes.values())) == 4
    assert sorted(each.name for each in (tmp_path / "cluster").rglob("*.mp4")) == ["coded.mp4"] * 4


def test_a_job_that_kills_every_worker_is_named(dask_scheduler, make_list, tmp_path):
    jobs = make_list(("a", "die", {}), ("b", "add", {"a": 1, "b": 1}))
    report = run_jobs(jobs, tmp_path / "run", dask_cluster(dask_scheduler), attempts=2)
    assert report.outcomes["b"].state == "done"
    assert report.outcomes["a"].error == "the worker was killed by SIGKILL, 2 times"


def test_no_scheduler_is_one_clear_line(monkeypatch):
    monkeypatch.setattr("nnrvideo.jobs.executors._CONNECT_SECONDS", 1)
    with pytest.raises(JobError, match=r"no Dask scheduler at tcp://127\.0\.0\.1:1"):
        with dask_cluster("tcp://127.0.0.1:1"):
            pass
