# SPDX-License-Identifier: Apache-2.0
"""What everything that takes pictures has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from types import TracebackType
from typing import Self

from nnrvideo.picture import Picture


class PictureWriter(ABC):
    """Where pictures go: a video file, or raw pictures.

    As a context manager it closes on success and aborts on any exception.

    Attributes:
        frames: Pictures written so far.
    """

    frames: int

    @abstractmethod
    def write(self, picture: Picture, pts: Fraction) -> None:
        """Appends a picture with its presentation time in seconds."""

    @abstractmethod
    def close(self) -> None:
        """Completes the output."""

    @abstractmethod
    def abort(self) -> None:
        """Removes what was written so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
