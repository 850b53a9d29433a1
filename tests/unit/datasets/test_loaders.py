# SPDX-License-Identifier: Apache-2.0
"""Every loader reads the same set the same way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction

import cv2
import numpy as np
import pytest

from nnrvideo.errors import DatasetError, LimitExceededError
from nnrvideo.limits import Limits
from nnrvideo.training.datasets import (
    Dataset,
    FileItem,
    Sample,
    load_coco,
    load_csv,
    load_image_folder,
    load_webdataset,
)
from nnrvideo.training.datasets.pictures import decode_luma, decode_rgb, picture_size


def loaded(toy) -> list[Dataset]:
    return [
        load_image_folder(toy["folder"]),
        load_csv(toy["csv"]),
        load_coco(toy["coco"]),
        load_webdataset([toy["tar0"], toy["tar1"]], classes=("cat", "dog")),
    ]


def test_all_forms_of_one_set_are_the_same(toy):
    sets = loaded(toy)
    first = [(each.id, each.label) for each in sets[0].samples]
    assert len(first) == 200
    assert first[0] == ("cat/0000", "cat")
    for each in sets[1:]:
        assert [(sample.id, sample.label) for sample in each.samples] == first
    assert len({each.sha256 for each in sets}) == 1
    for each in sets[1:]:
        for mine, theirs in zip(sets[0].samples[::50], each.samples[::50], strict=True):
            (wanted,), (got,) = sets[0].pictures(mine), each.pictures(theirs)
            assert np.array_equal(wanted, got)
    assert sets[2].licence == "CC0"
    assert sets[0].classes == ("cat", "dog")


def test_loading_needs_no_pytorch(toy):
    program = (
        "import sys; from nnrvideo.training.datasets import load_csv\n"
        f"print(len(load_csv({str(toy['csv'])!r})), 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["200", "False"]


def test_the_hash_tells_labels_content_and_ids_apart(tmp_path, png):
    files = [tmp_path / name for name in ("a.png", "b.png")]
    for path in files:
        path.write_bytes(png)
    one, two = map(FileItem, files)
    hashes = {
        Dataset("x", "classification", (Sample(*each),)).sha256
        for each in (("a", one, "x"), ("a", one, "y"), ("b", one, "x"))
    }
    assert len(hashes) == 3
    same = Dataset("other name", "classification", (Sample("a", two, "x"),)).sha256
    assert same in hashes
    files[1].write_bytes(png + b"\0")
    assert Dataset("x", "classification", (Sample("a", two, "x"),)).sha256 not in hashes


def test_stretches_of_films_are_those_pictures(make_clip, number_of, tmp_path):
    make_clip(tmp_path / "film.mp4", frames=48, numbers=True)
    (tmp_path / "t.csv").write_text(
        "path,label,t0,t1\nfilm.mp4,early,0,0.5\nfilm.mp4,late,1.25,\nfilm.mp4,all,,\n"
    )
    data = load_csv(tmp_path / "t.csv")
    assert [each.id for each in data.samples] == ["film", "film@0-1/2", "film@5/4-"]
    numbers = [[number_of(rgb[:, :, 1]) for rgb in data.pictures(s)] for s in data.samples]
    assert numbers == [list(range(48)), list(range(12)), list(range(30, 48))]
    assert {each.group for each in data.samples} == {"film.mp4"}
    assert data.samples[1].end == Fraction(1, 2)
    assert data.size(data.samples[0]) == (96, 64)
    (tmp_path / "t.csv").write_text("path,label,t0,t1\nfilm.mp4,never,7,8\n")
    data = load_csv(tmp_path / "t.csv")
    with pytest.raises(DatasetError, match="no pictures at these times"):
        next(data.pictures(data.samples[0]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: there is no column 'label'"),
        ("path\na.png\n", "line 1: there is no column 'label'"),
        ("path,label\na.png\n", "line 2: must be a path, a label"),
        ("path,label\na.png,x,y\n", "line 2: must be a path, a label"),
        ("path,label\n../a.png,x\n", "line 2: '../a.png' does not lie below"),
        ("path,label\n/etc/passwd,x\n", "line 2: '/etc/passwd' does not lie below"),
        ("path,label\nb.png,x\n", "line 2: there is no file"),
        ("path,label\nlink.png,x\n", "line 2: 'link.png' leads out of"),
        ("path,label\n.,x\n", "line 2: .* is no file"),
        ("path,label\nt.csv,x\n", "line 2: .* is none of .avi"),
        ("path,label,t0\na.png,x,1\n", "line 2: a.png is a picture, which has no times"),
        ("path,label,t0\nf.mp4,x,1e9\n", "line 2: t0: '1e9' is no number of seconds"),
        ("path,label,t0\nf.mp4,x,1/0\n", "line 2: t0: '1/0' is no number"),
        ("path,label,t0\nf.mp4,x,-1\n", "line 2: t0: -1 is before the film"),
        ("path,label,t0,t1\nf.mp4,x,2,2\n", "line 2: t1 must be after t0"),
        ('path,label\n"a.png,x\n', "is no CSV in UTF-8"),
        ("path,label\na.png,x\na.png,y\n", "'a' is there twice"),
        ("path,label\na.png,\x1b[31m\n", "printable"),
        ("path,label\n", "there are no samples"),
    ],
)
def test_a_wrong_table_says_which_line(tmp_path, png, text, message):
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.png").write_bytes(png)
    (root / "f.mp4").write_bytes(b"film")
    (tmp_path / "secret.png").write_bytes(png)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "t.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        load_csv(root / "t.csv")


def test_bytes_that_are_no_text_are_no_table(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"path,label\n\xff\xfe,x\n")
    with pytest.raises(DatasetError, match="UTF-8"):
        load_csv(tmp_path / "t.csv")
    with pytest.raises(DatasetError, match="cannot read"):
        load_csv(tmp_path / "none.csv")


def test_folders_with_links_out_of_them_are_refused(tmp_path, png):
    (tmp_path / "outside.png").write_bytes(png)
    (tmp_path / "root" / "cat").mkdir(parents=True)
    (tmp_path / "root" / "cat" / "a.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(DatasetError, match="leads out of"):
        load_image_folder(tmp_path / "root")
    with pytest.raises(DatasetError, match="no folder"):
        load_image_folder(tmp_path / "none")


def coco(tmp_path, **changes):
    value = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [
            {"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 0.5, 2.2, 2]},
            {"id": 6, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    } | changes
    path = tmp_path / "c.json"
    path.write_text(json.dumps(value))
    return path


@pytest.fixture
def coco_pictures(tmp_path, png):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png)


def test_coco_whole_pictures_and_boxes(tmp_path, coco_pictures):
    data = load_coco(coco(tmp_path))
    assert [(each.id, each.label) for each in data.samples] == [("a", "cat")]
    assert data.left_out == 1  # nobody says what is in b
    boxes = load_coco(coco(tmp_path), crops=True)
    assert [(each.id, each.box) for each in boxes.samples] == [
        ("a#5", (1, 0, 3, 3)),
        ("a#6", (0, 0, 1, 1)),
    ]
    (whole,) = data.pictures(data.samples[0])
    (part,) = boxes.pictures(boxes.samples[0])
    assert np.array_equal(part, whole[0:3, 1:4])
    assert boxes.size(boxes.samples[0]) == (3, 3)
    assert boxes.sha256 != data.sha256


NOTE = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 3}, "images must be a list of objects"),
        ({"images": [3]}, "images must be a list of objects"),
        ({"images": [{"id": 1}]}, r"images\[0\]: file_name must be text"),
        ({"images": [{"file_name": "a.png"}]}, r"images\[0\]: id must be a number"),
        ({"images": [{"id": 1, "file_name": "../a.png"}]}, r"images\[0\]: .* does not lie below"),
        ({"annotations": [NOTE | {"category_id": 9}]}, r"annotations\[0\]: there is no category 9"),
        ({"annotations": [NOTE | {"image_id": 9}]}, r"annotations\[0\]: there is no image 9"),
        ({"annotations": [NOTE, NOTE | {"category_id": 2}]}, "of several categories; crops"),
        ({"annotations": [NOTE | {"bbox": [0, 0, 0, 0]}]}, "bbox is empty"),
        ({"annotations": [NOTE | {"bbox": [-1, 0, 1, 1]}]}, "bbox must be four numbers"),
        ({"annotations": [NOTE | {"bbox": "all"}]}, "bbox must be four numbers"),
        ({"categories": [{"id": 1}]}, r"categories\[0\]: name must be text"),
    ],
)
def test_wrong_coco_says_which_entry(tmp_path, coco_pictures, changes, message):
    with pytest.raises(DatasetError, match=message):
        load_coco(
            coco(tmp_path, **changes), crops="bbox" in str(changes) and "several" not in message
        )


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"[" * 99999, b"\xff", b'{"images": NaN}'])
def test_what_is_no_coco_is_refused(tmp_path, text):
    (tmp_path / "c.json").write_bytes(text)
    with pytest.raises(DatasetError, match=r"c\.json"):
        load_coco(tmp_path / "c.json")


def test_a_box_outside_of_its_picture_is_refused(tmp_path, coco_pictures):
    path = coco(tmp_path, annotations=[NOTE | {"bbox": [3, 3, 9, 9]}])
    data = load_coco(path, crops=True)
    with pytest.raises(DatasetError, match="outside of"):
        next(data.pictures(data.samples[0]))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_sizes_are_read_off_headers(suffix):
    picture = np.zeros((37, 53, 3), np.uint8)
    data = cv2.imencode(suffix, picture)[1].tobytes()
    assert picture_size(data, "x") == (53, 37)
    assert decode_rgb(data, "x").shape == (37, 53, 3)
    assert decode_luma(data, "x").shape == (37, 53)
    for length in range(24):
        with pytest.raises(DatasetError):
            decode_rgb(data[:length], "x")
    with pytest.raises(LimitExceededError, match="x: pixels"):
        decode_rgb(data, "x", Limits(max_picture_samples=100))


def test_colours_are_red_green_blue():
    data = cv2.imencode(".png", np.full((2, 2, 3), (255, 0, 10), np.uint8))[1].tobytes()
    assert decode_rgb(data, "x")[0, 0].tolist() == [10, 0, 255]


def test_a_promise_of_gigabytes_is_refused_before_decoding(png):
    huge = png[:16] + (1 << 20).to_bytes(4, "big") * 2 + png[24:]
    with pytest.raises(LimitExceededError, match="max_picture_samples"):
        decode_rgb(huge, "x")
    wrong = png[:16] + (9).to_bytes(4, "big") + png[20:]
    with pytest.raises(DatasetError, match="damaged"):
        decode_rgb(wrong, "x")


def test_damage_raises_our_errors_only():
    random = np.random.default_rng(3)
    picture = random.integers(0, 256, (16, 16, 3), np.uint8)
    for suffix in (".png", ".jpg", ".webp", ".bmp"):
        good = cv2.imencode(suffix, picture)[1].tobytes()
        for _ in range(60):
            data = bytearray(good)
            for place in random.integers(0, min(len(data), 120), 3):
                data[place] = random.integers(0, 256)
            try:
                decode_rgb(bytes(data), "x", Limits(max_picture_samples=1 << 16))
            except (DatasetError, LimitExceededError):
                pass


def test_unreadable_files_are_told(tmp_path, png):
    path = tmp_path / "cat" / "a.png"
    path.parent.mkdir()
    path.write_bytes(png)
    data = load_image_folder(tmp_path)
    os.truncate(path, 40)
    with pytest.raises(DatasetError, match=r"a\.png"):
        next(data.pictures(data.samples[0]))
    path.unlink()
    with pytest.raises(DatasetError, match=r"cannot read .*a\.png"):
        next(data.pictures(data.samples[0]))
