# SPDX-License-Identifier: Apache-2.0
"""WebDataset tar files, hostile ones included."""

from __future__ import annotations

import gzip
import tarfile

import numpy as np
import pytest

from nnrvideo.errors import DatasetError
from nnrvideo.training.datasets import load_webdataset

LINK = {"symlink": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}


def test_labels_as_names_numbers_texts_and_json(make_tar, png):
    path = make_tar(
        ("a.x.png", png), ("a.cls", b"no"),  # a part called x.png, which is a picture
        ("b.png", png), ("b.txt", b"cat\n"),
        ("c.png", png), ("c.json", b'{"label": "dog", "more": [1]}'),
        ("d.png", png), ("d.cls", b"7"),
        ("e.png", png),
        ("f.cls", b"cat"),
        ("g.png", png), ("g.json", b'{"caption": "x"}'),
        ("h.png", png), ("h.cls", b"bird"), ("h.pyd", b"never read"),
    )  # fmt: skip
    data = load_webdataset([path])
    assert [(each.id, each.label) for each in data.samples] == [
        ("a", "no"), ("b", "cat"), ("c", "dog"), ("d", "7"), ("h", "bird"),
    ]  # fmt: skip
    assert data.left_out == 3
    (picture,) = data.pictures(data.samples[1])
    assert picture.shape == (4, 5, 3)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../a.png", b""), ("../a.cls", b"x")], "'../a.png': the name leads out"),
        ([("/a.png", b"")], "'/a.png': the name leads out"),
        ([("x/../../a.png", b"")], "leads out"),
        ([("a.png", b""), ("a.png", b"")], "is there twice"),
        ([("a.png", b""), ("a.jpg", b""), ("a.cls", b"x")], "'a' has two pictures"),
        ([("a.png", b""), ("a.cls", b"")], "a.cls: the label is empty"),
        ([("a.png", b""), ("a.cls", b"\xff")], "a.cls: "),
        ([("a.png", b""), ("a.cls", b"3")], "a.cls: class 3 of 2"),
        ([("a.png", b""), ("a.cls", b"9" * 5000)], "a.cls: class 99999999999999999999 of 2"),
        ([("a.png", b""), ("a.json", b"{")], "a.json: it is no proper JSON"),
        ([("a.png", b""), ("a.json", b'{"label": 3}')], "a.json: label must be text"),
        ([("a.png", b""), ("a.txt", b"x" * 70_000)], "a.txt: 70000 bytes are over the limit"),
        ([("readme.md", b"")], "there are no samples"),
    ],
)
def test_wrong_archives_say_which_member(make_tar, members, message):
    with pytest.raises(DatasetError, match=message):
        load_webdataset([make_tar(*members)], classes=("cat", "dog"))


@pytest.mark.parametrize("kind", LINK.values(), ids=LINK.keys())
def test_links_and_devices_are_refused(tmp_path, kind):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("a.png")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(DatasetError, match="'a.png': is no plain file"):
        load_webdataset([path])


def test_no_tar_compressed_or_cut_short(make_tar, png, tmp_path):
    path = make_tar(("a.png", png * 50), ("a.cls", b"x"))
    good = path.read_bytes()
    for data, message in (
        (b"nonsense" * 100, "no uncompressed tar"),
        (gzip.compress(good), "no uncompressed tar"),
        (good[:700], "ends behind the end|damaged"),
        (b"", "no uncompressed tar"),
    ):
        path.write_bytes(data)
        with pytest.raises(DatasetError, match=message):
            load_webdataset([path])
    with pytest.raises(DatasetError, match="cannot read"):
        load_webdataset([tmp_path / "none.tar"])
    with pytest.raises(DatasetError, match="no tar files"):
        load_webdataset([])


def test_damaged_headers_raise_our_errors_only(make_tar, png):
    path = make_tar(("a.png", png), ("a.cls", b"x"), ("b.png", png), ("b.cls", b"y"))
    good = path.read_bytes()
    random = np.random.default_rng(5)
    for _ in range(200):
        data = bytearray(good)
        header = int(random.choice([0, 1024, 2048, 3072]))
        for place in random.integers(0, 512, 2):
            data[header + place] = random.integers(0, 256)
        # A right checksum lets the damage through to what reads the fields.
        block = (
            bytes(data[header : header + 148]) + b" " * 8 + bytes(data[header + 156 : header + 512])
        )
        data[header + 148 : header + 156] = f"{sum(block):06o}\0 ".encode()
        path.write_bytes(data)
        try:
            load_webdataset([path])
        except DatasetError:
            pass


def test_the_same_sample_in_two_files_is_refused(make_tar, png):
    path = make_tar(("a.png", png), ("a.cls", b"x"))
    with pytest.raises(DatasetError, match="'a' is there twice"):
        load_webdataset([path, path])
