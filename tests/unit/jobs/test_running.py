# SPDX-License-Identifier: Apache-2.0
"""Jobs are done once, resumed, retried and blamed, whoever does them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nnrvideo.errors import JobError
from nnrvideo.files import sha256_of
from nnrvideo.jobs import dask_cluster, in_process, job_status, local_workers, run_jobs
from nnrvideo.jobs.attempt import attempt
from nnrvideo.jobs.run import task_of

EXECUTORS = {"in process": in_process, "processes": lambda: local_workers(2)}


def until(condition, seconds=60.0):
    """Waits for what another process does; only fails where it never happens."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited for ever"
        time.sleep(0.01)


def states(jobs, folder):
    return {each.id: each.state for each in job_status(jobs, folder)}


@pytest.mark.parametrize("executor", EXECUTORS.values(), ids=EXECUTORS.keys())
def test_results_and_files_travel_to_later_jobs(make_list, calls, tmp_path, executor):
    (tmp_path / "in.bin").write_bytes(b"film")
    jobs = make_list(
        ("last", "add", {"a": {"$result": ["sum", "sum"]},
                         "b": {"$result": ["sum", "nested", "list", 0]}}, "sum"),
        ("sum", "add", {"a": 1, "b": {"$result": ["second", "bytes"]}}, "second"),
        ("second", "copy", {"source": {"$file": ["first", "copy.bin"]}}, "first"),
        ("first", "copy", {"source": "in.bin"}),
    )  # fmt: skip
    done = []
    report = run_jobs(jobs, tmp_path / "run", executor(), progress=lambda *each: done.append(each))
    assert list(report.outcomes) == ["last", "sum", "second", "first"]
    assert report.require()["last"].result["sum"] == 6
    assert calls() == ["copy", "copy", "add", "add"]
    assert done[0] == (0, 4)
    assert done[-1] == (4, 4)
    copied = tmp_path / "run" / "second" / "files" / "copy.bin"
    assert copied.read_bytes() == b"film"
    assert report.outcomes["second"].files["copy.bin"].sha256 == sha256_of(copied)
    assert set(states(jobs, tmp_path / "run").values()) == {"done"}


def test_what_is_done_is_not_done_again(make_list, calls, tmp_path):
    (tmp_path / "in.bin").write_bytes(b"film")
    jobs = make_list(
        ("a", "copy", {"source": "in.bin"}),
        ("b", "add", {"a": 1, "b": {"$result": ["a", "bytes"]}}, "a"),
    )
    first = run_jobs(jobs, tmp_path / "run")
    second = run_jobs(jobs, tmp_path / "run")
    assert calls() == ["copy", "add"]
    assert all(each.fresh for each in first.outcomes.values())
    assert not any(each.fresh for each in second.outcomes.values())
    assert {n: o.result for n, o in first.outcomes.items()} == {
        n: o.result for n, o in second.outcomes.items()
    }


def test_a_file_that_was_only_touched_or_moved_is_the_same(make_list, calls, tmp_path):
    source = tmp_path / "in.bin"
    source.write_bytes(b"film")
    run_jobs(make_list(("a", "copy", {"source": "in.bin"})), tmp_path / "run")
    os.utime(source, ns=(1, 1))
    assert states(make_list(("a", "copy", {"source": "in.bin"})), tmp_path / "run")["a"] == "done"
    (tmp_path / "elsewhere").mkdir()
    source.rename(tmp_path / "elsewhere" / "in.bin")
    run_jobs(make_list(("a", "copy", {"source": "elsewhere/in.bin"})), tmp_path / "run")
    assert calls() == ["copy"]


def test_changed_arguments_files_or_versions_run_anew(make_list, calls, tmp_path, monkeypatch):
    source = tmp_path / "in.bin"
    source.write_bytes(b"film")
    folder = tmp_path / "run"
    jobs = make_list(
        ("a", "copy", {"source": "in.bin"}),
        ("b", "add", {"a": 1, "b": {"$result": ["a", "bytes"]}}, "a"),
        ("c", "add", {"a": 1, "b": 1}),
    )
    run_jobs(jobs, folder)
    source.write_bytes(b"other film")
    assert states(jobs, folder) == {"a": "changed", "b": "waiting", "c": "done"}
    report = run_jobs(jobs, folder)
    assert report.outcomes["b"].result["sum"] == 11
    assert calls() == ["copy", "add", "add", "copy", "add"]
    jobs = make_list(
        ("a", "copy", {"source": "in.bin", "count": 3}), ("c", "add", {"a": 1, "b": 1})
    )
    run_jobs(jobs, folder)
    assert calls()[5:] == ["copy"]
    kind = jobs.kinds.kind("add")
    monkeypatch.setattr("nnrvideo_test_kinds.ADD", type(kind)(kind.run, kind.fields, version=2))
    run_jobs(jobs, folder)
    assert calls()[6:] == ["add"]


def test_a_result_whose_file_is_gone_or_damaged_does_not_count(make_list, calls, tmp_path):
    (tmp_path / "in.bin").write_bytes(b"film")
    jobs = make_list(("a", "copy", {"source": "in.bin"}))
    copied = tmp_path / "run" / "a" / "files" / "copy.bin"
    run_jobs(jobs, tmp_path / "run")
    copied.write_bytes(b"filM")
    run_jobs(jobs, tmp_path / "run")
    assert copied.read_bytes() == b"film"
    copied.unlink()
    assert states(jobs, tmp_path / "run")["a"] == "changed"
    run_jobs(jobs, tmp_path / "run")
    assert calls() == ["copy"] * 3


def test_damaged_records_cost_the_job_only(make_list, calls, tmp_path):
    jobs = make_list(("a", "add", {"a": 1, "b": 2}))
    run_jobs(jobs, tmp_path / "run")
    for text in (b"", b"[]", b"{}", b'{"identity": 3}'):
        (tmp_path / "run" / "a" / "result.json").write_bytes(text)
        assert run_jobs(jobs, tmp_path / "run").outcomes["a"].result["sum"] == 3
    record = json.loads((tmp_path / "run" / "a" / "result.json").read_bytes())
    del record["files"]
    (tmp_path / "run" / "a" / "result.json").write_text(json.dumps(record))
    run_jobs(jobs, tmp_path / "run")
    assert calls() == ["add"] * 6


@pytest.mark.parametrize("executor", EXECUTORS.values(), ids=EXECUTORS.keys())
def test_a_failure_stops_only_what_waits_for_it(make_list, calls, tmp_path, executor):
    jobs = make_list(
        ("bad", "fail", {}),
        ("after", "add", {"a": 1, "b": 1}, "bad"),
        ("later", "add", {"a": 1, "b": 1}, "after"),
        ("good", "add", {"a": 1, "b": 1}),
    )
    said = []
    report = run_jobs(jobs, tmp_path / "run", executor(), say=said.append)
    assert {name: each.state for name, each in report.outcomes.items()} == {
        "bad": "failed",
        "after": "blocked",
        "later": "blocked",
        "good": "done",
    }
    assert calls().count("fail") == 1
    with pytest.raises(JobError, match="3 of 4 jobs") as caught:
        report.require()
    assert caught.value.violations[0] == "bad: ValueError: this cannot be done"
    assert caught.value.violations[1] == "after: waits for bad"
    assert "bad: failed: ValueError: this cannot be done" in said
    assert "Traceback" in (tmp_path / "run" / "bad" / "log.txt").read_text()
    found = {each.id: each for each in job_status(jobs, tmp_path / "run")}
    assert found["bad"].state == "failed"
    assert "cannot be done" in found["bad"].detail
    assert found["later"].detail == "for after"


def test_missing_inputs_and_wrong_references_name_the_reason(make_list, tmp_path):
    jobs = make_list(
        ("a", "copy", {"source": "no.bin"}),
        ("b", "add", {"a": 1, "b": 1}),
        ("c", "add", {"a": 1, "b": {"$result": ["b", "product"]}}, "b"),
        ("d", "copy", {"source": {"$file": ["b", "x"]}}, "b"),
        ("e", "copy", {"source": {"$result": ["b", "sum"]}}, "b"),
    )
    outcomes = run_jobs(jobs, tmp_path / "run").outcomes
    assert "no.bin: No such file" in outcomes["a"].error
    assert outcomes["c"].error == "the result of job 'b' has no ['product']"
    assert outcomes["d"].error == "job 'b' has made no file 'x'"
    assert "source: must be the path of a file, not 2" in outcomes["e"].error


def test_a_worker_that_dies_is_replaced_and_the_job_done_once(make_list, calls, tmp_path):
    jobs = make_list(
        ("a", "die", {"until": str(tmp_path / "marker")}), ("b", "add", {"a": 1, "b": 1})
    )
    said = []
    report = run_jobs(jobs, tmp_path / "run", local_workers(1), say=said.append)
    assert report.require()["a"].result == {"survived": True}
    assert calls() == ["die", "die", "add"] or sorted(calls()) == ["add", "die", "die"]
    assert "a: the worker was killed by SIGKILL; trying again" in said


def test_a_job_that_kills_every_worker_is_named(make_list, calls, tmp_path):
    jobs = make_list(("a", "die", {}), ("b", "add", {"a": 1, "b": 1}))
    report = run_jobs(jobs, tmp_path / "run", local_workers(2), attempts=2)
    assert calls().count("die") == 2
    assert report.outcomes["b"].state == "done"
    with pytest.raises(JobError, match="a: the worker was killed by SIGKILL, 2 times"):
        report.require()


def test_an_interrupted_job_continues_with_its_files(make_list, calls, tmp_path):
    """Killed with its whole program, it leaves no half result, and goes on where it was."""
    jobs = make_list(("a", "wait", {"until": str(tmp_path / "go")}))
    jobs.save(tmp_path / "list.json")
    program = (
        "import sys; from nnrvideo.jobs import *; from pathlib import Path\n"
        "kinds = Registry({'wait': 'nnrvideo_test_kinds:WAIT'})\n"
        f"run_jobs(JobList.load({str(tmp_path / 'list.json')!r}, kinds=kinds), "
        f"{str(tmp_path / 'run')!r}, local_workers(1))"
    )
    parent = subprocess.Popen([sys.executable, "-P", "-c", program])
    progress = tmp_path / "run" / "a" / "files" / "progress"
    until(lambda: progress.exists() and progress.read_text())
    until(lambda: (progress.parent / ".x.part.mp4").exists())
    worker = int(progress.read_text())
    assert states(jobs, tmp_path / "run") == {"a": "running"}
    assert f"process {worker} on" in job_status(jobs, tmp_path / "run")[0].detail
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: states(jobs, tmp_path / "run") == {"a": "ready"})  # its worker ended, too
    (tmp_path / "go").touch()
    report = run_jobs(jobs, tmp_path / "run")
    # What was temporary is gone when the second attempt begins; what was not is still there.
    assert report.require()["a"].result == {"kept": [".x.part.mp4", "progress"]}
    assert sorted(each.name for each in progress.parent.iterdir()) == ["progress"]
    assert calls() == ["wait", "wait"]
    assert "noise" in (tmp_path / "run" / "a" / "log.txt").read_text()


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_files(make_list, calls, tmp_path):
    later = [
        (f"b{n}", "steps", {"seed": n, "earlier": {"$result": [f"a{n}", "bytes"]}}, f"a{n}")
        for n in range(4)
    ]
    jobs = make_list(*[(f"a{n}", "steps", {"seed": n}) for n in range(4)], *later)
    whole = run_jobs(jobs, tmp_path / "whole").require()
    jobs.save(tmp_path / "list.json")
    program = (
        "from nnrvideo.jobs import *\n"
        "kinds = Registry({'steps': 'nnrvideo_test_kinds:STEPS'})\n"
        f"run_jobs(JobList.load({str(tmp_path / 'list.json')!r}, kinds=kinds), "
        f"{str(tmp_path / 'killed')!r}, local_workers(2)).require()"
    )
    kills = 0
    for more in (1, 1, 2, 3, 1, 2):
        parent = subprocess.Popen([sys.executable, "-P", "-c", program])
        target = len(calls()) + more  # jobs that shall have begun, so that one is in work
        until(lambda parent=parent, n=target: len(calls()) >= n or parent.poll() is not None)
        kills += parent.poll() is None
        parent.kill()
        parent.wait()
    killed = run_jobs(jobs, tmp_path / "killed").require()
    assert kills >= 3
    assert {n: o.files["whole"].sha256 for n, o in killed.items()} == {
        n: o.files["whole"].sha256 for n, o in whole.items()
    }
    assert {n: o.result for n, o in killed.items()} == {n: o.result for n, o in whole.items()}
    assert not [each for each in (tmp_path / "killed").rglob(".*")]


def test_two_runs_of_one_list_share_the_work(make_list, calls, tmp_path):
    jobs = make_list(("a", "wait", {"until": str(tmp_path / "go")}), ("b", "add", {"a": 1, "b": 1}))
    reports = []

    def run() -> None:
        reports.append(run_jobs(jobs, tmp_path / "run", local_workers(2)))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for each in threads:
        each.start()
    until(lambda: {"wait", "add"} <= set(calls()))
    (tmp_path / "go").touch()
    for each in threads:
        each.join()
    assert sorted(calls()) == ["add", "wait"]
    assert reports[0].require()["a"].result == reports[1].require()["a"].result
    assert [r.outcomes["a"].fresh for r in reports].count(True) == 1


def test_leaving_early_ends_the_workers(make_list, calls, tmp_path):
    jobs = make_list(("a", "wait", {"until": str(tmp_path / "go")}))
    with pytest.raises(KeyboardInterrupt), local_workers(1) as submit:
        submit(task_of(jobs, jobs.jobs[0], tmp_path / "run", {}))
        until(lambda: calls() == ["wait"])
        raise KeyboardInterrupt
    assert states(jobs, tmp_path / "run") == {"a": "ready"}


def test_an_input_that_changes_meanwhile_is_noticed(make_list, tmp_path, monkeypatch):
    source = tmp_path / "in.bin"
    source.write_bytes(b"film")
    jobs = make_list(("a", "copy", {"source": "in.bin"}))
    kind = jobs.kinds.kind("copy")

    def run(arguments, folder):
        source.write_bytes(b"film, second cut")
        return {}

    monkeypatch.setattr("nnrvideo_test_kinds.COPY", type(kind)(run, kind.fields))
    outcome = run_jobs(jobs, tmp_path / "run").outcomes["a"]
    assert outcome.state == "failed"
    assert "changed while the job was running" in outcome.error


def test_a_worker_with_other_software_refuses(make_list, tmp_path):
    jobs = make_list(("a", "add", {"a": 1, "b": 1}))
    task = replace(task_of(jobs, jobs.jobs[0], tmp_path, {}), software="99.0")
    assert "the list is run by 99.0" in attempt(task).error


def test_no_worker_is_no_number_of_workers():
    with pytest.raises(ValueError, match="at least one"), local_workers(0):
        pass


def test_an_empty_list_is_done(make_list, tmp_path: Path):
    assert run_jobs(make_list(), tmp_path / "run").require() == {}


def test_a_cluster_without_dask_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"nnrvideo\[cluster\]"), dask_cluster("tcp://x:1"):
        pass


@pytest.mark.parametrize("executor", EXECUTORS.values(), ids=EXECUTORS.keys())
def test_a_place_that_cannot_be_written_costs_that_job_only(make_list, tmp_path, executor):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a").write_bytes(b"in the way")
    jobs = make_list(("a", "add", {"a": 1, "b": 1}), ("b", "add", {"a": 1, "b": 1}))
    outcomes = run_jobs(jobs, tmp_path / "run", executor()).outcomes
    assert outcomes["a"].state == "failed"
    assert "exists" in outcomes["a"].error
    assert outcomes["b"].state == "done"
