# SPDX-License-Identifier: Apache-2.0
"""What a source says about showing its pictures, and how an encoder is told the same.

Rotation is a matrix in the container.  What a mastering display could show and how bright the
content gets (HDR10's static metadata) travel in the bitstream, and each encoder takes them in
options of its own; PyAV offers no other way.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, final

from nnrvideo.container._pyav import PathLike, av, open_input
from nnrvideo.container.demux import main_video

_MATRIX: Final = "DISPLAYMATRIX"
_MASTERING: Final = "MASTERING_DISPLAY_METADATA"
_LIGHT: Final = "CONTENT_LIGHT_LEVEL"
# Units of Rec. ITU-T H.265 D.3.28 (mastering display colour volume).
_CHROMATICITY: Final = 50_000
_LUMINANCE: Final = 10_000


@final
@dataclass(frozen=True, slots=True)
class Display:
    """How pictures of a source are meant to be shown.

    Args:
        matrix: Nine elements of libavutil's display matrix; None for upright pictures.
        primaries: (x, y) of red, green, blue and white of the mastering display, CIE 1931.
        luminance: (highest, lowest) of it, in candelas per square metre.
        light: Highest light level of a sample and highest mean of a picture, in the same unit.
    """

    matrix: tuple[int, ...] | None = None
    primaries: tuple[tuple[Fraction, Fraction], ...] | None = None
    luminance: tuple[Fraction, Fraction] | None = None
    light: tuple[int, int] | None = None

    def encoder_options(self, encoder: str) -> dict[str, str]:
        """Its options that say so, by name of the option; empty for encoders that take none."""
        key = {
            "libx264": "x264-params",
            "libx265": "x265-params",
            "libsvtav1": "svtav1-params",
        }.get(encoder)
        if key is None:
            return {}
        whole = encoder != "libsvtav1"  # numbers in the units of the standard; else decimals
        said = []
        if self.primaries is not None and self.luminance is not None:
            red, green, blue, white = (
                "({},{})".format(*(_number(v, _CHROMATICITY, whole=whole) for v in point))
                for point in self.primaries
            )
            light = "({},{})".format(
                *(_number(value, _LUMINANCE, whole=whole) for value in self.luminance)
            )
            name = "master-display" if encoder == "libx265" else "mastering-display"
            said.append(f"{name}=G{green}B{blue}R{red}WP{white}L{light}")
        if self.light is not None:
            name = {"libx264": "cll", "libx265": "max-cll"}.get(encoder, "content-light")
            said.append(f"{name}={self.light[0]},{self.light[1]}")
        return {key: ":".join(said)} if said else {}


def display_of(path: PathLike | None) -> Display:
    """Reads it off the first picture of a file; nothing of it if there is no picture, or no file.

    Args:
        path: The file; None for pictures that come from nowhere.

    Raises:
        ContainerError: The file cannot be read.
    """
    if path is None:
        return Display()
    found: dict[str, bytes] = {}
    with open_input(path) as container:
        try:
            frame = next(container.decode(main_video(container, path)), None)
        except av.error.FFmpegError:
            frame = None  # a damaged picture says nothing; whoever decodes the file will
        for item in frame.side_data if frame is not None else ():
            found[item.type.name] = bytes(item)
    primaries, luminance = _mastering(found.get(_MASTERING, b""))
    light = found.get(_LIGHT, b"")
    return Display(
        _matrix(found.get(_MATRIX, b"")),
        primaries,
        luminance,
        struct.unpack_from("=2I", light) if len(light) >= 8 else None,
    )


def _matrix(data: bytes) -> tuple[int, ...] | None:
    if len(data) < 36:
        return None
    elements = list(struct.unpack_from("=9i", data))
    elements[6:8] = 0, 0  # in samples of this picture's size; players shift by themselves
    upright = [1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30]
    return None if elements == upright else tuple(elements)


def _mastering(
    data: bytes,
) -> tuple[tuple[tuple[Fraction, Fraction], ...] | None, tuple[Fraction, Fraction] | None]:
    """Fields of AVMasteringDisplayMetadata: ten rationals and two flags."""
    if len(data) < 88:
        return None, None
    numbers = struct.unpack_from("=22i", data)
    if any(numbers[at] == 0 for at in range(1, 20, 2)):
        return None, None
    values = [Fraction(numbers[at], numbers[at + 1]) for at in range(0, 20, 2)]
    points = tuple((values[at], values[at + 1]) for at in range(0, 8, 2))
    lowest, highest = values[8], values[9]
    return points if numbers[20] else None, (highest, lowest) if numbers[21] else None


def _number(value: Fraction, unit: int, *, whole: bool) -> str:
    return str(round(value * unit)) if whole else f"{float(value):.6g}"


def apply_matrix(stream: Any, display: Display) -> None:
    """Tells the container; before its header is written."""
    if display.matrix is not None:
        stream.set_display_matrix(display.matrix)
