# SPDX-License-Identifier: Apache-2.0
"""One attempt at one job, by whoever has the job's lock; the same in every kind of worker.

A task is JSON, so that it travels to other processes and machines, and so is its outcome.  The
order in which the records of a job are written makes an attempt safe to kill at any moment:
``job.json`` before the work, the files under names of their own and then renamed, ``result.json``
last.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal, Self, final

from nnrvideo.errors import ContainerError, JobError
from nnrvideo.files import write_bytes
from nnrvideo.jobs.identity import FileIdentity, job_identity
from nnrvideo.jobs.joblist import argument_problems, input_paths
from nnrvideo.jobs.kinds import Kind, kind_at
from nnrvideo.jobs.locks import JobLock, lock_owner
from nnrvideo.jsontext import JSON

State = Literal["done", "failed", "busy", "lost", "blocked"]

FILES: Final = "files"
LOG: Final = "log.txt"
_JOB: Final = "job.json"
_RESULT: Final = "result.json"
_FAILURE: Final = "failure.json"
_LOCK: Final = "lock"
# What is left where a process dies: of nnrvideo.files.OutputFile, and of temporary folders.
_TEMPORARY: Final = (".*.part*", ".nnrvideo-*")


@final
@dataclass(frozen=True, slots=True)
class Task:
    """A job ready to be done: references are replaced.

    Args:
        id: Of the job.
        kind: Name of its kind.
        place: Where the kind lies, by a registry of the caller.
        arguments: Without references.
        base: Folder that relative paths of input files are relative to.
        folder: Of the job.
        software: Version of nnrvideo that made the task; another one refuses it.
    """

    id: str
    kind: str
    place: str
    arguments: Mapping[str, JSON]
    base: str
    folder: str
    software: str = field(default_factory=lambda: version("nnrvideo"))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What :meth:`to_json` wrote."""
        return cls(**value)

    def to_json(self) -> dict[str, JSON]:
        """The task as JSON."""
        return {**asdict(self), "arguments": dict(self.arguments)}


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job.

    Args:
        state: ``"done"``; ``"failed"`` by an exception; ``"busy"``: somebody else is at it;
            ``"lost"``: the worker died; ``"blocked"``: a job that it waits for has no result.
        result: What the kind returned.
        files: Identities of its files, by name in the job's folder.
        error: Why there is no result, in one line.
        fresh: Whether the work was done now; False where it was found done.
        wall_seconds: That the work took, whenever it was done.
        cpu_seconds: The same, of processor time.
    """

    state: State
    result: Mapping[str, JSON] = field(default_factory=dict)
    files: Mapping[str, FileIdentity] = field(default_factory=dict)
    error: str = ""
    fresh: bool = True
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What :meth:`to_json` wrote."""
        files = {name: FileIdentity(**each) for name, each in value["files"].items()}
        return cls(**{**value, "files": files})

    def to_json(self) -> dict[str, JSON]:
        """The outcome as JSON."""
        return {**asdict(self), "result": dict(self.result)}


def attempt(task: Task) -> Outcome:
    """Does a job, unless it is done already or somebody is at it.

    Args:
        task: The job.

    Returns:
        ``"done"``, ``"failed"`` or ``"busy"``; exceptions of the work are told, not raised.
    """
    folder = Path(task.folder)
    if task.software != (here := version("nnrvideo")):
        error = f"the worker has nnrvideo {here}, the list is run by {task.software}"
        return Outcome("failed", error=error)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with JobLock(folder / _LOCK) as lock:
            if not lock.held:
                return Outcome("busy", error=f"in work by {lock_owner(folder / _LOCK)}")
            return _attempt_locked(task, folder)
    except (JobError, OSError, ContainerError) as error:
        return Outcome("failed", error=_one_line(error))


def finished(task: Task) -> Outcome | None:
    """The outcome of a job that is done, or None; reads no large file that it knows already.

    Args:
        task: The job.
    """
    folder = Path(task.folder)
    record = read_record(folder / _RESULT)
    if record is None:
        return None
    try:
        kind = kind_at(task.place)
        inputs = _identify(task, kind, folder)
    except (JobError, ImportError):
        return None
    identity = job_identity(task.kind, kind.version, task.arguments, inputs)
    return _outcome_of(record, identity, folder)


def read_record(path: Path) -> dict[str, Any] | None:
    """A record of a job's folder, or None where there is none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def read_failure(folder: Path) -> str | None:
    """Why the last attempt at a job failed, or None if it did not."""
    record = read_record(folder / _FAILURE)
    return None if record is None else str(record.get("error"))


def was_finished(folder: Path) -> bool:
    """Whether a job has a result, if only of other arguments."""
    return (folder / _RESULT).exists()


def owner_of(folder: Path) -> str | None:
    """Who is at work on a job now, or None."""
    owner = lock_owner(folder / _LOCK)
    return None if owner is None else str(owner)


def _attempt_locked(task: Task, folder: Path) -> Outcome:
    with suppress(FileNotFoundError):
        (folder / _FAILURE).unlink()
    cpu, wall = _cpu_seconds(), time.monotonic()
    try:
        kind = kind_at(task.place)
        _require_proper(kind, task.arguments)
        inputs = _identify(task, kind, folder)
        identity = job_identity(task.kind, kind.version, task.arguments, inputs)
        record = read_record(folder / _RESULT)
        if record is not None and (old := _outcome_of(record, identity, folder)):
            return old
        files = _make_ready(folder, task, identity, inputs)
        paths = {name: each.path for name, each in inputs.items()}
        # As JSON has it, so that it reads the same now and when it is found done.
        result = json.loads(_text(kind.run({**task.arguments, **paths}, files)))
        _require_unchanged(inputs)
        outcome = Outcome(
            "done",
            result,
            _identify_files(result.get("files", []), files),
            wall_seconds=round(time.monotonic() - wall, 3),
            cpu_seconds=round(_cpu_seconds() - cpu, 3),
        )
        _remove_temporary(files)
        _write(folder / _RESULT, {"identity": identity, **outcome.to_json(), "finished": _now()})
    except Exception as error:
        with (folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{_now()}\n{traceback.format_exc()}")
        message = f"{type(error).__name__}: {_one_line(error)}"
        _write(folder / _FAILURE, {"error": message, "failed": _now()})
        return Outcome(
            "failed",
            error=message,
            wall_seconds=round(time.monotonic() - wall, 3),
            cpu_seconds=round(_cpu_seconds() - cpu, 3),
        )
    return outcome


def _outcome_of(record: Mapping[str, Any], identity: str, folder: Path) -> Outcome | None:
    """The outcome that a record tells, if it is that of this identity and its files are there."""
    if record.get("identity") != identity:
        return None
    fields = {name: record[name] for name in Outcome.__dataclass_fields__ if name in record}
    try:
        outcome = Outcome.from_json({**fields, "fresh": False})
        for name, known in outcome.files.items():
            now = FileIdentity.of(folder / FILES / name, name=name, known=known)
            if now.sha256 != known.sha256:
                return None
    except (JobError, KeyError, TypeError):
        return None  # a file is missing, or somebody has edited the record
    return outcome


def _identify(task: Task, kind: Kind, folder: Path) -> dict[str, FileIdentity]:
    known = (read_record(folder / _JOB) or {}).get("inputs", {})
    return {
        name: FileIdentity.of(path, known=FileIdentity.from_json(known.get(name)))
        for name, path in input_paths(kind, task.arguments, Path(task.base)).items()
    }


def _make_ready(
    folder: Path, task: Task, identity: str, inputs: Mapping[str, FileIdentity]
) -> Path:
    """The folder for the job's files, with what an earlier attempt at exactly this job left."""
    with suppress(FileNotFoundError):
        (folder / _RESULT).unlink()
    files = folder / FILES
    if (read_record(folder / _JOB) or {}).get("identity") != identity:
        shutil.rmtree(files, ignore_errors=True)
    files.mkdir(exist_ok=True)
    _remove_temporary(files)
    _write(
        folder / _JOB,
        {
            "id": task.id,
            "kind": task.kind,
            "arguments": dict(task.arguments),
            "identity": identity,
            "inputs": {name: each.to_json() for name, each in inputs.items()},
            "software": task.software,
            "started": _now(),
        },
    )
    return files


def _require_proper(kind: Kind, arguments: Mapping[str, JSON]) -> None:
    """What stood for other jobs' results has been replaced since the list was checked."""
    if problems := list(argument_problems(kind, arguments)):
        raise JobError("its arguments are wrong", problems)


def _require_unchanged(inputs: Mapping[str, FileIdentity]) -> None:
    for name, each in inputs.items():
        if FileIdentity.of(Path(each.path), known=each) != each:
            raise JobError(f"{name}: {each.path} changed while the job was running")


def _identify_files(names: JSON, folder: Path) -> dict[str, FileIdentity]:
    if not isinstance(names, list):
        raise TypeError('the key "files" of a result must be a list of names')
    return {str(name): FileIdentity.of(folder / str(name), name=str(name)) for name in names}


def _remove_temporary(folder: Path) -> None:
    for pattern in _TEMPORARY:
        for path in folder.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _write(path: Path, value: Mapping[str, Any]) -> None:
    write_bytes(path, (_text(value) + "\n").encode(), overwrite=True)


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _now() -> str:
    return datetime.now(UTC).isoformat("T", "seconds")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
