# SPDX-License-Identifier: Apache-2.0
"""Pairs: downscaling keeps sample positions, clips become pairs, measuring finds a difference."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.container import VideoWriter
from nnrvideo.errors import ContainerError
from nnrvideo.picture import ChromaFormat, ColourDescription, Picture
from nnrvideo.training import Degradation, PairSet, PairSettings, find_clips, make_pairs, measure
from nnrvideo.training.data import base_pair_settings, halve
from nnrvideo.training.evaluate import CARD_DEGRADATIONS, enlarge_lanczos, sequence_psnr


def write_clip(path: Path, planes: list[np.ndarray], codec: str = "ffv1") -> None:
    height, width = planes[0].shape
    chroma = np.full((height // 2, width // 2), 128, np.uint8)
    with VideoWriter(path, codec=codec) as file:
        for number, plane in enumerate(planes):
            picture = Picture((plane, chroma, chroma), ChromaFormat.C420, 8, ColourDescription())
            file.write(picture, Fraction(number, 25))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    x = np.arange(386)
    planes = [
        np.broadcast_to(np.clip(128 + 90 * np.sign(np.sin((x + n) / 5)), 0, 255), (262, 386))
        for n in range(6)
    ]
    path = tmp_path / "stripes.mkv"
    write_clip(path, [np.ascontiguousarray(plane, dtype=np.uint8) for plane in planes])
    return path


@pytest.mark.parametrize("downscaler", ["area", "bicubic", "lanczos"])
def test_halving_does_not_shift(downscaler: str) -> None:
    ramp = np.broadcast_to(np.arange(20, 148, 2, dtype=np.uint8), (32, 64)).copy()
    halved = halve(ramp, downscaler)
    assert halved.shape == (16, 32)
    # Between samples 2n and 2n+1 of a ramp lies their mean.
    wanted = 21 + 4 * np.arange(32)
    assert np.abs(halved[:, 4:-4].astype(int) - wanted[4:-4]).max() <= 1


def test_lanczos_passes_more_detail_than_area() -> None:
    wave = 128 + 80 * np.cos(2 * np.pi * 0.18 * (np.arange(96) + 0.5))
    plane = np.broadcast_to(np.rint(wave), (16, 96)).astype(np.uint8)
    assert halve(plane, "lanczos")[4].std() > 1.05 * halve(plane, "area")[4].std()


def test_bad_halving_is_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        halve(np.zeros((3, 4), np.uint8), "area")
    with pytest.raises(ValueError, match="nearest"):
        halve(np.zeros((4, 4), np.uint8), "nearest")


def test_pairs_of_a_clip(clip: Path, quick_pairs: PairSettings, tmp_path: Path) -> None:
    lines: list[str] = []
    made = make_pairs([clip], quick_pairs, progress=lines.append)
    # 4 pictures, of which 2 are kept, at full size (cut to a multiple of 4) and at half of it.
    assert [plane.shape for plane in made.small] == [(130, 192)] * 2 + [(64, 96)] * 2
    assert [made.large[index].shape for index in made.large_index] == [(260, 384)] * 2 + [
        (128, 192)
    ] * 2
    assert len(lines) == 2
    for small, index in zip(made.small, made.large_index, strict=True):
        original = halve(made.large[index], "area").astype(int)
        assert 0 < np.abs(original - small).mean() < 8  # coded: close to it, but not the same

    made.save(tmp_path / "pairs.npz")
    loaded = PairSet.load(tmp_path / "pairs.npz")
    assert loaded.large_index == made.large_index
    assert all(map(np.array_equal, loaded.small + loaded.large, made.small + made.large))


def test_no_clip_no_pairs() -> None:
    with pytest.raises(ValueError, match="no training pair"):
        make_pairs([])


def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(b"no video at all")
    with pytest.raises(ContainerError):
        make_pairs([tmp_path / "noise.mp4"])


def test_misspelt_hold_out_is_refused(clip: Path) -> None:
    assert find_clips(clip.parent) == [clip]
    assert find_clips(clip.parent, hold_out=["stripes"]) == []
    with pytest.raises(ValueError, match="strips"):
        find_clips(clip.parent, hold_out=["strips"])


def test_measuring_plain_interpolation_finds_no_gain(clip: Path) -> None:
    (row,) = measure(enlarge_lanczos, [clip], [Degradation("area", "libx264", 24)], max_pictures=3)
    assert row.pictures == 3
    assert row.gain == 0
    assert 10 < row.plain_psnr < 50
    assert row.row() == {
        "clip": "stripes",
        "pictures": 3,
        "downscaler": "area",
        "codec": "libx264",
        "CRF": 24,
        "Lanczos, dB": round(row.plain_psnr, 2),
        "network, dB": round(row.plain_psnr, 2),
        "gain, dB": 0.0,
    }


def test_at_the_same_size_the_decoded_pictures_are_the_measure(clip: Path) -> None:
    kept, halved = (
        measure(lambda plane: plane + 1, [clip], [Degradation(None, "libx264", 24)]),
        measure(enlarge_lanczos, [clip], [Degradation("area", "libx264", 24)]),
    )
    (row,) = kept
    assert row.plain_psnr > halved[0].plain_psnr  # nothing was reduced
    assert row.gain < 0  # every sample is off by one more
    assert row.row()["decoded, dB"] == round(row.plain_psnr, 2)
    assert "downscaler" not in row.row()


def test_pairs_of_the_same_size(clip: Path, quick_pairs: PairSettings) -> None:
    kinds = (Degradation(None, "libx265", 30),)
    made = make_pairs([clip], replace(quick_pairs, degradations=kinds, halvings=(0, 1, 2, 3)))
    # The third halving leaves 48x32, too little for a crop.
    shapes = [plane.shape for plane in made.small]
    assert shapes == [(260, 384)] * 2 + [(128, 192)] * 2 + [(64, 96)] * 2
    for small, index in zip(made.small, made.large_index, strict=True):
        assert 0 < np.abs(made.large[index].astype(int) - small).mean() < 8


def test_what_base_networks_are_trained_and_judged_on() -> None:
    for mode, scale in (("sr2x", 2), ("enhance", 1)):
        kinds = (*base_pair_settings(mode).degradations, *CARD_DEGRADATIONS[mode])
        assert {each.scale for each in kinds} == {scale}
        assert {each.codec for each in kinds} == {"libx264", "libx265"}
    with pytest.raises(ValueError, match=r"sr2x, enhance, not 'sr1\.5x'"):
        base_pair_settings("sr1.5x")


def test_sequence_psnr_is_that_of_the_mean_error() -> None:
    black = np.zeros((2, 2), np.uint8)
    # One perfect picture and one off by 10: mean squared error 50 (not a mean of inf and 28.1 dB).
    assert sequence_psnr([black, black], [black, black + 10]) == pytest.approx(31.1411, abs=1e-3)
    assert sequence_psnr([black], [black]) == float("inf")
