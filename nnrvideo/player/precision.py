# SPDX-License-Identifier: Apache-2.0
"""In which numbers a network runs: real ones, or 8-bit integers where that shows the same picture.

Integers need three things: ranges that the encoder measured (and sends only where the loss is
small), a provider that gains from them, and a processor whose integer sums do not saturate.
"""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from typing import final

import numpy as np

from nnrvideo.errors import InferenceError, ModelError
from nnrvideo.model import Network, Ranges, exactness_probe, ranges_of
from nnrvideo.runtime.base import InferenceBackend

_log = logging.getLogger(__name__)


class Precision(enum.Enum):
    """What a player wants; the value is the name on command lines."""

    AUTO = "auto"  # integers where all three conditions hold
    FP32 = "fp32"
    INT8 = "int8"  # likewise, but it is reported when they do not hold


@final
@dataclass(frozen=True, slots=True)
class ChosenPrecision:
    """How a network will run.

    Args:
        name: "int8" or "fp32".
        ranges: For the integers; None in floating point.
        reason: Why not in integers; empty if so or if nobody asked.
    """

    name: str
    ranges: Ranges | None = None
    reason: str = ""


REAL_NUMBERS = ChosenPrecision("fp32")


@final
class PrecisionPolicy:
    """Decides for one backend; asks it once whether its integers are exact.

    Args:
        wanted: What the player wants.
        backend: Where networks will run.
    """

    def __init__(self, wanted: Precision, backend: InferenceBackend) -> None:
        self._wanted = wanted
        self._backend = backend
        self._obstacle: str | None = None

    def choose(self, network: Network) -> ChosenPrecision:
        """Chooses for a network; ranges that do not fit it cost the integers, nothing else."""
        if self._wanted is Precision.FP32:
            return REAL_NUMBERS
        reason = ""
        ranges = None
        try:
            ranges = ranges_of(network)
        except ModelError as error:
            reason = str(error)
        if ranges is None or not any(ranges):
            return self._real(reason or "the network came without ranges of its activations")
        if self._obstacle is None:
            self._obstacle = integer_obstacle(self._backend)
        return self._real(self._obstacle) if self._obstacle else ChosenPrecision("int8", ranges)

    def _real(self, reason: str) -> ChosenPrecision:
        return ChosenPrecision("fp32", reason=reason if self._wanted is Precision.INT8 else "")


def integer_obstacle(backend: InferenceBackend) -> str:
    """Why networks should not run in 8-bit integers on a backend; empty if they may."""
    model, given, expected = exactness_probe()
    try:
        session = backend.load(model, {})
        (result,) = session.run({session.inputs[0].name: given})
    except InferenceError as error:
        return f"8-bit convolutions do not run: {error}"
    if session.provider != "CPUExecutionProvider":
        return f"{session.provider} runs networks in floating point"
    if not np.array_equal(result, expected):
        return "the 8-bit convolutions of this processor saturate"
    return ""
