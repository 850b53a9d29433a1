# SPDX-License-Identifier: Apache-2.0
"""Captions and enlargements for the pictures that people look at; no part of any measurement."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Rgb = npt.NDArray[np.uint8]

_GAP = 4  # columns between two pictures
_CAPTION_ROWS = 28


def side_by_side(pictures: Sequence[tuple[str, Rgb]], zoom: int = 1) -> Rgb:
    """Puts pictures of one size next to each other, each under its caption.

    Args:
        pictures: Caption and (rows, columns, 3) RGB samples.
        zoom: Each sample becomes a square of this many.

    Returns:
        (rows, columns, 3) uint8.

    Raises:
        ValueError: No picture, or pictures of different sizes.
    """
    shapes = {picture.shape for _, picture in pictures}
    if len(shapes) != 1:
        raise ValueError(f"pictures of one size are needed, got {sorted(shapes)}")
    cv2 = _cv2()
    columns: list[Rgb] = []
    for caption, picture in pictures:
        large = np.repeat(np.repeat(picture, zoom, axis=0), zoom, axis=1)
        head = np.zeros((_CAPTION_ROWS, large.shape[1], 3), np.uint8)
        cv2.putText(
            head, caption, (4, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1, cv2.LINE_AA
        )
        column = np.concatenate([head, large])
        if columns:
            columns.append(np.full((column.shape[0], _GAP, 3), 64, np.uint8))
        columns.append(column)
    return np.concatenate(columns, axis=1)


def caption(luma: npt.NDArray[np.uint8], lines: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Writes lines of text into the top left corner of a luma plane.

    Args:
        luma: (rows, columns) uint8; stays as it is.
        lines: Text; characters beyond ASCII may not be drawn.

    Returns:
        A copy with the text, bright on dark, at a size that suits the picture.
    """
    cv2 = _cv2()
    drawn = np.ascontiguousarray(luma).copy()
    scale = max(0.4, luma.shape[0] / 1000)
    step = round(34 * scale)
    font, thick = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(scale * 1.5))
    for index, line in enumerate(lines):
        place = (step // 2, step * (index + 1))
        cv2.putText(drawn, line, place, font, scale, 16, thick + 2, cv2.LINE_AA)
        cv2.putText(drawn, line, place, font, scale, 235, thick, cv2.LINE_AA)
    return drawn


def _cv2() -> Any:
    return importlib.import_module("cv2")
