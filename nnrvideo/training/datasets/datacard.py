# SPDX-License-Identifier: Apache-2.0
"""The data card: what a set holds, for model cards and for people who ask."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, final

from nnrvideo.files import PathLike, write_bytes
from nnrvideo.model import DataSource
from nnrvideo.training.datasets.dataset import Dataset

FORMAT: Final = "nnrvideo-data-card"
VERSION: Final = 1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DataCard:
    """What a set holds.

    Args:
        name: Of the set.
        task: ``"classification"`` or ``"restoration"``.
        sha256: Of ids, labels, times, boxes and content, see :attr:`Dataset.sha256`.
        num_examples: Samples.
        licence: Under which it may be used; "" where nobody said.
        classes: Number of samples of each class.
        sizes: Number of samples of each picture size, ``WIDTHxHEIGHT``.
        seconds: Length of all stretches of film whose end is known.
        time_ranges: (first second, last second) used of each film, by path; null where it is the
            film's own start or end.
        left_out: Entries of the source that are no samples.
        splits: Ids of the samples of each part, where the set was split.
        hashes: SHA-256 of each sample's content, by id.
    """

    name: str
    task: str
    sha256: str
    num_examples: int
    licence: str = ""
    classes: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    time_ranges: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    left_out: int = 0
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The card as JSON values."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    def save(self, path: PathLike, *, overwrite: bool = False) -> None:
        """Writes the card, whole or not at all.

        Raises:
            ContainerError: It exists already, or the place is not writable.
        """
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        write_bytes(path, (text + "\n").encode(), overwrite=overwrite)

    def source(self, use: str = "training") -> DataSource:
        """The set as a line of a model card."""
        return DataSource(
            name=self.name,
            use=use,
            sha256=self.sha256,
            examples=self.num_examples,
            licence=self.licence,
        )


def data_card(data: Dataset, splits: Mapping[str, Dataset] | None = None) -> DataCard:
    """Makes the card of a set; reads every file once.

    Args:
        data: The set.
        splits: Its parts, if it was split.

    Raises:
        DatasetError: A file cannot be read.
        ContainerError: A film cannot be opened.
        LimitExceededError: A picture is too large.
    """
    known: dict[Any, str] = {}
    sizes: Counter[str] = Counter()
    ranges: dict[str, tuple[float | None, float | None]] = {}
    seconds = 0.0
    for sample in data.samples:
        key = sample.item, sample.box
        if key not in known:
            known[key] = "x".join(map(str, data.size(sample)))
        sizes[known[key]] += 1
        if sample.is_film:
            start, end = (None if t is None else float(t) for t in (sample.start, sample.end))
            path = str(sample.item)
            ranges[path] = (start, end) if path not in ranges else _wider(ranges[path], start, end)
            seconds += 0.0 if end is None else end - (start or 0.0)
    labels = Counter(each.label for each in data.samples if each.label is not None)
    return DataCard(
        name=data.name,
        task=data.task,
        sha256=data.sha256,
        num_examples=len(data),
        licence=data.licence,
        classes=dict(sorted(labels.items())),
        sizes=dict(sorted(sizes.items())),
        seconds=seconds,
        time_ranges=ranges,
        left_out=data.left_out,
        splits={
            name: tuple(each.id for each in part.samples) for name, part in (splits or {}).items()
        },
        hashes={each.id: data.item_hashes[each.item] for each in data.samples},
    )


def _wider(
    known: tuple[float | None, float | None], start: float | None, end: float | None
) -> tuple[float | None, float | None]:
    first = None if None in (known[0], start) else min(known[0] or 0.0, start or 0.0)
    last = None if None in (known[1], end) else max(known[1] or 0.0, end or 0.0)
    return first, last
