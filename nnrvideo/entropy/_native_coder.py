# SPDX-License-Identifier: Apache-2.0
"""The native core behind the package's own types; importing fails where it was not built.

Spec: spec/nnc.md §7 to §10, §13.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import numpy.typing as npt

from nnrvideo import _native
from nnrvideo.entropy._checks import check_bypass_value, check_bypass_width, check_encodable
from nnrvideo.entropy.spec import (
    CoderState,
    DecodedTensor,
    EntryPoint,
    TensorChoices,
    TensorSpec,
)

_DEFAULT_CHOICES = TensorChoices()


@final
class CabacDecoder:
    """Reads one arithmetic codeword; see :class:`nnrvideo.entropy.spec.Decoder`."""

    def __init__(self, data: bytes) -> None:
        self._core = _native.Decoder(bytes(data))

    def uae(self, count: int) -> int:
        """Reads a ``count``-bit unsigned number of bypass bins, 0 <= count <= 32."""
        check_bypass_width(count, signed=False)
        return self._core.uae(count)

    def iae(self, count: int) -> int:
        """Reads a ``count``-bit two's complement number of bypass bins, 1 <= count <= 32."""
        check_bypass_width(count, signed=True)
        return self._core.iae(count)

    def tensor(
        self, spec: TensorSpec, points: Sequence[EntryPoint] = (), threads: int = 1
    ) -> DecodedTensor:
        """Reads one tensor; see :meth:`nnrvideo.entropy.spec.Decoder.tensor`."""
        levels = np.empty((spec.rows, spec.cols), dtype=np.int32)
        given = None
        if points and threads > 1:
            given = np.array([(p.cabac_offset, p.dq_state, p.bit_offset) for p in points], np.int64)
        history, rows, indices, found = self._core.tensor(_core_spec(spec), levels, given, threads)
        choices = TensorChoices(
            tuple(indices),
            None if rows is None else np.frombuffer(rows, np.bool_),
            history,
        )
        return DecodedTensor(levels, choices, tuple(EntryPoint(*point) for point in found))

    def terminate(self) -> int:
        """Reads the terminating bin and checks the stop pattern; returns the codeword's bytes."""
        return self._core.terminate()

    @property
    def bits_consumed(self) -> int:
        """Bits taken in so far, the nine of the offset register included."""
        return self._core.bits_consumed()

    def state(self) -> CoderState:
        """A snapshot for lock-step comparison."""
        return _state(self._core)

    def reset_contexts(self, unary_length: int) -> None:
        """Gives every context index 0, as the start of a tensor does; for bin-level access."""
        self._core.reset_contexts(unary_length)

    def initialise_context(self, slot: int, index: int) -> None:
        """Initialises the context at ``slot`` of ``state().contexts``; for bin-level access."""
        self._core.initialise_context(slot, index)

    def ae(self, slot: int) -> int:
        """Reads one bin with the context at ``slot``; for bin-level access."""
        return self._core.ae(slot)


@final
class CabacEncoder:
    """Writes one arithmetic codeword; see :class:`nnrvideo.entropy.spec.Encoder`."""

    def __init__(self) -> None:
        self._core = _native.Encoder()

    def uae(self, value: int, count: int) -> None:
        """Writes a ``count``-bit unsigned number of bypass bins, 0 <= count <= 32."""
        check_bypass_value(value, count, signed=False)
        self._core.uae(value, count)

    def iae(self, value: int, count: int) -> None:
        """Writes a ``count``-bit two's complement number of bypass bins, 1 <= count <= 32."""
        check_bypass_value(value, count, signed=True)
        self._core.iae(value, count)

    def tensor(
        self,
        levels: npt.NDArray[np.int32],
        spec: TensorSpec,
        choices: TensorChoices = _DEFAULT_CHOICES,
    ) -> None:
        """Writes one tensor; see :meth:`nnrvideo.entropy.spec.Encoder.tensor`."""
        check_encodable(levels, spec, choices)
        levels = np.ascontiguousarray(levels)
        self._core.tensor(_core_spec(spec), levels, _core_choices(choices))

    def terminate(self) -> bytes:
        """Writes the terminating bin and the stop pattern; returns the whole codeword."""
        return self._core.terminate()

    @property
    def entry_points(self) -> tuple[tuple[EntryPoint, ...], ...]:
        """Entry points of each tensor written, known only after :meth:`terminate`."""
        return tuple(
            tuple(EntryPoint(*point) for point in points) for points in self._core.entry_points()
        )

    def state(self) -> CoderState:
        """A snapshot for lock-step comparison."""
        return _state(self._core)

    def reset_contexts(self, unary_length: int) -> None:
        """Gives every context index 0, as the start of a tensor does; for bin-level access."""
        self._core.reset_contexts(unary_length)

    def initialise_context(self, slot: int, index: int) -> None:
        """Initialises the context at ``slot`` of ``state().contexts``; for bin-level access."""
        self._core.initialise_context(slot, index)

    def ae(self, bin_: int, slot: int) -> None:
        """Writes one bin with the context at ``slot``; for bin-level access."""
        self._core.ae(bin_, slot)


def search_init_indices(
    levels: npt.NDArray[np.int32], spec: TensorSpec, choices: TensorChoices, stride: int
) -> tuple[int, ...]:
    """See :func:`nnrvideo.entropy.search.search_init_indices`."""
    levels = np.ascontiguousarray(levels)
    found = _native.search_init_indices(_core_spec(spec), levels, _core_choices(choices), stride)
    return tuple(found)


def estimate_cost(levels: npt.NDArray[np.int32], spec: TensorSpec, choices: TensorChoices) -> int:
    """Estimated cost in 1/32768 bit; see :func:`nnrvideo.entropy.search.estimate_bits`."""
    levels = np.ascontiguousarray(levels)
    return _native.estimate_cost(_core_spec(spec), levels, _core_choices(choices))


def quantise_tensor(
    values: npt.NDArray[np.float32],
    step: np.float32,
    lam: float,
    spec: TensorSpec,
    choices: TensorChoices,
) -> npt.NDArray[np.int32]:
    """See :func:`nnrvideo.entropy._trellis.quantise_tensor`."""
    levels = np.empty((spec.rows, spec.cols), dtype=np.int32)
    _native.quantise_tensor(
        _core_spec(spec),
        np.ascontiguousarray(values),
        float(step),
        lam,
        _core_choices(choices),
        levels,
    )
    return levels


def _core_spec(spec: TensorSpec) -> _native.Spec:
    reference, history = spec.reference, spec.history
    return _native.Spec(  # by position: names would cost as much as all the rest
        spec.rows,
        spec.cols,
        spec.general_profile_idc,
        spec.unary_length,
        spec.dq_flag,
        spec.scan_order,
        spec.codebook_size,
        spec.codebook_zero_offset,
        spec.parent_node_id_present_flag,
        None if reference is None else np.ascontiguousarray(reference),
        None if history is None else np.ascontiguousarray(history),
        spec.nncodec1,
    )


def _core_choices(choices: TensorChoices) -> _native.Choices:
    rows = choices.row_skip_flags
    return _native.Choices(
        np.array(choices.init_indices, dtype=np.uint8),
        None if rows is None else np.ascontiguousarray(rows).astype(np.uint8),
        choices.hist_dep_sig_prob_enabled_flag,
    )


def _state(core: _native.Decoder | _native.Encoder) -> CoderState:
    range_, value, bits, counters = core.state()
    return CoderState(range_, value, bits, np.array(counters, dtype=np.int32))
