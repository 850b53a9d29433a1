# SPDX-License-Identifier: Apache-2.0
"""A toy set in every form: the same pictures, labels and bytes."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

CLASSES = ("cat", "dog")


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """200 small pictures of two classes as folder, CSV, COCO JSON and two tar files."""
    root = tmp_path_factory.mktemp("toy") / "pictures"
    random = np.random.default_rng(1)
    rows = []
    for number in range(200):
        label = CLASSES[number % 2]
        name = f"{label}/{number:04}.png"
        (root / label).mkdir(parents=True, exist_ok=True)
        picture = random.integers(0, 256, (6 + number % 3, 8, 3), np.uint8)
        assert cv2.imwrite(str(root / name), picture)
        rows.append((name, label))
    with (root / "toy.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label"))
        writer.writerows(rows)
    coco = {
        "images": [{"id": n, "file_name": name, "license": 1} for n, (name, _) in enumerate(rows)],
        "annotations": [
            {"id": 1000 + n, "image_id": n, "category_id": CLASSES.index(label)}
            for n, (_, label) in enumerate(rows)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES)],
        "licenses": [{"id": 1, "name": "CC0"}],
    }  # fmt: skip
    (root / "toy.json").write_text(json.dumps(coco))
    for shard in range(2):
        with tarfile.open(root / f"toy{shard}.tar", "w") as tar:
            for name, label in rows[shard::2]:
                tar.add(root / name, f"./{name}")
                add(tar, f"./{name.removesuffix('.png')}.cls", str(CLASSES.index(label)).encode())
    return {
        "folder": root,
        "csv": root / "toy.csv",
        "coco": root / "toy.json",
        "tar0": root / "toy0.tar",
        "tar1": root / "toy1.tar",
    }


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Adds a file of these bytes to an archive."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def make_tar(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes a tar file of (name, bytes)."""

    def make(*members: tuple[str, bytes]) -> Path:
        path = tmp_path / "made.tar"
        with tarfile.open(path, "w") as tar:
            for name, data in members:
                add(tar, name, data)
        return path

    return make


@pytest.fixture
def png() -> bytes:
    """A picture of 5x4 pixels."""
    return cv2.imencode(".png", np.arange(60, dtype=np.uint8).reshape(4, 5, 3))[1].tobytes()
