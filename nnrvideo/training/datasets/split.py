# SPDX-License-Identifier: Apache-2.0
"""Splits that do not leak.

What belongs together stays together: samples of one group (a film, a picture, whatever the source
calls a group), and samples with the same content under several names.  On which side a group falls
follows from its name alone, so that a set which grows does not move a sample from training to test;
only a new sample that equals samples of two groups brings those together.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from nnrvideo.errors import DatasetError
from nnrvideo.training.datasets.dataset import Dataset, Sample

_SPAN: Final = 1 << 64


def split(
    data: Dataset, shares: Mapping[str, float], *, seed: int = 1, group: str | None = None
) -> dict[str, Dataset]:
    """Splits a set.

    Args:
        data: The set.
        shares: Of the groups, by name of the part, for instance ``{"train": 0.8, "test": 0.2}``;
            they are met on the average, small sets less exactly.
        seed: Another seed gives another split.
        group: Regular expression; what it finds in an id, its first bracket if it has one, is the
            group, for instance ``^(.*)_[0-9]+$`` for pictures that were taken from films.

    Returns:
        A set for each share, in their order.

    Raises:
        DatasetError: A part gets nothing, or an id does not match.
        ValueError: Shares are not positive or not 1 together, or no regular expression.
    """
    if not shares or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(f"shares must be positive and 1 together, not {dict(shares)}")
    try:
        pattern = None if group is None else re.compile(group)
    except re.error as error:
        raise ValueError(f"{group!r} is no regular expression: {error}") from error
    parts: dict[str, list[Sample]] = {name: [] for name in shares}
    for members in _groups(data, pattern).values():
        name = min(_group_name(each, pattern) for each in members)
        parts[_side(name, shares, seed)] += members
    for name, samples in parts.items():
        if not samples:
            raise DatasetError(f"{data.name}: nothing falls to {name!r}: too few groups")
    return {
        name: replace(data, name=f"{data.name}/{name}", samples=tuple(samples), left_out=0)
        for name, samples in parts.items()
    }


def _groups(data: Dataset, pattern: re.Pattern[str] | None) -> dict[str, list[Sample]]:
    """Samples by what they share, directly or through others."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    owner = {}
    for sample in data.samples:
        own = "group " + _group_name(sample, pattern)
        owner[sample.id] = own
        items = [sample.item, *([sample.target] if sample.target is not None else [])]
        for item in items:
            parent[root("content " + data.item_hashes[item])] = root(own)
    groups: dict[str, list[Sample]] = {}
    for sample in data.samples:
        groups.setdefault(root(owner[sample.id]), []).append(sample)
    return groups


def _group_name(sample: Sample, pattern: re.Pattern[str] | None) -> str:
    if pattern is None:
        return sample.group or sample.id
    found = pattern.search(sample.id)
    if found is None:
        raise DatasetError(f"{sample.id!r} does not match {pattern.pattern!r}")
    return found[1] if pattern.groups else found[0]


def _side(group: str, shares: Mapping[str, float], seed: int) -> str:
    digest = hashlib.sha256(f"{seed}\n{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / _SPAN
    for name, share in shares.items():
        place -= share
        if place < 0:
            return name
    return name
