# SPDX-License-Identifier: Apache-2.0
"""Before | after: parts of two pictures beside each other."""

from __future__ import annotations

import numpy as np

from nnrvideo.picture import Picture


def joined(left: Picture, right: Picture, share: float) -> Picture:
    """The left part of one picture beside the right part of another, with a line between.

    Args:
        left: Shown up to ``share``.
        right: Of the same format.
        share: Of the width, 0 to 1.
    """
    planes = []
    edge = round(share * right.format.width / 2) * 2  # even, for chroma
    for component, (before, after) in enumerate(zip(left.planes, right.planes, strict=True)):
        plane = after.copy()
        at = edge // right.chroma_format.sub_width if component else edge
        plane[:, :at] = before[:, :at]
        if 0 < edge < right.format.width:
            level = 1 << (right.bit_depth - 1)
            bright = level if component else 2 * level - 1
            plane[:, at : at + (1 if component else 2)] = np.asarray(bright, plane.dtype)
        planes.append(plane)
    return Picture(tuple(planes), right.chroma_format, right.bit_depth, right.colour)
