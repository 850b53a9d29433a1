# SPDX-License-Identifier: Apache-2.0
"""A title gets a network that is worth its bits, or none."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.authoring import probe
from nnrvideo.container import VideoWriter
from nnrvideo.errors import ContainerError
from nnrvideo.picture import ChromaFormat, Picture
from nnrvideo.report import measure_file
from nnrvideo.training.data import sample_pairs
from nnrvideo.training.title import Candidate, Point, TitleSettings, encode_title

QUICK = TitleSettings(modes=("enhance", "sr2x"), steps=10, pictures=4)
FAST = {"crf": "30", "preset": "ultrafast"}


def film(path: Path, pictures: int, width: int = 96, height: int = 80) -> Path:
    """Moving stripes, coded without loss."""
    y, x = np.mgrid[0:height, 0:width]
    with VideoWriter(path, codec="libx264", options={"qp": "0", "preset": "ultrafast"}) as writer:
        for number in range(pictures):
            luma = (120 + 60 * np.sin((x + y + 2 * number) / 5)).astype(np.uint8)
            grey = np.full((height // 2, width // 2), 128, np.uint8)
            picture = Picture((luma, grey, grey.copy()), ChromaFormat.C420)
            writer.write(picture, Fraction(number, 25))
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("title") / "source.mkv", 8)


def test_untrained_networks_lose_to_the_plain_encode(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    report = encode_title(source, target, QUICK, codec="libx264", options=FAST)
    assert [(each.mode, each.tier) for each in report.candidates] == [
        ("enhance", "S"),
        ("sr2x", "S"),
    ]
    # A dozen kilobits of network cannot pay for eight small pictures.
    assert all(each.gain < 0 for each in report.candidates)
    assert report.chosen is None
    assert report.pictures == 8
    found = probe(target)
    assert not found.networks
    assert 8 * found.video_bytes == report.anchor[0].bits


def test_the_winner_is_in_the_file_and_reaches_what_was_reported(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnrvideo.training.title._LEAST_GAIN", -1000.0)
    target = tmp_path / "out.mp4"
    report = encode_title(source, target, QUICK, codec="libx264", options=FAST)
    chosen = report.chosen
    assert chosen is not None
    assert chosen.gain == max(each.gain for each in report.candidates)
    found = probe(target)
    assert 8 * found.video_bytes == chosen.point.video_bits
    assert 8 * found.network_bytes == chosen.point.network_bits
    measured = measure_file(source, target)
    assert measured.enhanced == 8
    assert measured.network is not None
    assert measured.network.quality.psnr_y == pytest.approx(chosen.point.psnr_y, abs=0.01)


def test_sizes_that_do_not_divide_leave_only_the_cleaning_network(tmp_path: Path) -> None:
    odd = film(tmp_path / "odd.mkv", 3, width=98, height=78)
    report = encode_title(odd, tmp_path / "out.mp4", QUICK, codec="libx264", options=FAST)
    assert [each.mode for each in report.candidates] == ["enhance"]


def test_same_seed_gives_the_same_file(source: Path, tmp_path: Path) -> None:
    settings = replace(QUICK, modes=("enhance",))
    files = []
    for name in ("one.mp4", "two.mp4"):
        encode_title(source, tmp_path / name, settings, codec="libx264", options=FAST)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_no_constant_quality_is_refused_and_nothing_is_left(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="-crf"):
        encode_title(source, tmp_path / "out.mp4", QUICK, options={"b:v": "1M"})
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"precious")
    with pytest.raises(ContainerError, match="exists"):
        encode_title(source, target, QUICK, options=FAST)
    assert target.read_bytes() == b"precious"


def test_pairs_are_spread_over_the_whole_title(source: Path) -> None:
    pairs = sample_pairs(source, source, Fraction(1), 2)
    assert 2 <= len(pairs) <= 4
    assert all(np.array_equal(a, b) for a, b in zip(pairs.small, pairs.large, strict=True))
    assert not np.array_equal(pairs.small[0], pairs.small[-1])


@pytest.mark.parametrize(
    "wrong", [{"modes": ()}, {"modes": ("sr3x",)}, {"tiers": ("XL",)}, {"steps": 5}]
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="modes|tiers|steps"):
        replace(QUICK, **wrong)


def test_a_point_counts_all_bits() -> None:
    candidate = Candidate("sr2x", "S", 10, Point(20, 100, 80, 40.0), 39.0, 0.1)
    assert candidate.point.bits == 180
