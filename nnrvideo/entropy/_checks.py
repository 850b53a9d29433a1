# SPDX-License-Identifier: Apache-2.0
"""What a caller may ask an encoder to write; shared by both backends so that both refuse alike.

Spec: spec/nnc.md §9.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy._engine import ContextBank
from nnrvideo.entropy._payload import signalled_contexts
from nnrvideo.entropy.spec import MAX_BYPASS_BITS, MAX_LEVEL, TensorChoices, TensorSpec

_MAX_COUNTS = 256


class _Unused:
    """A context that is only counted."""

    def initialise(self, index: int) -> None:
        """Counted contexts have no state."""

    def reset(self) -> None:
        """Counted contexts have no state."""


_counts: dict[tuple[object, ...], int] = {}


def count_signalled(spec: TensorSpec, *, history: bool) -> int:
    """Number of initialisation indices a tensor transmits. Spec: spec/nnc.md §9.1."""
    key = (
        spec.unary_length,
        spec.dq_flag,
        spec.binarisation_codebook_size,
        spec.codebook_zero_offset,
        spec.reference is not None,
        spec.remainder_contexts,
        history,
    )
    found = _counts.get(key)
    if found is None:
        if len(_counts) >= _MAX_COUNTS:
            _counts.clear()
        bank = ContextBank(spec.unary_length, _Unused)
        found = sum(flag for _, flag in signalled_contexts(bank, spec, history=history))
        _counts[key] = found
    return found


def check_bypass_value(value: int, count: int, *, signed: bool) -> None:
    """Raises ``ValueError`` when ``value`` does not fit ``count`` bypass bins."""
    check_bypass_width(count, signed=signed)
    lowest, highest = (-(1 << count - 1), (1 << count - 1) - 1) if signed else (0, (1 << count) - 1)
    if not lowest <= value <= highest:
        raise ValueError(f"{value} does not fit {count} {'signed' if signed else 'unsigned'} bits")


def check_bypass_width(count: int, *, signed: bool) -> None:
    """Raises ``ValueError`` for a bypass number wider than any syntax element."""
    if not int(signed) <= count <= MAX_BYPASS_BITS:
        raise ValueError(f"a bypass number cannot have {count} bits")


def check_encodable(
    levels: npt.NDArray[np.int32], spec: TensorSpec, choices: TensorChoices
) -> None:
    """Raises ``ValueError`` when ``levels`` cannot be coded with ``choices``.

    Args:
        levels: (rows, cols) int32, after dependent-quantisation expansion.
        spec: what the payload syntax depends on.
        choices: the encoder's choices.

    Raises:
        ValueError: wrong shape or dtype, a level out of range or outside the codebook, a skipped
            row that is not zero, choices the syntax has no place for. Levels that no path of
            dependent quantisation reaches are found only while coding.

    Spec: spec/nnc.md §9, §9.3.
    """
    if levels.dtype != np.int32 or levels.shape != (spec.rows, spec.cols):
        raise ValueError(
            f"levels are {levels.dtype}{levels.shape}, expected int32{(spec.rows, spec.cols)}"
        )
    if levels.size:
        lowest, highest = int(levels.min()), int(levels.max())
        if lowest < -MAX_LEVEL:
            raise ValueError(f"level {lowest} exceeds 31 bits")
        if size := spec.binarisation_codebook_size:
            if spec.dq_flag:
                lowest, highest = -((1 - lowest) // 2), (highest + 1) // 2
            zero = spec.codebook_zero_offset
            if lowest < -zero or highest > size - 1 - zero:
                raise ValueError(f"levels exceed the codebook: {-zero}...{size - 1 - zero}")
    if choices.hist_dep_sig_prob_enabled_flag and not (
        spec.has_skip_flags and spec.parent_node_id_present_flag and spec.history is not None
    ):
        raise ValueError("history-dependent significance has no place in this tensor")
    if (flags := choices.row_skip_flags) is not None:
        if not spec.has_skip_flags:
            raise ValueError("row skip flags have no place in this tensor")
        if flags.dtype != np.bool_ or flags.shape != (spec.rows,):
            raise ValueError(f"row_skip_flags are {flags.dtype}{flags.shape}, not bool per row")
        if levels[flags].any():
            raise ValueError("a skipped row has a level other than 0")
    if choices.init_indices:
        expected = count_signalled(spec, history=choices.hist_dep_sig_prob_enabled_flag)
        if len(choices.init_indices) != expected:
            raise ValueError(
                f"{len(choices.init_indices)} initialisation indices for {expected} contexts"
            )
