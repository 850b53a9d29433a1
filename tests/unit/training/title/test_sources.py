# SPDX-License-Identifier: Apache-2.0
"""Every codec and every kind of source: the right result, or one clear error."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.authoring import probe
from nnrvideo.cli.main import main
from nnrvideo.container import open_media
from nnrvideo.container.display import display_of
from nnrvideo.errors import CarriageError, ContainerError
from nnrvideo.picture import ChromaFormat, ColourDescription
from nnrvideo.report import MeasureOptions, measure_file
from nnrvideo.runtime import Upscaler
from nnrvideo.training.title import TitleSettings, encode_title

FAST = {"crf": "30", "preset": "ultrafast"}
HDR10 = ColourDescription(9, 16, 9)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is taken, whether it is worth its bits or not."""
    monkeypatch.setattr("nnrvideo.training.title.trial._LEAST_GAIN", {"psnr": -1000.0})
    monkeypatch.setattr("nnrvideo.training.title.trial._flickers", lambda _shown: False)


def psnr_of(reference: Path, shown: Path) -> float:
    """Luma PSNR of two films of 8-bit 4:2:0, by PyAV and numpy alone."""
    error = samples = 0
    with av.open(str(reference)) as one, av.open(str(shown)) as two:
        pairs = zip(one.decode(video=0), two.decode(video=0), strict=True)
        for wanted, got in pairs:
            planes = [
                np.frombuffer(f.planes[0], np.uint8).reshape(f.height, -1)[:, : f.width].astype(int)
                for f in (wanted, got)
            ]
            error += int(((planes[0] - planes[1]) ** 2).sum())
            samples += planes[0].size
    return float(10 * np.log10(255**2 * samples / error))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    ("codec", "suffix", "mode", "options"),
    [
        ("libx264", "mp4", "enhance", FAST),
        ("libx264", "ts", "sr2x", {"b:v": "80k", "preset": "ultrafast"}),
        ("libx265", "mkv", "sr1.5x", FAST),
        ("libsvtav1", "mp4", "sr2x", {"crf": "40", "preset": "12"}),
        ("libvpx-vp9", "webm", "enhance", {"crf": "45", "cpu-used": "8", "deadline": "realtime"}),
    ],
)
def test_enhance_shows_what_encode_reported(
    make_film: Callable[..., Path],
    tmp_path: Path,
    quick: TitleSettings,
    codec: str,
    suffix: str,
    mode: str,
    options: dict[str, str],
) -> None:
    source = make_film(tmp_path / "source.mkv", 6, size=(96, 96))
    coded, shown = tmp_path / f"coded.{suffix}", tmp_path / "shown.y4m"
    settings = TitleSettings(modes=(mode,), steps=10, pictures=4, levels=())
    report = encode_title(source, coded, settings, codec=codec, options=options)
    assert report.chosen is not None and report.chosen.mode == mode
    assert main(["enhance", "-i", str(coded), str(shown), "-q"]) == 0
    assert psnr_of(source, shown) == pytest.approx(report.chosen.point.psnr_y, abs=0.01)
    assert len(probe(coded).networks) == 1


@pytest.mark.usefixtures("always")
def test_ten_bits_and_their_colours_stay(
    make_film: Callable[..., Path], tmp_path: Path, quick: TitleSettings
) -> None:
    source = make_film(
        tmp_path / "s.mkv", 4, size=(96, 96), bit_depth=10, colour=HDR10, codec="ffv1"
    )
    target = tmp_path / "out.mp4"
    report = encode_title(source, target, quick, codec="libx265", options=FAST)
    with open_media(target) as media:
        assert media.video.bit_depth == 10
        assert media.video.colour == HDR10
    assert report.chosen is not None
    measured = measure_file(source, target, MeasureOptions(upscaler=Upscaler.BICUBIC))
    assert measured.enhanced == 4 and measured.network is not None
    assert measured.network.quality.psnr_y == pytest.approx(report.chosen.point.psnr_y, abs=0.01)


@pytest.mark.usefixtures("always")
def test_full_chroma_stays(
    make_film: Callable[..., Path], tmp_path: Path, quick: TitleSettings
) -> None:
    source = make_film(tmp_path / "s.mkv", 4, size=(97, 83), chroma=ChromaFormat.C444, codec="ffv1")
    target = tmp_path / "out.mp4"
    report = encode_title(source, target, quick, codec="libx264", options=FAST)
    with open_media(target) as media:
        assert media.video.chroma_format is ChromaFormat.C444
        assert (media.video.width, media.video.height) == (97, 83)
    assert report.chosen is not None and report.cropped == (0, 0)
    with pytest.raises(ContainerError, match="libsvtav1 cannot encode yuv444p; choose pix_fmt"):
        encode_title(source, tmp_path / "x.mp4", quick, codec="libsvtav1", options=FAST)


@pytest.mark.usefixtures("always")
def test_odd_sizes_lose_a_column_and_a_row(
    make_film: Callable[..., Path], tmp_path: Path, quick: TitleSettings
) -> None:
    source = make_film(tmp_path / "s.mkv", 4, size=(97, 83), codec="ffv1")
    target = tmp_path / "out.mp4"
    report = encode_title(source, target, quick, codec="libx264", options=FAST)
    assert report.cropped == (1, 1)
    assert report.chosen is not None and report.chosen.point.psnr_y > 25
    with open_media(target) as media:
        assert (media.video.width, media.video.height) == (96, 82)


@pytest.mark.usefixtures("always")
def test_times_stay_whatever_they_are(
    make_film: Callable[..., Path], tmp_path: Path, quick: TitleSettings
) -> None:
    times = [Fraction(n, 1000) for n in (0, 40, 50, 190, 200, 1000, 1033)]
    source = make_film(tmp_path / "s.mkv", 7, times=times)
    target = tmp_path / "out.mp4"
    report = encode_title(source, target, quick, codec="libx264", options=FAST)
    with open_media(target) as media:
        got = [item.pts for item in media.pictures()]
    assert [round(time * 1000) for time in got] == [round(time * 1000) for time in times]
    assert report.pictures == 7
    assert report.chosen is not None and measure_file(source, target).enhanced == 7


@pytest.mark.usefixtures("always")
def test_rotation_stays(
    make_film: Callable[..., Path], tmp_path: Path, quick: TitleSettings
) -> None:
    upright = make_film(tmp_path / "u.mp4", 4)
    source, target = tmp_path / "s.mp4", tmp_path / "out.mp4"
    with av.open(str(upright)) as film, av.open(str(source), "w") as sink:
        stream = sink.add_stream_from_template(film.streams.video[0])
        stream.set_display_rotation(-90)
        for packet in film.demux(video=0):
            if packet.size:
                packet.stream = stream
                sink.mux(packet)
    encode_title(source, target, quick, codec="libx264", options=FAST)
    assert display_of(target) == display_of(source)
    assert display_of(target).matrix is not None
    assert probe(target).networks


def test_a_single_picture(
    make_film: Callable[..., Path], tmp_path: Path, quick: TitleSettings
) -> None:
    source = make_film(tmp_path / "s.mkv", 1)
    report = encode_title(source, tmp_path / "out.mp4", quick, codec="libx264", options=FAST)
    assert report.pictures == 1
    assert report.chosen is None
    assert probe(tmp_path / "out.mp4").access_units == 1


def test_black_pictures_need_no_network(
    make_film: Callable[..., Path], tmp_path: Path, quick: TitleSettings
) -> None:
    source = make_film(tmp_path / "s.mkv", 8, black=1)
    report = encode_title(source, tmp_path / "out.mp4", quick, codec="libx264", options=FAST)
    assert report.chosen is None and not report.candidates
    assert report.notes == ("no network was tried: the plain encode has no errors",)


def test_pictures_too_small_for_a_network(
    make_film: Callable[..., Path], tmp_path: Path, quick: TitleSettings
) -> None:
    source = make_film(tmp_path / "s.mkv", 3, size=(48, 36))
    report = encode_title(source, tmp_path / "out.mp4", quick, codec="libx264", options=FAST)
    assert report.chosen is None
    assert report.notes == ("enhance was left out: 48x36 is too small",)


@pytest.mark.parametrize(
    ("codec", "error", "message"),
    [
        ("libx262", ContainerError, "no encoder"),
        ("mpeg4", CarriageError, "mpeg4"),
        ("aac", ContainerError, "no video encoder"),
    ],
)
def test_codecs_that_cannot_carry_networks(
    make_film: Callable[..., Path], tmp_path: Path, quick: TitleSettings, codec, error, message
) -> None:
    source = make_film(tmp_path / "s.mkv", 2)
    with pytest.raises(error, match=message):
        encode_title(source, tmp_path / "out.mp4", quick, codec=codec, options=FAST)


@pytest.mark.parametrize("content", [b"", b"no film at all" * 100, None])
def test_sources_that_are_no_films(tmp_path: Path, quick: TitleSettings, content) -> None:
    source = tmp_path / "s.mkv"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises((ContainerError, FileNotFoundError)):
        encode_title(source, tmp_path / "out.mp4", quick, codec="libx264", options=FAST)
    assert [each.name for each in tmp_path.iterdir()] == ["s.mkv"] * (content is not None)


def test_options_that_encoders_do_not_know(
    make_film: Callable[..., Path], tmp_path: Path, quick: TitleSettings
) -> None:
    source = make_film(tmp_path / "s.mkv", 2)
    with pytest.raises(ContainerError, match="libx264"):
        encode_title(
            source, tmp_path / "out.mp4", quick, codec="libx264", options={**FAST, "preset": "no"}
        )
    with pytest.raises(ContainerError, match="two passes"):
        encode_title(
            source, tmp_path / "out.mp4", TitleSettings(two_pass=True), codec="libsvtav1",
            options={"b:v": "100k"},
        )  # fmt: skip
    assert [each.name for each in tmp_path.iterdir()] == ["s.mkv"]
