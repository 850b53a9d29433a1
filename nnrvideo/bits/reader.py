# SPDX-License-Identifier: Apache-2.0
"""``BitReader``: the only code that turns positions in a stream into numbers.

Each read names its syntax element, so that an error tells the reader of the standard where to
look.  A read past the end raises; nothing is ever half consumed.
"""

from __future__ import annotations

import builtins
import struct
from typing import Final, final

from nnrvideo.errors import BitstreamError, TruncatedError

_MAX_EXP_GOLOMB_PREFIX = 32  # longer ones cannot code a 32-bit value

_SHORT_CODE: Final = 64
_SHORT_MASK: Final = (1 << _SHORT_CODE) - 1
_WINDOW_BITS: Final = 72  # whole bytes that hold 64 bits from any bit on


@final
class BitReader:
    """Reads big-endian bit fields from a buffer.

    Args:
        data: The buffer; it is not copied.
        start: First bit to read.
        end: Bit after the last one that may be read; the end of the buffer if absent.
        unit: Where the data lives, for error messages.
    """

    __slots__ = ("_data", "_end", "position", "unit")

    def __init__(
        self,
        data: builtins.bytes,
        *,
        start: int = 0,
        end: int | None = None,
        unit: str | None = None,
    ) -> None:
        whole = len(data) * 8
        self._end = whole if end is None else end
        if not 0 <= start <= self._end <= whole:
            raise ValueError(f"bits {start}..{self._end} are not all in a buffer of {whole}")
        self._data = data
        self.position = start  # in bits from the start of ``data``
        self.unit = unit

    @property
    def bits_left(self) -> int:
        """Bits that can still be read."""
        return self._end - self.position

    @property
    def byte_aligned(self) -> bool:
        """True at a byte boundary of the buffer."""
        return self.position % 8 == 0

    def error(self, element: str, message: str) -> BitstreamError:
        """Builds (does not raise) an error at the present position."""
        return BitstreamError(message, element=element, bit=self.position, unit=self.unit)

    def u(self, element: str, n: int) -> int:
        """u(n): ``n`` bits, unsigned, most significant first."""
        begin = self.position
        stop = begin + n
        if stop > self._end:
            raise TruncatedError(
                f"needs {n} bits, {self.bits_left} left",
                element=element,
                bit=begin,
                unit=self.unit,
            )
        self.position = stop
        word = int.from_bytes(self._data[begin >> 3 : (stop + 7) >> 3], "big")
        return (word >> (-stop % 8)) & ((1 << n) - 1)

    def flag(self, element: str) -> bool:
        """u(1) as a truth value."""
        return self.u(element, 1) == 1

    def i(self, element: str, n: int) -> int:
        """i(n): ``n`` bits, two's complement."""
        value = self.u(element, n)
        return value - (1 << n) if n and value >> (n - 1) else value

    def ue(self, element: str) -> int:
        """ue(v): unsigned Exp-Golomb code of H.26x.  Spec: Rec. ITU-T H.266 clause 9.2."""
        return self.uek(element, 0)

    def se(self, element: str) -> int:
        """se(v): signed Exp-Golomb code of H.26x; 0, 1, -1, 2, ...  Spec: H.266 clause 9.2."""
        code = self.ue(element)
        return (code + 1) // 2 if code % 2 else -(code // 2)

    def uek(self, element: str, k: int) -> int:
        """ue(k): Exp-Golomb of order ``k``.  Spec: ISO/IEC 15938-17, descriptors."""
        begin = self.position
        # Nearly every code is short and lies in the next 64 bits; the rest goes step by step.
        left = self._end - begin
        if left >= _WINDOW_BITS:
            first = begin >> 3
            word = int.from_bytes(self._data[first : first + 9], "big")
            window = word >> (_WINDOW_BITS - _SHORT_CODE - (begin & 7)) & _SHORT_MASK
            zeros = _SHORT_CODE - window.bit_length()
            length = 2 * zeros + 1 + k
            if window and length <= _SHORT_CODE:
                self.position = begin + length
                return (
                    (window >> (_SHORT_CODE - length))
                    - (1 << zeros + k)
                    + (((1 << zeros) - 1) << k)
                )
        zeros = self._leading_zeros(element)
        self.position = begin + zeros + 1
        try:
            # Each zero of the prefix adds the present 2^k and then raises k.
            return (((1 << zeros) - 1) << k) + self.u(element, k + zeros)
        except TruncatedError:
            self.position = begin
            raise

    def iek(self, element: str, k: int) -> int:
        """ie(k): signed Exp-Golomb of order ``k``.  Spec: ISO/IEC 15938-17, descriptors."""
        code = self.uek(element, k)
        return (code + 1) // 2 if code % 2 else -(code // 2)

    def flt(self, element: str) -> float:
        """flt(32): binary32, its bytes in little-endian order, at any bit position."""
        raw = self.u(element, 32).to_bytes(4, "big")
        value: float = struct.unpack("<f", raw)[0]
        return value

    def st(self, element: str, max_bytes: int) -> str:
        """st(v): UTF-8 text with a zero byte after it; starts at a byte boundary.

        Args:
            element: Name for error messages.
            max_bytes: Longest text accepted, without the terminator.

        Raises:
            BitstreamError: Not aligned, too long, or not UTF-8.
            TruncatedError: No terminator before the end.
        """
        if not self.byte_aligned:
            raise self.error(element, "text does not start at a byte boundary")
        begin = self.position >> 3
        stop = self._end >> 3
        zero = self._data.find(b"\0", begin, min(stop, begin + max_bytes + 1))
        if zero < 0:
            if stop - begin > max_bytes:
                raise self.error(element, f"text is longer than {max_bytes} bytes")
            raise TruncatedError(
                "text has no terminator", element=element, bit=self.position, unit=self.unit
            )
        try:
            text = builtins.bytes(self._data[begin:zero]).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error(element, f"text is not UTF-8: {error.reason}") from error
        self.position = (zero + 1) * 8
        return text

    def bytes(self, element: str, n: int) -> builtins.bytes:
        """b(8) times ``n``, at a byte boundary."""
        if not self.byte_aligned:
            raise self.error(element, "bytes do not start at a byte boundary")
        if n * 8 > self.bits_left:
            raise TruncatedError(
                f"needs {n} bytes, {self.bits_left // 8} left",
                element=element,
                bit=self.position,
                unit=self.unit,
            )
        begin = self.position >> 3
        self.position += n * 8
        return builtins.bytes(self._data[begin : begin + n])

    def rest(self) -> builtins.bytes:
        """All bytes that are left; the position must be aligned."""
        return self.bytes("rest", self.bits_left // 8)

    def align_zero(self, element: str) -> None:
        """Zero bits up to the next byte boundary (none if aligned), as H.274 aligns strings."""
        if self.u(element, -self.position % 8):
            raise self.error(element, "alignment bits are not zero")

    def align_one(self, element: str = "byte_alignment") -> None:
        """byte_alignment() of NNC: a one, then zeros; a whole byte 0x80 when aligned."""
        count = 8 - self.position % 8
        if self.u(element, count) != 1 << (count - 1):
            raise self.error(element, "alignment pattern is not a one and zeros")

    def expect_trailing_bits(self, element: str = "rbsp_trailing_bits") -> None:
        """A one and zeros up to the very end of the data."""
        count = self.bits_left
        if not 0 < count <= 8 or self.u(element, count) != 1 << (count - 1):
            raise self.error(element, "trailing bits are not a one and zeros")

    def _leading_zeros(self, element: str) -> int:
        """Zeros ahead of the next one; the position stays."""
        begin = self.position
        window = min(_MAX_EXP_GOLOMB_PREFIX + 1, self.bits_left)
        word = self.u(element, window)
        self.position = begin
        if word:
            return window - word.bit_length()
        if window <= _MAX_EXP_GOLOMB_PREFIX:
            raise TruncatedError(
                f"no end of the code in {window} bits", element=element, bit=begin, unit=self.unit
            )
        raise self.error(element, "Exp-Golomb prefix is longer than 32 bits")
