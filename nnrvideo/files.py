# SPDX-License-Identifier: Apache-2.0
"""Output files appear whole or not at all; files that one process at a time works with.

Everything is written to a hidden file beside the target and renamed at the end, so a failure
halfway, a full disk or Ctrl-C leaves neither a broken film nor a damaged old one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from nnrvideo.errors import ContainerError

if sys.platform != "win32":
    import fcntl

PathLike = str | os.PathLike[str]


class OutputFile:
    """A file that takes its name only when it is complete.

    As a context manager it commits on success and discards on any exception.

    Args:
        path: Where the file shall appear.
        overwrite: Whether an existing file may be replaced.

    Attributes:
        path: Where the file shall appear.
        overwrite: Whether an existing file may be replaced.
        temporary: Where to write meanwhile; has the same suffix. For devices and pipes, which
            cannot be renamed, it is the path itself.

    Raises:
        ContainerError: The file exists already, or the folder is missing or not writable.
    """

    def __init__(self, path: PathLike, *, overwrite: bool = False) -> None:
        self.path = Path(os.fspath(path))
        self.overwrite = overwrite
        self._done = False
        if self.path.is_dir():
            raise ContainerError(f"cannot write {self.path}: it is a directory")
        self._special = self.path.exists() and not self.path.is_file()
        if self._special:
            self.temporary = self.path
            return
        if self.path.exists() and not overwrite:
            raise ContainerError(f"{self.path} exists already; ask for overwriting to replace it")
        if not self.path.parent.is_dir():
            raise ContainerError(f"cannot write {self.path}: no such folder")
        name = f".{self.path.stem[:80]}.{secrets.token_hex(4)}.part{self.path.suffix}"
        self.temporary = self.path.with_name(name)
        with _clear_errors(self.path):
            # Created here, so that an unwritable folder is found before hours of encoding.
            os.close(os.open(self.temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))

    def commit(self) -> None:
        """Gives the finished file its name.

        Raises:
            ContainerError: Meanwhile a file of that name appeared, or renaming failed.
        """
        if self._done:
            return
        self._done = True
        if self._special:
            return
        if not self.overwrite and self.path.exists():
            self._remove()
            raise ContainerError(f"{self.path} appeared while it was being written")
        try:
            with _clear_errors(self.path):
                self.temporary.replace(self.path)
        except BaseException:
            self._remove()
            raise

    def discard(self) -> None:
        """Removes the unfinished file; harmless after :meth:`commit`."""
        if not self._done:
            self._done = True
            self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()

    def _remove(self) -> None:
        if not self._special:
            with contextlib.suppress(OSError):
                self.temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def output_files(*paths: PathLike, overwrite: bool = False) -> Iterator[tuple[OutputFile, ...]]:
    """Files that mean something together only: all of them take their names, or none does.

    While they do, whoever looks for the last of them finds the old ones, nothing, or the new ones,
    never some of each.

    Args:
        paths: Where they shall appear; the last is the one that refers to the others.
        overwrite: Whether existing files may be replaced.

    Yields:
        What to write to, in the same order.

    Raises:
        ContainerError: As for :class:`OutputFile`; files that were there before are there again.
    """
    outputs: list[OutputFile] = []
    try:
        for path in paths:
            outputs.append(OutputFile(path, overwrite=overwrite))
        yield tuple(outputs)
        _commit_all(outputs)
    finally:
        for output in outputs:
            output.discard()


def _commit_all(outputs: list[OutputFile]) -> None:
    aside: list[tuple[Path, Path]] = []
    fresh: list[Path] = []
    try:
        for output in reversed(outputs):
            if output.overwrite and output.path.is_file():
                kept = output.temporary.with_suffix(".old")
                with _clear_errors(output.path):
                    output.path.replace(kept)
                aside.append((output.path, kept))
        for output in outputs:
            output.commit()
            fresh.append(output.path)
    except BaseException:
        for path in fresh:
            path.unlink(missing_ok=True)
        for path, kept in reversed(aside):
            kept.replace(path)
        raise
    for _, kept in aside:
        with contextlib.suppress(OSError):
            kept.unlink()


@contextlib.contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ContainerError(f"cannot write {path}: {error.strerror or error}") from error


def write_bytes(path: PathLike, data: bytes, *, overwrite: bool = False) -> None:
    """Writes a small file whole or not at all.

    Args:
        path: Target.
        data: Its content.
        overwrite: Whether an existing file may be replaced.

    Raises:
        ContainerError: The file exists already, or the place is not writable.
    """
    with OutputFile(path, overwrite=overwrite) as output, _clear_errors(output.path):
        output.temporary.write_bytes(data)


def sha256_of(path: PathLike) -> str:
    """SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def try_lock(file: int, *, shared: bool = False) -> bool:
    """Tries to take the operating system's lock of an open file (``flock``), without waiting.

    It goes with the process that holds it, however that ends.  Windows has no such lock: there it
    is always free, and whoever starts two processes on one file must know.

    Args:
        file: Descriptor.
        shared: Be content if nobody holds it alone.

    Returns:
        Whether it was free.

    Raises:
        OSError: The file system has no locks.
    """
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
