# SPDX-License-Identifier: Apache-2.0
"""Which region made a match: similarity with each block of the picture hidden in turn."""

from __future__ import annotations

import numpy as np

from nnrvideo.descriptors.extractor import Extractor
from nnrvideo.descriptors.frames import Rgb
from nnrvideo.descriptors.pooling import Vector
from nnrvideo.descriptors.similarity import Scores


def occlusion_map(
    extractor: Extractor, rgb: Rgb, reference: Vector, *, grid: tuple[int, int] = (6, 8)
) -> Scores:
    """How much each block contributes to a match.

    Args:
        extractor: Makes the descriptors.
        rgb: The picture, (rows, columns, 3) uint8, as the network sees it.
        reference: Real descriptor of the other picture, (D,) of norm 1.
        grid: Blocks down and across.

    Returns:
        ``grid`` float64: similarity of the whole picture less that with the block grey.  Positive
        where the block's content is shared, about 0 where it is foreign, negative where hiding it
        makes the pictures more alike.

    Raises:
        InferenceError: The network failed.
    """
    whole = float(extractor.describe(rgb) @ reference)
    grey = np.array(extractor.model.manifest.mean, np.float32)
    if extractor.model.manifest.colour_order == "BGR":
        grey = grey[::-1]
    found = np.empty(grid)
    rows = np.linspace(0, rgb.shape[0], grid[0] + 1).round().astype(int)
    columns = np.linspace(0, rgb.shape[1], grid[1] + 1).round().astype(int)
    for down in range(grid[0]):
        for across in range(grid[1]):
            hidden = rgb.copy()
            hidden[rows[down] : rows[down + 1], columns[across] : columns[across + 1]] = np.clip(
                np.rint(grey), 0, 255
            ).astype(np.uint8)
            found[down, across] = whole - float(extractor.describe(hidden) @ reference)
    return found


def drawn(rgb: Rgb, contributions: Scores) -> Rgb:
    """The picture with the map over it: green where content is shared, red where it disturbs."""
    down = np.arange(rgb.shape[0]) * contributions.shape[0] // rgb.shape[0]
    across = np.arange(rgb.shape[1]) * contributions.shape[1] // rgb.shape[1]
    largest = float(np.abs(contributions).max()) or 1.0
    weight = (contributions / largest)[down][:, across, None]
    tint = np.where(weight > 0, np.array([0, 255, 0]), np.array([255, 0, 0]))
    share = 0.6 * np.abs(weight)
    grey = rgb.mean(axis=2, keepdims=True).repeat(3, axis=2)
    mixed: Rgb = np.clip(grey * (1 - share) + tint * share, 0, 255).astype(np.uint8)
    return mixed
