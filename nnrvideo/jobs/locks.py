# SPDX-License-Identifier: Apache-2.0
"""A job's lock: whoever holds it is the only one who works in the job's folder.

The lock is the operating system's (:func:`nnrvideo.files.try_lock`), so that it goes with the
process that held it, however that died; a lock of a dead process is simply free.  The file says
who holds it, for people.  Over NFS Linux keeps such locks on the server, between machines.  Where a
file system keeps them for each machine alone, two machines can do a job at once; each still writes
its files under names of its own first, and equal jobs have equal results.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, final

from nnrvideo.files import try_lock

_OWNER_BYTES = 4096


@final
@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lock.

    Args:
        host: Name of the machine.
        pid: Process on it.
        since: RFC 3339.
    """

    host: str
    pid: int
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


@final
class JobLock:
    """Tries to take a lock, without waiting; a context manager that gives it back.

    Args:
        path: The lock file; made where it is missing, never removed.

    Attributes:
        held: Whether it was free.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self.held = False

    def __enter__(self) -> Self:
        self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
        try:
            self.held = try_lock(self._file)
        except BaseException:
            os.close(self._file)
            raise
        if not self.held:
            return self
        owner = Owner(
            socket.gethostname(), os.getpid(), datetime.now(UTC).isoformat("T", "seconds")
        )
        self._write(json.dumps(asdict(owner)).encode())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.held:
            self._write(b"")
        os.close(self._file)

    def _write(self, text: bytes) -> None:
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text, 0)


def lock_owner(path: Path) -> Owner | None:
    """Who holds a lock now, or None if nobody does.

    Args:
        path: The lock file.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        free = try_lock(file, shared=True)
        return None if free else _owner(os.pread(file, _OWNER_BYTES, 0))
    finally:
        os.close(file)


def _owner(text: bytes) -> Owner:
    try:
        value = json.loads(text)
        return Owner(str(value["host"]), int(value["pid"]), str(value["since"]))
    except (ValueError, KeyError, TypeError):
        return Owner("an unknown machine", 0, "just now")  # taken, but not yet written
