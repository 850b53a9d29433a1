# SPDX-License-Identifier: Apache-2.0
"""Sender side in one go: downscale, encode, put the network into the stream.

The pictures are reduced by exactly the factor that the network enlarges by, so that a player with
nnrvideo shows the original size and every other player a smaller film.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import final

from nnrvideo.authoring.embedder import EmbedReport, embed
from nnrvideo.carriage import carriage_for
from nnrvideo.container import VideoWriter, coding_format, open_media, pass_options
from nnrvideo.errors import ModelError
from nnrvideo.model import IoContract
from nnrvideo.picture import ChromaFormat, Picture, PictureFormat
from nnrvideo.runtime import Downscaler, resize_picture

Progress = Callable[[int, int | None], None]


@final
@dataclass(frozen=True, slots=True)
class ReduceReport:
    """What :func:`encode_reduced` did."""

    pictures: int
    source: PictureFormat
    coded: PictureFormat
    cropped: tuple[int, int]  # columns and rows cut off at the right and at the bottom
    dropped: tuple[str, ...]  # streams of the source that the container cannot hold


@final
@dataclass(frozen=True, slots=True)
class EncodeReport:
    """What :func:`encode` did."""

    reduced: ReduceReport
    embedded: EmbedReport


def coded_size(
    width: int,
    height: int,
    scale: tuple[Fraction, Fraction],
    chroma_format: ChromaFormat = ChromaFormat.MONO,
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size to encode at and size that comes out again.

    4:2:0 wants even sizes on both sides of the network: what does not divide is cut off at the
    right and at the bottom.  A network that keeps the size leaves it as it is, but for half chroma
    samples, which encoders refuse.

    Args:
        width: Luma samples of the source.
        height: Luma rows of the source.
        scale: Output size of the network relative to its input, across and down.
        chroma_format: Of the source.

    Returns:
        (width, height) coded and (width, height) after the network.

    Raises:
        ModelError: The network reduces, or nothing is left.
    """
    coded, final_size = [], []
    samples = chroma_format.sub_width, chroma_format.sub_height
    for size, factor, each in zip((width, height), scale, samples, strict=True):
        if factor < 1:
            raise ModelError(
                f"encode needs a network that enlarges or keeps the size, not one by {factor}; "
                "encode the video yourself and use embed"
            )
        if factor == 1:
            if size < each:
                raise ModelError(f"pictures of {width}x{height} are too small to be coded")
            coded.append(size - size % each)
            final_size.append(size - size % each)
            continue
        large = 2 * factor.numerator  # the smallest even size that reduces to an even one
        blocks = size // large
        if blocks == 0:
            raise ModelError(f"pictures of {width}x{height} are too small to be reduced")
        coded.append(blocks * 2 * factor.denominator)
        final_size.append(blocks * large)
    return (coded[0], coded[1]), (final_size[0], final_size[1])


def encode_reduced(
    source: Path,
    target: Path,
    scale: tuple[Fraction, Fraction],
    *,
    codec: str = "libx265",
    options: Mapping[str, str] | None = None,
    overwrite: bool = False,
    duration: Fraction | None = None,
    two_pass: bool = False,
    progress: Progress | None = None,
) -> ReduceReport:
    """Encodes a video at the size that a network of this scale brings back.

    Args:
        source: Any video that libavformat reads; audio, subtitles, chapters and tags are copied.
        target: Its suffix chooses the container.
        scale: Output size of the network relative to its input, across and down.
        codec: Encoder.
        options: ffmpeg's encoder options by name.
        overwrite: Whether an existing target may be replaced.
        duration: Stop after so many seconds.
        two_pass: Look at all pictures first, so that a bit rate is spent where it is needed.
        progress: Called with (pictures done, total or None); in each pass from the start.

    Raises:
        ContainerError: A file cannot be read or written, or the encoder knows no two passes.
        ModelError: Pictures cannot be reduced so.
    """
    if two_pass:
        with tempfile.TemporaryDirectory(prefix=".nnrvideo-", dir=target.parent) as folder:
            for number in (1, 2):
                report = encode_reduced(
                    source,
                    target if number == 2 else Path(folder) / f"first{target.suffix}",
                    scale,
                    codec=codec,
                    options=pass_options(codec, options or {}, number, Path(folder) / "passes"),
                    overwrite=overwrite,
                    duration=duration,
                    progress=progress,
                )
        return report
    with open_media(source) as media:
        video = media.video
        small, large = coded_size(video.width, video.height, scale, video.chroma_format)
        end = None if duration is None else (video.start or Fraction(0)) + duration
        pictures = 0
        with VideoWriter(
            target,
            like=video,
            codec=codec,
            options=options,
            copy_from=source,
            end=end,
            overwrite=overwrite,
        ) as writer:
            for item in media.pictures():
                if end is not None and item.pts >= end:
                    break
                cut = crop_picture(item.picture, *large)
                reduced = resize_picture(
                    cut, cut.format.scaled(*small), downscaler=Downscaler.BICUBIC
                )
                writer.write(reduced, item.pts)
                pictures += 1
                if progress is not None:
                    progress(pictures, video.frames or None)
    return ReduceReport(
        pictures=pictures,
        source=video.format,
        coded=video.format.scaled(*small),
        cropped=(video.width - large[0], video.height - large[1]),
        dropped=tuple(f"stream {each.index}: {each.reason}" for each in writer.dropped),
    )


def encode(
    source: Path,
    target: Path,
    network: bytes,
    contract: IoContract,
    *,
    codec: str = "libx265",
    options: Mapping[str, str] | None = None,
    overwrite: bool = False,
    duration: Fraction | None = None,
    progress: Progress | None = None,
) -> EncodeReport:
    """Encodes a video at reduced size with the network inside.

    Args:
        source: Any video that libavformat reads; audio, subtitles, chapters and tags are copied.
        target: MP4, Matroska, WebM, MPEG-TS or raw stream.
        network: NNC bitstream.
        contract: What that network reads and writes.
        codec: Encoder, for instance ``libx264``, ``libx265`` or ``libsvtav1``.
        options: ffmpeg's encoder options by name.
        overwrite: Whether an existing target may be replaced.
        duration: Stop after so many seconds.
        progress: Called with (pictures done, total or None).

    Returns:
        What was done.

    Raises:
        ContainerError: A file cannot be read or written.
        CarriageError: The codec has no place for a network.
        ModelError: The network reduces the pictures.
    """
    carriage_for(coding_format(codec))  # refuses before the work rather than after it
    with tempfile.TemporaryDirectory(prefix=".nnrvideo-", dir=target.parent) as folder:
        middle = Path(folder) / f"coded{target.suffix}"
        reduced = encode_reduced(
            source,
            middle,
            (contract.width_ratio, contract.height_ratio),
            codec=codec,
            options=options,
            duration=duration,
            progress=progress,
        )
        report = embed(middle, target, network, overwrite=overwrite)
    return EncodeReport(reduced, report)


def crop_picture(picture: Picture, width: int, height: int) -> Picture:
    """Cuts columns at the right and rows at the bottom; views, no copies."""
    if (picture.width, picture.height) == (width, height):
        return picture
    wanted = picture.format.scaled(width, height)
    planes = []
    for component, plane in enumerate(picture.planes):
        rows, columns = wanted.plane_shape(component)
        planes.append(plane[:rows, :columns])
    return Picture(tuple(planes), picture.chroma_format, picture.bit_depth, picture.colour)
