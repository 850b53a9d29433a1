# SPDX-License-Identifier: Apache-2.0
"""Pairs for restoration, splits that do not leak, and the data card."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from fractions import Fraction

import cv2
import numpy as np
import pytest

from nnrvideo.authoring.transcode import encode_reduced
from nnrvideo.errors import DatasetError
from nnrvideo.training.datasets import (
    data_card,
    load_csv,
    load_film_pairs,
    load_folder_pairs,
    load_image_folder,
    pair_set,
    split,
)
from nnrvideo.training.datasets.__main__ import main


@pytest.fixture
def folders(tmp_path):
    """Degraded PNGs of half size and clean ones, in subfolders."""
    random = np.random.default_rng(2)
    for number in range(3):
        clean = random.integers(0, 256, (16, 24, 3), np.uint8)
        for side, picture in (("clean", clean), ("small", clean[::2, ::2])):
            (tmp_path / side / "x").mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / side / "x" / f"{number}.png"), picture)
    return tmp_path / "small", tmp_path / "clean"


def test_folders_of_pictures_become_training_pairs(folders):
    data = load_folder_pairs(*folders, licence="CC0")
    assert [each.id for each in data.samples] == ["x/0", "x/1", "x/2"]
    pairs = pair_set(data)
    assert [each.shape for each in pairs.small] == [(8, 12)] * 3
    assert [each.shape for each in pairs.large] == [(16, 24)] * 3
    assert pairs.large_index == [0, 1, 2]
    wanted = cv2.imread(str(folders[1] / "x" / "2.png"), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(pairs.large[2], wanted)
    assert data_card(data).sizes == {"12x8": 3}


def test_pairs_that_are_none_are_refused(folders):
    small, clean = folders
    shutil.copy(clean / "x" / "0.png", small / "x" / "0.jpg")
    with pytest.raises(DatasetError, match="has the same name"):
        load_folder_pairs(small, clean)
    (small / "x" / "0.jpg").rename(small / "x" / "9.png")
    with pytest.raises(DatasetError, match=r"9\.png: has no partner in .*clean"):
        load_folder_pairs(small, clean)
    shutil.copy(clean / "x" / "0.png", clean / "x" / "9.png")
    with pytest.raises(DatasetError, match=r"x/9: is of scale 1, others of 2"):
        pair_set(load_folder_pairs(small, clean))
    cv2.imwrite(str(clean / "x" / "9.png"), np.zeros((40, 40), np.uint8))
    with pytest.raises(DatasetError, match="24x16 and 40x40 are in no proportion"):
        pair_set(load_folder_pairs(small, clean))
    (clean / "x" / "9.png").unlink()
    with pytest.raises(DatasetError, match=r"9\.png: has no partner in .*clean"):
        load_folder_pairs(small, clean)


def test_pairs_of_films_become_training_pairs(make_clip, tmp_path):
    source = make_clip(tmp_path / "source.mp4", frames=10, size=(98, 66))
    coded = []
    for crf in ("20", "30"):
        path = tmp_path / f"crf{crf}.mp4"
        encode_reduced(source, path, (Fraction(2), Fraction(2)), codec="libx264",
                       options={"crf": crf, "preset": "ultrafast"})  # fmt: skip
        coded.append((path, source))
    data = load_film_pairs(coded)
    assert [each.id for each in data.samples] == ["crf20", "crf30"]
    assert {each.group for each in data.samples} == {"source.mp4"}
    pairs = pair_set(data, pictures=3)
    assert {each.shape for each in pairs.small} == {(32, 48)}
    assert {each.shape for each in pairs.large} == {(64, 96)}
    assert len(pairs) >= 6
    with pytest.raises(DatasetError, match="too few groups"):
        split(data, {"train": 0.5, "test": 0.5})
    with pytest.raises(DatasetError, match=r"pair 0: .*none\.mp4 is no film"):
        load_film_pairs([(tmp_path / "none.mp4", source)])
    with pytest.raises(DatasetError, match="'crf20' is there twice"):
        load_film_pairs([coded[0], coded[0]])


def test_sets_for_classification_have_no_pairs(toy):
    with pytest.raises(DatasetError, match="has no pairs"):
        pair_set(load_image_folder(toy["folder"]))


SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


def test_splits_are_whole_stable_and_about_as_large_as_asked(toy):
    data = load_image_folder(toy["folder"])
    parts = split(data, SHARES)
    ids = [each.id for part in parts.values() for each in part.samples]
    assert sorted(ids) == [each.id for each in data.samples]
    sizes = {name: len(part) for name, part in parts.items()}
    assert sizes["train"] > sizes["test"] > sizes["validation"] > 0
    assert split(data, SHARES) == parts
    assert split(data, SHARES, seed=2) != parts
    fewer = type(data)(data.name, data.task, data.samples[::3])
    for name, part in split(fewer, SHARES).items():
        assert {each.id for each in part.samples} <= {each.id for each in parts[name].samples}


def test_films_and_groups_are_on_one_side(tmp_path, make_clip):
    rows = ["path,label,t0,t1,group"]
    for number in range(12):
        make_clip(tmp_path / f"{number}.mp4", frames=1 + number)
        rows += [f"{number}.mp4,x,{t},{t + 1},{'' if number < 8 else 'shoot'}" for t in range(3)]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    parts = split(load_csv(tmp_path / "t.csv"), {"train": 0.5, "test": 0.5})
    films = [{each.item for each in part.samples} for part in parts.values()]
    assert not films[0] & films[1]
    assert all(
        Counter(s.item for s in part.samples).most_common()[-1][1] == 3 for part in parts.values()
    )
    shoot = [{each.group for each in part.samples} for part in parts.values()]
    assert sum("shoot" in each for each in shoot) == 1


def test_equal_content_under_two_names_is_on_one_side(toy, tmp_path):
    shutil.copytree(toy["folder"] / "cat", tmp_path / "cat")
    for path in sorted((tmp_path / "cat").iterdir()):
        shutil.copy(path, tmp_path / "cat" / f"copy-{path.name}")
    parts = split(load_image_folder(tmp_path), {"train": 0.5, "test": 0.5})
    contents = [{part.item_hashes[s.item] for s in part.samples} for part in parts.values()]
    assert not contents[0] & contents[1]
    assert all(len(part) > 20 for part in parts.values())


def test_groups_by_pattern(toy):
    data = load_image_folder(toy["folder"])
    parts = split(data, {"train": 0.5, "test": 0.5}, group=r"/(\d\d\d)\d$")
    tens = [{each.id.split("/")[1][:3] for each in part.samples} for part in parts.values()]
    assert not tens[0] & tens[1]
    with pytest.raises(DatasetError, match="does not match"):
        split(data, {"train": 0.5, "test": 0.5}, group="dog")
    for wrong in ({}, {"a": 0.5}, {"a": 1.5, "b": -0.5}):
        with pytest.raises(ValueError, match="shares"):
            split(data, wrong)
    with pytest.raises(ValueError, match="regular expression"):
        split(data, {"a": 1}, group="(")


def test_the_card_tells_what_the_set_holds(toy):
    data = load_image_folder(toy["folder"], licence="CC0")
    card = data_card(data, split(data, SHARES))
    assert card.sha256 == data.sha256
    assert card.num_examples == 200
    assert card.classes == {"cat": 100, "dog": 100}
    assert card.sizes == {"8x6": 67, "8x7": 67, "8x8": 66}
    assert sum(map(len, card.splits.values())) == 200
    assert len(set(card.hashes.values())) == 200
    source = card.source()
    assert (source.sha256, source.examples, source.licence) == (data.sha256, 200, "CC0")


def test_the_card_tells_times(tmp_path, make_clip):
    make_clip(tmp_path / "a.mp4", frames=30)
    make_clip(tmp_path / "b.mp4", frames=31)
    (tmp_path / "t.csv").write_text(
        "path,label,t0,t1\na.mp4,x,0.25,0.5\na.mp4,x,0.5,1\nb.mp4,y,,\nb.mp4,y,0.5,1\n"
    )
    card = data_card(load_csv(tmp_path / "t.csv"))
    assert card.seconds == 1.25
    assert card.time_ranges == {
        str(tmp_path / "a.mp4"): (0.25, 1.0),
        str(tmp_path / "b.mp4"): (None, None),
    }


def test_from_the_command_line(toy, folders, tmp_path, capsys):
    out = tmp_path / "card.json"
    assert main(["folder", str(toy["folder"]), "--split", "train=0.8,test=0.2", "--licence", "CC0",
                 "--card", str(out)]) == 0  # fmt: skip
    assert 'classes: {"cat": 100, "dog": 100}' in capsys.readouterr().out
    written = json.loads(out.read_bytes())
    assert written["format"] == "nnrvideo-data-card"
    assert len(written["hashes"]) == 200
    for arguments in (
        ["csv", str(toy["csv"])],
        ["coco", str(toy["coco"])],
        ["webdataset", str(toy["tar0"]), str(toy["tar1"])],
        ["pairs", *map(str, folders)],
    ):
        assert main(arguments) == 0
    capsys.readouterr()
    for arguments, message in (
        (["folder", "a", "b"], "takes 1 paths"),
        (["csv", "none.csv"], "cannot read none.csv"),
        (["films", "a.mp4"], "films come in pairs"),
        (["folder", str(toy["folder"]), "--crops"], "--crops is an option of coco"),
        (["folder", str(toy["folder"]), "--group", "x"], "--group is an option of --split"),
        (["folder", str(toy["folder"]), "--root", "x"], "--root is an option of"),
        (["folder", str(toy["folder"]), "--split", "x"], "must be NAME=SHARE"),
        (["folder", str(toy["folder"]), "--card", str(out)], "exists already"),
    ):
        assert main(arguments) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
