# SPDX-License-Identifier: Apache-2.0
"""A title gets a network that is worth its bits, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.authoring import probe
from nnrvideo.errors import ContainerError
from nnrvideo.metrics import VmafError, find_vmaf
from nnrvideo.report import measure_file
from nnrvideo.training.data import sample_pairs
from nnrvideo.training.title import TitleSettings, encode_title
from nnrvideo.training.title.curve import Knob
from nnrvideo.training.title.decide import Choice
from nnrvideo.training.title.pieces import Request
from nnrvideo.training.title.sizes import fitting_tier
from nnrvideo.training.title.trial import Trial

FAST = {"crf": "30", "preset": "ultrafast"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, make_film: Callable[..., Path]) -> Path:
    return make_film(tmp_path_factory.mktemp("title") / "source.mkv", 8)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, make_film: Callable[..., Path]) -> Path:
    """Two scenes of stripes and one of black."""
    return make_film(tmp_path_factory.mktemp("title") / "s.mkv", 45, scenes=3, black=1)


@pytest.fixture
def easy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network is worth its bits, however it looks."""
    monkeypatch.setattr(
        "nnrvideo.training.title.trial._LEAST_GAIN", dict.fromkeys(("psnr", "ms-ssim"), -1000.0)
    )
    monkeypatch.setattr("nnrvideo.training.title.trial._flickers", lambda _shown: False)
    monkeypatch.setattr(
        "nnrvideo.training.title.trial._HOPELESS", dict.fromkeys(("psnr", "ms-ssim"), 1000.0)
    )


def test_untrained_networks_lose_to_the_plain_encode(
    source: Path, tmp_path: Path, quick: TitleSettings
) -> None:
    target = tmp_path / "out.mp4"
    settings = replace(quick, modes=("enhance", "sr2x"))
    report = encode_title(source, target, settings, codec="libx264", options=FAST)
    assert [(each.mode, each.tier) for each in report.candidates] == [
        ("enhance", "XS"),
        ("sr2x", "XS"),
    ]
    # A dozen kilobits of network cannot pay for eight small pictures.
    assert all(each.gain < 0 for each in report.candidates)
    assert report.chosen is None
    assert report.pictures == 8
    found = probe(target)
    assert not found.networks
    assert 8 * found.video_bytes == report.plain.bits.total
    assert [each.name for each in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.usefixtures("easy")
def test_scenes_take_what_they_need_and_the_file_is_what_was_reported(
    scenes: Path, tmp_path: Path, quick: TitleSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.mp4"
    settings = replace(quick, levels=("bias",))
    choice = Choice(("base", "bias", "off"), 1, 1.0)
    monkeypatch.setattr("nnrvideo.training.title.trial.choose", lambda *_: choice)
    monkeypatch.setattr(Trial, "_proven", lambda _self, tried: tried[-1])
    report = encode_title(scenes, target, settings, codec="libx264", options=FAST)
    chosen = report.chosen
    assert chosen is not None and chosen.variant == "by scene"
    assert [each.variant for each in report.candidates] == ["whole", "bias", "by scene"]
    assert report.candidates[1].point.bits.updates > chosen.point.bits.updates
    assert [scene.option for scene in chosen.scenes] == ["base", "bias", "off"]
    measured = measure_file(scenes, target)
    assert measured.network is not None
    assert measured.network.quality.psnr_y == pytest.approx(chosen.point.psnr_y, abs=0.01)
    assert measured.enhanced == 30
    found = probe(target)
    bits = chosen.point.bits
    assert 8 * found.video_bytes == bits.video
    assert 8 * found.network_bytes == bits.networks
    assert [each.is_base for each in found.networks] == [True, False]
    assert bits.updates > 0


@pytest.mark.usefixtures("easy")
def test_a_metric_of_structure_decides(
    make_film: Callable[..., Path], tmp_path: Path, quick: TitleSettings
) -> None:
    film = make_film(tmp_path / "film.mkv", 4, size=(192, 176))
    settings = replace(quick, target="ms-ssim")
    report = encode_title(film, tmp_path / "out.mp4", settings, codec="libx264", options=FAST)
    assert 0.5 < report.plain.quality < 1 < report.plain.psnr_y
    assert all(0.5 < each.point.quality < 1 for each in report.candidates)


def test_vmaf_decides(make_film: Callable[..., Path], tmp_path: Path, quick: TitleSettings) -> None:
    try:
        find_vmaf()
    except VmafError as error:
        pytest.skip(str(error))
    film = make_film(tmp_path / "film.mkv", 4)
    settings = replace(quick, target="vmaf")
    report = encode_title(film, tmp_path / "out.mp4", settings, codec="libx264", options=FAST)
    (tried,) = report.candidates
    assert all(50 < point.quality <= 100 for point in (report.plain, tried.point))
    assert report.plain.quality != report.plain.psnr_y


def test_pictures_too_small_for_structure_are_refused(
    source: Path, tmp_path: Path, quick: TitleSettings
) -> None:
    settings = replace(quick, target="ms-ssim")
    with pytest.raises(ValueError, match="at least 161"):
        encode_title(source, tmp_path / "out.mp4", settings, codec="libx264", options=FAST)


def test_networks_that_receivers_cannot_run_are_left_out(
    source: Path, tmp_path: Path, quick: TitleSettings
) -> None:
    settings = replace(quick, modes=("enhance", "sr2x"), tiers=("S",), complexity_limit=1.0)
    report = encode_title(source, tmp_path / "out.mp4", settings, codec="libx264", options=FAST)
    assert [each.mode for each in report.candidates] == ["sr2x"]
    assert report.notes == (
        "enhance S was left out: it takes 1.54 kMAC a sample, over the limit of 1",
    )


@pytest.mark.parametrize(
    ("bits", "limit", "tier"),
    [
        (600_000, None, "XS"),
        (1_000_000, None, "S"),
        (2_500_000, None, "M"),
        (2_500_000, 1.0, "S"),
        (2_500_000, 0.1, "XS"),
    ],
)
def test_the_network_is_as_large_as_the_video_pays_for(
    quick: TitleSettings, bits: int, limit: float | None, tier: str
) -> None:
    request = Request(
        source=Path("film.mkv"), suffix=".mp4", size=(960, 540), seconds=5.0, codec="libx264",
        options={}, knob=Knob("crf", 30.0), buffer=None, duration=None,
        settings=replace(quick, complexity_limit=limit),
    )  # fmt: skip
    assert fitting_tier(request, "sr2x", bits) == tier
    # Twelve repetitions cost what the one does.
    assert fitting_tier(replace(request, seconds=119.0), "sr2x", 12 * bits) == tier


@pytest.mark.usefixtures("easy")
def test_who_reduces_more_is_not_tried_where_less_is_far_behind(
    source: Path, tmp_path: Path, quick: TitleSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnrvideo.training.title.trial._HOPELESS", {"psnr": 0.1})
    settings = replace(quick, modes=("sr1.5x", "sr2x"))
    report = encode_title(source, tmp_path / "out.mp4", settings, codec="libx264", options=FAST)
    assert [each.mode for each in report.candidates] == ["sr1.5x"]
    assert report.candidates[0].gain < -0.1
    assert report.notes == ("sr2x was left out: less reduction was far behind already",)


def test_a_budget_bounds_training(source: Path, tmp_path: Path, quick: TitleSettings) -> None:
    settings = replace(quick, steps=None, budget=1.0)
    report = encode_title(source, tmp_path / "out.mp4", settings, codec="libx264", options=FAST)
    assert 0 < report.training_seconds


def test_a_bit_rate_instead_of_a_quality(
    source: Path, tmp_path: Path, quick: TitleSettings
) -> None:
    target = tmp_path / "out.mp4"
    options = {"b:v": "200k", "preset": "ultrafast"}
    settings = replace(quick, two_pass=True)
    report = encode_title(source, target, settings, codec="libx264", options=options)
    assert report.plain.knob == "200 kbit/s"
    assert len({point.bits.total for point in report.curve}) >= 3
    assert probe(target).access_units == 8


def test_same_seed_gives_the_same_file(source: Path, tmp_path: Path, quick: TitleSettings) -> None:
    files = []
    for name in ("one.mp4", "two.mp4"):
        encode_title(source, tmp_path / name, quick, codec="libx264", options=FAST)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_a_work_folder_is_used_again(source: Path, tmp_path: Path, quick: TitleSettings) -> None:
    work = tmp_path / "work"
    lines: list[int] = []
    for number in range(2):
        encode_title(
            source, tmp_path / f"{number}.mp4", quick, codec="libx264", options=FAST, work=work,
            progress=lambda done, _: lines.append(done),
        )  # fmt: skip
        assert bool(lines) == (number == 0)
        lines.clear()
    assert (tmp_path / "0.mp4").read_bytes() == (tmp_path / "1.mp4").read_bytes()


@pytest.mark.parametrize(
    ("options", "settings", "message"),
    [
        ({}, {}, "-crf or -b:v"),
        ({"crf": "30"}, {"two_pass": True}, "-b:v"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_left(
    source: Path, tmp_path: Path, quick: TitleSettings, options, settings, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        encode_title(source, tmp_path / "out.mp4", replace(quick, **settings), options=options)
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept(source: Path, tmp_path: Path, quick: TitleSettings) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"precious")
    with pytest.raises(ContainerError, match="exists"):
        encode_title(source, target, quick, options=FAST)
    assert target.read_bytes() == b"precious"


def test_pairs_are_spread_over_the_whole_title(source: Path) -> None:
    pairs = sample_pairs(source, source, Fraction(1), 2)
    assert 2 <= len(pairs) <= 4
    assert all(np.array_equal(a, b) for a, b in zip(pairs.small, pairs.large, strict=True))
    assert not np.array_equal(pairs.small[0], pairs.small[-1])


def test_pairs_of_a_scene(scenes: Path) -> None:
    every = sample_pairs(scenes, scenes, Fraction(1), 100)
    some = sample_pairs(
        scenes, scenes, Fraction(1), 100, start=Fraction(15, 25), end=Fraction(30, 25)
    )
    assert len(some) == 15
    for number, (small, large) in enumerate(zip(some.small, some.large, strict=True)):
        assert np.array_equal(small, every.small[15 + number])
        assert np.array_equal(large, small)


@pytest.mark.parametrize(
    "wrong",
    [
        {"modes": ()},
        {"modes": ("sr3x",)},
        {"tiers": ("XL",)},
        {"steps": 5},
        {"target": "mse"},
        {"levels": ("first",)},
        {"budget": 0.0},
        {"budget": float("nan")},
        {"complexity_limit": -1.0},
        {"repeat": Fraction(-1)},
    ],
)
def test_impossible_settings_are_refused(quick: TitleSettings, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="modes|tiers|steps|targets|updates|budget|limit|repeat"):
        replace(quick, **wrong)
