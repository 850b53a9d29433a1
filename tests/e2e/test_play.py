# SPDX-License-Identifier: Apache-2.0
"""Playing films without a window, and in a window on SDL's dummy drivers."""

import json
import os
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest

from nnrvideo.authoring import embed
from nnrvideo.cli.main import main
from nnrvideo.container import open_media
from nnrvideo.data import base_network
from nnrvideo.errors import ContainerError
from nnrvideo.picture import Picture
from nnrvideo.player import Command, CommandKind, NoScreen, Playback, SilentSpeaker
from nnrvideo.runtime import OnnxRuntimeBackend

FRAMES = 24


@pytest.fixture(scope="module")
def film(make_clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("play")
    plain = make_clip(folder / "plain.mp4", frames=FRAMES, audio=True)
    embed(plain, folder / "film.mp4", base_network())
    return folder / "film.mp4"


class Recorder:
    """A screen that keeps what it is shown."""

    def __init__(self, script=None):
        self._inner = NoScreen(script)
        self.pictures = []

    def show(self, picture):
        self._inner.show(picture)
        self.pictures.append(picture)

    def commands(self):
        return self._inner.commands()

    def close(self):
        pass


def play(path, script=None, **options):
    screen = Recorder(script)
    with open_media(path) as media:
        report = Playback(media, screen, SilentSpeaker(), threads=1, **options).run()
    return screen.pictures, report


def once(at, *commands):
    """A script that says something once, when so many pictures have been shown."""
    said = []

    def script(shown):
        if shown >= at and not said:
            said.append(True)
            return commands
        return ()

    return script


def test_every_picture_is_shown_once_at_the_size_of_the_network(film):
    pictures, report = play(film, deadline=1000)
    assert report.shown == len(pictures) == FRAMES
    assert {(p.format.width, p.format.height) for p in pictures} == {(192, 128)}
    assert report.statistics.frames_out == FRAMES
    assert report.enhanced + report.statistics.plain == FRAMES


def test_a_network_that_is_far_too_slow_costs_no_picture(make_clip, tmp_path):
    plain = make_clip(tmp_path / "plain.mp4", frames=4 * FRAMES)
    embed(plain, tmp_path / "film.mp4", base_network())

    class Slow:
        def __init__(self):
            self._real = OnnxRuntimeBackend(threads=1)
            self.capabilities = self._real.capabilities

        def load(self, graph, initializers):
            session = self._real.load(graph, initializers)

            class Session:
                inputs, outputs = session.inputs, session.outputs
                provider, fallbacks = session.provider, ()

                def run(self, feeds):
                    time.sleep(4 / 24)
                    return session.run(feeds)

            return Session()

    pictures, report = play(tmp_path / "film.mp4", backend=Slow(), precision="fp32")
    assert len(pictures) == report.shown == 4 * FRAMES
    assert report.statistics.too_slow > 0
    assert {(p.format.width, p.format.height) for p in pictures} == {(192, 128)}


def test_quit_pause_and_seek(film):
    pictures, _ = play(film, once(5, Command(CommandKind.QUIT)))
    assert len(pictures) == 5
    # Back to the beginning after ten pictures: those are shown again.
    pictures, report = play(film, once(10, Command(CommandKind.SEEK, -100.0)))
    assert len(pictures) == FRAMES + 10
    assert report.statistics.networks_built == 1  # a seek builds nothing anew

    paused = []

    def script(shown):
        if shown == 4 and len(paused) < 2:
            # Said twice while the same picture stands.
            paused.append(shown)
            return [Command(CommandKind.PAUSE)]
        return ()

    pictures, _ = play(film, script)
    assert len(pictures) == FRAMES


def test_begin_in_the_middle(film):
    pictures, _ = play(film, start=0.5)
    assert len(pictures) == FRAMES - 12


def test_split_shows_plain_before_and_network_behind_the_pointer(film):
    split, _ = play(
        film, once(0, Command(CommandKind.POINT, 0.25)), split=True, duration=None, deadline=1000
    )
    whole, _ = play(film, deadline=1000)
    off, _ = play(film, once(0, Command(CommandKind.ENHANCE)), deadline=1000)
    edge = 48  # a quarter of 192
    for mixed, after, before in zip(split, whole, off, strict=True):
        assert np.array_equal(mixed.planes[0][:, :edge], before.planes[0][:, :edge])
        assert np.array_equal(mixed.planes[0][:, edge + 2 :], after.planes[0][:, edge + 2 :])
        assert mixed.planes[0][:, edge].min() == 255


def test_state_is_written_into_a_copy(film):
    pictures, _ = play(film, state=True, deadline=1000)
    clear, _ = play(film, deadline=1000)
    assert any(
        not np.array_equal(a.planes[0], b.planes[0]) for a, b in zip(pictures, clear, strict=True)
    )


def test_truncated_film_is_shown_as_far_as_it_goes(film, tmp_path, make_clip):
    whole = make_clip(tmp_path / "whole.ts", frames=FRAMES)
    data = whole.read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(data[: len(data) * 2 // 3])
    try:
        pictures, _ = play(cut)
    except ContainerError as error:
        pytest.fail(f"pictures before the cut are lost: {error}")
    assert 0 < len(pictures) < FRAMES


def test_film_without_network_and_without_sound(make_clip, tmp_path):
    path = make_clip(tmp_path / "plain.mkv", frames=6)
    pictures, report = play(path)
    assert len(pictures) == 6
    assert report.enhanced == 0


def test_command_line_without_a_window(film, capsys):
    assert main(["play", "--headless", "-i", str(film), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["shown"] == FRAMES
    assert facts["statistics"]["networks_built"] == 1


def test_window_on_dummy_drivers(film):
    """A whole run in a process of its own: SDL reads its drivers from the environment."""
    pytest.importorskip("sdl2", reason="PySDL2 is not installed")
    environment = {**os.environ, "SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
    command = [sys.executable, "-P", "-m", "nnrvideo", "play", "-i", str(film), "--split", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    # An editable install may talk about its build first.
    assert json.loads(done.stdout[done.stdout.index("{") :])["shown"] == FRAMES


def test_keys_become_wishes(monkeypatch):
    sdl2 = pytest.importorskip("sdl2", reason="PySDL2 is not installed")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    from nnrvideo.player.window import SdlScreen

    screen = SdlScreen("test")
    try:
        screen.show(Picture(tuple(np.zeros(s, np.uint8) for s in ((64, 96), (32, 48), (32, 48)))))
        screen.commands()
        for key in (sdl2.SDLK_SPACE, sdl2.SDLK_LEFT, sdl2.SDLK_s, sdl2.SDLK_x, sdl2.SDLK_q):
            event = sdl2.SDL_Event()
            event.type = sdl2.SDL_KEYDOWN
            event.key.keysym.sym = key
            sdl2.SDL_PushEvent(event)
        kinds = [c.kind for c in screen.commands() if c.kind is not CommandKind.POINT]
        assert kinds == [
            CommandKind.PAUSE,
            CommandKind.SEEK,
            CommandKind.SPLIT,
            CommandKind.QUIT,
        ]
        # The film changes its size: the window stays, the picture fits.
        screen.show(Picture(tuple(np.zeros(s, np.uint8) for s in ((32, 48), (16, 24), (16, 24)))))
    finally:
        screen.close()


def test_without_sdl_one_line_says_what_to_do(film, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sdl2", None)
    assert main(["play", "-i", str(film)]) != 0
    line = capsys.readouterr().err.strip()
    assert "nnrvideo[play]" in line
    assert "\n" not in line


def test_sound_is_read_from_any_place(film):
    from nnrvideo.container import SAMPLE_RATE, read_audio

    pieces = list(read_audio(film, Fraction(1, 4)))
    assert pieces[0].pts >= Fraction(1, 4)
    assert pieces[0].pts < Fraction(1, 4) + Fraction(1, 10)
    assert all(piece.samples.dtype == np.int16 for piece in pieces)
    end = pieces[0].pts
    for piece in pieces:
        assert abs(piece.pts - end) < Fraction(1, 1000)
        end = piece.pts + Fraction(len(piece.samples), SAMPLE_RATE)
