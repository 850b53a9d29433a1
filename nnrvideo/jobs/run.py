# SPDX-License-Identifier: Apache-2.0
"""Runs a list: what is ready, where there is room, until nothing is left that can be done.

A job that fails takes with it only those that wait for it.  A job whose worker died is tried
again a few times: the machine may have been at fault.  A job that somebody else is at is looked
at again later; what they made counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

from nnrvideo.errors import JobError
from nnrvideo.files import PathLike
from nnrvideo.jobs.attempt import FILES, Outcome, Task, finished
from nnrvideo.jobs.executors import Executor, Submit, in_process
from nnrvideo.jobs.joblist import Job, JobList, map_references
from nnrvideo.jsontext import JSON

_BUSY_SECONDS: Final = 1.0  # between looks at what somebody else is doing


@final
@dataclass(frozen=True, slots=True)
class RunReport:
    """What came of a list.

    Args:
        outcomes: Of every job, in the order of the list.
    """

    outcomes: Mapping[str, Outcome]

    @property
    def failed(self) -> dict[str, Outcome]:
        """Jobs without a result, for whatever reason."""
        return {name: each for name, each in self.outcomes.items() if each.state != "done"}

    def require(self) -> Mapping[str, Outcome]:
        """The outcomes, if all jobs are done.

        Raises:
            JobError: Names every job that is not, and why.
        """
        if failed := self.failed:
            reasons = [f"{name}: {each.error}" for name, each in failed.items()]
            raise JobError(f"{len(failed)} of {len(self.outcomes)} jobs have no result", reasons)
        return self.outcomes


def run_jobs(
    jobs: JobList,
    folder: PathLike,
    executor: Executor | None = None,
    *,
    attempts: int = 3,
    progress: Callable[[int, int | None], None] = lambda _done, _total: None,
    say: Callable[[str], None] = lambda _line: None,
) -> RunReport:
    """Does what is not done yet of a list.

    Args:
        jobs: The list.
        folder: Where jobs have their folders; made where it is missing.  It belongs to this list;
            several runs of the same list may share it at the same time.
        executor: Where jobs are done; by default in this process, one after the other.
        attempts: How often a job is tried whose worker dies.
        progress: Called with (jobs done, of how many).
        say: Called with a line about each job.

    Returns:
        The outcomes; jobs that failed raise nothing.

    Raises:
        JobError: The executor is not to be had.
        OSError: The folder cannot be made.
    """
    root = Path(folder).absolute()
    root.mkdir(parents=True, exist_ok=True)
    with in_process() if executor is None else executor as submit:
        run = _Run(jobs, root, submit, attempts=attempts, progress=progress, say=say)
        run.finish()
    return RunReport({job.id: run.outcomes[job.id] for job in jobs.jobs})


def task_of(jobs: JobList, job: Job, root: Path, outcomes: Mapping[str, Outcome]) -> Task:
    """A job with its references replaced.

    Args:
        jobs: The list that it stands in.
        job: The job.
        root: Folder of the run.
        outcomes: Of the jobs that it waits for; all done.

    Raises:
        JobError: A reference names what a result does not have.
    """

    def replace_reference(name: str, path: list[Any]) -> JSON:
        outcome = outcomes[path[0]]
        if name == "$file":
            if path[1] not in outcome.files:
                raise JobError(f"job {path[0]!r} has made no file {path[1]!r}")
            return str(root / path[0] / FILES / path[1])
        value: Any = dict(outcome.result)
        for step in path[1:]:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                raise JobError(f"the result of job {path[0]!r} has no {path[1:]}") from None
        return value  # type: ignore[no-any-return]

    arguments = map_references(dict(job.arguments), replace_reference)
    assert isinstance(arguments, dict)
    return Task(
        job.id, job.kind, jobs.kinds.place(job.kind), arguments, str(jobs.base), str(root / job.id)
    )


class _Run:
    """One run of a list."""

    def __init__(
        self,
        jobs: JobList,
        root: Path,
        submit: Submit,
        *,
        attempts: int,
        progress: Callable[[int, int | None], None],
        say: Callable[[str], None],
    ) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._jobs = jobs
        self._by_id = {job.id: job for job in jobs.jobs}
        self._root = root
        self._submit = submit
        self._attempts = attempts
        self._progress = progress
        self._say = say
        self._sorter = jobs.sorter()
        self._sorter.prepare()
        self._running: dict[Future[Outcome], Task] = {}
        self._later: list[tuple[float, Task]] = []  # when to look again
        self._lost: dict[str, int] = {}  # workers that died, by job

    def finish(self) -> None:
        """Goes on until every job has an outcome."""
        self._progress(0, len(self._by_id))
        while self._sorter.is_active():
            for name in self._sorter.get_ready():
                self._begin(self._by_id[name])
            now = time.monotonic()
            for each in [each for each in self._later if each[0] <= now]:
                self._later.remove(each)
                self._start(each[1])
            if self._running:
                soonest = min((at for at, _ in self._later), default=None)
                timeout = None if soonest is None else max(0.0, soonest - now)
                ready, _ = wait(self._running, timeout, FIRST_COMPLETED)
                for future in ready:
                    self._take(self._running.pop(future), future.result())
            elif self._later:
                time.sleep(max(0.0, min(at for at, _ in self._later) - now))

    def _begin(self, job: Job) -> None:
        missing = [each for each in job.after if self.outcomes[each].state != "done"]
        if missing:
            self._settle(job.id, Outcome("blocked", error=f"waits for {', '.join(missing)}"))
            return
        try:
            task = task_of(self._jobs, job, self._root, self.outcomes)
        except JobError as error:
            self._settle(job.id, Outcome("failed", error=str(error)))
            return
        outcome = finished(task)
        if outcome is not None:
            self._settle(job.id, outcome)
        else:
            self._start(task)

    def _start(self, task: Task) -> None:
        self._running[self._submit(task)] = task

    def _take(self, task: Task, outcome: Outcome) -> None:
        if outcome.state == "busy":
            self._later.append((time.monotonic() + _BUSY_SECONDS, task))
            return
        if outcome.state == "lost":
            count = self._lost[task.id] = self._lost.get(task.id, 0) + 1
            if count < self._attempts:
                self._say(f"{task.id}: {outcome.error}; trying again")
                self._start(task)
                return
            outcome = replace(outcome, error=f"{outcome.error}, {count} times")
        self._settle(task.id, outcome)

    def _settle(self, name: str, outcome: Outcome) -> None:
        self.outcomes[name] = outcome
        self._sorter.done(name)
        if outcome.state != "done":
            self._say(f"{name}: {outcome.state}: {outcome.error}")
        elif outcome.fresh:
            self._say(f"{name}: done in {outcome.wall_seconds:.1f} s")
        self._progress(len(self.outcomes), len(self._by_id))
