# SPDX-License-Identifier: Apache-2.0
"""Uncompressed pictures for another program: NUT, which has timestamps, and bare samples.

YUV4MPEG2 has a module of its own; it is what most programs read, and knows one rate only.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np

from nnrvideo.container._pyav import PathLike, av, translate_errors
from nnrvideo.container.bytestream import ByteStreamWriter
from nnrvideo.container.decode import apply_colour, frame_from_picture, pixel_format_of
from nnrvideo.picture import Picture, PictureFormat

PIPE_FORMATS = ("nut", "raw")

_TIME_BASE = Fraction(1, 90_000)  # where the film does not tell, or finer than NUT needs
_RATE = Fraction(25)


class PipeWriter(ByteStreamWriter):
    """Writes pictures as NUT or as bare planes, one after the other.

    Args:
        path: File, or ``"-"`` for standard output.
        kind: "nut" (rawvideo with presentation times) or "raw" (planes, nothing else).
        frame_rate: Pictures per second, for the header of NUT.
        time_base: Unit of its timestamps, seconds.
        overwrite: Whether an existing file may be replaced.

    Raises:
        ValueError: ``kind`` is neither.
        ContainerError: The file exists or cannot be written.
    """

    def __init__(
        self,
        path: PathLike,
        kind: str,
        *,
        frame_rate: Fraction | None = None,
        time_base: Fraction | None = None,
        overwrite: bool = False,
    ) -> None:
        if kind not in PIPE_FORMATS:
            raise ValueError(f"{kind!r} is none of {', '.join(PIPE_FORMATS)}")
        self._rate = frame_rate or _RATE
        self._time_base = max(time_base or _TIME_BASE, _TIME_BASE)
        self._nut = kind == "nut"
        self._format: PictureFormat | None = None
        self._sink: Any = None
        self._video: Any = None
        super().__init__(path, overwrite=overwrite)

    def write(self, picture: Picture, pts: Fraction) -> None:
        """Appends a picture.

        Args:
            picture: Same format as the first one.
            pts: Presentation time in seconds, increasing; only NUT keeps it.

        Raises:
            ContainerError: The disk is full, or the reader of the pipe has gone.
            ValueError: The format differs from the first picture's.
        """
        if self._format is None:
            self._format = picture.format
            if self._nut:
                self._begin(picture)
        if picture.format != self._format:
            raise ValueError(f"a picture of {picture.format} in a file of {self._format}")
        with translate_errors(self._path, "write"):
            if self._nut:
                frame = frame_from_picture(picture)
                frame.pts, frame.time_base = round(pts / self._time_base), self._time_base
                for packet in self._video.encode(frame):
                    self._sink.mux_one(packet)
            else:
                for plane in picture.planes:
                    self._stream.write(np.ascontiguousarray(plane).data)
        self.frames += 1

    def _finish(self) -> None:
        if self._sink is not None:
            for packet in self._video.encode(None):
                self._sink.mux_one(packet)
            self._sink.close()

    def _begin(self, picture: Picture) -> None:
        with translate_errors(self._path, "write"):
            self._sink = av.open(_Unseekable(self._stream), "w", format="nut")
            self._video = self._sink.add_stream("rawvideo", rate=self._rate)
            context = self._video.codec_context
            context.width, context.height = picture.width, picture.height
            context.pix_fmt = pixel_format_of(picture.format)
            context.time_base = self._time_base
            apply_colour(context, picture.colour)
            self._sink.start_encoding()


class _Unseekable:
    """The part of a binary stream that a pipe has: libavformat must not try to go back."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:
        return self._stream.write(data)
