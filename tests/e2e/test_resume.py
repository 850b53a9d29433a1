# SPDX-License-Identifier: Apache-2.0
"""``enhance --resume``: killed at any moment, gone on with, and the same film in the end."""

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from nnrvideo.authoring import embed
from nnrvideo.cli.exits import Exit
from nnrvideo.cli.main import main
from nnrvideo.container import ResumableWriter, open_media
from nnrvideo.data import base_network
from nnrvideo.errors import ContainerError
from nnrvideo.model import diff, receive

FRAMES = 40
EVERY = 6
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2"]


@pytest.fixture(scope="module")
def film(make_clip, tmp_path_factory):
    """With sound, and with updates that come between key frames and must not be forgotten."""
    folder = tmp_path_factory.mktemp("resume")
    plain = make_clip(
        folder / "plain.mp4", frames=FRAMES, size=(320, 192), gop=30, audio=True, numbers=True
    )
    base = base_network()
    received = receive(base)
    tail = received.tensors["tail.bias"]
    updates = {
        Fraction(frame, 24): diff(received, {"tail.bias": tail + np.float32(lift / 255)})
        for frame, lift in ((8, 12), (20, -9))
    }
    return embed(plain, folder / "film.mp4", base, updates=updates) and folder / "film.mp4"


def command(film, out, *more):
    return ["enhance", "-i", str(film), str(out), "--resume", "--resume-every", str(EVERY), *more]


def folder_of(out):
    return out.with_name(f".{out.name}.resume")


def pieces(out):
    return sorted(path.stem for path in folder_of(out).glob("0*.json"))


def kill_after(film, out, count, *more):
    """Runs the command in a process of its own and kills it when so many pieces are there."""
    arguments = [sys.executable, "-P", "-m", "nnrvideo", *command(film, out, "-q", *more)]
    process = subprocess.Popen([*arguments, "--threads", "1"])
    until = time.monotonic() + 120
    while len(pieces(out)) < count:
        assert process.poll() is None, "it was done before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def contents(path):
    """Pictures with their times, and the packets of the sound."""
    with open_media(path) as media:
        pictures = [
            (item.pts, b"".join(plane.tobytes() for plane in item.picture.planes))
            for item in media.pictures()
        ]
    with av.open(str(path)) as container:
        sound = [
            (packet.pts * packet.time_base, bytes(packet))
            for stream in container.streams.audio  # none in WebM, which holds no AAC
            for packet in container.demux(stream)
            if packet.size
        ]
    return pictures, sound


@pytest.mark.parametrize(
    ("suffix", "more"),
    [
        ("mp4", X264),
        ("mkv", ["-c:v", "libx265", "-preset", "ultrafast"]),
        ("ts", X264),
        ("webm", ["-c:v", "libvpx-vp9", "-crf", "30"]),
        ("mp4", ["-c:v", "libsvtav1", "-preset", "12"]),
    ],
)
def test_killed_twice_and_the_same_film(film, tmp_path, capsys, suffix, more):
    whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    assert main(command(film, whole, "-q", *more)) == 0
    kill_after(film, out, 2, *more)
    assert not out.exists()
    first = pieces(out)
    kill_after(film, out, 4, *more)
    assert pieces(out)[: len(first)] == first
    capsys.readouterr()
    assert main(command(film, out, "--json", *more)) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["resumed"] >= 4 * EVERY
    assert facts["pictures"] == FRAMES
    assert facts["width"] == 640
    assert contents(out) == contents(whole)
    with open_media(film) as media:
        assert len(contents(out)[0]) == sum(1 for _ in media.pictures()) == FRAMES
    assert not folder_of(out).exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_pictures_are_those_of_a_run_without_pieces(film, tmp_path):
    """Without loss in coding nothing hides a network that was forgotten at a cut."""
    lossless = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "0"]
    plain, out = tmp_path / "plain.mp4", tmp_path / "out.mp4"
    assert main(["enhance", "-i", str(film), str(plain), "-q", *lossless]) == 0
    kill_after(film, out, 4, *lossless)  # behind the second update
    assert main(command(film, out, "-q", *lossless)) == 0
    assert contents(out) == contents(plain)


def test_variable_rate_keeps_its_times(make_clip, tmp_path):
    times = [Fraction(n * n, 600) for n in range(30)]  # slower and slower
    clip = make_clip(tmp_path / "clip.mp4", frames=30, times=times, numbers=True, audio=True)
    embed(clip, tmp_path / "film.mp4", base_network())
    out = tmp_path / "out.mp4"
    more = ["-c:v", "libx264", "-bf", "3", "-q"]
    assert main(command(tmp_path / "film.mp4", out, *more)) == 0
    with open_media(clip) as before, open_media(out) as after:
        assert [p.pts for p in after.pictures()] == [p.pts for p in before.pictures()]


def test_interrupted_while_joining(film, tmp_path, monkeypatch):
    out = tmp_path / "out.mp4"

    def broken(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ResumableWriter, "_join", broken)
        main(command(film, out, "-q", *X264))
    assert len(pieces(out)) == -(-FRAMES // EVERY)
    assert not out.exists()
    assert main(command(film, out, "-q", *X264)) == 0
    assert len(contents(out)[0]) == FRAMES


def test_damaged_leftovers_cost_their_piece(film, tmp_path):
    whole, out = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    assert main(command(film, whole, "-q", *X264)) == 0
    kill_after(film, out, 4, *X264)
    (folder_of(out) / "000002.json").write_text('{"start": "1/0", "pict')
    (folder_of(out) / "stray.mp4").write_bytes(b"half a file")
    assert main(command(film, out, "-q", *X264)) == 0
    assert contents(out) == contents(whole)


def test_other_settings_are_refused_by_name(film, tmp_path, capsys):
    out = tmp_path / "out.mp4"
    kill_after(film, out, 2, *X264)
    assert main([*command(film, out, "-q", *X264), "-crf", "30"]) != 0
    said = capsys.readouterr().err
    assert "unfinished work with another crf" in said
    assert "remove it to begin anew" in said
    assert len(pieces(out)) >= 2
    assert main([*command(film, out, "-q", *X264), "--upscaler", "lanczos"]) != 0
    assert "another --upscaler" in capsys.readouterr().err


def test_two_at_once_are_refused(film, tmp_path):
    with open_media(film) as media:
        like = media.video
    with ResumableWriter(tmp_path / "o.mp4", settings={}, like=like) as first:
        with pytest.raises(ContainerError, match="another process"):
            ResumableWriter(tmp_path / "o.mp4", settings={}, like=like)
        with open_media(film) as media:
            for item in media.pictures():
                first.write(item.picture, item.pts)
    assert (tmp_path / "o.mp4").exists()


def test_nothing_written_leaves_nothing(film, tmp_path):
    with open_media(film) as media:
        like = media.video
    with (
        pytest.raises(ContainerError, match="no pictures"),
        ResumableWriter(tmp_path / "o.mp4", settings={}, like=like),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "more", "words"),
    [
        ("-", [], "coded files"),
        ("o.y4m", [], "coded files"),
        ("o.nut", [], "coded files"),
        ("o.mkv", ["-c:v", "ffv1"], "cannot be kept in pieces"),
        ("o.mp4", ["--resume-every", "0"], "at least 1"),
    ],
)
def test_what_cannot_be_resumed_says_so(film, tmp_path, monkeypatch, capsys, out, more, words):
    monkeypatch.chdir(tmp_path)
    assert main(["enhance", "-i", str(film), out, "--resume", *more]) in (
        Exit.USAGE,
        Exit.BAD_INPUT,
    )
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
