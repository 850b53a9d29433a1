# SPDX-License-Identifier: Apache-2.0
"""How a filter cuts a picture: as it is told, or as memory allows where the choice is ours.

Where the patch size is signalled, patches are what the filter is; only where it is ours to choose
must the choice make no difference to the samples.
"""

from __future__ import annotations

from fractions import Fraction

from nnrvideo.errors import LimitExceededError
from nnrvideo.runtime.tiling import Band, PatchRules, TilePlan, plan_bands, plan_tiles

_SMALL = 64  # positions of a patch that is only to show the shape of the output


def cut_picture(
    rules: PatchRules,
    grid: tuple[int, int],
    *,
    reach: int | None,
    takes_whole: bool,
    batching: bool,
    bytes_per_position: int,
    max_bytes: int,
) -> tuple[TilePlan, tuple[Band, ...]]:
    """Chooses patches, and bands where patches would show.

    Args:
        rules: What the stream allows.
        grid: Width and height of the picture in grid positions.
        reach: Positions that the network looks beyond its place; None if nobody can tell.
        takes_whole: A patch of exactly the picture's size gives the same samples.
        batching: Whether the graph takes several patches at once.
        bytes_per_position: Memory for one input position.
        max_bytes: Bound on one run.

    Returns:
        The plan, and bands of its one patch if the network pads inside and memory is short.

    Raises:
        LimitExceededError: Nothing keeps the bound.
    """

    def plan(bound: int) -> TilePlan:
        tiles = plan_tiles(
            rules,
            *grid,
            bytes_per_position=bytes_per_position,
            max_bytes=bound,
            batching=batching,
        )
        if tiles.count == 1 and takes_whole:
            # No surplus to be filtered and thrown away.
            return TilePlan(*grid, tiles.overlap, 1, 1)
        return tiles

    tiles = plan(max_bytes)
    # A network that pads inside sees no true samples beyond the cuts of patches.
    shows = not rules.constant and (reach is None or reach > rules.overlap)
    if tiles.count == 1 or not shows:
        return tiles, ()
    whole = plan(0)
    if reach is None:
        raise LimitExceededError(
            "a network that looks at the whole picture cannot be run in bands",
            limit="max_memory_bytes",
            value=whole.input_width * whole.input_height * bytes_per_position,
            allowed=max_bytes,
        )
    bands = plan_bands(
        whole, rules, reach, bytes_per_position=bytes_per_position, max_bytes=max_bytes
    )
    return whole, bands


def small_patch(rules: PatchRules, scale: tuple[Fraction, Fraction]) -> tuple[int, int] | None:
    """Columns and rows of a small legal patch; None where the size is not ours to choose.

    Args:
        rules: What the stream allows.
        scale: Output positions for each input position, horizontally and vertically.
    """
    if rules.constant:
        return None
    around = 2 * rules.overlap
    columns, rows = (
        size * -(-(_SMALL + around) // size) - around for size in (rules.width, rules.height)
    )
    across, down = columns * scale[0], rows * scale[1]
    return (columns, rows) if across.denominator == down.denominator == 1 else None
