# SPDX-License-Identifier: Apache-2.0
"""Every error that nnrvideo raises on purpose.

The tree answers one question for the caller: who is to blame?  A ``BitstreamError`` blames the
bytes, an ``UnsupportedFeatureError`` blames us, a ``LimitExceededError`` blames the configuration,
a ``ModelError`` blames the network.  A caller's own mistakes are plain ``ValueError`` and
``TypeError`` and stand outside the tree.  This module imports nothing of the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self


class NnrVideoError(Exception):
    """Root of the tree; catch this to catch everything that nnrvideo raises on purpose."""


class BitstreamError(NnrVideoError, ValueError):
    """Bytes break the syntax of a standard.

    Args:
        message: What is wrong, in words.
        element: Name of the syntax element being read, spelt as in the standard.
        bit: Position of the error in bits from the start of ``unit`` (or of the data).
        unit: Where the element lives, for instance ``"NNC unit 4 (NNR_NDU at byte 1023)"``.
        clause: Clause of the standard that is violated.
    """

    def __init__(
        self,
        message: str,
        *,
        element: str | None = None,
        bit: int | None = None,
        unit: str | None = None,
        clause: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.element = element
        self.bit = bit
        self.unit = unit
        self.clause = clause

    def at(
        self, *, unit: str | None = None, bit: int | None = None, element: str | None = None
    ) -> Self:
        """Fills in location that the raiser could not know; what is known already stays."""
        self.unit = self.unit if self.unit is not None else unit
        self.bit = self.bit if self.bit is not None else bit
        self.element = self.element if self.element is not None else element
        return self

    def __str__(self) -> str:
        where = [part for part in (self.unit, _bit_text(self.bit), self.element) if part]
        clause = f" ({self.clause})" if self.clause else ""
        return f"{', '.join(where)}: {self.message}{clause}" if where else self.message + clause


class TruncatedError(BitstreamError):
    """The data ends inside an element."""


class UnsupportedFeatureError(NnrVideoError):
    """Legal according to the standard, but not implemented here.

    Args:
        message: What was met.
        clause: Clause of the standard that defines it.
    """

    def __init__(self, message: str, *, clause: str | None = None) -> None:
        super().__init__(message if clause is None else f"{message} ({clause})")
        self.clause = clause


class LimitExceededError(NnrVideoError):
    """Legal, but over a bound of :class:`nnrvideo.limits.Limits`.

    Args:
        message: What was about to be accepted.
        limit: Name of the field of ``Limits``.
        value: What the data asked for.
        allowed: What the limit allows.
    """

    def __init__(self, message: str, *, limit: str, value: int, allowed: int) -> None:
        super().__init__(f"{message}: {value} is over the limit {limit}={allowed}")
        self.limit = limit
        self.value = value
        self.allowed = allowed


class ModelError(NnrVideoError):
    """A network cannot be accepted.

    Args:
        message: Summary in one line.
        violations: Every reason found, one line each; all at once, so that one run repairs all.
    """

    def __init__(self, message: str, violations: Sequence[str] = ()) -> None:
        details = f": {'; '.join(violations)}" if violations else ""
        super().__init__(message + details)
        self.violations = tuple(violations)


class TensorMismatchError(ModelError):
    """Tensors do not fit their topology, or an update does not fit its parent."""


class CarriageError(NnrVideoError):
    """This codec or container has no place for a network."""


class ContainerError(NnrVideoError):
    """A media file cannot be opened, read or written."""


class DatasetError(NnrVideoError):
    """Training data cannot be read, or contradict themselves; says which file and which entry."""


class JobError(NnrVideoError):
    """A job list cannot be accepted, or jobs of it failed.

    Args:
        message: Summary in one line.
        violations: Every reason found, one line each, with the job and the field concerned.
    """

    def __init__(self, message: str, violations: Sequence[str] = ()) -> None:
        details = f": {'; '.join(violations)}" if violations else ""
        super().__init__(message + details)
        self.violations = tuple(violations)


class InferenceError(NnrVideoError):
    """An inference provider failed to load or to run a network.

    Args:
        message: What failed.
        provider: Name of the execution provider, as onnxruntime spells it.
    """

    def __init__(self, message: str, *, provider: str | None = None) -> None:
        super().__init__(message if provider is None else f"{provider}: {message}")
        self.provider = provider


def _bit_text(bit: int | None) -> str | None:
    return None if bit is None else f"bit {bit}"
