# SPDX-License-Identifier: Apache-2.0
"""One statement of a payload's syntax, run in both directions.

A payload's syntax function walks the elements in the order of the standard and asks an
``ElementCoder`` for each.  The reader fetches the value from the bits and files it under the
element's name; the writer takes it from the dataclass and codes it.  Both return the value, so
that the conditions of the syntax table are written once and cannot differ between the two.
"""

from __future__ import annotations

from typing import Any, Protocol, final

from nnrvideo.bits import BitReader, BitWriter
from nnrvideo.errors import BitstreamError, UnsupportedFeatureError
from nnrvideo.limits import Limits

MAX_UE = (1 << 32) - 2  # largest value of ue(v); a longer code is not legal
_MAX_SE = (1 << 31) - 1


class ElementCoder(Protocol):
    """Descriptors of H.274, each with the name of its syntax element."""

    def flag(self, name: str) -> bool:
        """u(1)."""

    def u(self, name: str, n: int) -> int:
        """u(n)."""

    def ue(self, name: str) -> int:
        """ue(v), 0 to 2^32 - 2."""

    def se(self, name: str) -> int:
        """se(v)."""

    def text(self, name: str, alignment: str) -> str:
        """Zero bits named ``alignment`` up to a byte boundary, then st(v)."""

    def flags(self, name: str, count: int) -> tuple[bool, ...]:
        """``count`` times u(1)."""

    def ues(self, name: str, count: int) -> tuple[int, ...]:
        """``count`` times ue(v)."""

    def align_zero(self, name: str) -> None:
        """Zero bits up to a byte boundary."""

    def payload(self, name: str) -> bytes:
        """b(8) up to the end of the payload."""

    @property
    def position(self) -> int:
        """Bits done."""


@final
class ElementReader:
    """Reads elements into :attr:`values`.

    Args:
        bits: Where the payload's bits come from.
        limits: ``max_string_bytes`` bounds every text.
    """

    __slots__ = ("bits", "limits", "values")

    def __init__(self, bits: BitReader, limits: Limits) -> None:
        self.bits = bits
        self.limits = limits
        self.values: dict[str, Any] = {}  # keyed by field of the payload's dataclass

    def flag(self, name: str) -> bool:
        """u(1)."""
        value = self.values[name] = self.bits.flag(name)
        return value

    def u(self, name: str, n: int) -> int:
        """u(n)."""
        value = self.values[name] = self.bits.u(name, n)
        return value

    def ue(self, name: str) -> int:
        """ue(v), 0 to 2^32 - 2."""
        value = self.values[name] = self._ue(name)
        return value

    def se(self, name: str) -> int:
        """se(v)."""
        value = self.values[name] = self.bits.se(name)
        if abs(value) > _MAX_SE:
            raise self.bits.error(name, f"{value} is out of the range of se(v)")
        return value

    def text(self, name: str, alignment: str) -> str:
        """Alignment, then st(v)."""
        self.bits.align_zero(alignment)
        value = self.values[name] = self.bits.st(name, self.limits.max_string_bytes)
        return value

    def flags(self, name: str, count: int) -> tuple[bool, ...]:
        """``count`` times u(1); the caller has bounded ``count``."""
        value = self.values[name] = tuple(self.bits.flag(name) for _ in range(count))
        return value

    def ues(self, name: str, count: int) -> tuple[int, ...]:
        """``count`` times ue(v); the caller has bounded ``count``."""
        value = self.values[name] = tuple(self._ue(name) for _ in range(count))
        return value

    def align_zero(self, name: str) -> None:
        """Zero bits up to a byte boundary."""
        self.bits.align_zero(name)

    def payload(self, name: str) -> bytes:
        """The remaining bytes."""
        value = self.values[name] = self.bits.rest()
        return value

    @property
    def position(self) -> int:
        """Bits read."""
        return self.bits.position

    def _ue(self, name: str) -> int:
        value = self.bits.ue(name)
        if value > MAX_UE:
            raise self.bits.error(name, f"{value} is out of the range of ue(v)")
        return value


@final
class ElementWriter:
    """Writes the elements that it finds as attributes of ``source``.

    Args:
        source: The payload's dataclass.
    """

    __slots__ = ("bits", "source")

    def __init__(self, source: object) -> None:
        self.bits = BitWriter()
        self.source = source

    def flag(self, name: str) -> bool:
        """u(1)."""
        value = bool(getattr(self.source, name))
        self.bits.flag(value)
        return value

    def u(self, name: str, n: int) -> int:
        """u(n)."""
        value = int(getattr(self.source, name))
        try:
            self.bits.u(value, n)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        return value

    def ue(self, name: str) -> int:
        """ue(v)."""
        return self._ue(name, getattr(self.source, name))

    def se(self, name: str) -> int:
        """se(v)."""
        value = int(getattr(self.source, name))
        if abs(value) > _MAX_SE:
            raise ValueError(f"{name}: {value} is out of the range of se(v)")
        self.bits.se(value)
        return value

    def text(self, name: str, alignment: str) -> str:
        """Alignment, then st(v)."""
        value = str(getattr(self.source, name))
        del alignment  # zero bits have no value to look up
        self.bits.align_zero()
        try:
            self.bits.st(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        return value

    def flags(self, name: str, count: int) -> tuple[bool, ...]:
        """``count`` times u(1)."""
        values: tuple[bool, ...] = self._sequence(name, count)
        for value in values:
            self.bits.flag(value)
        return values

    def ues(self, name: str, count: int) -> tuple[int, ...]:
        """``count`` times ue(v)."""
        values: tuple[int, ...] = self._sequence(name, count)
        return tuple(self._ue(name, value) for value in values)

    def align_zero(self, name: str) -> None:
        """Zero bits up to a byte boundary."""
        del name
        self.bits.align_zero()

    def payload(self, name: str) -> bytes:
        """All bytes of the field."""
        value: bytes = getattr(self.source, name)
        self.bits.bytes(value)
        return value

    @property
    def position(self) -> int:
        """Bits written."""
        return self.bits.position

    def finish(self) -> bytes:
        """The payload; if it ends inside a byte, a one and zeros fill that byte.

        Spec: Rec. ITU-T H.266 clause D.2.1 (payload_bit_equal_to_one, payload_bit_equal_to_zero).
        """
        if not self.bits.byte_aligned:
            self.bits.align_one()
        return self.bits.to_bytes()

    def _ue(self, name: str, value: int) -> int:
        value = int(value)
        if not 0 <= value <= MAX_UE:
            raise ValueError(f"{name}: {value} is out of the range of ue(v)")
        self.bits.ue(value)
        return value

    def _sequence(self, name: str, count: int) -> Any:
        values = tuple(getattr(self.source, name))
        if len(values) != count:
            raise ValueError(f"{name}: {len(values)} entries, the syntax wants {count}")
        return values


def accept_idc(
    name: str, value: int, known: int, *, reserved: int = 255, clause: str | None = None
) -> None:
    """Sorts an idc into known, reserved and illegal.

    Args:
        name: Syntax element.
        value: Its value.
        known: Largest value with a meaning.
        reserved: Largest value kept for later editions; a message with one is to be ignored.
        clause: Where the standard says so.

    Raises:
        UnsupportedFeatureError: Reserved.
        BitstreamError: Over the reserved range, which no edition may use.
    """
    if value > reserved:
        raise BitstreamError(
            f"{value} is over the largest legal value {reserved}", element=name, clause=clause
        )
    if value > known:
        raise UnsupportedFeatureError(f"{name} = {value} is reserved", clause=clause)
