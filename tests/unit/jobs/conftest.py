# SPDX-License-Identifier: Apache-2.0
"""A package of small kinds that worker processes can import, and how lists of them are made."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nnrvideo.jobs import JobList, Registry

_MODULE = "nnrvideo_test_kinds"

# Each run adds a line to the file "calls", so that tests can count them, whoever made them.
_KINDS = '''
import os, signal, time
from pathlib import Path
from nnrvideo.files import write_bytes
from nnrvideo.jobs import Field, Kind

def note(arguments, text):
    with open(arguments["calls"], "a") as file:
        file.write(text + "\\n")

def add(arguments, folder):
    note(arguments, "add")
    return {"sum": arguments["a"] + arguments["b"], "nested": {"list": [arguments["a"]]}}

def copy(arguments, folder):
    note(arguments, "copy")
    data = Path(arguments["source"]).read_bytes()
    write_bytes(folder / "copy.bin", data, overwrite=True)
    return {"bytes": len(data), "files": ["copy.bin"]}

def fail(arguments, folder):
    note(arguments, "fail")
    raise ValueError("this cannot be\\ndone")

def wait(arguments, folder):
    """Leaves traces of its start, waits for a file, then finishes."""
    note(arguments, "wait")
    print("noise on standard output", flush=True)
    (folder / "progress").write_text(str(os.getpid()))
    (folder / ".x.part.mp4").write_text("half")
    while not Path(arguments["until"]).exists():
        time.sleep(0.01)
    return {"kept": sorted(each.name for each in folder.iterdir())}

def die(arguments, folder):
    note(arguments, "die")
    if arguments.get("until") and Path(arguments["until"]).exists():
        return {"survived": True}
    if arguments.get("until"):
        Path(arguments["until"]).touch()
    os.kill(os.getpid(), signal.SIGKILL)

def steps(arguments, folder):
    """Writes its file in steps, each of which survives."""
    note(arguments, "steps")
    for step in range(4):
        if not (folder / f"part{step}").exists():
            time.sleep(0.02)
            write_bytes(folder / f"part{step}", bytes([arguments["seed"], step]) * 1000)
    whole = b"".join((folder / f"part{step}").read_bytes() for step in range(4))
    write_bytes(folder / "whole", whole + str(arguments.get("earlier")).encode(), overwrite=True)
    return {"files": ["whole"], "bytes": len(whole)}

CALLS = {"calls": Field("text", required=True)}
NUMBER = Field("number", required=True)
ADD = Kind(add, {**CALLS, "a": NUMBER, "b": NUMBER})
COPY = Kind(copy, {**CALLS, "source": Field("file", required=True), "target": Field("name"),
                   "mode": Field("text", choices=("x", "y")),
                   "modes": Field("texts", choices=("x", "y")),
                   "options": Field("map"), "fast": Field("boolean"), "count": Field("integer")})
FAIL = Kind(fail, CALLS)
WAIT = Kind(wait, {**CALLS, "until": Field("text", required=True)})
STEPS = Kind(steps, {**CALLS, "seed": NUMBER, "earlier": Field("json")})
DIE = Kind(die, {**CALLS, "until": Field("text")})
'''


@pytest.fixture(scope="session")
def kinds_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    (folder / f"{_MODULE}.py").write_text(_KINDS)
    return folder


@pytest.fixture
def kinds(kinds_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The registry of the package above."""
    monkeypatch.setenv("PYTHONPATH", str(kinds_folder))  # for processes
    monkeypatch.syspath_prepend(str(kinds_folder))
    names = ("add", "copy", "fail", "wait", "steps", "die")
    yield Registry({name: f"{_MODULE}:{name.upper()}" for name in names})
    sys.modules.pop(_MODULE, None)


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], list[str]]:
    """Function that lists what has run so far."""
    path = tmp_path / "calls"
    return lambda: path.read_text().split() if path.exists() else []


@pytest.fixture
def make_list(kinds: Registry, tmp_path: Path) -> Callable[..., JobList]:
    """Function that makes a list of jobs, each (id, kind, arguments, after ...)."""

    def make(*jobs: tuple[Any, ...]) -> JobList:
        value = [
            {
                "id": name,
                "kind": kind,
                "arguments": {"calls": str(tmp_path / "calls"), **arguments},
                "after": list(after),
            }
            for name, kind, arguments, *after in jobs
        ]
        document = {"format": "nnrvideo-jobs", "version": 1, "jobs": value}
        return JobList.from_json(document, base=tmp_path, kinds=kinds)

    return make


@pytest.fixture
def dask_scheduler(kinds: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Dask cluster with two workers in processes of their own, on loopback."""
    pytest.importorskip("distributed", reason="Dask is the optional extra [cluster]")
    folder = tmp_path_factory.mktemp("dask")
    place = folder / "scheduler.json"
    log = (folder / "log").open("wb")

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", *arguments]
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)

    processes = [
        start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
              "--scheduler-file", str(place), "--no-dashboard"),
        start("distributed.cli.dask_worker", "--scheduler-file", str(place), "--nworkers", "2",
              "--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard"),
    ]  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not place.exists():
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.05)
        yield json.loads(place.read_text())["address"]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        log.close()
