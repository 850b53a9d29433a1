# SPDX-License-Identifier: Apache-2.0
"""Descriptors in memory: a stream read whole, from a file of its own or out of a film."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, final

import numpy as np
import numpy.typing as npt

from nnrvideo.container.timed import read_timed
from nnrvideo.descriptors.package import Array
from nnrvideo.descriptors.stream import (
    MAGIC,
    Header,
    Item,
    Segment,
    StreamWriter,
    read_stream,
)
from nnrvideo.errors import BitstreamError, LimitExceededError
from nnrvideo.files import OutputFile, PathLike

MAX_FILE_BYTES: Final = 1 << 30
SUFFIX: Final = ".nvd"


@final
@dataclass(frozen=True, slots=True, eq=False)
class KeyFrames:
    """All key frames that one model made of a film, in their order.

    Args:
        header: What they are.
        start: (n,) float64 seconds at which each is shown.
        end: (n,) float64 seconds: the next key frame, or the end of the segment.
        quality: (n,) uint8.
        values: (n, D) int16 levels, or (n, bits / 8) uint8.
        pdq: (n, 32) uint8, or None.
    """

    header: Header
    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    quality: npt.NDArray[np.uint8]
    values: Array
    pdq: npt.NDArray[np.uint8] | None

    @classmethod
    def of(cls, header: Header, segments: list[Segment]) -> KeyFrames:
        """Joins segments of one header."""
        base = float(header.time_base)
        starts = [segment.times for segment in segments]
        ends = [np.append(segment.times[1:], segment.end) for segment in segments]
        empty = np.empty((0, header.width), np.uint8 if header.form.bits else np.int16)
        hashes = [segment.pdq for segment in segments if segment.pdq is not None]
        return cls(
            header,
            np.concatenate([*starts, np.empty(0, np.int64)]) * base,
            np.concatenate([*ends, np.empty(0, np.int64)]) * base,
            np.concatenate([*(s.quality for s in segments), np.empty(0, np.uint8)]),
            np.concatenate([*(s.values for s in segments), empty]),
            np.concatenate(hashes) if header.pdq and hashes else None,
        )

    def worth_comparing(self) -> KeyFrames:
        """Without key frames of too low a quality."""
        kept = self.quality >= self.header.min_quality
        pdq = None if self.pdq is None else self.pdq[kept]
        return KeyFrames(
            self.header,
            self.start[kept],
            self.end[kept],
            self.quality[kept],
            self.values[kept],
            pdq,
        )

    def __len__(self) -> int:
        return len(self.start)


def parts(items: Iterable[Item]) -> list[KeyFrames]:
    """Key frames by header, in order; more than one where the model changed in the film."""
    found: list[tuple[Header, list[Segment]]] = []
    for item in items:
        if isinstance(item, Segment):
            found[-1][1].append(item)
        elif not found or found[-1][0] != item:
            found.append((item, []))
    return [KeyFrames.of(header, segments) for header, segments in found]


def is_stream(path: PathLike) -> bool:
    """Whether a file is a descriptor stream by itself."""
    with Path(path).open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def load(path: PathLike) -> list[KeyFrames]:
    """Reads the descriptors of a film.

    Args:
        path: ``.nvd`` file, or a film with descriptors as timed metadata; untrusted.

    Raises:
        BitstreamError: Damaged, or there are no descriptors in the film.
        LimitExceededError: Too large.
        ContainerError: The film cannot be read.
        OSError: The file cannot be read.
    """
    return parts(load_items(path))


def load_items(path: PathLike) -> list[Item]:
    """The units of a descriptor stream or of a film's; as :func:`load`."""
    if is_stream(path):
        size = Path(path).stat().st_size
        if size > MAX_FILE_BYTES:
            raise LimitExceededError(
                f"bytes of {path}", limit="MAX_FILE_BYTES", value=size, allowed=MAX_FILE_BYTES
            )
        return list(read_stream(Path(path).read_bytes()))
    items: list[Item] = []
    for packet in read_timed(path, MAGIC):
        items += read_stream(packet)
    if not items:
        raise BitstreamError(
            f"{path} holds no descriptors; make some with nnrvideo describe", element="unit_type"
        )
    return items


def save(path: PathLike, items: Iterable[Item], *, overwrite: bool = False) -> int:
    """Writes a descriptor stream as it comes; the file appears when it is complete.

    Returns:
        Bytes written.

    Raises:
        ContainerError: The file exists or cannot be written.
    """
    writer, size = StreamWriter(), len(MAGIC)
    with OutputFile(path, overwrite=overwrite) as output, output.temporary.open("wb") as file:
        file.write(MAGIC)
        for item in items:
            size += file.write(writer.unit(item))
    return size


def packets(items: Iterable[Item]) -> Iterator[tuple[Fraction, Fraction, bytes]]:
    """What travels beside a film: each segment as a whole stream, with start and end in seconds.

    The header is in every packet: a receiver may come at any time, and a packet may be lost.
    """
    header: Header | None = None
    for item in items:
        if isinstance(item, Header):
            header = item
            continue
        assert header is not None
        writer = StreamWriter()
        body = MAGIC + writer.unit(header) + writer.unit(item)
        yield item.start * header.time_base, item.end * header.time_base, body
