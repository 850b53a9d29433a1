# SPDX-License-Identifier: Apache-2.0
"""``Playback``: a film on a screen, enhanced as far as time allows, with its sound.

    decoder thread   messages, pictures ──► Enhancer (due: the picture's own time)
    sound thread     decoded sound ──► speaker, half a second ahead
    this thread      Enhancer ──► waits until a picture is due ──► screen; wishes of the viewer

All of them go by one :class:`MediaClock`, which follows the sound.  Before the clock starts, some
pictures are made ready: the networks are built meanwhile, and their speed is known.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import numpy as np

from nnrvideo.container import SAMPLE_RATE, DecodedPicture, MediaReader, has_audio, read_audio
from nnrvideo.errors import ContainerError
from nnrvideo.picture import ChromaFormat, Picture, PictureFormat
from nnrvideo.player.clock import MediaClock
from nnrvideo.player.enhancer import Enhancer
from nnrvideo.player.events import Enhanced, Statistics
from nnrvideo.player.files import Feeder, signalled_size
from nnrvideo.player.precision import Precision
from nnrvideo.player.screens import Command, CommandKind, Screen, Speaker
from nnrvideo.player.split import joined
from nnrvideo.runtime import Upscaler, caption, resize_picture
from nnrvideo.runtime.onnxruntime import default_threads

_log = logging.getLogger(__name__)

_AHEAD = 0.4  # seconds of pictures ...
_AHEAD_PICTURES = (12, 32)  # ... but at least the ten of the probe and those in work
_SOUND_AHEAD = 0.5  # seconds
_START_WITHIN = 2.0  # seconds after which playing starts with whatever is ready
_LOOK = 0.01  # seconds between two looks for wishes while nothing is due
_TOLERANCE = 0.001  # seconds; no screen shows finer differences
_MARGIN = 0.3  # of a picture's duration that showing it may take
_RATE = Fraction(25)  # pictures a second where the film does not tell


@final
@dataclass(frozen=True, slots=True)
class PlaybackReport:
    """What was played."""

    shown: int  # pictures
    enhanced: int
    late: int  # pictures shown more than one duration after their time
    worst_lateness: float  # seconds
    worst_drift: float  # seconds between picture and sound, once both were running
    seconds: float  # wall time from the first picture to the last
    statistics: Statistics


@final
class Playback:
    """Plays a film once.

    Args:
        media: The open film.
        screen: Where to.
        speaker: Where the sound goes; None plays without sound.
        start: Seconds to begin at.
        duration: Seconds of film to play; None for all.
        loop: Begin again at the end, until ``duration`` is over.
        split: Show before | after from the beginning.
        state: Show the state from the beginning.
        threads: Threads of the networks; None for at most 4.
        precision: Numbers that networks compute in, see :class:`Enhancer`.
        max_memory_mib: Bound on the memory of the networks at work, in MiB.
        upscaler: Kernel where no network applies.
        enhancer_options: Further arguments of :class:`Enhancer`.
    """

    def __init__(
        self,
        media: MediaReader,
        screen: Screen,
        speaker: Speaker | None = None,
        *,
        start: float = 0.0,
        duration: float | None = None,
        loop: bool = False,
        split: bool = False,
        state: bool = False,
        threads: int | None = None,
        precision: Precision | str = Precision.AUTO,
        max_memory_mib: int = 256,
        upscaler: Upscaler = Upscaler.BICUBIC,
        **enhancer_options: object,
    ) -> None:
        self._media = media
        self._screen = screen
        self._speaker = speaker if speaker and has_audio(media.path) else None
        self._rate = media.video.frame_rate or _RATE
        self._begin = float(media.video.start or 0)
        self._start = self._begin + start
        self._until = None if duration is None else duration
        self._loop = loop
        self._split, self._state, self._enhancing = split, state, True
        self._pointer = 0.5
        self._upscaler = upscaler
        self._clock = MediaClock()
        threads = threads or default_threads()
        least, most = _AHEAD_PICTURES
        self._ahead = min(most, max(least, round(_AHEAD * self._rate)))
        self._enhancer = Enhancer(
            realtime=True,
            threads=threads,
            workers=threads,
            precision=precision,
            max_memory_mib=max_memory_mib,
            fallback=upscaler,
            queue_size=self._ahead,
            source=media.video.format,
            output_size=signalled_size(media, media.limits),
            clock=self._clock.time_for_deadlines,
            **enhancer_options,  # type: ignore[arg-type]
        )
        self._feeder: Feeder | None = None
        self._sound: _Sound | None = None
        self._shown = self._enhanced = self._late = 0
        self._worst_lateness = self._worst_drift = 0.0
        self._recent: deque[float] = deque(maxlen=60)  # wall times of pictures shown
        self._last: tuple[DecodedPicture, Enhanced] | None = None
        self._quit = False

    def run(self) -> PlaybackReport:
        """Plays until the end, or until the viewer has had enough.

        Raises:
            ContainerError: The file cannot be read any further.
        """
        began = time.monotonic()
        at: float | None = self._start
        with self._enhancer:
            try:
                while at is not None:
                    at = self._play_from(at, began)
                statistics = self._enhancer.stats()
            finally:
                self._stop()
        return PlaybackReport(
            shown=self._shown,
            enhanced=self._enhanced,
            late=self._late,
            worst_lateness=self._worst_lateness,
            worst_drift=self._worst_drift,
            seconds=time.monotonic() - began,
            statistics=statistics,
        )

    # -- from one place on -------------------------------------------------------------------

    def _play_from(self, at: float, began: float) -> float | None:
        """Plays from a place in the film; returns where to go on, or None to end."""
        self._stop()
        self._clock.run(running=False)
        self._clock.set(at)
        self._feeder = Feeder(
            self._media,
            self._enhancer,
            start=Fraction(at),
            due=lambda pts: float(pts) - _MARGIN / float(self._rate),
            await_networks=_START_WITHIN,
        )
        if self._speaker is not None:
            self._sound = _Sound(self._media, self._speaker, at)
        started = False
        for decoded in self._feeder:
            result = self._receive()
            if result is None:
                return None
            if not started:
                self._make_ready()
                self._clock.set(float(decoded.pts))
                self._clock.run(running=True)
                if self._speaker is not None:
                    self._speaker.pause(paused=False)
                started = True
            to = self._wait_for(float(decoded.pts))
            if self._quit or self._is_over(began):
                return None
            if to is not None:
                return to
            self._present(decoded, result)
        return self._begin if self._loop else None

    def _receive(self) -> Enhanced | None:
        while not isinstance(result := self._enhancer.receive(_LOOK), Enhanced):
            self._obey()
            if self._quit:
                return None
        return result

    def _make_ready(self) -> None:
        """Lets the enhancer run ahead before time starts to pass; one is taken already."""
        assert self._feeder is not None
        deadline = time.monotonic() + _START_WITHIN
        while self._enhancer.ready < self._ahead - 1 and not self._feeder.finished:
            if time.monotonic() > deadline:
                # Far too slow: what is in work is finished, the rest is plain.
                self._enhancer.skip()
            time.sleep(_LOOK)
        self._enhancer.drain()

    def _wait_for(self, pts: float) -> float | None:
        """Waits until a picture is due; returns a place to go to if the viewer wants to."""
        while True:
            to = self._obey()
            if to is not None or self._quit:
                return to
            left = pts - self._clock.time()
            if self._clock.running and left <= _TOLERANCE:
                return None
            time.sleep(min(_LOOK, left) if self._clock.running else _LOOK)

    def _present(self, decoded: DecodedPicture, result: Enhanced) -> None:
        self._last = decoded, result
        self._draw(decoded, result)
        lateness = self._clock.time() - float(decoded.pts)
        self._worst_lateness = max(self._worst_lateness, lateness)
        self._late += lateness > 1 / float(self._rate)
        self._shown += 1
        self._enhanced += result.info.enhanced
        self._recent.append(time.monotonic())
        heard = self._sound.heard() if self._sound is not None else None
        if heard is not None:
            drift = self._clock.follow(heard)
            self._worst_drift = max(self._worst_drift, abs(drift))

    def _is_over(self, began: float) -> bool:
        return self._until is not None and time.monotonic() - began >= self._until

    def _stop(self) -> None:
        if self._speaker is not None:
            self._speaker.pause(paused=True)
        if self._feeder is not None:
            self._feeder.stop()
            self._feeder = None
        if self._sound is not None:
            self._sound.stop()
            self._sound = None

    # -- the viewer --------------------------------------------------------------------------

    def _obey(self) -> float | None:
        """Does what the viewer wants; returns a place to go to, or None."""
        to: float | None = None
        redraw = False
        for command in self._screen.commands():
            match command:
                case Command(CommandKind.QUIT):
                    self._quit = True
                case Command(CommandKind.PAUSE):
                    self._clock.run(running=not self._clock.running)
                    if self._speaker is not None:
                        self._speaker.pause(paused=not self._clock.running)
                case Command(CommandKind.SEEK, value):
                    to = max(self._begin, self._clock.time() + value)
                case Command(CommandKind.SPLIT):
                    self._split, redraw = not self._split, True
                case Command(CommandKind.STATE):
                    self._state, redraw = not self._state, True
                case Command(CommandKind.ENHANCE):
                    self._enhancing, redraw = not self._enhancing, True
                case Command(CommandKind.POINT, value):
                    self._pointer, redraw = value, self._split
        if redraw and not self._clock.running and self._last is not None:
            self._draw(*self._last)
        return to

    def _draw(self, decoded: DecodedPicture, result: Enhanced) -> None:
        picture = result.picture
        if self._split or not self._enhancing:
            plain = resize_picture(decoded.picture, picture.format, self._upscaler)
            share = self._pointer if self._enhancing else 1.0
            picture = joined(plain, picture, share)
        display = PictureFormat(picture.format.width, picture.format.height, ChromaFormat.C420, 8)
        picture = resize_picture(picture, display, self._upscaler)
        if self._state:
            luma = caption(picture.planes[0], self._lines(result))
            picture = Picture((luma, *picture.planes[1:]), ChromaFormat.C420, 8, picture.colour)
        self._screen.show(picture)

    def _lines(self, result: Enhanced) -> list[str]:
        """The state in words."""
        counts, info = self._enhancer.stats(), result.info
        if info.enhanced:
            what = f"network {info.nnpfc_id} {counts.precision}, {info.milliseconds:.0f} ms"
        else:
            what = f"plain: {info.reason}"
        span = self._recent[-1] - self._recent[0] if len(self._recent) > 1 else 0.0
        fps = (len(self._recent) - 1) / span if span else 0.0
        pause = "" if counts.pace == "on" else f", network {counts.pace}"
        return [what, f"{fps:.1f} fps, {self._late} late{pause}", counts.provider]


@final
class _Sound:
    """Keeps a speaker supplied from a place in the film on."""

    def __init__(self, media: MediaReader, speaker: Speaker, start: float) -> None:
        self._media = media
        self._speaker = speaker
        self._start = start
        self._end: float | None = None  # film time behind the last sample handed over
        self._finished = False
        self._stopped = threading.Event()
        speaker.clear()
        self._thread = threading.Thread(target=self._supply, name="nnrvideo-sound", daemon=True)
        self._thread.start()

    def heard(self) -> float | None:
        """Film time of what is heard now; None before the first and after the last sample."""
        waiting = self._speaker.waiting()
        if self._end is None or (self._finished and waiting <= 0):
            return None
        return self._end - waiting

    def stop(self) -> None:
        """Ends the supply."""
        self._stopped.set()
        self._thread.join()
        self._speaker.clear()

    def _supply(self) -> None:
        try:
            for piece in read_audio(self._media.path, Fraction(self._start)):
                while self._speaker.waiting() > _SOUND_AHEAD:
                    if self._stopped.wait(_LOOK):
                        return
                if self._stopped.is_set():
                    return
                self._append(float(piece.pts), piece.samples)
        except ContainerError as error:
            _log.warning("the sound ends here: %s", error)
        self._finished = True

    def _append(self, pts: float, samples: np.ndarray[tuple[int, ...], np.dtype[np.int16]]) -> None:
        """Hands over a piece; a gap before it is filled with silence."""
        end = self._start if self._end is None else self._end
        gap = round((pts - end) * SAMPLE_RATE)
        if gap > 0:
            samples = np.concatenate([np.zeros((gap, samples.shape[1]), np.int16), samples])
        elif gap < 0:
            samples = samples[-gap:]
        self._speaker.play(np.ascontiguousarray(samples))
        self._end = end + len(samples) / SAMPLE_RATE
