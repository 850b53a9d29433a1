# SPDX-License-Identifier: Apache-2.0
"""The samples, each run as its reader would run it."""

import subprocess
import sys
from pathlib import Path

import pytest

from nnrvideo.authoring import embed
from nnrvideo.data import base_network

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
FRAMES = 12


@pytest.fixture(scope="module")
def film(make_clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    plain = make_clip(folder / "plain.mp4", frames=FRAMES)
    embed(plain, folder / "film.mp4", base_network())
    return folder / "film.mp4"


def run(name, *arguments):
    command = [sys.executable, "-P", str(SAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout, done.stderr.decode()


def test_player_in_real_time(film):
    pipe, said = run("player.py", film)
    picture = 192 * 128 * 3 // 2
    assert pipe.count(b"FRAME\n") == FRAMES
    assert len(pipe) > FRAMES * picture
    assert "network_ready" in said
    assert f"frames_out={FRAMES}" in said


def test_player_is_as_short_as_it_says():
    source = (SAMPLES / "player.py").read_text().split('"""')[2]
    lines = [line for line in source.splitlines() if line.strip()]
    assert len(lines) <= 40


def test_async_player(film):
    out, _ = run("async_player.py", film)
    lines = [line for line in out.decode().splitlines() if " s: " in line]
    assert len(lines) == FRAMES
    assert all(line.endswith("192x128, network") for line in lines)


def test_numpy_planes():
    out, _ = run("numpy_planes.py")
    lines = [line for line in out.decode().splitlines() if "(360, 640)" in line]
    assert len(lines) == 5
    assert all(line.endswith("True") for line in lines)
    assert "frames_out=5" in out.decode()
