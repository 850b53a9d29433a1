# SPDX-License-Identifier: Apache-2.0
"""The reference coder: pure Python, written to be read next to the specification.

It is the oracle of the native core's tests and the backend where there is no compiler. The engine
is in ``_engine.py``, the payload's syntax in ``_payload.py``; this module makes of them the two
classes that the rest of the package sees.

Spec: ISO/IEC 15938-17 arithmetic coding; spec/nnc.md §7 to §10.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy._checks import check_bypass_value, check_bypass_width, check_encodable
from nnrvideo.entropy._engine import Context, ContextBank, DecodingEngine, EncodingEngine
from nnrvideo.entropy._payload import TensorPayload
from nnrvideo.entropy.spec import (
    CoderState,
    DecodedTensor,
    EntryPoint,
    TensorChoices,
    TensorSpec,
)
from nnrvideo.errors import BitstreamError

_DEFAULT_CHOICES = TensorChoices()


@final
class CabacDecoder:
    """Reads one arithmetic codeword.

    Args:
        data: bytes that start with the codeword; more may follow.

    Raises:
        BitstreamError: ``data`` starts with bits that no codeword starts with.

    Spec: spec/nnc.md §7, §9.
    """

    def __init__(self, data: bytes) -> None:
        self._engine = DecodingEngine(data)
        self._bank = ContextBank(1, Context)
        self._finished = False

    def _running(self) -> DecodingEngine:
        if self._finished:
            raise ValueError("the codeword has been terminated")
        return self._engine

    def uae(self, count: int) -> int:
        """Reads a ``count``-bit unsigned number of bypass bins, 0 <= count <= 32."""
        check_bypass_width(count, signed=False)
        value = self._running().bypass_bits(count)
        self._engine.check_position()
        return value

    def iae(self, count: int) -> int:
        """Reads a ``count``-bit two's complement number of bypass bins, 1 <= count <= 32."""
        check_bypass_width(count, signed=True)
        value = self.uae(count)
        return value - (1 << count) if value >> count - 1 else value

    def tensor(
        self,
        spec: TensorSpec,
        points: Sequence[EntryPoint] = (),
        threads: int = 1,  # noqa: ARG002
    ) -> DecodedTensor:
        """Reads one tensor.

        Args:
            spec: what the payload syntax depends on; ``rows * cols`` levels are allocated, so the
                caller has checked them against its limits.
            points: ignored: there is one thread.
            threads: ignored.

        Returns:
            Levels, the choices of the encoder and the entry points passed.

        Raises:
            BitstreamError: the bins break the syntax; ``bit`` counts from the codeword's start.

        Spec: spec/nnc.md §9.
        """
        engine = self._running()
        self._bank = ContextBank(spec.unary_length, Context)
        passed = len(engine.entry_points)
        payload = TensorPayload(engine, spec, self._bank, None, _DEFAULT_CHOICES)
        try:
            levels, choices = payload.code()
        except BitstreamError as error:
            raise error.at(bit=engine.position) from None
        points = tuple(EntryPoint(*point) for point in engine.entry_points[passed:])
        return DecodedTensor(levels, choices, points)

    def terminate(self) -> int:
        """Reads the terminating bin and checks the stop pattern.

        Returns:
            Size of the codeword in bytes.

        Raises:
            BitstreamError: the codeword goes on, or its stop pattern is wrong.
            TruncatedError: the codeword ends beyond the data.

        Spec: spec/nnc.md §7, "End of codeword".
        """
        engine = self._running()
        self._finished = True
        return engine.terminate()

    @property
    def bits_consumed(self) -> int:
        """Bits taken in so far, the nine of the offset register included."""
        return self._engine.position

    def state(self) -> CoderState:
        """A snapshot for lock-step comparison."""
        engine = self._engine
        return CoderState(engine.range, engine.value, engine.position, _counters(self._bank))

    def reset_contexts(self, unary_length: int) -> None:
        """Gives every context index 0, as the start of a tensor does; for bin-level access."""
        self._bank = ContextBank(unary_length, Context)

    def initialise_context(self, slot: int, index: int) -> None:
        """Initialises the context at ``slot`` of ``state().contexts``; for bin-level access."""
        self._bank.all[slot].initialise(index)

    def ae(self, slot: int) -> int:
        """Reads one bin with the context at ``slot``; for bin-level access."""
        return self._running().context_bin(self._bank.all[slot])


@final
class CabacEncoder:
    """Writes one arithmetic codeword.

    After a ``ValueError`` out of :meth:`tensor` the codeword is spoilt; start a new encoder.

    Spec: spec/nnc.md §7, §9.
    """

    def __init__(self) -> None:
        self._engine = EncodingEngine()
        self._bank = ContextBank(1, Context)
        self._points_per_tensor: list[int] = []
        self._codeword: bytes | None = None

    def _running(self) -> EncodingEngine:
        if self._codeword is not None:
            raise ValueError("the codeword has been terminated")
        return self._engine

    def uae(self, value: int, count: int) -> None:
        """Writes a ``count``-bit unsigned number of bypass bins, 0 <= count <= 32."""
        check_bypass_value(value, count, signed=False)
        self._running().bypass_bits(count, value)

    def iae(self, value: int, count: int) -> None:
        """Writes a ``count``-bit two's complement number of bypass bins, 1 <= count <= 32."""
        check_bypass_value(value, count, signed=True)
        self._running().bypass_bits(count, value & ((1 << count) - 1))

    def tensor(
        self,
        levels: npt.NDArray[np.int32],
        spec: TensorSpec,
        choices: TensorChoices = _DEFAULT_CHOICES,
    ) -> None:
        """Writes one tensor.

        Args:
            levels: (rows, cols) int32; with ``dq_flag`` expanded levels that follow a path of the
                state machine, with a codebook indices relative to its zero offset.
            spec: what the payload syntax depends on.
            choices: initialisation indices, row skip flags, history flag.

        Raises:
            ValueError: the levels cannot be coded so.

        Spec: spec/nnc.md §9.
        """
        engine = self._running()
        check_encodable(levels, spec, choices)
        self._bank = ContextBank(spec.unary_length, Context)
        before = engine.marks
        TensorPayload(engine, spec, self._bank, levels, choices).code()
        self._points_per_tensor.append(engine.marks - before)

    def terminate(self) -> bytes:
        """Writes the terminating bin and the stop pattern; returns the whole codeword.

        Spec: spec/nnc.md §7, "Encoder".
        """
        self._codeword = self._running().terminate()
        return self._codeword

    @property
    def entry_points(self) -> tuple[tuple[EntryPoint, ...], ...]:
        """Entry points of each tensor written, in order; known only after :meth:`terminate`.

        Raises:
            ValueError: the codeword is not complete: an offset depends on the bins after it.

        Spec: spec/nnc.md §10.
        """
        if self._codeword is None:
            raise ValueError("entry points are known only after the codeword's end")
        points = iter(self._engine.entry_points(self._codeword))
        return tuple(
            tuple(EntryPoint(*next(points)) for _ in range(count))
            for count in self._points_per_tensor
        )

    def state(self) -> CoderState:
        """A snapshot for lock-step comparison."""
        engine = self._engine
        return CoderState(engine.range, engine.low_bits, engine.position, _counters(self._bank))

    def reset_contexts(self, unary_length: int) -> None:
        """Gives every context index 0, as the start of a tensor does; for bin-level access."""
        self._bank = ContextBank(unary_length, Context)

    def initialise_context(self, slot: int, index: int) -> None:
        """Initialises the context at ``slot`` of ``state().contexts``; for bin-level access."""
        self._bank.all[slot].initialise(index)

    def ae(self, bin_: int, slot: int) -> None:
        """Writes one bin with the context at ``slot``; for bin-level access."""
        self._running().context_bin(self._bank.all[slot], bin_)


def _counters(bank: ContextBank[Context]) -> npt.NDArray[np.int32]:
    return np.array([(context.a, context.b) for context in bank.all], dtype=np.int32)
