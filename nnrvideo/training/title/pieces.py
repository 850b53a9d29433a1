# SPDX-License-Identifier: Apache-2.0
"""The pieces of a title, as Python sees them: tasks with types, and what they return."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, final

from nnrvideo.authoring import Span
from nnrvideo.authoring.schedule import ALWAYS
from nnrvideo.metrics import decibels
from nnrvideo.training.kinds import Level, Mode, Tier
from nnrvideo.training.title import tasks
from nnrvideo.training.title.buffer import Buffer
from nnrvideo.training.title.curve import Knob
from nnrvideo.training.title.figures import Measure, Scene, total_bits
from nnrvideo.training.title.results import Point
from nnrvideo.training.title.settings import TitleSettings
from nnrvideo.training.title.workshop import Workshop


@final
@dataclass(frozen=True, slots=True)
class Request:
    """What shall be encoded, and how.

    Args:
        source: Absolute.
        suffix: Of the target.
        size: Width and height of the source, in luma samples.
        seconds: That will be encoded; 0 if nobody knows.
        codec: Encoder.
        options: Of the encoder, but for its quality.
        knob: Its quality.
        buffer: What receivers are promised; None for nothing.
        settings: What to try.
        duration: Stop after so many seconds.
        base: Network to use, NNC; None to train one.
    """

    source: Path
    suffix: str
    size: tuple[int, int]
    seconds: float
    codec: str
    options: Mapping[str, str]
    knob: Knob
    buffer: Buffer | None
    settings: TitleSettings
    duration: Fraction | None
    base: bytes | None = None


@final
@dataclass(frozen=True, slots=True)
class Coded:
    """The title coded at some size."""

    file: str
    knob: Knob
    pictures: int
    bits: int
    cropped: tuple[int, int]


@final
@dataclass(frozen=True, slots=True)
class Network:
    """A network trained for a coded version."""

    mode: Mode
    tier: Tier
    coded: Coded
    file: str
    bytes: int
    steps: int
    cpu_seconds: float


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """A version with its networks, measured."""

    scenes: tuple[Scene, ...]
    measure: Measure
    file: str  # as a player would have it
    lacking: int = 0  # bits that the receivers' buffer waits for, at the worst moment

    def point(self, knob: Knob) -> Point:
        """Its figures over all scenes."""
        return Point(str(knob), total_bits(self.scenes), self.quality, self.psnr_y)

    @property
    def pictures(self) -> int:
        """In all scenes."""
        return sum(scene.pictures for scene in self.scenes)

    @property
    def quality(self) -> float:
        """As shown."""
        loss = sum(scene.shown.loss for scene in self.scenes)
        return self.measure.quality(loss, self.pictures)

    @property
    def without(self) -> float:
        """Without networks."""
        loss = sum(scene.plain.loss for scene in self.scenes)
        return self.measure.quality(loss, self.pictures)

    @property
    def psnr_y(self) -> float:
        """As shown, in dB."""
        error = sum(scene.shown.squared_error for scene in self.scenes)
        return decibels(error, self.measure.samples * self.pictures, self.measure.bit_depth)


@final
class Pieces:
    """Makes pieces of one title, each once.

    Args:
        workshop: Where they lie.
        request: What is wanted.
        say: Called with a line about each piece.

    Attributes:
        training_seconds: CPU time of all training so far.
    """

    def __init__(self, workshop: Workshop, request: Request, say: Callable[[str], None]) -> None:
        self.training_seconds = 0.0
        self._workshop, self._request, self._say = workshop, request, say

    def code(self, scale: Fraction, knob: Knob, name: str, buffer: Buffer | None = None) -> Coded:
        """The title at a size and quality, and with a promise of its own to receivers."""
        self._say(f"{name}: coding with {knob}")
        result = self._workshop.do(
            tasks.code,
            {
                "source": str(self._request.source),
                "name": f"{name}-{plain_name(knob)}{self._request.suffix}",
                "scale": str(scale),
                "codec": self._request.codec,
                "options": {
                    **self._request.options,
                    **knob.options,
                    **({} if buffer is None else buffer.options),
                },
                "two_pass": self._request.settings.two_pass,
                "duration": None if self._request.duration is None else str(self._request.duration),
            },
        )
        return Coded(
            result["file"],
            knob,
            result["pictures"],
            result["bits"],
            (result["cropped"][0], result["cropped"][1]),
        )

    def train(
        self, coded: Coded, mode: Mode, tier: Tier, share: float, seconds: float | None
    ) -> Network:
        """A network for a coded version.

        Args:
            coded: On whose pictures it works.
            mode: What it does.
            tier: Its size.
            share: Of the title's bits, that it will take, about.
            seconds: CPU time, if that is bounded.
        """
        self._say(f"{mode} {tier}: training")
        result = train_on(
            self._workshop,
            [(self._request, coded)],
            (mode, tier),
            share=share,
            seconds=seconds,
        )
        self.training_seconds += result["cpu_seconds"]
        return Network(
            mode, tier, coded, result["network_file"], result["bytes"], result["steps"],
            result["cpu_seconds"],
        )  # fmt: skip

    def adopt(self, coded: Coded, mode: Mode, tier: Tier, nnc: bytes) -> Network:
        """A network that was given, for a coded version."""
        result = self._workshop.do(tasks.adopt, {"nnc": base64.b64encode(nnc).decode()})
        return Network(mode, tier, coded, result["network_file"], result["bytes"], 0, 0.0)

    def measure(
        self,
        coded: Coded,
        network: Network | None = None,
        *,
        updates: Sequence[tuple[Fraction, str | None]] = (),
        spans: Sequence[Span] = ALWAYS,
        name: str = "",
    ) -> Shown:
        """A coded version with a network in it, or as it is."""
        settings, buffer = self._request.settings, self._request.buffer
        result = self._workshop.do(
            tasks.measure,
            {
                "source": str(self._request.source),
                "coded": coded.file,
                "name": f"{name}{self._request.suffix}",
                "network": None if network is None else network.file,
                "updates": [[str(time), file] for time, file in updates],
                "spans": [[_text(start), _text(end)] for start, end in spans],
                "repeat": str(settings.repeat),
                "buffer": None if buffer is None else [buffer.rate, buffer.size],
                "pictures": coded.pictures,
                "target": settings.target,
                "threads": settings.threads,
            },
        )
        if result["unpaired"]:
            self._say(f"{result['unpaired']} pictures have no partner in the source or in the file")
        return Shown(
            tuple(Scene.from_json(scene) for scene in result["scenes"]),
            Measure(settings.target, result["samples"], result["bit_depth"]),
            result.get("file", coded.file),
            result["lacking"],
        )

    def adapt(
        self,
        network: Network,
        level: Level,
        span: Span,
        steps: int,
    ) -> str | None:
        """File with the update of a network for a scene; None where there is nothing to gain."""
        settings = self._request.settings
        result = self._workshop.do(
            tasks.adapt,
            {
                "source": str(self._request.source),
                "coded": network.coded.file,
                "network": network.file,
                "mode": network.mode,
                "level": level,
                "start": _text(span[0]),
                "end": _text(span[1]),
                "steps": steps,
                "seed": settings.seed,
                "threads": settings.threads,
            },
        )
        self.training_seconds += result["cpu_seconds"]
        update: str | None = result.get("update_file")
        return update


def train_on(
    workshop: Workshop,
    versions: Sequence[tuple[Request, Coded]],
    kind: tuple[Mode, Tier],
    *,
    share: float,
    seconds: float | None,
) -> Mapping[str, Any]:
    """Trains a network on coded versions.

    Args:
        workshop: Where it is done.
        versions: What was wanted, all with the same settings, and what was coded.
        kind: Of the network.
        share: Of the bits, that it will take, about.
        seconds: CPU time, if that is bounded.

    Returns:
        As :func:`nnrvideo.training.title.tasks.train`.
    """
    mode, tier = kind
    settings = versions[0][0].settings
    return workshop.do(
        tasks.train,
        {
            "pairs": [[str(request.source), coded.file] for request, coded in versions],
            "mode": mode,
            "tier": tier,
            "steps": settings.steps,
            "seconds": seconds,
            "share": round(share, 3),
            "pictures": settings.pictures,
            "seed": settings.seed,
            "threads": settings.threads,
        },
    )


def plain_name(knob: Knob) -> str:
    """For names of files."""
    return f"{'crf' if knob.kind == 'crf' else 'rate'}{knob.value:g}"


def _text(time: Fraction | None) -> str | None:
    return None if time is None else str(time)
