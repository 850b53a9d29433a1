# SPDX-License-Identifier: Apache-2.0
"""The list of jobs: plain JSON, checked as a whole before anything runs.

``{"format": "nnrvideo-jobs", "version": 1, "jobs": [JOB ...]}``, where a job has

- ``id``: 1 to 100 letters, digits, ``.``, ``_`` and ``-``, the first a letter or digit; unique,
  also without regard to case, because it names a folder;
- ``kind``: a name of the registry;
- ``arguments``: an object with what the kind's fields say; relative paths of input files are
  relative to the folder of the list;
- ``after``: ids of jobs that must be finished before; absent: none.

A list may come from strangers.  It is bounded in bytes, jobs and depth, names no code, and what
its jobs write lands in folders of the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Final, Self, final

from nnrvideo.errors import JobError
from nnrvideo.files import PathLike, write_bytes
from nnrvideo.jobs.kinds import KINDS, Kind, Registry
from nnrvideo.jsontext import JSON, parse_json

FORMAT: Final = "nnrvideo-jobs"
VERSION: Final = 1

_MAX_BYTES: Final = 64 << 20
_MAX_JOBS: Final = 100_000
_MAX_PROBLEMS: Final = 20  # told at once
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_REFERENCES: Final = frozenset({"$result", "$file"})


@final
@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work.

    Args:
        id: Its name in the list, and that of its folder.
        kind: What to do.
        arguments: By what; JSON values.
        after: Jobs that must be finished before.
    """

    id: str
    kind: str
    arguments: Mapping[str, JSON]
    after: tuple[str, ...] = ()

    def to_json(self) -> dict[str, JSON]:
        """The job as it stands in a list."""
        value: dict[str, JSON] = {
            "id": self.id,
            "kind": self.kind,
            "arguments": dict(self.arguments),
        }
        return value | ({"after": list(self.after)} if self.after else {})


@final
@dataclass(frozen=True, slots=True)
class JobList:
    """Jobs that have been checked.

    Args:
        jobs: In the order of the list.
        base: Folder that relative paths of input files are relative to.
        kinds: What they may ask for.

    Raises:
        JobError: Names every job and field that is wrong.
        ImportError: A kind needs what is not installed.
    """

    jobs: tuple[Job, ...]
    base: Path = field(default_factory=Path.cwd)
    kinds: Registry = KINDS

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            more = len(problems) - _MAX_PROBLEMS
            tail = [f"and {more} more"] if more > 0 else []
            raise JobError("the job list is wrong", problems[:_MAX_PROBLEMS] + tail)

    @classmethod
    def load(cls, path: PathLike, *, kinds: Registry = KINDS) -> Self:
        """Reads a list.

        Args:
            path: The file; untrusted.
            kinds: What it may ask for.

        Raises:
            JobError: It is no such list, or jobs of it are wrong.
            OSError: The file cannot be read.
        """
        path = Path(path)
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise JobError(f"{path}: a job list has at most {_MAX_BYTES} bytes")
        try:
            value = parse_json(data)
            return cls.from_json(value, base=path.parent.resolve(), kinds=kinds)
        except (JobError, ValueError) as error:
            raise JobError(f"{path}: {error}") from error

    @classmethod
    def from_json(cls, value: JSON, *, base: Path | None = None, kinds: Registry = KINDS) -> Self:
        """Checks a list that has been parsed; raises as the class does."""
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise JobError(f'this is no job list: "format" must be "{FORMAT}"')
        if value.get("version") != VERSION:
            raise JobError(f'"version" must be {VERSION}, not {value.get("version")!r}')
        if unknown := value.keys() - {"format", "version", "jobs"}:
            raise JobError(f"a job list has no {min(unknown)!r}")
        jobs = value.get("jobs")
        if not isinstance(jobs, list) or len(jobs) > _MAX_JOBS:
            raise JobError(f'"jobs" must be a list of at most {_MAX_JOBS} jobs')
        problems: list[str] = []
        parsed = [_parse_job(each, number, problems) for number, each in enumerate(jobs)]
        if problems:
            raise JobError("the job list is wrong", problems[:_MAX_PROBLEMS])
        return cls(tuple(job for job in parsed if job), base or Path.cwd(), kinds)

    def to_json(self) -> dict[str, JSON]:
        """The list as JSON."""
        jobs = [job.to_json() for job in self.jobs]
        return {"format": FORMAT, "version": VERSION, "jobs": jobs}

    def save(self, path: PathLike, *, overwrite: bool = False) -> None:
        """Writes the list, whole or not at all.

        Raises:
            ContainerError: The file exists already, or the place is not writable.
        """
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        write_bytes(path, (text + "\n").encode(), overwrite=overwrite)

    def sorter(self) -> TopologicalSorter[str]:
        """Which job can run when; not prepared yet."""
        return TopologicalSorter({job.id: job.after for job in self.jobs})


def map_references(value: JSON, replace: Callable[[str, list[Any]], JSON]) -> JSON:
    """A value with every reference in it replaced.

    Args:
        value: Arguments of a job, or a part of them.
        replace: Called with ``"$result"`` or ``"$file"`` and the path that follows.
    """
    if isinstance(value, list):
        return [map_references(each, replace) for each in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and (name := next(iter(value))) in _REFERENCES:
        return replace(name, value[name])
    return {name: map_references(each, replace) for name, each in value.items()}


def is_reference(value: JSON) -> bool:
    """True for what stands for a part of another job's result."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _REFERENCES


def argument_problems(kind: Kind, arguments: Mapping[str, JSON]) -> Iterator[str]:
    """What is wrong with a job's arguments; references are left alone.

    Args:
        kind: What the job asks for.
        arguments: Its arguments.

    Yields:
        ``field: what``, one line each.
    """
    for name, rule in kind.fields.items():
        if name not in arguments:
            if rule.required:
                yield f"{name}: is missing"
        elif not is_reference(arguments[name]) and (what := rule.problem(arguments[name])):
            yield f"{name}: {what}"
    for name in arguments.keys() - kind.fields.keys():
        yield f"{name}: there is no such argument; there are {', '.join(kind.fields)}"
    if kind.check is not None:
        try:
            kind.check(arguments)
        except ValueError as error:
            yield str(error)


def input_paths(kind: Kind, arguments: Mapping[str, JSON], base: Path) -> dict[str, Path]:
    """Input files of a job by the name of their field, absolute."""
    return {
        name: rule.find(str(arguments[name]), base)
        for name, rule in kind.fields.items()
        if rule.type == "file" and arguments.get(name) is not None
    }


def _parse_job(value: JSON, number: int, problems: list[str]) -> Job | None:
    where = f"job {number}"
    if not isinstance(value, dict):
        problems.append(f"{where}: must be an object")
        return None
    given = value.get("id")
    where += f" ({given!r})" if isinstance(given, str) and len(given) <= 100 else ""
    wrong = [
        f"{where}: {name}: {what}"
        for name, what, kind in (
            ("id", "must be text", str),
            ("kind", "must be text", str),
            ("arguments", "must be an object", dict),
            ("after", "must be a list of ids", list),
        )
        if not isinstance(value.get(name, [] if name == "after" else None), kind)
    ]
    wrong += [
        f"{where}: {name}: a job has no such field"
        for name in sorted(value.keys() - {"id", "kind", "arguments", "after"})
    ]
    after = value.get("after", [])
    if not wrong and not all(isinstance(each, str) for each in after):
        wrong.append(f"{where}: after: must be a list of ids")
    problems += wrong
    if wrong:
        return None
    return Job(value["id"], value["kind"], value["arguments"], tuple(after))


def _problems(jobs: JobList) -> Iterator[str]:
    seen: dict[str, str] = {}
    for job in jobs.jobs:
        where = f"job {job.id[:100]!r}: id"
        folded = job.id.lower()
        if not _ID.fullmatch(job.id):
            yield f"{where}: must be at most 100 letters, digits, '.', '_' and '-'"
        elif folded in seen:
            yield f"{where}: is taken by {seen[folded]!r} (case does not count)"
        seen.setdefault(folded, job.id)
    ids = {job.id for job in jobs.jobs}
    for job in jobs.jobs:
        where = f"job {job.id[:100]!r}"
        for each in job.after:
            if each not in ids:
                yield f"{where}: after: there is no job {each[:100]!r}"
        try:
            kind = jobs.kinds.kind(job.kind)
        except JobError as error:
            yield f"{where}: kind: {error}"
            continue
        for line in argument_problems(kind, job.arguments):
            yield f"{where}: {line}"
        for line in _reference_problems(job):
            yield f"{where}: {line}"
    try:
        jobs.sorter().prepare()
    except CycleError as error:
        yield f"jobs wait for each other: {' after '.join(error.args[1])}"


def _reference_problems(job: Job) -> list[str]:
    problems: list[str] = []

    def look(name: str, path: Any) -> JSON:
        steps = path if isinstance(path, list) else []
        if not steps or not all(isinstance(s, str | int) for s in steps):
            problems.append(f"{name}: must be a list of an id and what to take of its result")
        elif name == "$file" and (len(steps) != 2 or not isinstance(steps[1], str)):
            problems.append("$file: must be a list of an id and a name")
        elif steps[0] not in job.after:
            problems.append(f"{name}: {steps[0]!r} is not in after")
        return None

    for field_name, value in job.arguments.items():
        count = len(problems)
        map_references(value, look)
        problems[count:] = [f"{field_name}: {each}" for each in problems[count:]]
    return problems
