# SPDX-License-Identifier: Apache-2.0
"""Patches of a picture: their sizes, their order, and the samples beyond the picture's edge.

A network reads patches of ``patch + 2 * overlap`` positions and writes ``patch`` positions (at the
output's scale), so neighbouring patches neither blend nor overlap in the output.  Where the sizes
are left to the player, one patch covers the whole picture, or a band of it where memory is short:
the samples are the same, because the overlap already covers what the network looks at.

Positions are counted in the *grid* of the tensor, which is luma, chroma, or half luma; see
:mod:`nnrvideo.runtime.layout`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from nnrvideo.errors import LimitExceededError, UnsupportedFeatureError

Coordinates = npt.NDArray[np.intp]

PADDING_ZERO, PADDING_REPLICATE, PADDING_REFLECT, PADDING_WRAP, PADDING_FIXED = range(5)

_MAX_BATCH = 16  # beyond this, batching gains nothing and only costs memory
_MAX_OVERHEAD = 16  # positions read for each position of the picture
_FREE_POSITIONS = 1 << 20  # a large patch on a small picture is odd but harmless
_CLAUSE = "Rec. ITU-T H.274 nnpfc_padding_type"


@final
@dataclass(frozen=True, slots=True)
class PatchRules:
    """What an NNPFC says about patches, in positions of the input grid.

    Args:
        overlap: ``nnpfc_overlap``: positions that the network reads beyond each side of a patch.
        constant: ``nnpfc_constant_patch_size_flag``.
        width: Patch width if constant, else the divisor
            ``extended_patch_width_cd_delta_minus1 + 1 + 2 * overlap`` of the width with overlap.
        height: The same for rows.
        padding_type: ``nnpfc_padding_type``, 0 to 4.
        padding_values: Y, Cb, Cr sample values for padding type 4.

    Raises:
        UnsupportedFeatureError: The padding type is reserved.
        ValueError: A size is not positive.
    """

    overlap: int
    constant: bool
    width: int
    height: int
    padding_type: int = PADDING_ZERO
    padding_values: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if not PADDING_ZERO <= self.padding_type <= PADDING_FIXED:
            msg = f"padding type {self.padding_type} is reserved"
            raise UnsupportedFeatureError(msg, clause=_CLAUSE)
        if self.overlap < 0 or self.width < 1 or self.height < 1:
            msg = f"patch {self.width}x{self.height} with overlap {self.overlap} is impossible"
            raise ValueError(msg)

    @property
    def fill_values(self) -> tuple[int, int, int] | None:
        """Samples that stand for everything outside, or None if padding repeats the picture."""
        if self.padding_type == PADDING_ZERO:
            return 0, 0, 0
        return self.padding_values if self.padding_type == PADDING_FIXED else None


@final
@dataclass(frozen=True, slots=True)
class TilePlan:
    """How a picture is cut: equal patches in raster order from the top left corner.

    Args:
        patch_width: Columns of a patch, without overlap.
        patch_height: Rows of a patch, without overlap.
        overlap: Positions around each patch.
        columns: Patches in a row.
        rows: Rows of patches.
        batch: Patches in one run of the network, at least 1.
    """

    patch_width: int
    patch_height: int
    overlap: int
    columns: int
    rows: int
    batch: int = 1

    @property
    def input_width(self) -> int:
        """Columns that the network reads for one patch."""
        return self.patch_width + 2 * self.overlap

    @property
    def input_height(self) -> int:
        """Rows that the network reads for one patch."""
        return self.patch_height + 2 * self.overlap

    @property
    def count(self) -> int:
        """Number of patches in a picture."""
        return self.columns * self.rows

    def origins(self) -> Iterator[tuple[int, int]]:
        """Top left corner (x, y) of each patch, without overlap, in raster order."""
        for row in range(self.rows):
            for column in range(self.columns):
                yield column * self.patch_width, row * self.patch_height


@final
@dataclass(frozen=True, slots=True)
class Band:
    """Rows of a picture that are filtered together with true rows around them.

    Args:
        top: First row of the result, in grid positions.
        bottom: Row behind the last of the result.
        first: First row that the network is given, without overlap.
        last: Row behind the last that it is given.
    """

    top: int
    bottom: int
    first: int
    last: int


def plan_bands(
    plan: TilePlan, rules: PatchRules, reach: int, *, bytes_per_position: int, max_bytes: int
) -> tuple[Band, ...]:
    """Bands for a network that pads inside, so that it pads at the picture's edges only.

    Args:
        plan: One patch for the whole picture, which is to be cut.
        rules: Of the filter, whose patch size must be free.
        reach: Rows that the network looks beyond its place.
        bytes_per_position: Memory for one input position.
        max_bytes: Bound on one run.

    Returns:
        As few bands as keep the bound.

    Raises:
        LimitExceededError: Not even the smallest band keeps the bound.
    """
    # Cuts lie where the network's own grid has whole positions.
    step = rules.height
    halo = -(-reach // step) * step
    row = plan.input_width * bytes_per_position
    rows = (max_bytes // row - 2 * halo - 2 * rules.overlap) // step * step
    if rows < step:
        raise LimitExceededError(
            f"a band of {step} rows with {halo + rules.overlap} rows around",
            limit="max_memory_bytes",
            value=(step + 2 * halo + 2 * rules.overlap) * row,
            allowed=max_bytes,
        )
    height = plan.patch_height
    return tuple(
        Band(top, min(top + rows, height), max(0, top - halo), min(top + rows + halo, height))
        for top in range(0, height, rows)
    )


def plan_tiles(
    rules: PatchRules,
    grid_width: int,
    grid_height: int,
    *,
    bytes_per_position: int = 0,
    max_bytes: int = 0,
    batching: bool = False,
) -> TilePlan:
    """Chooses patches for a picture within a bound on memory, before anything is run.

    Args:
        rules: What the stream allows.
        grid_width: Columns of the picture in grid positions, at least 1.
        grid_height: Rows likewise.
        bytes_per_position: Estimate of what the network holds for each input position at its
            widest point; 0 if unknown.
        max_bytes: Bound on patch positions times ``bytes_per_position``; 0 for none.
        batching: Whether the graph takes several patches at once.

    Returns:
        The plan with the fewest runs that keeps the bound.

    Raises:
        LimitExceededError: Even the smallest patch is over the bound, or most of the work would
            be done on overlap and surplus.

    Spec: Rec. ITU-T H.274, semantics of nnpfc_constant_patch_size_flag; spec/nnpf-sei.md §4.4.
    """
    room = max_bytes // bytes_per_position if bytes_per_position and max_bytes else 0
    if rules.constant:
        width, height = rules.width, rules.height
    else:
        width, height = _free_patch(rules, grid_width, grid_height, room)
    positions = (width + 2 * rules.overlap) * (height + 2 * rules.overlap)
    if room and positions > room:
        raise LimitExceededError(
            f"one patch of {width}x{height} with overlap {rules.overlap}",
            limit="max_memory_bytes",
            value=positions * bytes_per_position,
            allowed=max_bytes,
        )
    columns, rows = -(-grid_width // width), -(-grid_height // height)
    # Tiny patches in huge overlaps would make the cheapest network run for hours.
    allowed = _MAX_OVERHEAD * grid_width * grid_height + _FREE_POSITIONS
    if columns * rows * positions > allowed:
        raise LimitExceededError(
            f"patches of {width}x{height} with overlap {rules.overlap}",
            limit="patch_overhead",
            value=columns * rows * positions,
            allowed=allowed,
        )
    batch = 1
    if batching and columns * rows > 1 and rules.constant:
        batch = min(columns * rows, _MAX_BATCH, room // positions if room else _MAX_BATCH)
    return TilePlan(width, height, rules.overlap, columns, rows, batch)


def _free_patch(rules: PatchRules, grid_width: int, grid_height: int, room: int) -> tuple[int, int]:
    """One patch for the picture, else a band of full width, else a band that is cut as well."""
    around = 2 * rules.overlap
    across = _multiples(grid_width + around, rules.width)
    down = _multiples(grid_height + around, rules.height)
    if room:
        down = max(
            _least(rules.height, around), min(down, room // (across * rules.width) // rules.height)
        )
        across = max(
            _least(rules.width, around), min(across, room // (down * rules.height) // rules.width)
        )
    return across * rules.width - around, down * rules.height - around


def _multiples(size: int, divisor: int) -> int:
    return -(-size // divisor)


def _least(divisor: int, around: int) -> int:
    """Smallest multiple that leaves a patch of at least one position inside the overlap."""
    return around // divisor + 1


def pad_coordinates(
    coordinates: Coordinates, size: int, padding_type: int, *, vertical: bool
) -> Coordinates:
    """Maps coordinates outside a plane to the sample that stands for them.

    Args:
        coordinates: Sample positions of one axis, any integers.
        size: Samples of the plane on this axis, at least 1.
        padding_type: 1 replicate, 2 reflect without repeating the edge, 3 wrap around
            horizontally and replicate vertically.  Types 0 and 4 have no source sample; they are
            clamped here and overwritten by the caller.
        vertical: Whether the axis counts rows.

    Returns:
        Positions inside ``0 .. size - 1``; same shape.

    Spec: Rec. ITU-T H.274, nnpfc_padding_type and InpSampleVal(); spec/nnpf-sei.md §4.4.
    """
    if padding_type == PADDING_REFLECT and size > 1:
        # The mirror is repeated, so that an overlap wider than a tiny picture stays defined.
        period = 2 * (size - 1)
        folded = np.mod(coordinates, period)
        reflected: Coordinates = np.minimum(folded, period - folded)
        return reflected
    if padding_type == PADDING_WRAP and not vertical:
        return np.mod(coordinates, size)
    return np.clip(coordinates, 0, size - 1)
