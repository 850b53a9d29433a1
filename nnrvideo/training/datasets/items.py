# SPDX-License-Identifier: Apache-2.0
"""Where the bytes of a sample lie: a file, or a stretch of a tar file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final, final

from nnrvideo.errors import DatasetError

PICTURE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
FILM_SUFFIXES: Final = frozenset({".mp4", ".mkv", ".mov", ".webm", ".ts", ".avi", ".y4m"})

_MAX_PICTURE_BYTES: Final = 256 << 20
_CHUNK: Final = 1 << 20


@final
@dataclass(frozen=True, slots=True)
class FileItem:
    """A file.

    Args:
        path: Where it is.
    """

    path: Path

    @property
    def suffix(self) -> str:
        """Of its name, in small letters."""
        return self.path.suffix.lower()

    @contextmanager
    def open(self) -> Iterator[tuple[IO[bytes], int]]:
        """The bytes, and how many there are.

        Raises:
            DatasetError: It cannot be read.
        """
        with _clear_errors(self.path), self.path.open("rb") as file:
            yield file, os.fstat(file.fileno()).st_size

    def __str__(self) -> str:
        return str(self.path)


@final
@dataclass(frozen=True, slots=True)
class TarItem:
    """A member of a tar file, which stays where it is.

    Args:
        archive: The tar file.
        name: Of the member.
        offset: Of its first byte in the archive.
        size: In bytes.
    """

    archive: Path
    name: str
    offset: int
    size: int

    @property
    def suffix(self) -> str:
        """Of its name, in small letters."""
        return PurePosixPath(self.name).suffix.lower()

    @contextmanager
    def open(self) -> Iterator[tuple[IO[bytes], int]]:
        """The archive at the member's first byte, and how many bytes belong to it.

        Raises:
            DatasetError: It cannot be read.
        """
        with _clear_errors(self.archive), self.archive.open("rb") as file:
            file.seek(self.offset)
            yield file, self.size

    def __str__(self) -> str:
        return f"{self.archive}: {self.name}"


Item = FileItem | TarItem


def read_item(item: Item, limit: int = _MAX_PICTURE_BYTES) -> bytes:
    """All bytes of an item.

    Args:
        item: What to read.
        limit: Of bytes that are acceptable.

    Raises:
        DatasetError: It is larger, shorter than promised, or cannot be read.
    """
    with item.open() as (file, size):
        if size > limit:
            raise DatasetError(f"{item}: {size} bytes are over the limit of {limit}")
        data = file.read(size)
    if len(data) != size:
        raise DatasetError(f"{item}: ends after {len(data)} of {size} bytes")
    return data


def sha256_of(item: Item) -> str:
    """SHA-256 of an item's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with item.open() as (file, size):
        while size and (chunk := file.read(min(size, _CHUNK))):
            digest.update(chunk)
            size -= len(chunk)
    if size:
        raise DatasetError(f"{item}: ends {size} bytes early")
    return digest.hexdigest()


def inside(root: Path, name: str, where: str) -> Path:
    """A file that a list names, if it lies in the list's folder.

    Args:
        root: The folder.
        name: As the list has it.
        where: For messages: which entry of which list.

    Raises:
        DatasetError: The name leads elsewhere, also by a link, or there is no such file.
    """
    if not is_inside(name):
        raise DatasetError(f"{where}: {name!r} does not lie below the folder {root}")
    path = root / name
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise DatasetError(f"{where}: there is no file {path}") from None
    if not resolved.is_relative_to(root.resolve()):
        raise DatasetError(f"{where}: {name!r} leads out of the folder {root}")
    if not resolved.is_file():
        raise DatasetError(f"{where}: {path} is no file")
    return path


def is_inside(name: str) -> bool:
    """True for a relative name without a way up."""
    if not name or "\0" in name or "\\" in name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error
