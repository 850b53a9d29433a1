# SPDX-License-Identifier: Apache-2.0
"""CSV with a header: ``path``, ``label`` and, for stretches of films, ``t0`` and ``t1`` (seconds).

A column ``group`` says what must stay together in splits; by default that is the file.  Other
columns are passed over.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Final

from nnrvideo.errors import DatasetError
from nnrvideo.files import PathLike
from nnrvideo.training.datasets.dataset import (
    Dataset,
    Sample,
    identifier,
    require_count,
    require_kind,
)
from nnrvideo.training.datasets.items import FILM_SUFFIXES, PICTURE_SUFFIXES, FileItem, inside

_MAX_BYTES: Final = 1 << 30
_MAX_NUMBER: Final = 40  # characters of a time


def load_csv(path: PathLike, *, root: PathLike | None = None, licence: str = "") -> Dataset:
    """Reads a table of labelled pictures and stretches of films.

    Args:
        path: The table, UTF-8.
        root: Folder that its paths are relative to; by default that of the table.
        licence: Under which the data may be used.

    Raises:
        DatasetError: It is no such table; names the line.
    """
    path = Path(path)
    root = path.parent if root is None else Path(root)
    samples: list[Sample] = []
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DatasetError(f"{path}: a table has at most {_MAX_BYTES} bytes")
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            missing = {"path", "label"} - set(rows.fieldnames or ())
            if missing:
                raise DatasetError(f"{path}: line 1: there is no column {min(missing)!r}")
            for row in rows:
                samples.append(_sample(row, root, f"{path}: line {rows.line_num}"))
                require_count(len(samples), str(path))
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error
    except (csv.Error, UnicodeError) as error:
        raise DatasetError(f"{path} is no CSV in UTF-8: {error}") from error
    return Dataset(path.stem, "classification", tuple(samples), licence)


def _sample(row: Mapping[str | None, str | None], root: Path, where: str) -> Sample:
    name, label = (row.get("path") or "").strip(), (row.get("label") or "").strip()
    if not name or not label or None in row:
        raise DatasetError(f"{where}: must be a path, a label and what else line 1 says")
    item = FileItem(inside(root, name, where))
    require_kind(item, PICTURE_SUFFIXES | FILM_SUFFIXES, where)
    start, end = (_time(row.get(key) or "", f"{where}: {key}") for key in ("t0", "t1"))
    times = ""
    if start is not None or end is not None:
        if item.suffix not in FILM_SUFFIXES:
            raise DatasetError(f"{where}: {name} is a picture, which has no times")
        if end is not None and end <= (start or 0):
            raise DatasetError(f"{where}: t1 must be after t0")
        times = f"@{_shown(start)}-{_shown(end)}"
    group = (row.get("group") or "").strip() or name
    return Sample(identifier(name) + times, item, label, start=start, end=end, group=group)


def _time(text: str, where: str) -> Fraction | None:
    text = text.strip()
    if not text:
        return None
    try:
        # Bounded first: an exponent of nine digits would fill the memory.
        proper = len(text) <= _MAX_NUMBER and not set(text.lower()) & {"e", "_"}
        value = Fraction(text if proper else "")
    except (ValueError, ZeroDivisionError):
        raise DatasetError(f"{where}: {text[:40]!r} is no number of seconds") from None
    if value < 0:
        raise DatasetError(f"{where}: {text} is before the film")
    return value


def _shown(time: Fraction | None) -> str:
    return "" if time is None else str(time)
