# SPDX-License-Identifier: Apache-2.0
"""``BitWriter``: mirror image of ``BitReader``, one method for each descriptor."""

from __future__ import annotations

import builtins
import struct
from typing import Final, final

_FLUSH_BITS: Final = 256


@final
class BitWriter:
    """Collects big-endian bit fields.

    A value that does not fit its field is the caller's mistake and raises ``ValueError``.
    """

    __slots__ = ("_done", "_tail", "_tail_bits")

    def __init__(self) -> None:
        self._done = bytearray()
        self._tail = 0  # bits that wait to be moved to ``_done``
        self._tail_bits = 0

    @property
    def position(self) -> int:
        """Bits written so far."""
        return len(self._done) * 8 + self._tail_bits

    @property
    def byte_aligned(self) -> bool:
        """True at a byte boundary."""
        return self._tail_bits % 8 == 0

    def u(self, value: int, n: int) -> None:
        """u(n): ``n`` bits, unsigned, most significant first."""
        value = int(value)
        if not 0 <= value < 1 << n:
            msg = f"{value} does not fit u({n})"
            raise ValueError(msg)
        self._tail = self._tail << n | value
        self._tail_bits += n
        if self._tail_bits >= _FLUSH_BITS:
            self._flush()

    def _flush(self) -> None:
        """Moves whole bytes out of the tail."""
        whole, self._tail_bits = divmod(self._tail_bits, 8)
        self._done += (self._tail >> self._tail_bits).to_bytes(whole, "big")
        self._tail &= (1 << self._tail_bits) - 1

    def flag(self, value: bool) -> None:
        """u(1) of a truth value."""
        self.u(1 if value else 0, 1)

    def i(self, value: int, n: int) -> None:
        """i(n): ``n`` bits, two's complement."""
        if n < 1 or not -(1 << (n - 1)) <= value < 1 << (n - 1):
            msg = f"{value} does not fit i({n})"
            raise ValueError(msg)
        self.u(value & ((1 << n) - 1), n)

    def ue(self, value: int) -> None:
        """ue(v) of H.26x."""
        self.uek(value, 0)

    def se(self, value: int) -> None:
        """se(v) of H.26x."""
        self.iek(value, 0)

    def uek(self, value: int, k: int) -> None:
        """ue(k) of NNC: Exp-Golomb of order ``k``."""
        if value < 0:
            msg = f"{value} is negative, Exp-Golomb codes are not"
            raise ValueError(msg)
        shifted = (value >> k) + 1
        zeros = shifted.bit_length() - 1
        self.u(shifted << k | value & ((1 << k) - 1), 2 * zeros + 1 + k)

    def iek(self, value: int, k: int) -> None:
        """ie(k) of NNC: 0, 1, -1, 2, ... are coded 0, 1, 2, 3, ..."""
        self.uek(2 * value - 1 if value > 0 else -2 * value, k)

    def flt(self, value: float) -> None:
        """flt(32): binary32, its bytes in little-endian order."""
        try:
            raw = struct.pack("<f", value)
        except OverflowError as error:
            msg = f"{value} does not fit flt(32)"
            raise ValueError(msg) from error
        self.u(int.from_bytes(raw, "big"), 32)

    def st(self, text: str) -> None:
        """st(v): UTF-8 text and a zero byte, at a byte boundary."""
        raw = text.encode("utf-8")
        if b"\0" in raw:
            msg = "text with a zero byte cannot be coded as st(v)"
            raise ValueError(msg)
        self.bytes(raw + b"\0")

    def bytes(self, data: builtins.bytes) -> None:
        """b(8), at a byte boundary."""
        if not self.byte_aligned:
            msg = "bytes do not start at a byte boundary"
            raise ValueError(msg)
        self._flush()
        self._done += data

    def align_zero(self) -> None:
        """Zero bits up to the next byte boundary; none if aligned."""
        self.u(0, -self.position % 8)

    def align_one(self) -> None:
        """byte_alignment() of NNC: a one, then zeros; a whole byte 0x80 when aligned."""
        count = 8 - self.position % 8
        self.u(1 << (count - 1), count)

    def to_bytes(self) -> builtins.bytes:
        """Everything written.

        Raises:
            ValueError: The last byte is not complete.
        """
        if not self.byte_aligned:
            msg = f"{self._tail_bits % 8} bits do not fill a byte"
            raise ValueError(msg)
        self._flush()
        return builtins.bytes(self._done)
