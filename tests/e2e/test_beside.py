# SPDX-License-Identifier: Apache-2.0
"""Messages in a track beside the video: what is special about it, besides what holds for all."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from nnrvideo.authoring import embed, extract, probe, strip
from nnrvideo.container import VideoWriter, open_media, remux
from nnrvideo.errors import CarriageError, ContainerError
from nnrvideo.report.bits import count_bits
from nnrvideo.sei import Nnpfc, parse_records

SUFFIXES = ["webm", "mkv", "mp4"]


def base(payload: bytes = b"network" * 50, nnpfc_id: int = 7) -> Nnpfc:
    return Nnpfc(
        nnpfc_purpose=0x01,
        nnpfc_id=nnpfc_id,
        nnpfc_component_last_flag=False,
        nnpfc_inp_order_idc=0,
        nnpfc_patch_width_minus1=15,
        nnpfc_patch_height_minus1=15,
        nnpfc_payload_byte=payload,
    )


@pytest.fixture
def clip(make_clip, tmp_path):
    return make_clip(tmp_path / "clip.webm", codec="libvpx-vp9")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_its_bits_are_counted(clip, tmp_path, suffix):
    bare = tmp_path / f"bare.{suffix}"
    remux(clip, bare, None)
    target = tmp_path / f"net.{suffix}"
    embed(bare, target, base(bytes(range(256)) * 40))
    with open_media(bare) as media:
        plain, _ = count_bits(media)
    with open_media(target) as media:
        bits, units = count_bits(media)
    assert bits.video == plain.video == plain.total
    size = 256 * 40 * (1 if suffix == "mp4" else 4 / 3)
    assert size <= bits.base / 8 <= size + 100
    assert bits.repeats >= 2 * bits.base
    assert sum(unit.networks for unit in units) == bits.networks
    # Base64 and all: what the file has grown by, but for its own headers.
    grown = target.stat().st_size - bare.stat().st_size
    assert bits.networks / 8 == pytest.approx(grown, abs=1000)


def streams(path) -> list[tuple[str, str | None]]:
    with open_media(path) as media:
        return [(stream.type, stream.codec_name) for stream in media.streams]


def test_no_player_shows_it(clip, tmp_path):
    embed(clip, tmp_path / "net.webm", base())
    assert b"D_WEBVTT/METADATA" in (tmp_path / "net.webm").read_bytes()
    embed(clip, tmp_path / "net.mkv", base())
    with open_media(tmp_path / "net.mkv") as media:
        (track,) = [stream for stream in media.streams if stream.type == "subtitle"]
    assert track.metadata["title"] == "nnrvideo"
    assert "default" not in track.disposition


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_large_network_per_picture(clip, tmp_path, suffix):
    target = tmp_path / f"net.{suffix}"
    report = embed(clip, target, base(bytes(range(256)) * 1200), persistent=False)
    assert (report.positions, report.access_units) == (4, 40)
    found = probe(target)
    assert len(found.activations) == 40
    assert found.network_bytes == report.message_bytes == report.bytes_added
    assert [a.access_unit for a in found.activations] == list(range(40))
    stripped = strip(target, tmp_path / f"bare.{suffix}")
    assert (stripped.messages, stripped.bytes_removed) == (44, report.bytes_added)
    assert streams(tmp_path / f"bare.{suffix}") == [("video", "vp9")]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_seeking_finds_the_messages_of_the_key_frame(clip, tmp_path, suffix):
    target = tmp_path / f"net.{suffix}"
    embed(clip, target, base(), persistent=False)
    with open_media(target) as media:
        items = list(media.side_data(start=Fraction(30, 24)))
    assert round(items[0].pts * 24) == 24
    assert items[0].clvs_start
    assert [m.payload_type for m in parse_records(items[0].records)] == [210, 211]
    assert [len(parse_records(item.records)) for item in items] == [2, *[1] * 11, 2, 1, 1, 1]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_filters_are_added_and_replaced(clip, tmp_path, suffix):
    one, two, three = (tmp_path / f"{name}.{suffix}" for name in ("one", "two", "three"))
    embed(clip, one, base())
    with pytest.raises(CarriageError, match="nnpfc_id 7 already"):
        embed(one, tmp_path / "x.webm", base(), keep_existing=True)
    embed(one, two, base(nnpfc_id=8), keep_existing=True)
    assert [n.nnpfc_id for n in extract(two)] == [7, 8]
    embed(two, three, base(b"other" * 20, nnpfc_id=9))
    assert [n.nnpfc_id for n in extract(three)] == [9]
    assert len(streams(three)) == 2


def test_other_subtitles_stay_what_they_are(make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mkv", codec="libvpx-vp9", subtitles="subrip")
    assert extract(clip) == []
    embed(clip, tmp_path / "net.mkv", base())
    embed(tmp_path / "net.mkv", tmp_path / "net.mp4", base())
    assert [kind for kind, _ in streams(tmp_path / "net.mp4")] == ["video", "subtitle", "data"]
    strip(tmp_path / "net.mp4", tmp_path / "bare.mkv")
    with av.open(str(tmp_path / "bare.mkv")) as source:
        texts = [bytes(p) for p in source.demux(subtitles=0) if p.size]
    assert [text.strip(b"\0") for text in texts if text.strip(b"\0")] == [
        b"hello", "world å".encode(),
    ]  # fmt: skip


def test_other_pictures_do_not_inherit_the_track(clip, tmp_path):
    embed(clip, tmp_path / "net.mkv", base())
    with (
        open_media(tmp_path / "net.mkv") as media,
        VideoWriter(
            tmp_path / "new.mkv", codec="libx264", copy_from=tmp_path / "net.mkv"
        ) as writer,
    ):
        for item in media.pictures():
            writer.write(item.picture, item.pts)
    assert streams(tmp_path / "new.mkv") == [("video", "h264")]


def test_containers_without_a_track_are_refused(clip, tmp_path):
    embed(clip, tmp_path / "net.webm", base())
    before = sorted(tmp_path.iterdir())
    for source in (clip, tmp_path / "net.webm"):
        with pytest.raises(CarriageError, match="ivf has no place for messages beside"):
            embed(source, tmp_path / "x.ivf", base())
    with pytest.raises(CarriageError, match="ivf has no place"):
        remux(tmp_path / "net.webm", tmp_path / "x.ivf")
    with pytest.raises(ContainerError, match="nobody reads vp9 video in mpegts"):
        embed(clip, tmp_path / "x.ts", base())
    assert sorted(tmp_path.iterdir()) == before
    strip(tmp_path / "net.webm", tmp_path / "bare.ivf")
