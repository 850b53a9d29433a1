# SPDX-License-Identifier: Apache-2.0
"""Titles that use a network that was given, and ladders whose rungs share one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.authoring import extract, probe
from nnrvideo.container import open_media
from nnrvideo.data import base_network
from nnrvideo.errors import BitstreamError
from nnrvideo.report import measure_file
from nnrvideo.training.data import PairSet
from nnrvideo.training.recipe import Budget, train_filter
from nnrvideo.training.title import Rung, TitleSettings, encode_ladder, encode_title
from nnrvideo.training.title.base import kind_of
from nnrvideo.training.title.decide import Choice

FAST = {"preset": "ultrafast", "crf": "34"}


@pytest.fixture
def easy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last candidate is the result, however it looks."""
    monkeypatch.setattr(
        "nnrvideo.training.title.trial.Trial._proven", lambda _self, tried: tried[-1]
    )


@pytest.fixture(scope="module")
def enhancer() -> bytes:
    """A network that keeps the size, hardly trained."""
    random = np.random.default_rng(1)
    planes = [random.integers(0, 256, (80, 96), np.uint8) for _ in range(2)]
    return train_filter(
        PairSet(planes, planes[::-1], [0, 1]), "enhance", "XS", budget=Budget(steps=10)
    ).nnc


def test_the_kind_of_a_network(enhancer: bytes) -> None:
    assert kind_of(enhancer) == ("enhance", "XS")
    assert kind_of(base_network()) == ("sr2x", "M")
    with pytest.raises(BitstreamError):
        kind_of(enhancer[:100])


@pytest.mark.usefixtures("easy")
def test_a_network_that_was_given_is_the_base_and_an_only_scene_gets_updates(
    make_film: Callable[..., Path],
    tmp_path: Path,
    quick: TitleSettings,
    enhancer: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nnrvideo.training.title.trial.choose", lambda *_: Choice(("all",), 1, 1.0))
    film = make_film(tmp_path / "film.mkv", 14)
    target = tmp_path / "out.mp4"
    settings = replace(quick, levels=("all",), update_steps=30)
    report = encode_title(film, target, settings, codec="libx264", options=FAST, base=enhancer)
    assert [(each.variant, each.steps) for each in report.candidates] == [
        ("whole", 0),
        ("all", 0),
        ("by scene", 0),
    ]
    found = probe(target).networks
    assert [each.is_base for each in found] == [True, False]
    assert extract(target)[0].payload == enhancer
    measured = measure_file(film, target)
    assert measured.network is not None
    assert measured.network.quality.psnr_y == pytest.approx(
        report.candidates[-1].point.psnr_y, abs=0.01
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"modes": ("sr2x",)}, "the network is for enhance, not for sr2x"),
        ({"tiers": ("S",)}, "tiers are for training"),
        ({"budget": 1.0}, "updates take steps"),
    ],
)
def test_what_makes_no_sense_with_a_given_network(
    tmp_path: Path, quick: TitleSettings, enhancer: bytes, wrong: dict[str, object], message: str
) -> None:
    settings = replace(quick, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        encode_title(
            tmp_path / "film.mkv", tmp_path / "out.mp4", settings, options=FAST, base=enhancer
        )


@pytest.mark.usefixtures("easy")
def test_rungs_share_a_base(
    make_film: Callable[..., Path], tmp_path: Path, quick: TitleSettings
) -> None:
    film = make_film(tmp_path / "film.mkv", 14, size=(192, 160))
    rungs = [Rung(160, tmp_path / "a.mp4"), Rung(80, tmp_path / "b.mp4", "30")]
    settings = replace(quick, levels=("bias",), update_steps=20)
    said: list[str] = []
    reports = encode_ladder(film, rungs, settings, codec="libx264", options=FAST, say=said.append)
    sizes, bases = [], []
    for rung, report in zip(rungs, reports, strict=True):
        assert report.candidates and all(each.mode == "enhance" for each in report.candidates)
        with open_media(rung.target) as media:
            sizes.append((media.video.width, media.video.height))
        (base, *_) = probe(rung.target).networks
        bases.append((base.nnpfc_id, base.sha256))
    assert sizes == [(192, 160), (96, 80)]
    assert bases[0] == bases[1]
    assert [report.plain.knob for report in reports] == ["CRF 34", "CRF 30"]
    assert said.count("enhance XS: training on all rungs") == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "film.mkv"]
    # The same again, to the bit.
    again = [replace(rung, target=tmp_path / f"2{rung.target.name}") for rung in rungs]
    encode_ladder(film, again, settings, codec="libx264", options=FAST)
    for one, two in zip(rungs, again, strict=True):
        digests = {hashlib.sha256(each.target.read_bytes()).digest() for each in (one, two)}
        assert len(digests) == 1


@pytest.mark.parametrize(
    ("heights", "modes", "message"),
    [
        ((80, 80), ("enhance",), "different heights"),
        ((), ("enhance",), "different heights"),
        ((82,), ("enhance",), "1 to 80 rows"),
        ((0,), ("enhance",), "1 to 80 rows"),
        ((80,), ("enhance", "sr2x"), "one mode"),
    ],
)
def test_impossible_ladders_are_refused(
    make_film: Callable[..., Path],
    tmp_path: Path,
    quick: TitleSettings,
    heights: tuple[int, ...],
    modes: tuple[str, ...],
    message: str,
) -> None:
    film = make_film(tmp_path / "film.mkv", 2)
    rungs = [Rung(height, tmp_path / f"{height}.mp4") for height in heights]
    with pytest.raises(ValueError, match=message):
        encode_ladder(film, rungs, replace(quick, modes=modes), options=FAST)  # type: ignore[arg-type]
    assert [each.name for each in tmp_path.iterdir()] == ["film.mkv"]
