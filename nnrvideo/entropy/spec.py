# SPDX-License-Identifier: Apache-2.0
"""What one tensor's payload depends on, what its encoder may choose, and what its decoder found.

These records are the currency between the NNC syntax, which knows unit headers, and the coders,
which know bins. They hold no behaviour beyond validation and the few derived facts that every
coder needs in the same form.

Spec: ISO/IEC 15938-17 compressed data unit payload; spec/nnc.md §9, §10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy.tables.contexts import (
    INIT_INDICES,
    REMAINDER_CONTEXTS,
    REMAINDER_CONTEXTS_NNCODEC1,
)

MAX_UNARY_LENGTH: Final = 256
MAX_SCAN_ORDER: Final = 4
MAX_LEVEL: Final = 2**31 - 1
MAX_BYPASS_BITS: Final = 32
"""Longest number ``iae``/``uae`` codes in one call; no syntax element needs more."""

_INDICES: Final = bytes(range(INIT_INDICES))


@dataclass(frozen=True, slots=True, eq=False)
class TensorSpec:
    """Everything the payload syntax of one tensor depends on.

    Args:
        rows: size of the first dimension, >= 0.
        cols: product of the other dimensions, >= 0; 1 for a one-dimensional tensor.
        general_profile_idc: 0 first edition, 1 second edition.
        unary_length: greater-than flags before the remainder, 1...256
            (``cabac_unary_length_minus1 + 1``).
        dq_flag: dependent quantisation; levels are then expanded by the eight-state machine.
        scan_order: 0 row-major, 1...4 square blocks of 8, 16, 32 or 64. Tensors with a single row
            or column are always coded row-major, whatever is given here.
        codebook_size: number of codebook entries, 0 for none. First-edition payloads ignore it.
        codebook_zero_offset: index of the entry that a coded 0 stands for.
        parent_node_id_present_flag: the unit is relative to a parent; carries the history flag.
        reference: (rows, cols) int32 levels decoded last for this tensor, which turn temporal
            context adaptation on; ``None`` for ``temporal_context_modeling_flag`` = 0.
        history: (rows, cols) uint8, non-zero where an earlier update was non-zero; needed when the
            stream sets ``hist_dep_sig_prob_enabled_flag``.
        nncodec1: the payload was written by NNCodec 1.x, which departs from the first edition.

    Raises:
        ValueError: a field is outside its range, or an array has the wrong shape or dtype. Values
            read from a stream must be checked by the syntax layer before they come here.

    Spec: spec/nnc.md §9, §10, §11.3, §11.4, §12.1.
    """

    rows: int
    cols: int
    general_profile_idc: int
    unary_length: int
    dq_flag: bool = False
    scan_order: int = 0
    codebook_size: int = 0
    codebook_zero_offset: int = 0
    parent_node_id_present_flag: bool = False
    reference: npt.NDArray[np.int32] | None = None
    history: npt.NDArray[np.uint8] | None = None
    nncodec1: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.rows <= MAX_LEVEL and 0 <= self.cols <= MAX_LEVEL):
            raise ValueError(f"a tensor cannot have {self.rows} rows and {self.cols} columns")
        if self.general_profile_idc not in (0, 1):
            raise ValueError(f"general_profile_idc {self.general_profile_idc} is not 0 or 1")
        if not 1 <= self.unary_length <= MAX_UNARY_LENGTH:
            raise ValueError(f"unary_length {self.unary_length} is not in 1...{MAX_UNARY_LENGTH}")
        if not 0 <= self.scan_order <= MAX_SCAN_ORDER:
            raise ValueError(f"scan_order {self.scan_order} is not in 0...{MAX_SCAN_ORDER}")
        if not 0 <= self.codebook_size <= MAX_LEVEL:
            raise ValueError(f"codebook_size {self.codebook_size} is out of range")
        if self.codebook_size and not 0 <= self.codebook_zero_offset < self.codebook_size:
            raise ValueError(
                f"codebook_zero_offset {self.codebook_zero_offset} is outside a codebook "
                f"of {self.codebook_size} entries"
            )
        if self.general_profile_idc == 0 and self.parent_node_id_present_flag:
            raise ValueError("a first-edition unit has no parent")
        if self.nncodec1 and self.general_profile_idc != 0:
            raise ValueError("NNCodec 1.x writes first-edition streams only")
        if self.reference is not None:
            if not self.parent_node_id_present_flag:
                raise ValueError("temporal context adaptation needs a parent node")
            self._check_array("reference", self.reference, np.int32)
        if self.history is not None:
            self._check_array("history", self.history, np.uint8)

    def _check_array(self, name: str, array: npt.NDArray[np.generic], dtype: type) -> None:
        if array.dtype != dtype or array.shape != (self.rows, self.cols):
            raise ValueError(
                f"{name} is {array.dtype}{array.shape}, "
                f"expected {np.dtype(dtype)}{(self.rows, self.cols)}"
            )

    @property
    def is_matrix(self) -> bool:
        """True when both sizes exceed 1; only then do row skipping and block scans exist."""
        return self.rows > 1 and self.cols > 1

    @property
    def block_size(self) -> int:
        """Side of the scan's square blocks, or 0 for the row-major scan. Spec: spec/nnc.md §10."""
        return 4 << self.scan_order if self.scan_order and self.is_matrix else 0

    @property
    def binarisation_codebook_size(self) -> int:
        """C of the binarisation: the first edition ignores the codebook. Spec: §9."""
        return self.codebook_size if self.general_profile_idc == 1 else 0

    @property
    def remainder_contexts(self) -> int:
        """Remainder contexts that have an initialisation flag. Spec: spec/nnc.md §12.1."""
        return REMAINDER_CONTEXTS_NNCODEC1 if self.nncodec1 else REMAINDER_CONTEXTS

    @property
    def has_skip_flags(self) -> bool:
        """True when the payload starts with the history and row skip flags. Spec: §9."""
        return (
            self.general_profile_idc == 1
            and self.is_matrix
            and self.binarisation_codebook_size != 1
        )


@dataclass(frozen=True, slots=True, eq=False)
class TensorChoices:
    """What the encoder of one tensor is free to choose, and what the decoder found.

    Args:
        init_indices: initialisation index 0...8 of each *signalled* context, in transmission order
            (§9.1); empty means all 0.
        row_skip_flags: (rows,) bool, True where a row is skipped; ``None`` stands for
            ``row_skip_enabled_flag`` = 0.
        hist_dep_sig_prob_enabled_flag: significance depends on the history map.

    Raises:
        ValueError: an index is not in 0...8.

    Spec: spec/nnc.md §9.
    """

    init_indices: tuple[int, ...] = ()
    row_skip_flags: npt.NDArray[np.bool_] | None = None
    hist_dep_sig_prob_enabled_flag: bool = False

    def __post_init__(self) -> None:
        try:  # a hundred indices for each tensor: as bytes they are checked fastest
            legal = not bytes(self.init_indices).strip(_INDICES)
        except ValueError:
            legal = False
        if not legal:
            raise ValueError(f"a context initialisation index is not in 0...{INIT_INDICES - 1}")


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """Where a block row starts inside the codeword, as the unit header lists it.

    Args:
        cabac_offset: the engine's offset V there, 0...255.
        dq_state: dependent-quantisation state there, 0...7 (0 without dq_flag).
        bit_offset: bits consumed since the start of the previous block row.

    Spec: spec/nnc.md §10.
    """

    cabac_offset: int
    dq_state: int
    bit_offset: int


@dataclass(frozen=True, slots=True, eq=False)
class DecodedTensor:
    """One tensor out of a codeword.

    Args:
        levels: (rows, cols) int32, after dependent-quantisation expansion; with a codebook the
            index relative to its zero offset.
        choices: what the encoder had chosen; coding ``levels`` with them gives the same bytes.
        entry_points: one for each block row except the first.

    Spec: spec/nnc.md §9.
    """

    levels: npt.NDArray[np.int32]
    choices: TensorChoices
    entry_points: tuple[EntryPoint, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CoderState:
    """A snapshot of a coder, for comparing implementations bin by bin.

    Args:
        range: R, 256...510.
        value: decoder: the 9-bit offset V; encoder: the lowest nine bits of ``low``.
        bits: decoder: bits consumed, the nine of the register included; encoder: 9 + bits shifted.
        contexts: (n, 2) int32 counters (a, b) of the last tensor's contexts, in the order sig 24,
            sigT 16, sigH 8, sgn 3, sgnT 2, gr 2N, grT 2N, rem 32, shift 1, row 1.

    Spec: spec/nnc.md §7, §8.
    """

    range: int
    value: int
    bits: int
    contexts: npt.NDArray[np.int32] = field(repr=False)


class Decoder(Protocol):
    """Reads one arithmetic codeword; implemented by the native and by the reference backend.

    No method but ``tensor`` allocates in proportion to anything but its argument, and ``tensor``
    allocates ``rows * cols`` levels: the caller checks that product against its limits first.

    Spec: spec/nnc.md §7, §9.
    """

    def __init__(self, data: bytes) -> None: ...

    def iae(self, count: int) -> int:
        """Reads a ``count``-bit two's complement number of bypass bins, 1 <= count <= 32."""
        ...

    def uae(self, count: int) -> int:
        """Reads a ``count``-bit unsigned number of bypass bins, 0 <= count <= 32."""
        ...

    def tensor(
        self, spec: TensorSpec, points: Sequence[EntryPoint] = ..., threads: int = ...
    ) -> DecodedTensor:
        """Reads one tensor. Raises ``BitstreamError`` when the bins break the syntax.

        With the entry points of the tensor's header and several threads, block rows may be read
        side by side; the result is the same, wrong points included.
        """
        ...

    def terminate(self) -> int:
        """Reads the terminating bin and checks the stop pattern; returns the codeword's bytes."""
        ...

    @property
    def bits_consumed(self) -> int:
        """Bits taken in so far, the nine of the offset register included."""
        ...

    def state(self) -> CoderState:
        """A snapshot for lock-step comparison."""
        ...


class Encoder(Protocol):
    """Writes one arithmetic codeword; implemented by the native and by the reference backend.

    Spec: spec/nnc.md §7, §9, §13.
    """

    def __init__(self) -> None: ...

    def iae(self, value: int, count: int) -> None:
        """Writes a ``count``-bit two's complement number of bypass bins."""
        ...

    def uae(self, value: int, count: int) -> None:
        """Writes a ``count``-bit unsigned number of bypass bins."""
        ...

    def tensor(
        self,
        levels: npt.NDArray[np.int32],
        spec: TensorSpec,
        choices: TensorChoices = ...,
    ) -> None:
        """Writes one tensor. Raises ``ValueError`` when ``levels`` cannot be coded so."""
        ...

    def terminate(self) -> bytes:
        """Writes the terminating bin and the stop pattern; returns the whole codeword."""
        ...

    @property
    def entry_points(self) -> tuple[tuple[EntryPoint, ...], ...]:
        """Entry points of each tensor written, known only after ``terminate``.

        An offset depends on the bins that follow it.
        """
        ...

    def state(self) -> CoderState:
        """A snapshot for lock-step comparison."""
        ...
