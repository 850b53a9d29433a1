# SPDX-License-Identifier: Apache-2.0
"""Where a film is shown and heard: what a playback needs of it, and the ones that are not there.

Without a window nothing is drawn, and the speaker swallows sound at the speed at which a real one
would play it, so that a test plays exactly what a viewer would see.
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
import numpy.typing as npt

from nnrvideo.container import SAMPLE_RATE
from nnrvideo.picture import Picture

Samples = npt.NDArray[np.int16]


class CommandKind(enum.Enum):
    """What a viewer can ask for."""

    QUIT = "quit"
    PAUSE = "pause"  # or go on
    SEEK = "seek"  # value: seconds from here
    SPLIT = "split"  # before | after, on or off
    STATE = "state"  # text in the picture, on or off
    ENHANCE = "enhance"  # networks on or off
    POINT = "point"  # value: where the pointer is, 0 left to 1 right


@final
@dataclass(frozen=True, slots=True)
class Command:
    """A wish of the viewer."""

    kind: CommandKind
    value: float = 0.0


class Screen(Protocol):
    """Shows pictures and hears of the viewer's wishes; used from one thread."""

    def show(self, picture: Picture) -> None:
        """Shows a picture at once; 8 bits and 4:2:0."""

    def commands(self) -> Sequence[Command]:
        """What the viewer has asked for since the last call; returns at once."""

    def close(self) -> None:
        """Takes the window away."""


class Speaker(Protocol):
    """Plays sound; may be used from any thread."""

    def play(self, samples: Samples) -> None:
        """Appends (n, 2) int16 at 48 kHz to what is to be played."""

    def waiting(self) -> float:
        """Seconds of sound that were handed over and have not been heard."""

    def pause(self, *, paused: bool) -> None:
        """Stops, or goes on."""

    def clear(self) -> None:
        """Forgets what has not been heard."""

    def close(self) -> None:
        """Gives the device back."""


@final
class NoScreen:
    """Shows nothing; wishes come from a script.

    Args:
        script: Called with the number of pictures shown so far; returns wishes.
    """

    def __init__(self, script: Callable[[int], Sequence[Command]] | None = None) -> None:
        self._script = script
        self.shown = 0

    def show(self, picture: Picture) -> None:
        """Counts the picture."""
        del picture
        self.shown += 1

    def commands(self) -> Sequence[Command]:
        """What the script says."""
        return self._script(self.shown) if self._script else ()

    def close(self) -> None:
        """There is nothing to take away."""


@final
class SilentSpeaker:
    """Swallows sound at the speed of a real device."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = 0.0  # seconds, at the time of _since
        self._since = time.monotonic()
        self._paused = True

    def play(self, samples: Samples) -> None:
        """Takes sound."""
        with self._lock:
            self._left = self._remaining() + len(samples) / SAMPLE_RATE
            self._since = time.monotonic()

    def waiting(self) -> float:
        """Seconds not swallowed yet."""
        with self._lock:
            return self._remaining()

    def pause(self, *, paused: bool) -> None:
        """Stops swallowing, or goes on."""
        with self._lock:
            self._left = self._remaining()
            self._since = time.monotonic()
            self._paused = paused

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._left = 0.0

    def close(self) -> None:
        """There is no device."""

    def _remaining(self) -> float:
        if self._paused:
            return self._left
        return max(0.0, self._left - (time.monotonic() - self._since))
