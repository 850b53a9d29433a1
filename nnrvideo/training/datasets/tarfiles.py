# SPDX-License-Identifier: Apache-2.0
"""WebDataset: tar files whose members of one sample have one name before the first dot.

``a/0001.png`` and ``a/0001.cls`` are picture and class.  The class stands in ``.cls`` or ``.txt``
as its name or, in ``.cls``, as its number; or in ``.json`` as ``label``.  Members are read where
they lie; nothing is extracted, no member but these is opened, and none is unpickled.
"""

from __future__ import annotations

import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from nnrvideo.errors import DatasetError
from nnrvideo.files import PathLike
from nnrvideo.jsontext import parse_json
from nnrvideo.training.datasets.dataset import Dataset, Sample, is_picture_name, require_count
from nnrvideo.training.datasets.items import TarItem, is_inside, read_item

_LABELS: Final = ("cls", "txt", "json")  # in the order in which they are believed
_MAX_LABEL_BYTES: Final = 1 << 16
_MEMBERS: Final = 8  # of a sample, at most, on the average


def load_webdataset(
    paths: Sequence[PathLike],
    *,
    classes: Sequence[str] = (),
    name: str = "",
    licence: str = "",
) -> Dataset:
    """Reads tar files as one set.

    Args:
        paths: The tar files, uncompressed.
        classes: Names of the classes that ``.cls`` gives by number; without them a number is its
            own name.
        name: Of the set; by default that of the first file.
        licence: Under which the data may be used.

    Raises:
        DatasetError: A file is no tar, is damaged, or holds what has no place in one; names the
            member.
    """
    archives = list(map(Path, paths))
    if not archives:
        raise DatasetError("there are no tar files")
    samples: list[Sample] = []
    left_out = 0
    for archive in archives:
        members: defaultdict[str, dict[str, TarItem]] = defaultdict(dict)
        for count, item in enumerate(_members(archive)):
            require_count(count // _MEMBERS, str(archive))
            key, extension = _key(item.name)
            if extension in members[key]:
                raise DatasetError(f"{item}: is there twice")
            members[key][extension] = item
        for key, parts in members.items():
            pictures = [each for ext, each in parts.items() if is_picture_name("." + ext)]
            if len(pictures) > 1:
                raise DatasetError(f"{pictures[1]}: the sample {key!r} has two pictures")
            label = _label(parts, classes)
            if pictures and label is not None:
                samples.append(Sample(key, pictures[0], label, group=key))
            else:
                left_out += 1
        require_count(len(samples), str(archive))
    return Dataset(name or archives[0].stem, "classification", tuple(samples), licence, left_out)


def _members(archive: Path) -> Iterator[TarItem]:
    """Files of a tar; refused is what could lead elsewhere, or lie outside of it."""
    try:
        total = archive.stat().st_size
        with tarfile.open(archive, "r:") as tar:
            for each in tar:
                if each.isdir():
                    continue
                where = f"{archive}: {each.name!r}"
                if not each.isreg() or each.issparse():
                    raise DatasetError(f"{where}: is no plain file")
                if not is_inside(each.name):
                    raise DatasetError(f"{where}: the name leads out of the archive")
                if each.size < 0 or each.offset_data + each.size > total:
                    raise DatasetError(f"{where}: ends behind the end of the archive")
                yield TarItem(archive, each.name, each.offset_data, each.size)
                tar.members = []  # type: ignore[attr-defined]  # or it keeps every header
    except OSError as error:
        raise DatasetError(f"cannot read {archive}: {error.strerror or error}") from error
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise DatasetError(f"{archive} is no uncompressed tar, or damaged: {error}") from error


def _key(name: str) -> tuple[str, str]:
    """What a sample is called, and which part of it a member is."""
    head, slash, tail = name.removeprefix("./").rpartition("/")
    stem, _, extension = tail.partition(".")
    return head + slash + stem, extension.lower()


def _label(parts: dict[str, TarItem], classes: Sequence[str]) -> str | None:
    kind = next((each for each in _LABELS if each in parts), None)
    if kind is None:
        return None
    item = parts[kind]
    data = read_item(item, _MAX_LABEL_BYTES)
    try:
        text = data.decode().strip()
        value = parse_json(text) if kind == "json" else None
    except ValueError as error:
        raise DatasetError(f"{item}: {error}") from error
    if kind == "json":
        label = value.get("label") if isinstance(value, dict) else None
        if label is not None and not isinstance(label, str):
            raise DatasetError(f"{item}: label must be text")
        return label
    if kind == "cls" and classes and text.isdecimal():
        number = int(text) if len(text) < 10 else len(classes)
        if number >= len(classes):
            raise DatasetError(f"{item}: class {text[:20]} of {len(classes)}")
        return classes[number]
    if not text:
        raise DatasetError(f"{item}: the label is empty")
    return text
