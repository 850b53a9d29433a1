# SPDX-License-Identifier: Apache-2.0
"""YUV4MPEG2: uncompressed pictures for a pipe into another program, or for a file.

The format has no timestamps; it states one frame rate.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from nnrvideo.container._pyav import PathLike, translate_errors
from nnrvideo.container.bytestream import ByteStreamWriter
from nnrvideo.picture import ChromaFormat, Picture, PictureFormat

_CHROMA = {
    ChromaFormat.MONO: "mono",
    ChromaFormat.C420: "420",
    ChromaFormat.C422: "422",
    ChromaFormat.C444: "444",
}


class Y4mWriter(ByteStreamWriter):
    """Writes pictures as YUV4MPEG2.

    Args:
        path: File, or ``"-"`` for standard output.
        picture_format: Format of all pictures; taken from the first one when absent.
        frame_rate: Pictures per second, for the header.
        sample_aspect_ratio: For the header.
        overwrite: Whether an existing file may be replaced.

    Raises:
        ContainerError: The file exists or cannot be written.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        picture_format: PictureFormat | None = None,
        frame_rate: Fraction | None = None,
        sample_aspect_ratio: Fraction | None = None,
        overwrite: bool = False,
    ) -> None:
        self._format = picture_format
        self._rate = frame_rate or Fraction(25)
        self._aspect = sample_aspect_ratio
        self._header_written = False
        super().__init__(path, overwrite=overwrite)

    def write(self, picture: Picture, pts: Fraction | None = None) -> None:
        """Appends a picture.

        Args:
            picture: Same format as the first one.
            pts: Ignored: the format has no timestamps.

        Raises:
            ContainerError: The disk is full, or the reader of the pipe has gone.
            ValueError: The format differs from the first picture's.
        """
        del pts
        if self._format is None:
            self._format = picture.format
        if picture.format != self._format:
            raise ValueError(f"a picture of {picture.format} in a file of {self._format}")
        with translate_errors(self._path, "write"):
            if not self._header_written:
                self._stream.write(self._header(picture))
                self._header_written = True
            self._stream.write(b"FRAME\n")
            for plane in picture.planes:
                self._stream.write(np.ascontiguousarray(plane).data)
        self.frames += 1

    def _header(self, picture: Picture) -> bytes:
        assert self._format is not None
        chroma, depth = self._format.chroma_format, self._format.bit_depth
        colour_space = _CHROMA[chroma]
        if depth > 8:
            colour_space += f"{depth}" if chroma is ChromaFormat.MONO else f"p{depth}"
        aspect = self._aspect
        fields = [
            f"YUV4MPEG2 W{self._format.width} H{self._format.height}",
            f"F{self._rate.numerator}:{self._rate.denominator}",
            "Ip",
            f"A{aspect.numerator}:{aspect.denominator}" if aspect else "A0:0",
            f"C{colour_space}",
            f"XCOLORRANGE={'FULL' if picture.colour.full_range_flag else 'LIMITED'}",
        ]
        return " ".join(fields).encode("ascii") + b"\n"
