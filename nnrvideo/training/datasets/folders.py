# SPDX-License-Identifier: Apache-2.0
"""Folders of classes, as torchvision's ImageFolder has them: ``ROOT/CLASS/.../PICTURE``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from nnrvideo.errors import DatasetError
from nnrvideo.files import PathLike
from nnrvideo.training.datasets.dataset import (
    Dataset,
    Sample,
    identifier,
    is_picture_name,
    require_count,
)
from nnrvideo.training.datasets.items import FileItem, inside


def load_image_folder(root: PathLike, *, licence: str = "") -> Dataset:
    """Reads a folder whose subfolders are classes.

    Args:
        root: The folder.
        licence: Under which the pictures may be used.

    Raises:
        DatasetError: There is no such folder, it holds no pictures, or a link leads out of it.
    """
    root = Path(root)
    samples = []
    for name in picture_names(root):
        label, slash, _ = name.partition("/")
        if slash:
            item = FileItem(inside(root, name, str(root)))
            samples.append(Sample(identifier(name), item, label, group=name))
    return Dataset(root.name, "classification", tuple(samples), licence)


def picture_names(root: Path) -> Iterator[str]:
    """Pictures of a folder and of those below it, as relative names with slashes; sorted.

    Raises:
        DatasetError: There is no such folder, or it has too many files.
    """
    if not root.is_dir():
        raise DatasetError(f"there is no folder {root}")
    names: list[str] = []
    for folder, _, files in os.walk(root):  # which follows no links to folders
        below = Path(folder).relative_to(root)
        names += [(below / each).as_posix() for each in files if is_picture_name(each)]
        require_count(len(names), str(root))
    return iter(sorted(names))
