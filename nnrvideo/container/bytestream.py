# SPDX-License-Identifier: Apache-2.0
"""Where uncompressed pictures go: standard output, or a file that appears when it is complete."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import BinaryIO

from nnrvideo.container._pyav import PathLike, translate_errors
from nnrvideo.container.output import OutputFile
from nnrvideo.container.writer import PictureWriter
from nnrvideo.errors import ContainerError

_STDOUT = "-"


class ByteStreamWriter(PictureWriter):
    """The stream of a writer, from its opening to its end; formats are subclasses.

    Args:
        path: File, or ``"-"`` for standard output.
        overwrite: Whether an existing file may be replaced.

    Attributes:
        frames: Pictures written so far; subclasses count them.

    Raises:
        ContainerError: The file exists or cannot be written.
    """

    def __init__(self, path: PathLike, *, overwrite: bool = False) -> None:
        self._path = path
        self._output: OutputFile | None = None
        self._stream: BinaryIO = sys.stdout.buffer
        self.frames = 0
        if os.fspath(path) != _STDOUT:
            self._output = OutputFile(path, overwrite=overwrite)
            with translate_errors(path, "write"):
                self._stream = self._output.temporary.open("wb")

    def _finish(self) -> None:
        """Writes what the format has at its end."""

    def close(self) -> None:
        """Completes the file.

        Raises:
            ContainerError: Nothing was written, or the last bytes could not be.
        """
        if not self.frames:
            self.abort()
            raise ContainerError(f"no pictures were written to {self._path}")
        try:
            with translate_errors(self._path, "write"):
                self._finish()
                self._stream.flush()
                if self._output is not None:
                    self._stream.close()
        except BaseException:
            self.abort()
            raise
        if self._output is not None:
            self._output.commit()

    def abort(self) -> None:
        """Removes what was written so far."""
        if self._output is not None:
            # Closing flushes, and flushing fails again on a full disk.
            with contextlib.suppress(OSError):
                self._stream.close()
            self._output.discard()
