# SPDX-License-Identifier: Apache-2.0
"""Networks through real files: every picture as before, every network byte as before."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from nnrvideo.authoring import embed, extract, probe, save_networks, strip
from nnrvideo.carriage import carriage_for
from nnrvideo.container import VideoWriter, open_media, remux
from nnrvideo.errors import CarriageError, ContainerError, NnrVideoError
from nnrvideo.sei import Nnpfc, message_of

# The worst payload for both size coding and emulation prevention.
_PATTERN = b"\0\0\0\0\0\1\0\0\2\0\0\3\0\0\0\1\xff\xff"
HOSTILE = (_PATTERN * 6000)[:100_000]
SMALL = bytes(np.random.default_rng(3).integers(0, 256, 3000, dtype=np.uint8))
CODECS = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9"}
VVC = Path(__file__).parents[1] / "conformance/data/vvc"
NAL_CONTAINERS = ["mp4", "mkv", "ts"]
CONTAINERS = {
    "h264": NAL_CONTAINERS,
    "hevc": NAL_CONTAINERS,
    "av1": ["mp4", "mkv", "webm", "ivf", "obu"],
    "vvc": [*NAL_CONTAINERS, "266"],
    "vp9": ["mp4", "mkv", "webm"],
}


def base(payload: bytes = SMALL, nnpfc_id: int = 7) -> Nnpfc:
    return Nnpfc(
        nnpfc_purpose=0x01,
        nnpfc_id=nnpfc_id,
        nnpfc_component_last_flag=False,
        nnpfc_inp_order_idc=0,
        nnpfc_patch_width_minus1=15,
        nnpfc_patch_height_minus1=15,
        nnpfc_payload_byte=payload,
    )


def update(payload: bytes = b"update" * 20, nnpfc_id: int = 7) -> Nnpfc:
    return Nnpfc(
        nnpfc_purpose=0x01,
        nnpfc_id=nnpfc_id,
        nnpfc_base_flag=False,
        nnpfc_property_present_flag=False,
        nnpfc_payload_byte=payload,
    )


def packets(path: Path, kind: str) -> list[tuple]:
    with av.open(str(path)) as source:
        streams = [s for s in source.streams if s.type == kind]
        return [
            (p.pts * p.time_base, bytes(p))
            for p in source.demux(streams)
            if p.size and p.pts is not None
        ]


def distinct_units(byte_stream: list[tuple]) -> list[tuple]:
    """NAL units of each access unit, whatever their number and the length of start codes."""
    return [(t, {u.rstrip(b"\0") for u in data.split(b"\0\0\1")}) for t, data in byte_stream]


def relative(times: list) -> list[Fraction]:
    return [time - times[0] for time in times]


@pytest.fixture
def clip_of(make_clip):
    """Function that makes a film of 40 pictures in any codec that carries networks."""

    def make(path: Path, codec: str, **options) -> Path:
        if codec != "vvc":
            return make_clip(path, codec=CODECS[codec], **options)
        remux(VVC / "closed.266", path)  # there is no encoder at hand
        return path

    return make


@pytest.mark.parametrize(("codec", "suffix"), [(c, s) for c in CONTAINERS for s in CONTAINERS[c]])
def test_embedding_changes_no_picture_and_no_time(
    clip_of, decode_clip, tmp_path, codec: str, suffix: str
):
    clip = clip_of(tmp_path / f"clip.{suffix}", codec)
    target = tmp_path / f"net.{suffix}"
    report = embed(clip, target, base(HOSTILE))
    assert decode_clip(target) == decode_clip(clip)
    # Key frames at 0, 12, 24, 36; VVC has two, and pictures that are shown before each.
    assert report.positions == 4
    assert report.access_units == 40
    assert report.dropped == ()
    networks = extract(target)
    assert [n.payload for n in networks] == [HOSTILE]
    assert len(networks[0].pts) == report.positions
    assert networks[0].sha256 == hashlib.sha256(HOSTILE).hexdigest()
    # And away again: byte for byte the old stream.
    strip(target, tmp_path / f"bare.{suffix}")
    bare, before = packets(tmp_path / f"bare.{suffix}", "video"), packets(clip, "video")
    if (codec, suffix) == ("vvc", "ts"):  # libavformat adds delimiters to those that are there
        bare, before = map(distinct_units, (bare, before))
    assert bare == before


@pytest.mark.parametrize("codec", CONTAINERS)
def test_networks_survive_a_chain_of_containers(clip_of, decode_clip, tmp_path, codec: str):
    clip = clip_of(tmp_path / "clip.mp4", codec, audio=True)
    embed(clip, tmp_path / "0.mp4", base(HOSTILE), updates={Fraction(1, 2): update()})
    chain = ["1.ts", "2.mkv", "3.mp4", "4.ts", "5.mp4"]
    if codec in ("av1", "vp9"):
        chain = ["1.webm", "2.mkv", "3.mp4", "4.mkv", "5.mp4"]
    elif codec == "vvc":  # from MPEG-TS to MP4 the pictures before the key frame are lost: README
        chain = ["1.mkv", "3.mp4", "4.mkv", "5.mp4", "6.ts"]
    before = tmp_path / "0.mp4"
    wanted = [(n.nnpfc_id, n.is_base, n.payload, relative(list(n.pts))) for n in extract(before)]
    assert len(wanted) == 2
    pictures = decode_clip(clip)
    for name in chain:
        remux(before, tmp_path / name, fragmented=name == "3.mp4")
        before = tmp_path / name
        found = extract(before)
        assert [(n.nnpfc_id, n.is_base, n.payload) for n in found] == [w[:3] for w in wanted]
        for network, (*_, times) in zip(found, wanted, strict=True):
            for time, expected in zip(relative(list(network.pts)), times, strict=True):
                assert abs(time - expected) <= Fraction(1, 500)  # Matroska counts milliseconds
        now = decode_clip(before)
        assert [digest for _, digest in now] == [digest for _, digest in pictures]
        for (time, _), (expected, _) in zip(now, pictures, strict=True):
            assert abs((time - now[0][0]) - expected) <= Fraction(1, 500)
        has_audio = codec in ("h264", "hevc")
        assert bool(packets(before, "audio")) or not has_audio, name


def texts(path):
    """Subtitles with their times; the empty samples with which MP4 fills gaps say nothing."""
    return [(time, data) for time, data in packets(path, "subtitle") if data.strip(b"\0")]


@pytest.mark.parametrize("suffix", ["mp4", "frag", "mkv"])
def test_everything_else_comes_along(make_clip, decode_clip, tmp_path, suffix: str):
    fragmented = suffix == "frag"
    suffix = "mp4" if fragmented else suffix
    clip = make_clip(
        tmp_path / f"clip.{suffix}",
        audio=True,
        subtitles="mov_text" if suffix == "mp4" else "subrip",
        chapters=True,
        attachment=b"font data" * 50 if suffix == "mkv" else None,
    )
    target = tmp_path / f"net.{suffix}"
    report = embed(clip, target, base(), fragmented=fragmented)
    assert report.dropped == ()
    with open_media(clip) as old, open_media(target) as new:
        assert [(s.type, s.codec_name, s.language) for s in new.streams] == [
            (s.type, s.codec_name, s.language) for s in old.streams
        ]
        assert [s.disposition for s in new.streams] == [s.disposition for s in old.streams]
        assert new.metadata["title"] == "Test clip"
        if not fragmented:  # libavformat writes chapters of fragmented files nowhere
            assert new.chapters == old.chapters != ()
    assert packets(target, "audio") == packets(clip, "audio")
    if fragmented:  # libavformat mistimes sparse tracks there: README says so
        assert [data for _, data in texts(target)] == [data for _, data in texts(clip)] != []
    else:
        assert texts(target) == texts(clip) != []
    assert decode_clip(target) == decode_clip(clip)
    if suffix == "mkv":
        with av.open(str(target)) as source:
            assert [s.data for s in source.streams if s.type == "attachment"] == [b"font data" * 50]


def test_text_subtitles_change_their_packing(make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mkv", subtitles="subrip")
    assert remux(clip, tmp_path / "a.mp4").dropped == ()
    assert remux(tmp_path / "a.mp4", tmp_path / "b.mkv").dropped == ()
    assert texts(tmp_path / "b.mkv") == texts(clip) != []
    with open_media(tmp_path / "b.mkv") as media:
        assert [s.language for s in media.streams if s.type == "subtitle"] == ["fra"]


def test_what_a_container_cannot_hold_is_reported(make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mkv", subtitles="subrip", attachment=b"font" * 9)
    report = remux(clip, tmp_path / "clip.ts")
    assert {d.type for d in report.dropped} == {"subtitle", "attachment"}
    assert all(d.reason for d in report.dropped)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_raw_byte_streams(make_clip, decode_clip, tmp_path, codec: str):
    clip = make_clip(tmp_path / "clip.mp4", codec=CODECS[codec], time_base=Fraction(1, 24))
    raw = tmp_path / f"clip.{codec if codec == 'h264' else 'h265'}"
    embed(clip, raw, base(HOSTILE))
    assert [n.payload for n in extract(raw)] == [HOSTILE]
    # Output order and a constant rate are found again without any timestamp in the file.
    with open_media(raw) as media:
        assert media.video.frame_rate == 24
        assert [p.pts for p in media.pictures()] == [Fraction(i, 24) for i in range(40)]
    remux(raw, tmp_path / "again.mp4")
    again, pictures = decode_clip(tmp_path / "again.mp4"), decode_clip(clip)
    assert [digest for _, digest in again] == [digest for _, digest in pictures]
    assert relative([t for t, _ in again]) == relative([t for t, _ in pictures])
    with pytest.raises(ContainerError, match="the video is"):
        remux(clip, tmp_path / ("x.h265" if codec == "h264" else "x.h264"))


def test_variable_frame_rate_is_kept(make_clip, decode_clip, tmp_path):
    times = [Fraction(i * i + 7 * i, 500) for i in range(40)]
    clip = make_clip(tmp_path / "clip.mp4", times=times)
    embed(clip, tmp_path / "net.mp4", base())
    assert [t for t, _ in decode_clip(tmp_path / "net.mp4")] == times


def test_activation_only_between_two_times(make_clip, tmp_path):
    from nnrvideo.sei import FilterState, parse_records

    clip = make_clip(tmp_path / "clip.mp4")
    target = tmp_path / "net.mp4"
    start, end = Fraction(8, 24), Fraction(30, 24)
    embed(clip, target, base(), start=start, end=end, updates={Fraction(20, 24): update()})
    state = FilterState()
    used = {}

    def hear(item) -> None:
        state.access_unit(item.pts, parse_records(item.records), item.clvs_start)

    with open_media(target) as media:
        for picture in media.pictures(hear):
            active = state.active(picture.pts)
            used[picture.pts] = [(a.nnpfc_id, a.update is not None) for a in active]
    assert len(used) == 40
    for pts, filters in used.items():
        expected = [(7, pts >= Fraction(20, 24))] if start <= pts < end else []
        assert filters == expected, pts


@pytest.mark.parametrize("positions", ["random-access", "clvs-start"])
def test_open_groups_of_pictures(make_clip, decode_clip, tmp_path, positions):
    x265 = "log-level=none:keyint=12:min-keyint=12:scenecut=0:bframes=2:open-gop=1"
    clip = make_clip(tmp_path / "clip.mkv", codec="libx265", options={"x265-params": x265})
    report = embed(clip, tmp_path / "net.mkv", base(), positions=positions)
    assert report.positions == (4 if positions == "random-access" else 1)
    assert decode_clip(tmp_path / "net.mkv") == decode_clip(clip)


def test_hvc1_label_survives(make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", codec="libx265")
    with open_media(clip) as media:
        with VideoWriter(
            tmp_path / "hvc1.mp4", like=media.video, options={"c:v": "libx265",
            "x265-params": "log-level=none"},
        ) as writer:  # fmt: skip
            for item in media.pictures():
                writer.write(item.picture, item.pts)
    embed(tmp_path / "hvc1.mp4", tmp_path / "net.mp4", base())
    for name in ("hvc1.mp4", "net.mp4"):
        with av.open(str(tmp_path / name)) as source:
            assert source.streams.video[0].codec_context.codec_tag == "hvc1"


@pytest.mark.parametrize(("codec", "arrays_at"), [("hevc", 22), ("vvc", 16)])
@pytest.mark.parametrize("suffix", ["mkv", "ts", "mp4", "raw"])
def test_networks_of_the_configuration_record_travel_on(
    clip_of, tmp_path, codec, arrays_at, suffix
):
    """Byte streams have no record: there the network comes in band at every key frame."""
    clip = clip_of(tmp_path / "clip.mp4", codec)
    raw = carriage_for(codec).insert(
        {"hevc": b"\0\0\0\1\x26\1\xaf", "vvc": b"\0\0\0\1\0\x39\xc4"}[codec], [message_of(base())]
    )
    unit = raw[4:].split(b"\0\0\0\1")[0]

    def edit(record: bytes) -> bytes:
        array = bytes([{"hevc": 0x27, "vvc": 0x17}[codec]]) + b"\0\1"
        array += len(unit).to_bytes(2, "big") + unit
        head, count = record[:arrays_at], record[arrays_at]
        return head + bytes([count + 1]) + record[arrays_at + 1 :] + array

    remux(clip, tmp_path / "net.mp4", edit_configuration=edit)
    target = (
        tmp_path / f"copy.{ {'hevc': 'h265', 'vvc': '266'}[codec] if suffix == 'raw' else suffix }"
    )
    remux(tmp_path / "net.mp4", target)
    (found,) = extract(target)
    assert found.payload == SMALL
    assert len(found.pts) == (4 if codec == "hevc" else 2)
    stripped = strip(target, tmp_path / f"bare{target.suffix}")
    assert stripped.messages >= 1
    assert extract(tmp_path / f"bare{target.suffix}") == []
    strip(tmp_path / "net.mp4", tmp_path / f"away{target.suffix}")
    assert extract(tmp_path / f"away{target.suffix}") == []


def test_embedding_again_replaces(make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4")
    target = tmp_path / "net.mp4"
    embed(clip, target, base(b"first" * 100))
    embed(target, target, base(b"second" * 100), overwrite=True)
    assert [n.payload for n in extract(target)] == [b"second" * 100]
    with pytest.raises(CarriageError, match="nnpfc_id 7 already"):
        embed(target, tmp_path / "x.mp4", base(), keep_existing=True)
    embed(target, tmp_path / "two.mp4", base(b"third" * 9, 8), keep_existing=True)
    assert {n.nnpfc_id: n.payload for n in extract(tmp_path / "two.mp4")} == {
        7: b"second" * 100,
        8: b"third" * 9,
    }
    # Per-picture activation, and several filters at once.
    report = embed(clip, tmp_path / "both.mp4", [base(), base(nnpfc_id=9)], persistent=False)
    assert report.filters == (7, 9)
    assert len(probe(tmp_path / "both.mp4").activations) == 80


def test_probe_and_save(make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", audio=True)
    plain = probe(clip)
    assert (plain.networks, plain.activations, plain.problems) == ((), (), ())
    assert (plain.network_bytes, plain.network_share) == (0, 0)
    target = tmp_path / "net.mp4"
    report = embed(clip, target, base(), updates={Fraction(1): update()})
    found = probe(target)
    assert found.network_bytes == report.message_bytes
    assert found.video_bytes + found.network_bytes <= plain.video_bytes + report.bytes_added
    assert found.clvs_count == 4
    assert [(n.is_base, n.payload_bytes, len(n.occurrences)) for n in found.networks] == [
        (True, 3000, 4),
        (False, 120, 2),
    ]
    assert found.networks[0].output_size == (96, 64)
    assert [a.uses_base for a in found.activations] == [True, True, False, False]
    # Random bytes are no NNC bitstream, and that is said.
    assert any("network of filter 7" in problem for problem in found.problems)
    facts = json.loads(json.dumps(found.to_json()))
    assert facts["networks"][0]["occurrences"][1]["access_unit"] == 12
    paths = save_networks(extract(target), tmp_path)
    assert {p.name: p.read_bytes() for p in paths} == {
        "filter7-base.nnc": SMALL,
        "filter7-update1.nnc": b"update" * 20,
    }
    with pytest.raises(ContainerError, match="exists already"):
        save_networks(extract(target), tmp_path)


@pytest.mark.parametrize("reencode", [False, True])
def test_av1_is_not_written_where_nobody_finds_it(make_clip, tmp_path, reencode):
    clip = make_clip(tmp_path / "clip.mkv", codec="libsvtav1", frames=5)
    target = tmp_path / "film.ts"
    with pytest.raises(ContainerError, match="nobody reads av1 video in mpegts"):
        if not reencode:
            embed(clip, target, base())
        else:
            with open_media(clip) as media, VideoWriter(target, codec="libsvtav1") as writer:
                for item in media.pictures():
                    writer.write(item.picture, item.pts)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]


def test_raw_vvc_without_delimiters(tmp_path):
    """libavcodec's parser gives SEI to the access unit before; the reader puts that right."""
    embed(VVC / "open.266", tmp_path / "net.266", base(), persistent=False)
    report = probe(tmp_path / "net.266")
    assert sorted(round(a.pts * 24) for a in report.activations) == list(range(40))
    assert [a.access_unit for a in report.activations] == list(range(40))


def test_refusals_leave_nothing_behind(make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4")
    other = make_clip(tmp_path / "other.mkv", codec="ffv1")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CarriageError, match="ffv1 has no place"):
        embed(other, tmp_path / "x.mkv", base())
    with pytest.raises(ContainerError, match="exists already"):
        embed(clip, other, base())
    with pytest.raises(ContainerError, match="no such file"):
        embed(tmp_path / "missing.mp4", tmp_path / "x.mp4", base())
    with pytest.raises(ContainerError, match="no such folder"):
        embed(clip, tmp_path / "missing" / "x.mp4", base())
    with pytest.raises(ContainerError):
        embed(clip, tmp_path / "x.unknown", base())
    with pytest.raises(ValueError, match="same nnpfc_id"):
        embed(clip, tmp_path / "x.mp4", [base(), base()])
    with pytest.raises(NnrVideoError):
        embed(clip, tmp_path / "x.mp4", b"no NNC bitstream")
    (tmp_path / "text.mp4").write_text("no film at all")
    with pytest.raises(ContainerError, match=r"cannot open .*text.mp4: Invalid data"):
        probe(tmp_path / "text.mp4")
    (tmp_path / "text.mp4").unlink()
    assert sorted(tmp_path.iterdir()) == before
