# SPDX-License-Identifier: Apache-2.0
"""What receivers were promised is kept, networks included."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.container import open_media
from nnrvideo.report.bits import count_bits
from nnrvideo.training.title import TitleSettings, encode_title, tasks
from nnrvideo.training.title.buffer import Buffer

FAST = {"preset": "ultrafast", "crf": "30"}


def test_the_promise_of_options() -> None:
    assert Buffer.of({"maxrate": "2M", "bufsize": "500k"}) == Buffer(2e6, 5e5)
    assert Buffer.of({"maxrate": "2M"}) is None  # which encoders pass over
    with pytest.raises(ValueError, match="-bufsize takes bits such as 2M, not '1 s'"):
        Buffer.of({"maxrate": "2M", "bufsize": "1 s"})


def test_a_network_takes_its_rate_and_its_burst() -> None:
    promise = Buffer(1000.0, 800.0)
    assert promise.without(300, 2.0) == Buffer(850.0, 500.0)
    assert promise.without(300, 0.5) is None  # 600 of 1000 bits a second
    assert promise.without(400, 10.0) is None  # half of the buffer
    assert Buffer(1e6, 2e6).options == {"maxrate": "1000000", "bufsize": "2000000"}


def units(*bits: int, times: str = "") -> list[tuple[Fraction, int]]:
    order = [int(each) for each in times] if times else range(len(bits))
    return [(Fraction(time, 10), size) for time, size in zip(order, bits, strict=True)]


@pytest.mark.parametrize(
    ("sizes", "lacking"),
    [
        ((90,), 0),  # it is 0.9 full at the start
        ((95,), 5),
        ((90, 20, 20), 0),  # 20 arrive in between
        ((90, 20, 26, 20, 0, 0), 6),
        ((0, 0, 0, 0, 101), 1),  # and never more than it holds
        ((100, 0, 30), 10),  # the worst moment counts
    ],
)
def test_what_a_buffer_lacks(sizes: tuple[int, ...], lacking: int) -> None:
    assert Buffer(200.0, 100.0).lacking(units(*sizes)) == lacking


def test_pictures_are_decoded_in_the_order_of_their_units() -> None:
    # Shown as 0, 2, 1, 3; decoded at equal distances.
    assert Buffer(200.0, 100.0).lacking(units(90, 20, 20, 20, times="0213")) == 0
    assert Buffer(200.0, 100.0).lacking(units(90, 20, 20, 21, times="0213")) == 1


@pytest.mark.parametrize("mode", ["enhance", "sr2x"])
def test_the_video_leaves_room_for_the_network(
    make_film: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    monkeypatch.setattr("nnrvideo.training.title.trial._LEAST_GAIN", {"psnr": -1000.0})
    monkeypatch.setattr("nnrvideo.training.title.trial._flickers", lambda _shown: False)
    told: dict[str, set[str]] = {}
    code = tasks.code

    def watched(arguments, folder):
        told.setdefault(arguments["name"].split("-")[0], set()).add(arguments["options"]["bufsize"])
        return code(arguments, folder)

    watched.__name__ = "code"
    monkeypatch.setattr(tasks, "code", watched)
    film = make_film(tmp_path / "film.mkv", 12)
    target = tmp_path / "out.mp4"
    options = {**FAST, "maxrate": "200k", "bufsize": "60k"}
    settings = TitleSettings(modes=(mode,), steps=10, pictures=4, levels=())
    report = encode_title(film, target, settings, codec="libx264", options=options)
    assert report.chosen is not None and report.chosen.point.bits.base > 10_000
    assert told["plain"] == {"60k"}
    assert all(30_000 < int(size) < 50_000 for size in told[mode])
    with open_media(target) as media:
        _, found = count_bits(media)
    assert Buffer(2e5, 6e4).lacking([(unit.pts, unit.bits.total) for unit in found]) == 0
    # That of the network alone would have been too much for a buffer of half the size.
    assert Buffer(2e5, 2e4).lacking([(unit.pts, unit.bits.total) for unit in found]) > 0


def test_networks_that_no_buffer_holds_are_left_out(
    make_film: Callable[..., Path], tmp_path: Path, quick: TitleSettings
) -> None:
    film = make_film(tmp_path / "film.mkv", 4)
    options = {**FAST, "maxrate": "200k", "bufsize": "20k"}
    report = encode_title(film, tmp_path / "out.mp4", quick, codec="libx264", options=options)
    assert not report.candidates
    assert report.notes == ("enhance XS was left out: it is too large for -maxrate or -bufsize",)


def test_a_candidate_that_comes_too_late_is_left_out(
    make_film: Callable[..., Path],
    tmp_path: Path,
    quick: TitleSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nnrvideo.training.title.trial._LEAST_GAIN", {"psnr": -1000.0})
    monkeypatch.setattr("nnrvideo.training.title.trial._flickers", lambda _shown: False)
    monkeypatch.setattr("nnrvideo.training.title.sizes._RESERVE", 0.1)
    film = make_film(tmp_path / "film.mkv", 4)
    options = {**FAST, "maxrate": "100k", "bufsize": "8k"}
    report = encode_title(film, tmp_path / "out.mp4", quick, codec="libx264", options=options)
    assert report.chosen is None and len(report.candidates) == 1
    assert "a buffer of -bufsize would lack" in report.notes[0]
