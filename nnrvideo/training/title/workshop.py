# SPDX-License-Identifier: Apache-2.0
"""Where the pieces of a title are made, each once, however often the process dies.

A task is a function ``run(arguments, folder) -> result`` of plain JSON, pure but for files that it
writes into its folder.  Each pair of task and arguments has a folder of its own; a result that lies
there is not computed again.  So a run that is killed and started again goes through the same
decisions, finds what was done, and goes on with the rest: nothing else needs to be remembered.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, final

from nnrvideo import __version__
from nnrvideo.errors import ContainerError
from nnrvideo.files import sha256_of, try_lock, write_bytes

Json = Any
"""A value as JSON has it."""

Task = Callable[[Mapping[str, Json], Path], Mapping[str, Json]]

_RESULT: Final = "result.json"
_LOCK: Final = "lock"
_FORMAT: Final = 1  # of tasks and results; another one, or another version, makes all void


@final
class Workshop:
    """A folder with the results of tasks about one source.

    Args:
        folder: Exists and is writable.
        source: The file that the tasks are about; absolute.
        source_id: What tells its content from another's.
    """

    def __init__(self, folder: Path, source: Path, source_id: str) -> None:
        self.folder = folder
        self._source, self._source_id = str(source), source_id

    def do(self, task: Task, arguments: Mapping[str, Json]) -> Mapping[str, Json]:
        """Result of a task, which is run unless it has been before.

        Args:
            task: What to do.
            arguments: Files of other tasks, and the source, are absolute paths.

        Returns:
            Its result; the names of files in it have become absolute paths: those are the values
            whose keys end in ``file``.

        Raises:
            ContainerError: The folder cannot be written, for instance because the disk is full.
        """
        place = self.folder / self._name(task, arguments)
        known = place / _RESULT
        result: Mapping[str, Json]
        try:
            result = json.loads(known.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            try:
                place.mkdir(exist_ok=True)
                for leftover in place.glob(".*.part*"):  # of a process that was killed
                    leftover.unlink()
                result = task(arguments, place)
                write_bytes(known, json.dumps(result, allow_nan=False).encode(), overwrite=True)
            except OSError as error:
                raise ContainerError(
                    f"cannot work in {self.folder}: {error.strerror or error}"
                ) from error
        return {k: str(place / v) if k.endswith("file") else v for k, v in result.items()}

    def _name(self, task: Task, arguments: Mapping[str, Json]) -> str:
        """The same for the same task, arguments and content of files, wherever they lie."""
        here = str(self.folder) + os.sep

        def placeless(value: Json) -> Json:
            if isinstance(value, str):
                return self._source_id if value == self._source else value.removeprefix(here)
            if isinstance(value, list):
                return [placeless(each) for each in value]
            if isinstance(value, dict):
                return {key: placeless(each) for key, each in value.items()}
            return value

        text = json.dumps(
            [_FORMAT, __version__, self._source_id, placeless(dict(arguments))],
            sort_keys=True,
            allow_nan=False,
        )
        return f"{task.__name__}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"


@contextlib.contextmanager
def open_workshop(folder: Path, source: Path, source_id: str, *, keep: bool) -> Iterator[Workshop]:
    """Opens a work folder for one process at a time; makes it if need be.

    Args:
        folder: Where.
        source: See :class:`Workshop`.
        source_id: Likewise.
        keep: Whether it stays after success; after a failure it does if there is a result in it.

    Raises:
        ContainerError: It cannot be made, or another process works there.
    """
    folder = folder.absolute()
    try:
        folder.mkdir(exist_ok=True)
        lock = (folder / _LOCK).open("w")
        free = try_lock(lock.fileno())
    except OSError as error:
        raise ContainerError(f"cannot work in {folder}: {error.strerror or error}") from error
    with lock:
        if not free:
            raise ContainerError(f"another process works in {folder}")
        try:
            yield Workshop(folder, source.absolute(), source_id)
        except BaseException:
            keep = keep or any(folder.glob(f"*/{_RESULT}"))
            raise
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


def folder_beside(target: Path, told: object) -> Path:
    """A hidden work folder for a target.

    Args:
        target: What will be written.
        told: All that the work depends on; the same ``repr`` finds the same folder again.
    """
    digest = hashlib.sha256(repr(told).encode()).hexdigest()
    return target.with_name(f".{target.name[:80]}.{digest[:12]}.nnrvideo")


def content_id(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        ContainerError: It cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise ContainerError(f"cannot read {path}: {error.strerror or error}") from error
