# SPDX-License-Identifier: Apache-2.0
"""Pictures to look at: conversion to RGB and PNG files, by the tags that the video carries."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnrvideo.container._pyav import av
from nnrvideo.container.decode import frame_from_picture
from nnrvideo.picture import Picture

Rgb = npt.NDArray[np.uint8]


def picture_to_rgb(picture: Picture) -> Rgb:
    """Converts a picture for display; untagged colour is taken for what libswscale assumes.

    Returns:
        (rows, columns, 3) uint8.
    """
    rgb: Rgb = frame_from_picture(picture).to_ndarray(format="rgb24")
    return rgb


def png_bytes(rgb: Rgb) -> bytes:
    """Codes RGB samples as a PNG file.

    Args:
        rgb: (rows, columns, 3) uint8.
    """
    context: Any = av.CodecContext.create("png", "w")
    context.width, context.height = rgb.shape[1], rgb.shape[0]
    context.pix_fmt = "rgb24"
    context.time_base = 1
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    frame.pts = 0
    packets = [*context.encode(frame), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)
