# SPDX-License-Identifier: Apache-2.0
"""What makes two jobs the same: arguments, the kind's version, and the content of input files.

Content is told by SHA-256, and by size and time of change as long as those stay: looking at a
finished list again reads no film.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, final

from nnrvideo.errors import JobError
from nnrvideo.files import sha256_of
from nnrvideo.jsontext import JSON


@final
@dataclass(frozen=True, slots=True)
class FileIdentity:
    """A file as it was when it was looked at.

    Args:
        path: Absolute, or a name in the job's folder.
        bytes: Its size.
        mtime_ns: When it changed last, in nanoseconds since 1970.
        sha256: Of its content, in hexadecimal.
    """

    path: str
    bytes: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path, *, name: str | None = None, known: FileIdentity | None = None) -> Self:
        """Looks at a file; reads it only if it is not known as it is.

        Args:
            path: The file.
            name: How it is called in the result; by default its path.
            known: What was found earlier.

        Raises:
            JobError: There is no such file, or it cannot be read.
        """
        name = str(path) if name is None else name
        try:
            found = path.stat()
            if not path.is_file():
                raise JobError(f"{path} is no file")
            size, time = found.st_size, found.st_mtime_ns
            if known is not None and (known.path, known.bytes, known.mtime_ns) == (
                name,
                size,
                time,
            ):
                return cls(name, size, time, known.sha256)
            return cls(name, size, time, sha256_of(path))
        except OSError as error:
            raise JobError(f"cannot read {path}: {error.strerror or error}") from error

    @classmethod
    def from_json(cls, value: Any) -> Self | None:
        """What :func:`dataclasses.asdict` wrote, or None for anything else."""
        try:
            return cls(
                str(value["path"]),
                int(value["bytes"]),
                int(value["mtime_ns"]),
                str(value["sha256"]),
            )
        except (KeyError, TypeError, ValueError):
            return None

    def to_json(self) -> dict[str, JSON]:
        """For a record."""
        return asdict(self)


def job_identity(
    kind: str,
    version: int,
    arguments: Mapping[str, JSON],
    inputs: Mapping[str, FileIdentity],
) -> str:
    """The identity of a job.

    Where an input file lies does not count, only what it is called and what it holds.

    Args:
        kind: Name of the kind.
        version: Of the kind.
        arguments: Without references.
        inputs: Input files by the name of their field.

    Returns:
        SHA-256 in hexadecimal of a canonical JSON text.
    """
    files: dict[str, JSON] = {
        name: {"name": Path(each.path).name, "sha256": each.sha256} for name, each in inputs.items()
    }
    value = {"kind": kind, "version": version, "arguments": {**arguments, **files}}
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
