# SPDX-License-Identifier: Apache-2.0
"""Decoded frames become :class:`~nnrvideo.picture.Picture`, as views wherever rows allow it.

Sample formats that the library does not know (packed, RGB, alpha, odd subsampling) are
converted once by swscale to the nearest planar YCbCr format without loss of depth.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnrvideo.container._pyav import av
from nnrvideo.picture import ChromaFormat, ColourDescription, Picture, PictureFormat

_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG
_UNSPECIFIED = 2  # H.273 code point

_CHROMA_NAMES = {
    ChromaFormat.MONO: "gray",
    ChromaFormat.C420: "yuv420p",
    ChromaFormat.C422: "yuv422p",
    ChromaFormat.C444: "yuv444p",
}
_DEPTHS = (8, 9, 10, 12, 14, 16)


def _pixel_format(chroma: ChromaFormat, depth: int) -> str:
    return _CHROMA_NAMES[chroma] + ("" if depth == 8 else f"{depth}le")


PIXEL_FORMATS: dict[str, tuple[ChromaFormat, int]] = {
    _pixel_format(chroma, depth): (chroma, depth) for chroma in ChromaFormat for depth in _DEPTHS
} | {
    # The "j" names mean full range; the range itself is read from the frame.
    "yuvj420p": (ChromaFormat.C420, 8),
    "yuvj422p": (ChromaFormat.C422, 8),
    "yuvj444p": (ChromaFormat.C444, 8),
}


def pixel_format_of(picture_format: PictureFormat) -> str:
    """Name of a sample format in libavutil.

    Raises:
        ValueError: libavutil has no planar format of this bit depth.
    """
    name = _pixel_format(picture_format.chroma_format, picture_format.bit_depth)
    if name not in PIXEL_FORMATS:
        raise ValueError(f"no pixel format for {picture_format}")
    return name


def nearest_format(video_format: Any) -> tuple[str, ChromaFormat, int]:
    """The planar YCbCr format that holds any libavutil format without losing depth.

    Args:
        video_format: ``av.VideoFormat``.

    Returns:
        Its name, chroma format and bit depth; the format itself when we know it.
    """
    known = PIXEL_FORMATS.get(video_format.name)
    if known:
        return video_format.name, *known
    components = [part for part in video_format.components if not part.is_alpha]
    widest = max((part.bits for part in components), default=8)
    depth = next((d for d in _DEPTHS if d >= widest), 16)
    if len(components) == 1 and not video_format.has_palette:
        chroma = ChromaFormat.MONO
    elif video_format.is_rgb or video_format.has_palette or len(components) < 3:
        chroma = ChromaFormat.C444
    else:
        # Measured on a 64x64 frame of this format: how much smaller chroma is than luma.
        sample = av.VideoFormat(video_format.name, 64, 64)
        halves = sample.chroma_width() < 64, sample.chroma_height() < 64
        chroma = {
            (False, False): ChromaFormat.C444,
            (True, False): ChromaFormat.C422,
            (True, True): ChromaFormat.C420,
            (False, True): ChromaFormat.C444,
        }[halves]
    return _pixel_format(chroma, depth), chroma, depth


def colour_of(source: Any, *, full_range: bool = False) -> ColourDescription:
    """Colour tags of a frame or of a codec context; libavutil's numbers are those of H.273."""
    return ColourDescription(
        colour_primaries=int(source.color_primaries or _UNSPECIFIED),
        transfer_characteristics=int(source.color_trc or _UNSPECIFIED),
        # 0 is a meaningful matrix (identity) and no "unset".
        matrix_coeffs=int(source.colorspace),
        full_range_flag=full_range or int(source.color_range) == _FULL_RANGE,
    )


def apply_colour(target: Any, colour: ColourDescription) -> None:
    """Writes colour tags to a frame or to an encoder."""
    target.color_primaries = colour.colour_primaries
    target.color_trc = colour.transfer_characteristics
    target.colorspace = colour.matrix_coeffs
    target.color_range = _FULL_RANGE if colour.full_range_flag else _LIMITED_RANGE


def picture_from_frame(frame: Any) -> Picture:
    """Views a decoded frame as a picture.

    Args:
        frame: ``av.VideoFrame``; stays alive as long as the picture does.

    Returns:
        Picture whose planes are views of the frame's memory; treat them as read-only, because a
        decoder may still predict from them.
    """
    name, chroma, depth = nearest_format(frame.format)
    full_range = frame.format.name.startswith("yuvj")
    if name != frame.format.name:
        frame = frame.reformat(format=name)
    picture_format = PictureFormat(frame.width, frame.height, chroma, depth)
    planes = []
    for component in range(chroma.planes):
        view = _plane_view(frame.planes[component], picture_format, component)
        view.flags.writeable = False
        planes.append(view)
    return Picture(tuple(planes), chroma, depth, colour_of(frame, full_range=full_range))


def frame_from_picture(picture: Picture) -> Any:
    """Copies a picture into a new frame of the same sample format.

    Returns:
        ``av.VideoFrame`` with the picture's colour tags, without timestamp.

    Raises:
        ValueError: libavutil has no planar format of this bit depth.
    """
    name = pixel_format_of(picture.format)
    frame = av.VideoFrame(picture.width, picture.height, name)
    for component, plane in enumerate(picture.planes):
        _plane_view(frame.planes[component], picture.format, component)[:] = plane
    apply_colour(frame, picture.colour)
    return frame


def _plane_view(plane: Any, picture_format: PictureFormat, component: int) -> Any:
    """(rows, columns) view of one plane of a frame."""
    rows, columns = picture_format.plane_shape(component)
    dtype = picture_format.dtype
    stride = plane.line_size // dtype.itemsize
    samples = np.frombuffer(plane, dtype=dtype, count=rows * stride)
    return samples.reshape(rows, stride)[:, :columns]
