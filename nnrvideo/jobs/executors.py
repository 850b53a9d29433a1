# SPDX-License-Identifier: Apache-2.0
"""Where jobs are done: here, in local processes, or on a Dask cluster.

An executor is a context manager that gives a function: task in, future out.  A job runs in a
process of its own on a cluster, too, so that one that crashes takes nothing with it.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib import import_module
from typing import Any

from nnrvideo.errors import JobError
from nnrvideo.jobs.attempt import Outcome, Task, attempt
from nnrvideo.jobs.worker import attempt_in_process

Submit = Callable[[Task], "Future[Outcome]"]
Executor = AbstractContextManager[Submit]

_CONNECT_SECONDS = 30
_MAX_REASON = 200  # characters of what Dask has to say


@contextmanager
def in_process() -> Iterator[Submit]:
    """Does each job at once, in this process and thread."""

    def submit(task: Task) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        future.set_result(attempt(task))
        return future

    yield submit


@contextmanager
def local_workers(count: int) -> Iterator[Submit]:
    """Does jobs in processes of this machine; leaving early ends them.

    Args:
        count: Processes at a time.

    Raises:
        ValueError: ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"there must be at least one worker, not {count}")
    running: set[subprocess.Popen[bytes]] = set()
    guard = threading.Lock()
    ended = False

    def started(process: subprocess.Popen[bytes]) -> None:
        with guard:
            running.add(process)
            if ended:
                process.kill()

    def run(task: Task) -> Outcome:
        process: list[subprocess.Popen[bytes]] = []

        def remember(each: subprocess.Popen[bytes]) -> None:
            process.append(each)
            started(each)

        try:
            return Outcome.from_json(attempt_in_process(task.to_json(), remember))
        finally:
            with guard:
                running.difference_update(process)

    with ThreadPoolExecutor(count, thread_name_prefix="nnrvideo-jobs") as threads:
        try:
            yield lambda task: threads.submit(run, task)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            with guard:
                ended = True
                for process in running:
                    with suppress(OSError):
                        process.kill()


@contextmanager
def dask_cluster(address: str) -> Iterator[Submit]:
    """Does jobs on an existing Dask cluster.

    Its workers must have this version of nnrvideo and see the same files under the same names.
    How many jobs a worker does at a time is its number of threads.

    Args:
        address: Of the scheduler, for instance ``tcp://10.0.0.1:8786``.

    Raises:
        ImportError: The extra ``[cluster]`` is not installed.
        JobError: There is no scheduler at this address.
    """
    try:
        # By name, so that types are checked alike with and without it.
        client_of = import_module("distributed").Client
    except ImportError as error:
        raise ImportError("a cluster needs Dask: pip install nnrvideo[cluster]") from error
    try:
        client = client_of(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise JobError(f"no Dask scheduler at {address}: {error}") from error
    with client, client.get_executor(pure=False) as executor:

        def submit(task: Task) -> Future[Outcome]:
            answer: Future[Outcome] = Future()

            def arrived(theirs: Future[dict[str, Any]]) -> None:
                try:
                    answer.set_result(Outcome.from_json(theirs.result()))
                except (Exception, CancelledError) as error:
                    answer.set_result(_given_up(error))  # KilledWorker and its like

            try:
                future = executor.submit(attempt_in_process, task.to_json())
            except Exception as error:
                answer.set_result(_given_up(error))  # the scheduler is gone
            else:
                future.add_done_callback(arrived)
            return answer

        yield submit


def _given_up(error: BaseException) -> Outcome:
    words = " ".join(str(error).split())[:_MAX_REASON]
    return Outcome("lost", error=f"the cluster gave up: {type(error).__name__}: {words}")
