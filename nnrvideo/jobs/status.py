# SPDX-License-Identifier: Apache-2.0
"""How far a list is, as its folder tells; nothing is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from nnrvideo.errors import JobError
from nnrvideo.files import PathLike
from nnrvideo.jobs.attempt import Outcome, finished, owner_of, read_failure, was_finished
from nnrvideo.jobs.joblist import Job, JobList
from nnrvideo.jobs.run import task_of


@final
@dataclass(frozen=True, slots=True)
class JobStatus:
    """How far a job is.

    Args:
        id: Of the job.
        kind: Of the job.
        state: ``"done"``, ``"running"``, ``"failed"``, ``"changed"``: has a result, but of other
            arguments or input files; ``"ready"``, ``"waiting"`` for other jobs.
        detail: Who runs it, why it failed, what it waits for.
        outcome: Of a job that is done.
    """

    id: str
    kind: str
    state: Literal["done", "running", "failed", "changed", "ready", "waiting"]
    detail: str = ""
    outcome: Outcome | None = None


def job_status(jobs: JobList, folder: PathLike) -> list[JobStatus]:
    """Looks at a run.

    Args:
        jobs: The list.
        folder: As for ``run_jobs``; need not exist.

    Returns:
        One status for each job, in the order of the list.
    """
    root = Path(folder).absolute()
    by_id = {job.id: job for job in jobs.jobs}
    done: dict[str, Outcome] = {}
    found = {name: _status(jobs, by_id[name], root, done) for name in jobs.sorter().static_order()}
    return [found[job.id] for job in jobs.jobs]


def _status(jobs: JobList, job: Job, root: Path, done: dict[str, Outcome]) -> JobStatus:
    folder = root / job.id
    if (owner := owner_of(folder)) is not None:
        return JobStatus(job.id, job.kind, "running", owner)
    missing = [each for each in job.after if each not in done]
    if missing:
        return JobStatus(job.id, job.kind, "waiting", f"for {', '.join(missing)}")
    try:
        outcome = finished(task_of(jobs, job, root, done))
    except JobError as error:
        return JobStatus(job.id, job.kind, "failed", str(error))
    if outcome is not None:
        done[job.id] = outcome
        return JobStatus(job.id, job.kind, "done", outcome=outcome)
    if (failure := read_failure(folder)) is not None:
        return JobStatus(job.id, job.kind, "failed", failure)
    return JobStatus(job.id, job.kind, "changed" if was_finished(folder) else "ready")
