# SPDX-License-Identifier: Apache-2.0
"""The interface that every loader feeds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Final, Literal, final

from nnrvideo.container import open_media, picture_to_rgb
from nnrvideo.errors import DatasetError
from nnrvideo.limits import Limits
from nnrvideo.training.datasets.items import (
    FILM_SUFFIXES,
    PICTURE_SUFFIXES,
    FileItem,
    Item,
    read_item,
    sha256_of,
)
from nnrvideo.training.datasets.pictures import Rgb, decode_rgb, picture_size

Task = Literal["classification", "restoration"]
Box = tuple[int, int, int, int]

MAX_SAMPLES: Final = 5_000_000
_MAX_TEXT: Final = 1024  # characters of an id or a label


@final
@dataclass(frozen=True, slots=True)
class Sample:
    """Something to learn from: a picture, a part of one, or a stretch of a film.

    Args:
        id: Its name in the set: the path without suffix, with times or box where it has them.
        item: Where its bytes are; for restoration the degraded side.
        label: Its class; None for restoration.
        target: For restoration: what the degraded side should have been.
        start: First second of a stretch of film, from the film's start; None for the start.
        end: Second before which it ends; None for the end of the film.
        box: Part of a picture: left, top, width and height in pixels; None for all of it.
        group: Samples of one group are never on two sides of a split.
    """

    id: str
    item: Item
    label: str | None = None
    target: Item | None = None
    start: Fraction | None = None
    end: Fraction | None = None
    box: Box | None = None
    group: str = ""

    @property
    def is_film(self) -> bool:
        """Whether its pictures come from a film."""
        return self.item.suffix in FILM_SUFFIXES


@dataclass(frozen=True)
class Dataset:
    """Samples in the order of their ids.

    Args:
        name: What the set is called.
        task: What it is for.
        samples: The samples; brought into order here.
        licence: Under which it may be used; "" where nobody said.
        left_out: Entries of the source that are no samples, for instance without a label.

    Raises:
        DatasetError: An id is there twice, too long or empty; there are no samples, or too many.
    """

    name: str
    task: Task
    samples: tuple[Sample, ...]
    licence: str = ""
    left_out: int = 0
    limits: Limits = field(default_factory=Limits.desktop, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.samples:
            raise DatasetError(f"{self.name}: there are no samples")
        ordered = tuple(sorted(self.samples, key=lambda each: each.id))
        for before, sample in zip((None, *ordered), ordered, strict=False):
            for text in (sample.id, sample.label):
                if text is not None and not (0 < len(text) <= _MAX_TEXT and text.isprintable()):
                    raise DatasetError(
                        f"{self.name}: {text[:80]!r}: ids and labels are 1 to {_MAX_TEXT} "
                        "printable characters"
                    )
            if before is not None and before.id == sample.id:
                raise DatasetError(
                    f"{self.name}: {sample.id!r} is there twice: {before.item} and {sample.item}"
                )
        object.__setattr__(self, "samples", ordered)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels, sorted; their places are the class numbers."""
        return tuple(sorted({each.label for each in self.samples if each.label is not None}))

    @cached_property
    def item_hashes(self) -> dict[Item, str]:
        """SHA-256 of every item; read once."""
        items = {each.item: None for each in self.samples}
        items |= {each.target: None for each in self.samples if each.target is not None}
        return {item: sha256_of(item) for item in items}

    @property
    def sha256(self) -> str:
        """The identity of the data: SHA-256 over ids, labels, times, boxes and content.

        Names of folders and files, the loader and the order do not count.

        Raises:
            DatasetError: An item cannot be read.
        """
        digest = hashlib.sha256()
        for each in self.samples:
            target = "" if each.target is None else self.item_hashes[each.target]
            box = "" if each.box is None else ",".join(map(str, each.box))
            fields = (each.id, each.label or "", self.item_hashes[each.item], target)
            times = ("" if time is None else str(time) for time in (each.start, each.end))
            digest.update(("\t".join((*fields, *times, box)) + "\n").encode())
        return digest.hexdigest()

    def pictures(self, sample: Sample) -> Iterator[Rgb]:
        """The pictures of a sample; one, but for films.

        Args:
            sample: Of this set.

        Yields:
            ``(H, W, 3) uint8`` RGB.

        Raises:
            DatasetError: It cannot be decoded, has no picture in its times, or the box is outside.
            ContainerError: The film cannot be decoded.
            LimitExceededError: A picture is too large.
        """
        if sample.is_film:
            yield from self._film_pictures(sample)
        else:
            rgb = decode_rgb(read_item(sample.item), str(sample.item), self.limits)
            yield rgb if sample.box is None else _cut(rgb, sample)

    def size(self, sample: Sample) -> tuple[int, int]:
        """Width and height of a sample's pictures, without decoding them."""
        if sample.box is not None:
            return sample.box[2:]
        if sample.is_film:
            with open_media(_film(sample), limits=self.limits) as media:
                return media.video.width, media.video.height
        return picture_size(read_item(sample.item), str(sample.item), self.limits)

    def _film_pictures(self, sample: Sample) -> Iterator[Rgb]:
        found = False
        with open_media(_film(sample), limits=self.limits) as media:
            origin = media.video.start or Fraction(0)
            start = None if sample.start is None else origin + sample.start
            end = None if sample.end is None else origin + sample.end
            for decoded in media.pictures(start=start):
                if end is not None and decoded.pts >= end:
                    break
                if start is None or decoded.pts >= start:
                    found = True
                    yield picture_to_rgb(decoded.picture)
        if not found:
            raise DatasetError(f"{sample.id}: {sample.item} has no pictures at these times")


def require_count(count: int, where: str) -> None:
    """Refuses a source of too many entries, before they are all in memory.

    Raises:
        DatasetError: There are more than a set may have.
    """
    if count > MAX_SAMPLES:
        raise DatasetError(f"{where}: a set has at most {MAX_SAMPLES} samples")


def is_picture_name(name: str) -> bool:
    """True if the suffix is that of a picture we read."""
    return any(name.lower().endswith(suffix) for suffix in PICTURE_SUFFIXES)


def identifier(name: str) -> str:
    """The id of a file: its path in the set, with slashes, without suffix."""
    head, _, tail = name.replace("\\", "/").removeprefix("./").rpartition("/")
    stem = tail.rpartition(".")[0] or tail
    return f"{head}/{stem}" if head else stem


def require_kind(item: Item, suffixes: Iterable[str], where: str) -> None:
    """Refuses a file of another kind.

    Raises:
        DatasetError: Its suffix is none of these.
    """
    known = sorted(suffixes)
    if item.suffix not in known:
        raise DatasetError(f"{where}: {item} is none of {', '.join(known)}")


def _film(sample: Sample) -> str:
    if not isinstance(sample.item, FileItem):
        raise DatasetError(f"{sample.item}: films are read from files only")
    return str(sample.item.path)


def _cut(rgb: Rgb, sample: Sample) -> Rgb:
    assert sample.box is not None
    left, top, width, height = sample.box
    if left + width > rgb.shape[1] or top + height > rgb.shape[0]:
        raise DatasetError(f"{sample.id}: the box {sample.box} is outside of {sample.item}")
    return rgb[top : top + height, left : left + width]
