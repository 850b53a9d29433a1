# SPDX-License-Identifier: Apache-2.0
"""``Picture``: decoded video as planes; the only frame type that the library knows.

PyAV and GStreamer buffers become pictures at the shells, without a copy where strides allow it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[Any]

_MAX_BIT_DEPTH = 16


class ChromaFormat(enum.Enum):
    """Chroma sampling; the value is ``chroma_format_idc`` of AVC, HEVC and VVC."""

    MONO = 0
    C420 = 1
    C422 = 2
    C444 = 3

    @property
    def sub_width(self) -> int:
        """``SubWidthC``: luma samples for each chroma sample, horizontally."""
        return 2 if self in (ChromaFormat.C420, ChromaFormat.C422) else 1

    @property
    def sub_height(self) -> int:
        """``SubHeightC``: luma samples for each chroma sample, vertically."""
        return 2 if self is ChromaFormat.C420 else 1

    @property
    def planes(self) -> int:
        """Number of sample arrays: 1 or 3."""
        return 1 if self is ChromaFormat.MONO else 3


@final
@dataclass(frozen=True, slots=True)
class ColourDescription:
    """Colour as H.273 codes it; 2 means unspecified.

    The tags ride along untouched: nnrvideo never converts colour.
    """

    colour_primaries: int = 2
    transfer_characteristics: int = 2
    matrix_coeffs: int = 2
    full_range_flag: bool = False
    chroma_sample_loc_type: int | None = None


@final
@dataclass(frozen=True, slots=True)
class PictureFormat:
    """Geometry and sample format of a picture, without its samples."""

    width: int  # luma samples
    height: int  # luma samples
    chroma_format: ChromaFormat = ChromaFormat.C420
    bit_depth: int = 8

    def plane_shape(self, component: int) -> tuple[int, int]:
        """Rows and columns of a plane; chroma is rounded up for odd sizes."""
        if component == 0:
            return self.height, self.width
        sub_w, sub_h = self.chroma_format.sub_width, self.chroma_format.sub_height
        return -(-self.height // sub_h), -(-self.width // sub_w)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a sample: uint8 up to 8 bits, else uint16."""
        return np.dtype(np.uint8 if self.bit_depth <= 8 else np.uint16)

    def scaled(self, width: int, height: int) -> PictureFormat:
        """The same sample format at another size."""
        return PictureFormat(width, height, self.chroma_format, self.bit_depth)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded picture.

    Args:
        planes: Y, or Y, Cb, Cr; each (rows, columns), uint8 for 8 bits, uint16 for more; rows
            may be strided.
        chroma_format: Relation of the chroma planes to luma.
        bit_depth: Bits of a sample, 8 to 16, in the low bits of the word.
        colour: Colour tags.

    Raises:
        ValueError: Planes do not fit each other or the format.
    """

    planes: tuple[Plane, ...]
    chroma_format: ChromaFormat = ChromaFormat.C420
    bit_depth: int = 8
    colour: ColourDescription = field(default_factory=ColourDescription)
    format: PictureFormat = field(init=False, repr=False)  # geometry and sample format

    def __post_init__(self) -> None:
        if not 8 <= self.bit_depth <= _MAX_BIT_DEPTH:
            msg = f"bit depth {self.bit_depth} is outside 8..{_MAX_BIT_DEPTH}"
            raise ValueError(msg)
        if len(self.planes) != self.chroma_format.planes:
            msg = f"{len(self.planes)} planes do not make {self.chroma_format.name}"
            raise ValueError(msg)
        rows, columns = self.planes[0].shape
        expected = PictureFormat(int(columns), int(rows), self.chroma_format, self.bit_depth)
        object.__setattr__(self, "format", expected)
        dtype = expected.dtype
        for component, plane in enumerate(self.planes):
            shape = expected.plane_shape(component)
            if plane.shape != shape or plane.dtype != dtype:
                msg = f"plane {component} is {plane.shape} {plane.dtype}, expected {shape} {dtype}"
                raise ValueError(msg)

    @property
    def width(self) -> int:
        """Luma samples in a row."""
        return self.format.width

    @property
    def height(self) -> int:
        """Luma rows."""
        return self.format.height
