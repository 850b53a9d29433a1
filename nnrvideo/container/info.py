# SPDX-License-Identifier: Apache-2.0
"""What the container says: plain data that outlives the open file."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import final

from nnrvideo.picture import ChromaFormat, ColourDescription, Picture, PictureFormat


@final
@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The video stream of a file."""

    codec_name: str  # libavcodec's name of the coding format, e.g. "h264"
    width: int  # luma samples
    height: int  # luma samples
    pixel_format: str  # libavutil's name, e.g. "yuv420p10le"; "" when unknown
    chroma_format: ChromaFormat = ChromaFormat.C420
    bit_depth: int = 8
    frame_rate: Fraction | None = None  # average; None when the file does not tell
    time_base: Fraction = Fraction(1, 90_000)  # unit of timestamps in seconds
    colour: ColourDescription = field(default_factory=ColourDescription)
    duration: Fraction | None = None  # seconds
    start: Fraction | None = None  # seconds, first presentation time
    frames: int = 0  # as the container counts them; 0 when it does not
    bit_rate: int | None = None  # bits per second
    sample_aspect_ratio: Fraction | None = None
    stream_index: int = 0
    extradata: bytes = field(default=b"", repr=False)  # decoder configuration record

    @property
    def format(self) -> PictureFormat:
        """Geometry and sample format of its pictures."""
        return PictureFormat(self.width, self.height, self.chroma_format, self.bit_depth)


@final
@dataclass(frozen=True, slots=True)
class StreamInfo:
    """Any stream of a file."""

    index: int
    type: str  # "video", "audio", "subtitle", "data", "attachment" or "unknown"
    codec_name: str | None
    language: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    disposition: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One coded picture as the container stores it."""

    data: bytes = field(repr=False)
    pts: int | None  # in time_base
    dts: int | None  # in time_base
    duration: int | None  # in time_base
    time_base: Fraction  # seconds
    is_keyframe: bool  # as the container flags it
    index: int  # counted from 0 in decoding order
    records: bytes = field(default=b"", repr=False)  # sei_message()s that travel beside it

    @property
    def time(self) -> Fraction | None:
        """Presentation time in seconds."""
        return None if self.pts is None else self.pts * self.time_base


@final
@dataclass(frozen=True, slots=True)
class SideData:
    """Messages about neural-network filters that came with one access unit."""

    pts: Fraction  # seconds, presentation time of the access unit
    records: bytes = field(repr=False)  # concatenated sei_message() of types 210 and 211
    clvs_start: bool  # the access unit starts a coded layer video sequence
    index: int = 0  # of the access unit, in decoding order


@final
@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """One decoded picture in output order."""

    picture: Picture = field(repr=False)
    pts: Fraction  # seconds
    index: int  # counted from 0 in output order
    is_keyframe: bool = False
