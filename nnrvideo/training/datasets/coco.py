# SPDX-License-Identifier: Apache-2.0
"""COCO JSON: pictures, categories, and annotations that join them.

Only what classification needs is read: ``images`` (``id``, ``file_name``, ``license``),
``categories`` (``id``, ``name``), ``annotations`` (``image_id``, ``category_id``, ``bbox``) and
``licenses`` (``id``, ``name``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nnrvideo.errors import DatasetError
from nnrvideo.files import PathLike
from nnrvideo.jsontext import parse_json
from nnrvideo.training.datasets.dataset import (
    Box,
    Dataset,
    Sample,
    identifier,
    require_count,
    require_kind,
)
from nnrvideo.training.datasets.items import PICTURE_SUFFIXES, FileItem, inside, read_item

_MAX_BYTES: Final = 1 << 30
_MAX_PLACE: Final = 1 << 20  # pixels
_Id = int | str


def load_coco(
    path: PathLike, *, root: PathLike | None = None, crops: bool = False, licence: str = ""
) -> Dataset:
    """Reads COCO annotations as classes of pictures, or of the boxes in them.

    Args:
        path: The JSON file.
        root: Folder of the pictures; by default that of the file.
        crops: Every annotation is a sample, cut out by its ``bbox``; otherwise every picture is
            one, and all its annotations must be of one category.
        licence: Under which the data may be used; by default what ``licenses`` say.

    Raises:
        DatasetError: It is no such file; names the entry.
    """
    path = Path(path)
    root = path.parent if root is None else Path(root)
    value = _parsed(path)
    names = {
        _id(each, "id", where): _text(each, "name", where)
        for each, where in _entries(value, "categories", path)
    }
    by_picture: defaultdict[_Id, list[tuple[Mapping[str, Any], str, str]]] = defaultdict(list)
    for each, where in _entries(value, "annotations", path):
        category = _id(each, "category_id", where)
        if category not in names:
            raise DatasetError(f"{where}: there is no category {category}")
        by_picture[_id(each, "image_id", where)].append((each, names[category], where))
    samples: list[Sample] = []
    left_out = 0
    for each, where in _entries(value, "images", path):
        name = _text(each, "file_name", where)
        item = FileItem(inside(root, name, where))
        require_kind(item, PICTURE_SUFFIXES, where)
        found = by_picture.pop(_id(each, "id", where), [])
        left_out += not found
        if crops:
            samples += [
                Sample(
                    f"{identifier(name)}#{_id(note, 'id', place)}",
                    item,
                    label,
                    box=_box(note, place),
                    group=name,
                )
                for note, label, place in found
            ]
        elif found:
            labels = {label for _, label, _ in found}
            if len(labels) > 1:
                raise DatasetError(
                    f"{where}: {name} has annotations of several categories; crops make each of "
                    "them a sample"
                )
            samples.append(Sample(identifier(name), item, labels.pop(), group=name))
        require_count(len(samples), str(path))
    if by_picture:
        _, _, where = next(iter(by_picture.values()))[0]
        raise DatasetError(f"{where}: there is no image {next(iter(by_picture))}")
    licence = licence or "; ".join(
        sorted({_text(each, "name", where) for each, where in _entries(value, "licenses", path)})
    )
    return Dataset(path.stem, "classification", tuple(samples), licence, left_out)


def _parsed(path: Path) -> Mapping[str, Any]:
    try:
        value = parse_json(read_item(FileItem(path), _MAX_BYTES))
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from error
    if not isinstance(value, dict) or not {"images", "annotations", "categories"} <= value.keys():
        raise DatasetError(f"{path}: COCO JSON has images, annotations and categories")
    return value


def _entries(value: Mapping[str, Any], name: str, path: Path) -> list[tuple[dict[str, Any], str]]:
    entries = value.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise DatasetError(f"{path}: {name} must be a list of objects")
    return [(each, f"{path}: {name}[{number}]") for number, each in enumerate(entries)]


def _id(entry: Mapping[str, Any], name: str, where: str) -> _Id:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DatasetError(f"{where}: {name} must be a number")
    return value


def _text(entry: Mapping[str, Any], name: str, where: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value:
        raise DatasetError(f"{where}: {name} must be text")
    return value


def _box(entry: Mapping[str, Any], where: str) -> Box:
    """The smallest box of whole pixels around ``bbox``: x, y, width, height."""
    value: Any = entry.get("bbox")
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_place, value)):
        raise DatasetError(f"{where}: bbox must be four numbers, 0 or more")
    x, y, width, height = value
    left, top = int(x), int(y)
    box = left, top, -int(-(x + width) // 1) - left, -int(-(y + height) // 1) - top
    if box[2] < 1 or box[3] < 1:
        raise DatasetError(f"{where}: bbox is empty")
    return box


def _is_place(value: Any) -> bool:
    proper = isinstance(value, int | float) and not isinstance(value, bool)
    return proper and 0 <= value < _MAX_PLACE
