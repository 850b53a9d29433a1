# SPDX-License-Identifier: Apache-2.0
"""Broken films: only our errors come out, and a film that still plays, plays.

Every function that reads a film is driven over the same damaged files.
"""

from __future__ import annotations

import binascii
import random
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrvideo.authoring import embed, extract, probe, strip
from nnrvideo.carriage import carriage_for
from nnrvideo.container import open_media
from nnrvideo.errors import BitstreamError, NnrVideoError
from nnrvideo.player import enhanced_pictures
from nnrvideo.sei import Nnpfc

CODECS = {
    "h264": "libx264",
    "hevc": "libx265",
    "av1": "libsvtav1",
    "vvc": None,
    "vp9": "libvpx-vp9",
}
RECORDS = {"h264": b"avcC", "hevc": b"hvcC", "av1": b"av1C", "vvc": b"vvcC", "vp9": b"vpcC"}
RAW = {"vvc": "266"}  # suffix, where it is not the codec's name
VVC = Path(__file__).parents[1] / "conformance/data/vvc/closed.266"
PAYLOAD = bytes(np.random.default_rng(5).integers(0, 256, 500, dtype=np.uint8))
NETWORK = Nnpfc(
    nnpfc_purpose=0x01,
    nnpfc_id=7,
    nnpfc_component_last_flag=False,
    nnpfc_inp_order_idc=0,
    nnpfc_patch_width_minus1=15,
    nnpfc_patch_height_minus1=15,
    nnpfc_payload_byte=PAYLOAD,
)


def suffixes(codec: str) -> list[str]:
    if codec in ("av1", "vp9"):
        return ["mp4", "webm", "mkv", *(["obu"] if codec == "av1" else [])]
    return ["mp4", "mkv", "ts", RAW.get(codec, codec)]


@pytest.fixture(scope="module")
def films(make_clip, tmp_path_factory) -> dict[tuple[str, str], bytes]:
    """Small films with a network inside, by codec and suffix."""
    folder = tmp_path_factory.mktemp("films")
    found = {}
    for codec, encoder in CODECS.items():
        for suffix in suffixes(codec):
            clip = VVC
            if encoder is not None:
                clip = make_clip(folder / f"bare.{codec}.mp4", codec=encoder, frames=6, gop=3)
            film = folder / f"net-{codec}.{suffix}"
            embed(clip, film, NETWORK)
            found[codec, suffix] = film.read_bytes()
    return found


def attempt(action: Callable[[], object]) -> object:
    """Result of an action; an error of ours is a result as well, any other fails the test."""
    try:
        return action()
    except NnrVideoError as error:
        assert str(error)
        assert "\n" not in str(error)
        return error


def play(path: Path) -> int:
    with open_media(path) as media:
        return sum(1 for _ in enhanced_pictures(media, threads=1))


def use(path: Path, folder: Path) -> None:
    """Everything that reads films, on one film."""
    before = path.read_bytes()
    attempt(lambda: probe(path))
    attempt(lambda: extract(path))
    attempt(lambda: play(path))
    for action in (
        lambda target: strip(path, target, overwrite=True),
        lambda target: embed(path, target, NETWORK, overwrite=True),
    ):
        target = folder / f"out{path.suffix}"
        target.write_bytes(b"precious")
        if isinstance(attempt(lambda: action(target)), NnrVideoError):  # noqa: B023 - called now
            assert target.read_bytes() == b"precious"
        assert sorted(p.name for p in folder.iterdir()) == sorted({path.name, target.name})
        target.unlink()
    assert path.read_bytes() == before


FILMS = [(codec, suffix) for codec in CODECS for suffix in suffixes(codec)]


@pytest.mark.parametrize(("codec", "suffix"), FILMS)
def test_films_that_end_too_soon(films, tmp_path, codec, suffix):
    whole = films[codec, suffix]
    path = tmp_path / f"film.{suffix}"
    for share in (0.0, 0.002, 0.05, 0.3, 0.5, 0.8, 0.95, 0.999):
        path.write_bytes(whole[: int(len(whole) * share)])
        use(path, tmp_path)


@pytest.mark.parametrize(("codec", "suffix"), FILMS)
def test_films_with_flipped_bytes(films, tmp_path, codec, suffix):
    whole = films[codec, suffix]
    path = tmp_path / f"film.{suffix}"
    for seed in range(12):
        chance = random.Random(seed)
        broken = bytearray(whole)
        for _ in range(chance.choice([1, 3, 30])):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        path.write_bytes(broken)
        use(path, tmp_path)


@pytest.mark.parametrize("codec", CODECS)
def test_broken_configuration_record(films, tmp_path, codec):
    """The record says how long length fields are; without it no NAL unit is found."""
    whole = films[codec, "mp4"]
    box = whole.index(RECORDS[codec])
    path = tmp_path / "film.mp4"
    for offset in range(4, 40):
        for value in (0, 255):
            broken = bytearray(whole)
            broken[box + offset] = value
            path.write_bytes(broken)
            attempt(lambda: probe(path))
            attempt(lambda: extract(path))
            attempt(lambda: play(path))


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_length_field_beyond_the_sample(films, tmp_path, codec):
    """The message is lost, and that is said; the other sample's message is found."""
    whole = films[codec, "mp4"]
    network = whole.index(PAYLOAD)
    broken = bytearray(whole)
    # The length field of the NAL unit stands before its header and the message's own header.
    field = next(
        at
        for at in range(network, network - 80, -1)
        if int.from_bytes(whole[at : at + 4], "big") + at in range(network + 490, network + 520)
    )
    broken[field : field + 4] = b"\x7f\xff\xff\xff"
    path = tmp_path / "film.mp4"
    path.write_bytes(broken)
    report = probe(path)
    assert any("access unit 0" in problem for problem in report.problems)
    (found,) = extract(path)
    assert found.payload == PAYLOAD
    assert len(found.pts) == 1


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=200),
    head=st.sampled_from(
        [b"", b"\0\0\1", b"\0\0\0\1", b"\0\0\0\5", b"\x0a\1\0\x32", b"\x2a\x20\4\xff\1nnrvideo"]
    ),
)
def test_carriage_of_any_bytes(codec, data, head):
    carriage = attempt(lambda: carriage_for(codec, b""))
    assert not isinstance(carriage, NnrVideoError)
    attempt(lambda: carriage.messages(head + data))
    attempt(lambda: carriage.strip(head + data))
    attempt(lambda: carriage.is_clvs_start(head + data, first=False))
    attempt(lambda: carriage.ends_sequence(head + data))


@pytest.mark.parametrize(
    ("codec", "record", "unit"),
    [
        ("h264", b"", b"\0\0\1\x65"),
        ("hevc", b"", b"\0\0\1\x26"),
        ("vvc", b"", b"\0\0\1\x26"),
        ("h264", b"\1\x64\0\x1f\xfc\xe0\0", b"\1\x65"),
        ("av1", b"", b"\x0a\0"),
    ],
)
def test_floods_of_tiny_units(codec, record, unit):
    """Where every byte of the film would cost a hundred bytes of memory."""
    carriage = carriage_for(codec, record)
    assert carriage.messages(unit * 65_536) == []
    for action in (carriage.messages, carriage.strip, carriage.is_clvs_start):
        with pytest.raises(BitstreamError, match="more than 65536"):
            action(unit * 65_537)


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=120))
def test_configuration_record_of_any_bytes(codec, data):
    carriage = attempt(lambda: carriage_for(codec, b"\x81" + data))
    if not isinstance(carriage, NnrVideoError):
        attempt(carriage.configuration_messages)
        attempt(carriage.strip_configuration)


@pytest.mark.parametrize("suffix", ["webm", "mkv", "mp4"])
def test_flipped_bytes_in_the_track_beside_the_video(films, tmp_path, suffix):
    whole = films["vp9", suffix]
    text = binascii.b2a_base64(b"nnrvideo\0\0\0\0\0\0\0\1", newline=False)[:21]
    mark = b"nnrvideo\0\0" if suffix == "mp4" else text
    begin = whole.index(mark)
    path = tmp_path / f"film.{suffix}"
    for seed in range(30):
        chance = random.Random(seed)
        broken = bytearray(whole)
        for _ in range(chance.choice([1, 3])):
            broken[begin + chance.randrange(60)] = chance.randrange(256)
        path.write_bytes(broken)
        with open_media(path) as media:
            assert len(list(media.pictures())) == 6
        use(path, tmp_path)


@pytest.mark.parametrize("name", ["text.mp4", "noise.ts", "empty.mkv", "sound.mp4"])
def test_files_that_are_no_film(tmp_path, name):
    path = tmp_path / name
    if name == "sound.mp4":
        with av.open(str(path), "w") as sink:
            sound = sink.add_stream("aac", rate=48_000)
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
            frame.sample_rate = 48_000
            sink.mux(sound.encode(frame) + sound.encode(None))
    else:
        noise = np.random.default_rng(1).integers(0, 256, 5000, dtype=np.uint8).tobytes()
        path.write_bytes({"t": b"no film\n" * 50, "n": noise, "e": b""}[name[0]])
    for action in (probe, extract, play):
        error = attempt(lambda: action(path))  # noqa: B023 - called now
        assert isinstance(error, NnrVideoError)
        assert name in str(error)
