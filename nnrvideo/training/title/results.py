# SPDX-License-Identifier: Apache-2.0
"""What came of a title."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, final

from nnrvideo.report.results import Bits
from nnrvideo.training.kinds import Level, Mode, Target, Tier

Variant = Literal["whole", "by scene"] | Level


@final
@dataclass(frozen=True, slots=True)
class Point:
    """One coded version of the title.

    Args:
        knob: Constant rate factor or bit rate that the encoder was given, in words.
        bits: Of the video stream by kind; every repetition counts.
        quality: Of the sequence as shown, by the metric that decides.
        psnr_y: Luma PSNR of the whole sequence as shown, in dB.
    """

    knob: str
    bits: Bits
    quality: float
    psnr_y: float


@final
@dataclass(frozen=True, slots=True)
class SceneChoice:
    """A scene of a candidate.

    Args:
        start: Seconds of the coded file.
        pictures: In it.
        option: ``off``, ``base``, or what its update changes: ``bias``, ``last``, ``all``.
        plain_psnr_y: Of its decoded pictures, plainly upscaled if need be, in dB.
        psnr_y: As shown, in dB.
        network_bits: Of its messages.
    """

    start: float
    pictures: int
    option: str
    plain_psnr_y: float
    psnr_y: float
    network_bits: int


@final
@dataclass(frozen=True, slots=True)
class Candidate:
    """A kind of network, tried.

    Args:
        mode: What it does.
        tier: Its size.
        variant: ``whole``: on throughout; ``bias``, ``last``, ``all``: likewise, with an update of
            this kind in every scene that is long enough; ``by scene``: what suits each scene.
        network_bytes: Of the base's bitstream.
        steps: Of its training.
        kmac_per_sample: What it costs a player.
        point: What it reached.
        without: Quality of the same decoded pictures without the network.
        gain: Its quality less that of the plain encode at the same bits.
        scenes: What each scene takes.
    """

    mode: Mode
    tier: Tier
    variant: Variant
    network_bytes: int
    steps: int
    kmac_per_sample: float
    point: Point
    without: float
    gain: float
    scenes: tuple[SceneChoice, ...]

    @property
    def name(self) -> str:
        """In words."""
        more = {"whole": "", "by scene": " by scene"}.get(self.variant, f" + {self.variant}")
        return f"{self.mode} {self.tier}{more}"


@final
@dataclass(frozen=True, slots=True)
class TitleReport:
    """What :func:`encode_title` found and did.

    Args:
        target: Metric that decided.
        plain: The plain encode that was asked for.
        curve: All plain encodes, by rising bits.
        candidates: Everything that was tried.
        chosen: What the target contains; None for the plain encode.
        pictures: In the title.
        cropped: Columns and rows cut off at the right and at the bottom.
        notes: What was left out, and why.
        training_seconds: Of CPU.
        files: Coded versions, as long as the work folder is there: the result or else the best
            candidate, if any, then those of the curve.
        network: Bitstream of the base in the first of them, as long; None if nothing was tried.
        network_seconds: Of CPU, for the training of that one.
    """

    target: Target
    plain: Point
    curve: tuple[Point, ...]
    candidates: tuple[Candidate, ...]
    chosen: Candidate | None
    pictures: int
    cropped: tuple[int, int]
    notes: tuple[str, ...]
    training_seconds: float
    files: tuple[Path, ...] = ()
    network: Path | None = None
    network_seconds: float = 0.0

    @property
    def best(self) -> Candidate | None:
        """The chosen candidate, or else the one that came nearest; None if nothing was tried."""
        return self.chosen or max(self.candidates, key=lambda each: each.gain, default=None)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values, without what is about files; an infinite PSNR is ``"inf"``."""
        facts: dict[str, Any] = _finite(asdict(self))
        for name in ("files", "network", "network_seconds"):
            del facts[name]
        return facts


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
