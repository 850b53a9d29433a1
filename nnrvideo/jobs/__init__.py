# SPDX-License-Identifier: Apache-2.0
"""Lists of jobs that can be interrupted, resumed and spread over processes and machines.

**The contract.**  A *job* is one call of a function that a *kind* names::

    run(arguments: Mapping[str, JSON], folder: Path) -> Mapping[str, JSON]

- ``arguments`` are plain JSON values, checked against the fields that the kind declares, with
  references to earlier jobs replaced by what they stand for.
- ``folder`` exists and belongs to this job alone.  It may hold what an earlier attempt with the
  same arguments left: continue from it or write over it.  Unfinished files of
  :class:`nnrvideo.files.OutputFile` and folders ``.nnrvideo-*`` are removed before each attempt.
- The result is a JSON object.  Its key ``"files"``, where there is one, lists the names of the
  files in ``folder`` that belong to the result.
- A job writes into its folder only, and its result depends on nothing but its arguments and the
  files that they name: two runs are as good as one.
- A job fails by an exception.  Failures are not retried; processes that die are.

**The list** is JSON, version 1; see :mod:`nnrvideo.jobs.joblist`::

    {"format": "nnrvideo-jobs", "version": 1, "jobs": [
      {"id": "a", "kind": "encode", "arguments": {"source": "a.mp4", "target": "a.mkv"}},
      {"id": "b", "kind": "encode", "after": ["a"],
       "arguments": {"source": {"$file": ["a", "a.mkv"]}, "target": "b.mkv"}}]}

In arguments, ``{"$result": ["a", "key", 0]}`` stands for that part of the result of job ``a``,
``{"$file": ["a", "name"]}`` for the path of one of its files; ``a`` must be in ``after``.  A list
is data and may come from strangers: it names kinds of :data:`KINDS`, never code.

**The folder** of a run holds, for each job, ``ID/files`` (what the job wrote), ``ID/job.json``
(what it was started with), ``ID/result.json`` (written last: the job is finished), ``ID/log.txt``
and ``ID/lock``.  A job runs again only if its arguments, its kind's version, the content of its
input files or its own files have changed.

This package knows what jobs are, not what they do; it depends on ``errors``, ``files`` and
``jsontext`` only.
"""

from nnrvideo.jobs.attempt import Outcome
from nnrvideo.jobs.executors import dask_cluster, in_process, local_workers
from nnrvideo.jobs.joblist import Job, JobList
from nnrvideo.jobs.kinds import KINDS, Field, Kind, Registry
from nnrvideo.jobs.run import RunReport, run_jobs
from nnrvideo.jobs.status import JobStatus, job_status
from nnrvideo.jsontext import JSON

__all__ = [
    "JSON",
    "KINDS",
    "Field",
    "Job",
    "JobList",
    "JobStatus",
    "Kind",
    "Outcome",
    "Registry",
    "RunReport",
    "dask_cluster",
    "in_process",
    "job_status",
    "local_workers",
    "run_jobs",
]
