# SPDX-License-Identifier: Apache-2.0
"""The arithmetic engine and its adaptive contexts, in pure Python.

Two engines share one interface: each method is handed the value to code and returns the value
coded. The encoder writes what it is handed; the decoder ignores it and returns what it read. A
payload's syntax is therefore stated once (``_payload.py``) and runs in both directions, and cannot
drift apart between them.

Spec: ISO/IEC 15938-17 arithmetic coding; spec/nnc.md §7, §8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from nnrvideo.entropy.tables.contexts import (
    INITIAL_A,
    INITIAL_B,
    LPS,
    RANGE_AT_ENTRY_POINT,
    RANGE_START,
    REMAINDER_CONTEXTS_NNCODEC1,
    SHIFT_A,
    SHIFT_B,
    STEP,
)
from nnrvideo.errors import BitstreamError, TruncatedError

_REFILL_BYTES: Final = 32
_FLUSH_BITS: Final = 256
_VALUE_BITS: Final = 9


class Context:
    """One adaptive probability: two counters of different precision and speed.

    The sum ``16 a + b`` is positive when bin 1 is the more probable one.

    Spec: spec/nnc.md §8.
    """

    __slots__ = ("a", "b", "index", "shift_a", "shift_b")

    def __init__(self) -> None:
        self.initialise(0)

    def initialise(self, index: int) -> None:
        """Selects shifts and starting values by initialisation index, 0...8."""
        self.index = index
        self.shift_a = SHIFT_A[index]
        self.shift_b = SHIFT_B[index]
        self.reset()

    def reset(self) -> None:
        """Restores the starting values of the current initialisation index."""
        self.a = INITIAL_A[self.index]
        self.b = INITIAL_B[self.index]

    def adapt(self, bin_: int) -> None:
        """Moves both counters towards ``bin_``; the step shrinks as confidence grows."""
        if bin_:
            self.a += STEP[16 + (self.a >> 3)] >> self.shift_a
            self.b += STEP[16 + (self.b >> 7)] >> self.shift_b
        else:
            self.a -= STEP[16 + (-self.a >> 3)] >> self.shift_a
            self.b -= STEP[16 + (-self.b >> 7)] >> self.shift_b


class Resettable(Protocol):
    """What the payload syntax asks of a context."""

    def initialise(self, index: int) -> None:
        """Selects the initialisation."""
        ...

    def reset(self) -> None:
        """Restores the initialisation."""
        ...


ContextT = TypeVar("ContextT", bound=Resettable)
AnyContext_contra = TypeVar("AnyContext_contra", contravariant=True)


class ContextBank(Generic[ContextT]):
    """All contexts of one tensor, each starting with initialisation index 0.

    Args:
        unary_length: N, the number of greater-than flags.
        make: creates one context; encoder searches put their own kind here.

    Spec: spec/nnc.md §9, table of context sets.
    """

    def __init__(self, unary_length: int, make: Callable[[], ContextT]) -> None:
        def some(count: int) -> list[ContextT]:
            return [make() for _ in range(count)]

        self.sig = some(24)
        self.sig_temporal = some(16)
        self.sig_history = some(8)
        self.sign = some(3)
        self.sign_temporal = some(2)
        self.greater = some(2 * unary_length)
        self.greater_temporal = some(2 * unary_length)
        self.remainder = some(REMAINDER_CONTEXTS_NNCODEC1)
        self.shift = make()
        self.row = make()
        self.all = [
            *self.sig, *self.sig_temporal, *self.sig_history, *self.sign, *self.sign_temporal,
            *self.greater, *self.greater_temporal, *self.remainder, self.shift, self.row,
        ]  # fmt: skip

    def reset(self) -> None:
        """Resets every context, as each block row does."""
        for context in self.all:
            context.reset()


class Engine(Protocol[AnyContext_contra]):
    """One direction of the arithmetic coder; see the module's docstring for the convention."""

    def context_bin(self, context: AnyContext_contra, bin_: int) -> int:
        """Codes one bin with an adaptive context."""
        ...

    def bypass_bits(self, count: int, value: int) -> int:
        """Codes ``count`` equiprobable bins, most significant first, as an unsigned number."""
        ...

    def enter_block_row(self, dq_state: int, *, is_entry_point: bool) -> None:
        """Sets the range to 256 and, for all but the first block row, notes an entry point."""
        ...

    def check_position(self) -> None:
        """Raises ``TruncatedError`` when a decoder has consumed more than there is."""
        ...


class DecodingEngine:
    """Reads bins from a codeword.

    Bits missing at the end read as 0, so no read can fail; ``check_position`` and ``terminate``
    report it.

    Args:
        data: bytes that start with the codeword; more may follow.

    Raises:
        BitstreamError: the first nine bits are no legal offset.

    Spec: spec/nnc.md §7.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._byte = 0
        self._window = 0
        self._spare = 0
        self.range = RANGE_START
        self.value = self._next_bits(_VALUE_BITS)
        self._row_start = 0
        self.entry_points: list[tuple[int, int, int]] = []
        if self.value >= self.range:
            raise BitstreamError("no codeword starts with eight 1 bits", bit=0, clause="§7")

    @property
    def position(self) -> int:
        """Bits consumed, the nine of the offset register included."""
        return 8 * self._byte - self._spare

    def _next_bits(self, count: int) -> int:
        if self._spare < count:
            chunk = self._data[self._byte : self._byte + _REFILL_BYTES]
            self._byte += _REFILL_BYTES
            kept = self._window & ((1 << self._spare) - 1)
            fresh = int.from_bytes(chunk.ljust(_REFILL_BYTES, b"\0"), "big")
            self._window = kept << 8 * _REFILL_BYTES | fresh
            self._spare += 8 * _REFILL_BYTES
        self._spare -= count
        return self._window >> self._spare & ((1 << count) - 1)

    def context_bin(self, context: Context, bin_: int = 0) -> int:
        """Reads one bin with an adaptive context."""
        total = 16 * context.a + context.b
        lps = LPS[self.range >> 5 & 7][abs(total >> 7)]
        range_ = self.range - lps
        if self.value >= range_:
            bin_ = 1 if total < 0 else 0
            self.value -= range_
            range_ = lps
        else:
            bin_ = 1 if total >= 0 else 0
        if range_ < 256:
            count = _VALUE_BITS - range_.bit_length()
            range_ <<= count
            self.value = self.value << count | self._next_bits(count)
        self.range = range_
        context.adapt(bin_)
        return bin_

    def bypass_bits(self, count: int, value: int = 0) -> int:
        """Reads ``count`` equiprobable bins as an unsigned number."""
        value = 0
        for _ in range(count):
            self.value = self.value << 1 | self._next_bits(1)
            value <<= 1
            if self.value >= self.range:
                self.value -= self.range
                value |= 1
        return value

    def enter_block_row(self, dq_state: int, *, is_entry_point: bool) -> None:
        """Sets the range to 256. An offset that does not fit it comes from no encoder."""
        self.range = RANGE_AT_ENTRY_POINT
        if self.value >= self.range:
            raise BitstreamError(
                "the arithmetic offset does not fit the range of a block row",
                bit=self.position, element="cabac_offset", clause="§10",
            )  # fmt: skip
        if is_entry_point:
            self.entry_points.append((self.value, dq_state, self.position - self._row_start))
        self._row_start = self.position

    def check_position(self) -> None:
        """Raises ``TruncatedError`` when more bits were consumed than there are.

        A legal codeword's last consumed bit is its stop bit, so being past the end is final; saying
        so early keeps a few hostile bytes from buying the decoding time of a large tensor.
        """
        if self.position > 8 * len(self._data):
            raise TruncatedError("the codeword ends inside a tensor", bit=self.position)

    def terminate(self) -> int:
        """Reads the terminating bin and the stop pattern; returns the codeword's size in bytes."""
        self.range -= 2
        if self.value < self.range:
            raise BitstreamError(
                "the codeword goes on after its last tensor", bit=self.position, clause="§7"
            )
        position = self.position
        if position > 8 * len(self._data):
            raise TruncatedError("the codeword ends before its stop bit", bit=position)
        size = (position + 7) // 8
        # The stop bit is the last one consumed; only zeros follow it in its byte.
        trailing = 8 * size - position
        if self._data[size - 1] & ((2 << trailing) - 1) != 1 << trailing:
            raise BitstreamError("wrong stop pattern after a codeword", bit=position, clause="§7")
        return size


class EncodingEngine:
    """Writes bins into a codeword.

    ``low`` keeps only the bits that have not been moved to the output; a carry out of it is
    propagated into the bytes already there.

    Spec: spec/nnc.md §7, "Encoder".
    """

    def __init__(self) -> None:
        self.range = RANGE_START
        self._low = 0
        self._shifted = 0
        self._pending = 0
        self._output = bytearray()
        self._row_start = 0
        self._marks: list[tuple[int, int, int, int]] = []

    @property
    def position(self) -> int:
        """Bits a decoder will have consumed here, the nine of its register included."""
        return _VALUE_BITS + self._shifted

    @property
    def low_bits(self) -> int:
        """The lowest nine bits of ``low``: what a decoder's register is offset by."""
        return self._low & 511

    @property
    def marks(self) -> int:
        """Number of entry points noted so far."""
        return len(self._marks)

    def _account(self, count: int) -> None:
        """Counts bits that ``low`` was shifted by, when the range is below 512 again.

        Only then is the carry out of what has been moved away at most 1.
        """
        self._shifted += count
        self._pending += count
        if self._pending >= _FLUSH_BITS + 8:
            self._flush()

    def _flush(self) -> None:
        whole_bytes = self._pending // 8
        kept = self._pending - 8 * whole_bytes + _VALUE_BITS
        settled = self._low >> kept
        self._low &= (1 << kept) - 1
        self._pending -= 8 * whole_bytes
        carry = settled >> 8 * whole_bytes
        if carry:
            settled &= (1 << 8 * whole_bytes) - 1
            last = len(self._output) - 1
            while self._output[last] == 255:
                self._output[last] = 0
                last -= 1
            self._output[last] += 1
        self._output += settled.to_bytes(whole_bytes, "big")

    def context_bin(self, context: Context, bin_: int) -> int:
        """Writes one bin with an adaptive context."""
        total = 16 * context.a + context.b
        lps = LPS[self.range >> 5 & 7][abs(total >> 7)]
        self.range -= lps
        if bin_ != (1 if total >= 0 else 0):
            self._low += self.range
            self.range = lps
        if self.range < 256:
            count = _VALUE_BITS - self.range.bit_length()
            self.range <<= count
            self._low <<= count
            self._account(count)
        context.adapt(bin_)
        return bin_

    def bypass_bits(self, count: int, value: int) -> int:
        """Writes ``count`` equiprobable bins, most significant first."""
        for bit in range(count - 1, -1, -1):
            self._low <<= 1
            if value >> bit & 1:
                self._low += self.range
            self._account(1)
        return value

    def enter_block_row(self, dq_state: int, *, is_entry_point: bool) -> None:
        """Sets the range to 256 and remembers what an entry point will be computed from."""
        self.range = RANGE_AT_ENTRY_POINT
        if is_entry_point:
            length = self.position - self._row_start
            self._marks.append((self.position, self.low_bits, dq_state, length))
        self._row_start = self.position

    def check_position(self) -> None:
        """An encoder cannot run out of bits."""

    def terminate(self) -> bytes:
        """Writes the terminating bin and the stop pattern; returns the codeword."""
        self.range -= 2
        self._low += self.range
        self._low |= 1
        # The register's nine bits follow the shifted ones, then zeros up to a whole byte.
        self._pending += _VALUE_BITS
        padding = -self._pending % 8
        self._low <<= padding + _VALUE_BITS
        self._pending += padding
        self._flush()
        return bytes(self._output)

    def entry_points(self, codeword: bytes) -> list[tuple[int, int, int]]:
        """(cabac_offset, dq_state, bit_offset) of each mark, once the codeword is complete.

        A decoder's offset is the codeword's nine bits up to that position less the encoder's low.
        """
        bits = int.from_bytes(codeword, "big") if self._marks else 0
        size = 8 * len(codeword)
        return [
            ((bits >> size - position) - low & 511, dq_state, length)
            for position, low, dq_state, length in self._marks
        ]
