# SPDX-License-Identifier: Apache-2.0
"""Pictures out of PNG, JPEG, WebP and BMP files: their size before anything is decoded.

A small file can promise a picture of gigabytes; OpenCV decodes it, and only afterwards is its size
known.  So the size is read from the header first.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from nnrvideo.errors import DatasetError
from nnrvideo.limits import Limits

Rgb = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.uint8]

_PNG: Final = b"\x89PNG\r\n\x1a\n"
# JPEG: start-of-frame markers are C0..CF without these three.
_NO_FRAME: Final = frozenset({0xC4, 0xC8, 0xCC})


def picture_size(data: bytes, name: str, limits: Limits | None = None) -> tuple[int, int]:
    """Width and height, by the header alone.

    Args:
        data: The file.
        name: For messages.
        limits: Bounds; by default :meth:`Limits.desktop`.

    Raises:
        DatasetError: It is none of the four formats, or damaged.
        LimitExceededError: The picture is too large.
    """
    try:
        width, height = _size(data)
    except IndexError:
        raise DatasetError(f"{name}: the header ends early") from None
    if width < 1 or height < 1:
        raise DatasetError(f"{name} is no PNG, JPEG, WebP or BMP picture, or damaged")
    (limits or Limits.desktop()).require("max_picture_samples", width * height, f"{name}: pixels")
    return width, height


def decode_rgb(data: bytes, name: str, limits: Limits | None = None) -> Rgb:
    """A picture as ``(H, W, 3) uint8`` RGB, as it is stored: tags for turning it do not count.

    Arguments and errors are those of :func:`picture_size`.
    """
    return _decoded(data, name, limits, cv2.IMREAD_COLOR)[:, :, ::-1]


def decode_luma(data: bytes, name: str, limits: Limits | None = None) -> Plane:
    """The luma of a picture as ``(H, W) uint8``, full range by BT.601.

    Arguments and errors are those of :func:`picture_size`.
    """
    return _decoded(data, name, limits, cv2.IMREAD_GRAYSCALE)


def _decoded(data: bytes, name: str, limits: Limits | None, mode: int) -> npt.NDArray[np.uint8]:
    width, height = picture_size(data, name, limits)
    try:
        buffer = np.frombuffer(data, np.uint8)
        decoded: Any = cv2.imdecode(buffer, mode | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise DatasetError(f"{name} cannot be decoded: {' '.join(str(error).split())}") from error
    if decoded is None or decoded.shape[:2] != (height, width):
        raise DatasetError(f"{name} cannot be decoded: the picture is damaged")
    return np.asarray(decoded, np.uint8)


def _size(data: bytes) -> tuple[int, int]:
    """(0, 0) for what is not known; IndexError where the header ends early."""
    if data.startswith(_PNG) and data[12:16] == b"IHDR":
        return _number(data, 16, 4, "big"), _number(data, 20, 4, "big")
    if data.startswith(b"\xff\xd8"):
        return _jpeg_size(data)
    if data.startswith(b"BM") and _number(data, 14, 4, "little") >= 40:
        height = _number(data, 22, 4, "little")
        # Negative for pictures that are stored from the top.
        return _number(data, 18, 4, "little"), min(height, (1 << 32) - height)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp_size(data)
    return 0, 0


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            return _number(data, at + 7, 2, "big"), _number(data, at + 5, 2, "big")
        else:
            at += 2 + max(2, _number(data, at + 2, 2, "big"))
    return 0, 0


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + _number(data, 24, 3, "little"), 1 + _number(data, 27, 3, "little")
    if kind == b"VP8L":
        bits = _number(data, 21, 4, "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return _number(data, 26, 2, "little") & 0x3FFF, _number(data, 28, 2, "little") & 0x3FFF
    return 0, 0


def _number(data: bytes, at: int, size: int, order: Any) -> int:
    if len(data) < at + size:
        raise IndexError
    return int.from_bytes(data[at : at + size], order)
