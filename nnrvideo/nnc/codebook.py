# SPDX-License-Identifier: Apache-2.0
"""Codebooks at the encoder: irregular reconstruction levels where a tensor has few of them.

The zero offset Z and the order k of the differences' code are found without coding the tensor
once for each: only entries that stand close to the most frequent one make sensible zeros, and k
follows from the differences alone.

Spec: ISO/IEC 15938-17, codebook(); the choice is the encoder's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy import TensorSpec
from nnrvideo.nnc.choose import Chosen, choose_coding
from nnrvideo.nnc.settings import EncodeSettings
from nnrvideo.nnc.units import Codebook

Levels = npt.NDArray[np.int32]

_MAX_ENTRIES: Final = 1 << 12
_MAX_ORDER: Final = 15
_ZEROS_TRIED: Final = 3
_SPARSE: Final = 4
"""Times as many integers between the extremes as entries; where fewer are left out, the gaps are
those of a long tail and save nothing."""


def choose_codebook(
    levels: Levels, spec: TensorSpec, settings: EncodeSettings, *, required: bool
) -> tuple[Codebook, Chosen] | None:
    """A codebook for uniform levels and how to code the indices into it.

    Args:
        levels: (rows, cols) int32, uniformly quantised.
        spec: What the payload syntax depends on, without codebook.
        settings: Choices of the encoder.
        required: Make one even where it is sure not to pay.

    Returns:
        None where none is worth trying, or the entries are too many.
    """
    entries, counts = np.unique(levels, return_counts=True)
    if not entries.size or entries.size > _MAX_ENTRIES:
        return None
    span = int(entries[-1]) - int(entries[0]) + 1
    if not required and _SPARSE * entries.size > span:
        return None
    order = best_order(gaps_of(tuple(entries.tolist())))
    indices = np.searchsorted(entries, levels).astype(np.int32)
    best: tuple[Codebook, Chosen] | None = None
    for zero in _zeros(entries, counts):
        bounded = replace(spec, codebook_size=entries.size, codebook_zero_offset=zero)
        chosen = choose_coding(indices - np.int32(zero), bounded, settings)
        if best is None or chosen.bits < best[1].bits:
            best = Codebook(order, zero, tuple(entries.tolist())), chosen
    return best


def _zeros(entries: npt.NDArray[np.int32], counts: npt.NDArray[np.int64]) -> list[int]:
    """Candidates for the entry that a coded 0 stands for: the frequent ones, the median."""
    frequent = np.argsort(-counts, kind="stable")[:_ZEROS_TRIED].tolist()
    median = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    nearest = int(np.argmin(np.abs(entries.astype(np.int64))))
    return sorted({*frequent, min(median, entries.size - 1), nearest})


def gaps_of(entries: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """What a codebook's differences are coded as: the integers left out between entries."""
    values = np.array(entries, dtype=np.int64)
    gaps: npt.NDArray[np.int64] = values[1:] - values[:-1] - 1
    return gaps


def codebook_bits(codebook: Codebook) -> int:
    """Size of a codebook in the unit header, about; its first elements are taken as 32 bits."""
    return 32 + _coded_bits(gaps_of(codebook.entries), codebook.codebook_egk)


def best_order(numbers: npt.NDArray[np.int64]) -> int:
    """Order of the Exp-Golomb code, 0 to 15, that makes the numbers shortest.

    Args:
        numbers: >= 0.

    Spec: ISO/IEC 15938-17, ue(k).
    """
    return min(range(_MAX_ORDER + 1), key=lambda k: _coded_bits(numbers, k))


def _coded_bits(numbers: npt.NDArray[np.int64], k: int) -> int:
    prefix = np.frexp(((numbers >> k) + 1).astype(np.float64))[1] - 1  # floor(log2)
    return int((2 * prefix + 1 + k).sum())
