# SPDX-License-Identifier: Apache-2.0
"""Raw video in GStreamer and :class:`~nnrvideo.picture.Picture`: the same samples, seen twice.

Planar formats become views of the buffer, at the strides that its GstVideoMeta tells.  Where two
components share a plane (NV12) or samples sit in the high bits (P010), there is one copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from nnrvideo.gst._gi import Gst, GstVideo
from nnrvideo.picture import (
    ChromaFormat,
    ColourDescription,
    Picture,
    PictureFormat,
    Plane,
)


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """How a format stores samples.

    Args:
        chroma_format: Its sampling.
        bit_depth: Bits that count.
        places: Plane and position inside a pixel, for each of Y, Cb, Cr.
        shift: Unused bits below a sample.
    """

    chroma_format: ChromaFormat
    bit_depth: int = 8
    places: tuple[tuple[int, int], ...] = ((0, 0), (1, 0), (2, 0))
    shift: int = 0


_SWAPPED = ((0, 0), (2, 0), (1, 0))
_PAIRS = ((0, 0), (1, 0), (1, 1))
_PAIRS_SWAPPED = ((0, 0), (1, 1), (1, 0))

FORMATS = {
    "I420": Layout(ChromaFormat.C420),
    "YV12": Layout(ChromaFormat.C420, places=_SWAPPED),
    "NV12": Layout(ChromaFormat.C420, places=_PAIRS),
    "NV21": Layout(ChromaFormat.C420, places=_PAIRS_SWAPPED),
    "Y42B": Layout(ChromaFormat.C422),
    "Y444": Layout(ChromaFormat.C444),
    "GRAY8": Layout(ChromaFormat.MONO, places=((0, 0),)),
    "I420_10LE": Layout(ChromaFormat.C420, 10),
    "I422_10LE": Layout(ChromaFormat.C422, 10),
    "Y444_10LE": Layout(ChromaFormat.C444, 10),
    "I420_12LE": Layout(ChromaFormat.C420, 12),
    "I422_12LE": Layout(ChromaFormat.C422, 12),
    "Y444_12LE": Layout(ChromaFormat.C444, 12),
    "P010_10LE": Layout(ChromaFormat.C420, 10, places=_PAIRS, shift=6),
}


_Place = tuple[tuple[int, int], int, tuple[int, int]]
"""Shape of a component, its first byte in a frame, and its strides."""


@final
class RawFormat:
    """Format of raw video as caps fix it.

    Args:
        info: ``GstVideo.VideoInfo``.

    Attributes:
        name: GStreamer's name of the sample format.
        picture_format: What the library calls it.
        size: Bytes of a frame without padding beyond GStreamer's own.
    """

    def __init__(self, info: Any) -> None:
        self.info = info
        self.name = str(info.finfo.name)
        self.layout = FORMATS[self.name]
        self.picture_format = PictureFormat(
            info.width, info.height, self.layout.chroma_format, self.layout.bit_depth
        )
        self.size = int(info.size)
        self._planes = tuple(zip(info.offset, info.stride, strict=True))[: info.finfo.n_planes]
        self._places: dict[tuple[tuple[int, int], ...], tuple[_Place, ...]] = {}
        self._colour = _colour_of(info)

    @classmethod
    def from_caps(cls, caps: Any) -> RawFormat | None:
        """Reads fixed caps; None if they are not ours."""
        info = GstVideo.VideoInfo.new_from_caps(caps)
        return None if info is None or info.finfo.name not in FORMATS else cls(info)

    def has_own_layout(self, buffer: Any) -> bool:
        """Whether a buffer's planes lie where the caps alone say, without a GstVideoMeta."""
        return self._layout_of(buffer) == self._planes

    @contextmanager
    def picture_in(self, buffer: Any) -> Iterator[Picture]:
        """The picture in a buffer, valid inside the context.

        Raises:
            ValueError: The buffer is too small or cannot be mapped.
        """
        with _mapped(buffer, Gst.MapFlags.READ) as memory:
            planes = self._views(memory, self._layout_of(buffer))
            shift = self.layout.shift
            if shift:
                planes = [plane >> shift for plane in planes]
            elif self.layout.places[1:2] != self.layout.places[2:3]:
                planes = [np.ascontiguousarray(p) if _interleaved(p) else p for p in planes]
            chroma, depth = self.layout.chroma_format, self.layout.bit_depth
            yield Picture(tuple(planes), chroma, depth, self._colour)

    @property
    def is_planes(self) -> bool:
        """Whether the memory of a frame holds the samples as they are, so that views suffice."""
        return not self.layout.shift

    @contextmanager
    def planes_of(self, buffer: Any) -> Iterator[Picture]:
        """A picture to be filled, in a writable buffer without GstVideoMeta, inside the context.

        Raises:
            ValueError: The buffer is too small or cannot be mapped, or see :attr:`is_planes`.
        """
        if not self.is_planes:
            raise ValueError(f"samples of {self.name} must be shifted")
        with _mapped(buffer, Gst.MapFlags.WRITE) as memory:
            planes = tuple(self._views(memory, self._planes))
            yield Picture(planes, self.layout.chroma_format, self.layout.bit_depth)

    def store(self, picture: Picture, buffer: Any) -> None:
        """Copies a picture of exactly this format into a writable buffer without GstVideoMeta.

        Raises:
            ValueError: The buffer is too small or cannot be mapped.
        """
        with _mapped(buffer, Gst.MapFlags.WRITE) as memory:
            views = self._views(memory, self._planes)
            for view, plane in zip(views, picture.planes, strict=True):
                if self.layout.shift:
                    np.left_shift(plane, self.layout.shift, out=view)
                else:
                    view[:] = plane

    def _layout_of(self, buffer: Any) -> tuple[tuple[int, int], ...]:
        meta = GstVideo.buffer_get_video_meta(buffer)
        if meta is None:
            return self._planes
        return tuple(zip(meta.offset, meta.stride, strict=True))[: meta.n_planes]

    def _views(self, memory: Any, planes: tuple[tuple[int, int], ...]) -> list[Plane]:
        dtype = self.picture_format.dtype
        if planes not in self._places:
            self._places = {planes: tuple(self._views_of(planes))}  # they seldom change
        return [
            np.ndarray(shape, dtype, buffer=memory, offset=offset, strides=strides)
            for shape, offset, strides in self._places[planes]
        ]

    def _views_of(self, planes: tuple[tuple[int, int], ...]) -> Iterator[_Place]:
        size = self.picture_format.dtype.itemsize
        places = self.layout.places
        for component, (plane, position) in enumerate(places):
            offset, stride = planes[plane]
            step = size * sum(other == plane for other, _ in places)
            shape = self.picture_format.plane_shape(component)
            yield shape, offset + position * size, (stride, step)


def format_name(wanted: PictureFormat, like: str) -> str | None:
    """GStreamer's name for a sample format.

    Args:
        wanted: What the pictures have.
        like: Name to keep if it fits.

    Returns:
        ``like``, else the first planar format that fits, else None.
    """
    kind = wanted.chroma_format, wanted.bit_depth
    for name in (like, *FORMATS):
        layout = FORMATS[name]
        if (layout.chroma_format, layout.bit_depth) == kind:
            return name
    return None


@contextmanager
def _mapped(buffer: Any, flags: Any) -> Iterator[Any]:
    mapped, info = buffer.map(flags)
    if not mapped:
        raise ValueError("a buffer cannot be mapped into memory")
    try:
        yield info.data
    finally:
        buffer.unmap(info)


def _interleaved(plane: Plane) -> bool:
    return plane.strides[1] != plane.itemsize


def _colour_of(info: Any) -> ColourDescription:
    tags = info.colorimetry
    return ColourDescription(
        colour_primaries=int(GstVideo.video_color_primaries_to_iso(tags.primaries)),
        transfer_characteristics=int(GstVideo.video_transfer_function_to_iso(tags.transfer)),
        matrix_coeffs=int(GstVideo.video_color_matrix_to_iso(tags.matrix)),
        full_range_flag=tags.range == GstVideo.VideoColorRange(1),  # 0..255
    )
