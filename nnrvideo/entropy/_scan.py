# SPDX-License-Identifier: Apache-2.0
"""The order in which a matrix's values are coded.

Spec: ISO/IEC 15938-17 scan orders; spec/nnc.md §10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Segment(NamedTuple):
    """A run of neighbouring values in one matrix row: a block's row, or the whole row."""

    row: int
    begin: int
    end: int
    starts_block_row: bool


def segments(rows: int, cols: int, block_size: int) -> Iterator[Segment]:
    """Segments of a (rows, cols) matrix in coding order.

    Args:
        rows: matrix rows, >= 0.
        cols: matrix columns, >= 0.
        block_size: side of the square blocks, 0 for the row-major scan, which has one segment for
            each row and no block rows.

    Yields:
        non-empty segments; ``starts_block_row`` is set on the first one of each block row.

    Spec: spec/nnc.md §10.
    """
    if cols == 0:
        return
    if not block_size:
        for row in range(rows):
            yield Segment(row, 0, cols, starts_block_row=False)
        return
    for top in range(0, rows, block_size):
        for left in range(0, cols, block_size):
            for row in range(top, min(top + block_size, rows)):
                yield Segment(
                    row,
                    left,
                    min(left + block_size, cols),
                    starts_block_row=row == top and not left,
                )


def scan_positions(rows: int, cols: int, block_size: int) -> npt.NDArray[np.int64]:
    """Flat row-major index of each value, in coding order; shape (rows * cols,) int64."""
    if not block_size:
        return np.arange(rows * cols, dtype=np.int64)
    runs = [
        np.arange(row * cols + begin, row * cols + end, dtype=np.int64)
        for row, begin, end, _ in segments(rows, cols, block_size)
    ]
    return np.concatenate(runs) if runs else np.empty(0, dtype=np.int64)
