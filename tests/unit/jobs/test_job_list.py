# SPDX-License-Identifier: Apache-2.0
"""A job list is data: checked as a whole, and named no more than it may."""

from __future__ import annotations

import json
from importlib import import_module

import pytest

from nnrvideo.errors import JobError
from nnrvideo.jobs import KINDS, JobList, Kind, run_jobs


def document(*jobs: object, **changes: object) -> dict:
    return {"format": "nnrvideo-jobs", "version": 1, "jobs": list(jobs)} | changes


def job(name: object = "a", kind: object = "add", **fields: object) -> dict:
    return {"id": name, "kind": kind, "arguments": {"calls": "c", "a": 1, "b": 2}} | fields


def copying(**arguments: object) -> dict:
    return job(kind="copy", arguments={"calls": "c", "source": "s"} | arguments)


def test_comes_back_as_it_was_written(kinds, tmp_path):
    jobs = JobList.from_json(document(job(), job("b", after=["a"])), kinds=kinds)
    path = tmp_path / "list.json"
    jobs.save(path)
    again = JobList.load(path, kinds=kinds)
    assert again.jobs == jobs.jobs
    assert again.base == tmp_path.resolve()
    assert json.loads(path.read_bytes()) == document(job(), job("b", after=["a"]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "no job list"),
        (document(format="other"), "no job list"),
        (document(version=2), '"version" must be 1'),
        (document(extra=1), "no 'extra'"),
        (document(jobs={}), '"jobs" must be a list'),
        (document(3), "job 0: must be an object"),
        (document(job(3)), "job 0: id: must be text"),
        (document(job(kind=None)), r"job 0 \('a'\): kind: must be text"),
        (document(job(arguments=[])), r"job 0 \('a'\): arguments: must be an object"),
        (document(job(after="b")), r"job 0 \('a'\): after: must be a list"),
        (document(job(after=[1])), r"job 0 \('a'\): after: must be a list of ids"),
        (document(job(command="rm")), r"job 0 \('a'\): command: a job has no such field"),
        (document(job("../a")), "'../a': id: must be at most 100 letters"),
        (document(job("")), "'': id: must be at most 100 letters"),
        (document(job("x" * 101)), "id: must be at most 100 letters"),
        (document(job(), job("A")), "job 'A': id: is taken by 'a'"),
        (document(job(), job()), "job 'a': id: is taken by 'a'"),
        (document(job(after=["b"])), "job 'a': after: there is no job 'b'"),
        (document(job(after=["a"])), "wait for each other: a after a"),
        (document(job(after=["b"]), job("b", after=["a"])), "wait for each other"),
        (document(job(kind="os:system")), "job 'a': kind: there is no kind 'os:system'; kinds are"),
        (document(job(arguments={"calls": "c", "a": 1})), "job 'a': b: is missing"),
        (document(job(arguments={"calls": "c", "a": 1, "b": True})), "b: must be a number"),
        (document(job(arguments={"calls": "c", "a": 1, "b": 2, "z": 2})), "z: there is no such"),
        (document(copying(source=3)), "source: must be the path of a file"),
        (document(copying(target="../x")), "target: must be the name of a file"),
        (document(copying(target="..\\x")), "target: must be the name of a file"),
        (document(copying(target=".hidden")), "target: must be the name of a file"),
        (document(copying(mode="z")), "mode: must be out of x, y"),
        (document(copying(modes=["x", "z"])), "modes: must be out of x, y"),
        (document(copying(modes="x")), "modes: must be a list of texts"),
        (document(copying(options={"crf": 3})), "options: must be an object of texts"),
        (document(copying(fast=1)), "fast: must be true or false"),
        (document(copying(count=1.5)), "count: must be an integer"),
        (document(copying(count=None)), "count: must be an integer"),
        (document(copying(source={"$file": ["b", "x"]})), r"source: \$file: 'b' is not in after"),
        (document(copying(source={"$file": ["b"]})), "must be a list of an id and a name"),
        (document(copying(source={"$result": 3})), "must be a list of an id and what"),
        (document(copying(options={"crf": {"$result": []}})), "options: must be an object"),
    ],
)  # fmt: skip
def test_says_which_job_and_which_field(kinds, wrong, message):
    with pytest.raises(JobError, match=message):
        JobList.from_json(wrong, kinds=kinds)


def test_tells_all_problems_at_once(kinds):
    with pytest.raises(JobError) as caught:
        JobList.from_json(document(job(kind="x"), copying(fast=3) | {"id": "b"}), kinds=kinds)
    assert len(caught.value.violations) == 2


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"format": "nnrvideo-jobs", "version": 1, "version": 1, "jobs": []}',
        b'{"format": "nnrvideo-jobs", "version": NaN, "jobs": []}',
        b'{"format": "nnrvideo-jobs", "version": 1, "jobs": ' + b"[" * 40 + b"]" * 40 + b"}",
        b"\xff\xfe",
        b'{"format": "nnrvideo-jobs", "version": 1, "jobs": ["\\ud800"]}',
        b'{"\\udfff": 1}',
        b'{"format": "nnrvideo-jobs", "version": ' + b"1" * 400 + b"}",
    ],
)
def test_damaged_text_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "list.json"
    path.write_bytes(text)
    with pytest.raises(JobError, match=r"list\.json: .*(JSON|nested|no text)") as caught:
        JobList.load(path)
    assert "\n" not in str(caught.value)


def test_a_list_has_a_largest_size(tmp_path, monkeypatch):
    monkeypatch.setattr("nnrvideo.jobs.joblist._MAX_BYTES", 10)
    path = tmp_path / "list.json"
    path.write_bytes(b" " * 11)
    with pytest.raises(JobError, match="at most 10 bytes"):
        JobList.load(path)


@pytest.mark.parametrize("name", KINDS.places)
def test_kinds_are_those_of_this_package(name):
    module, _, attribute = KINDS.places[name].partition(":")
    assert module.startswith("nnrvideo.")
    assert isinstance(getattr(import_module(module), attribute), Kind)
    assert KINDS.kind(name).fields


def test_paths_are_relative_to_the_list(make_list, tmp_path):
    (tmp_path / "in.bin").write_bytes(b"data")
    report = run_jobs(make_list(("a", "copy", {"source": "in.bin"})), tmp_path / "run")
    assert report.outcomes["a"].result["bytes"] == 4
