# SPDX-License-Identifier: Apache-2.0
"""A process that does one job and ends.

It reads a task as one line of JSON from its standard input and writes the outcome to its standard
output; what the job prints goes to the job's log.  When its parent dies, however that happens,
its standard input ends, and so does it: no orphan works on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nnrvideo.jobs.attempt import LOG, Outcome, Task, attempt

_PROGRAM = f"from {__name__} import main; main()"
_ORPHANED = 70  # EX_SOFTWARE; nobody is left to read it


def attempt_in_process(
    task: dict[str, Any],
    started: Callable[[subprocess.Popen[bytes]], None] = lambda _process: None,
) -> dict[str, Any]:
    """Does a job in a process of its own, and waits for it.

    Args:
        task: A :class:`Task` as JSON.
        started: Called with the process.

    Returns:
        An :class:`Outcome` as JSON; ``"lost"`` if the process died.
    """
    try:
        return _attempt_in_process(task, started)
    except OSError as error:
        return Outcome("failed", error=f"no worker can be started: {error}").to_json()


def _attempt_in_process(
    task: dict[str, Any], started: Callable[[subprocess.Popen[bytes]], None]
) -> dict[str, Any]:
    folder = Path(task["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, with a program of ours
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            # Ctrl-C is for the parent, which ends its workers in order.
            start_new_session=True,
        )
    started(process)
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            process.stdin.write(json.dumps(task).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it died at once; its return code tells how
        # Its standard input stays open meanwhile, as the sign that somebody waits.
        answer = process.stdout.read()
        code = process.wait()
    if code == 0 and answer:
        return dict(json.loads(answer))
    return Outcome("lost", error=f"the worker {_death(code)}").to_json()


def _death(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def main() -> None:
    """Does the job that standard input names."""
    channel = os.dup(1)
    os.dup2(2, 1)
    text = bytearray()
    while not text.endswith(b"\n"):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return
        text += chunk
    threading.Thread(target=_end_with_parent, daemon=True).start()
    outcome = attempt(Task.from_json(json.loads(text)))
    with os.fdopen(channel, "wb") as answer:
        answer.write(json.dumps(outcome.to_json()).encode())


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(_ORPHANED)
