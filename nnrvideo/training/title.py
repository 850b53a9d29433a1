# SPDX-License-Identifier: Apache-2.0
"""Networks trained on the title itself, and the decision whether one is worth its bits.

A title is coded plainly at the quality that was asked for; its size is the budget.  Each candidate
codes it at the size its network brings back, trains the network on exactly the decoded pictures,
puts it into the stream, and is measured through the player against the source.  Candidates of
reduced size get the quality at which they, with their network, take about as many bits.  The best
one wins if it beats the plain encode at the same bits; otherwise the plain encode is the result.

Spec: nothing here is normative.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final, final

from nnrvideo.authoring import embed, encode_reduced, probe
from nnrvideo.container import open_media
from nnrvideo.files import OutputFile
from nnrvideo.report import MeasureOptions, measure_file
from nnrvideo.training.data import PairSet, sample_pairs
from nnrvideo.training.recipe import (
    LEAST_STEPS,
    MODES,
    TIERS,
    Budget,
    Mode,
    Tier,
    mode_scale,
    train_filter,
)

_LEAST_SIZE: Final = 40  # of the coded picture: the largest tier needs 24 around a crop
_CRF_PER_OCTAVE: Final = 6.0  # of bits, about, in x264 and x265
_CLOSE_ENOUGH: Final = 0.03  # of the bits that are aimed at
_ANCHOR_STEP: Final = 3  # in CRF, between the points of the plain curve
_LEAST_GAIN: Final = 0.02  # dB: less is no reason to make players work


@final
@dataclass(frozen=True, slots=True)
class TitleSettings:
    """What to try, and how hard.

    Args:
        modes: Kinds of network to try.
        tiers: Sizes of network to try: S 16, M 32, L 64 channels.
        steps: Training steps of each candidate, the quantised ones included.
        pictures: Pairs of pictures to train on, at most, spread evenly.
        relative_step: Quantisation step of weights relative to their spread; None: the usual.
        seed: Of the training.
        threads: Threads that training may use.
    """

    modes: Sequence[Mode] = ("enhance", "sr2x")
    tiers: Sequence[Tier] = ("S",)
    steps: int = 1500
    pictures: int = 48
    relative_step: float | None = None
    seed: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        if not self.modes or not set(self.modes) <= set(MODES):
            raise ValueError(f"modes are {', '.join(MODES)}, not {list(self.modes)}")
        if not self.tiers or not set(self.tiers) <= set(TIERS):
            raise ValueError(f"tiers are {', '.join(TIERS)}, not {list(self.tiers)}")
        if self.steps < LEAST_STEPS or self.pictures < 1:
            raise ValueError(f"training takes at least {LEAST_STEPS} steps and one picture")


@final
@dataclass(frozen=True, slots=True)
class Point:
    """One coded version of the title.

    Args:
        crf: Constant rate factor that the encoder was given.
        video_bits: Of all access units without messages.
        network_bits: Of all messages, repetitions included.
        psnr_y: Luma PSNR of the whole sequence as shown, in dB.
    """

    crf: float
    video_bits: int
    network_bits: int
    psnr_y: float

    @property
    def bits(self) -> int:
        """All of them."""
        return self.video_bits + self.network_bits


@final
@dataclass(frozen=True, slots=True)
class Candidate:
    """A kind of network, tried.

    Args:
        mode: What it does.
        tier: Its size.
        network_bytes: Of its bitstream.
        point: What it reached.
        without: PSNR of the same decoded pictures without the network, in dB.
        gain: Its PSNR less that of the plain curve at the same bits, in dB.
    """

    mode: Mode
    tier: Tier
    network_bytes: int
    point: Point
    without: float
    gain: float


@final
@dataclass(frozen=True, slots=True)
class TitleReport:
    """What :func:`encode_title` found and did.

    Args:
        anchor: The plain encodes, in the order of their CRFs; the first is the one asked for.
        candidates: Everything that was tried.
        chosen: What the target contains; None for the plain encode.
        pictures: In the title.
    """

    anchor: tuple[Point, ...]
    candidates: tuple[Candidate, ...]
    chosen: Candidate | None
    pictures: int


@dataclass(slots=True)
class _Work:
    """Where the pieces of one title lie meanwhile, and how they are made."""

    source: Path
    folder: Path
    suffix: str
    codec: str
    options: Mapping[str, str]
    settings: TitleSettings
    duration: Fraction | None
    say: Callable[[str], None]
    progress: Callable[[int, int | None], None]
    steps_done: int = 0
    steps_to_do: int = 0
    anchor: dict[float, Point] = field(default_factory=dict)
    pictures: int = 0

    def coded(self, scale: Fraction, crf: float) -> Path:
        """The title coded at reduced size; made when it is first asked for."""
        name = f"{scale.numerator}-{scale.denominator}-{crf:.2f}"
        path = self.folder / f"{name}{self.suffix}"
        if not path.exists():
            self.say(f"encoding at 1/{float(scale):g} of the size, CRF {crf:g}")
            report = encode_reduced(
                self.source,
                path,
                (scale, scale),
                codec=self.codec,
                options={**self.options, "crf": f"{crf:g}"},
                duration=self.duration,
            )
            self.pictures = report.pictures
        return path

    def plain(self, crf: float) -> Point:
        """A point of the plain curve."""
        if crf not in self.anchor:
            self.anchor[crf] = self.measured(self.coded(Fraction(1), crf), crf)[0]
        return self.anchor[crf]

    def measured(self, path: Path, crf: float) -> tuple[Point, float]:
        """A coded file's point, and its PSNR without the network."""
        found = probe(path)
        options = MeasureOptions(structure=False, flicker=False, max_pictures=self.pictures)
        measured = measure_file(self.source, path, options, networks=bool(found.networks))
        shown = measured.network or measured.plain
        point = Point(crf, 8 * found.video_bytes, 8 * found.network_bytes, shown.quality.psnr_y)
        return point, measured.plain.quality.psnr_y


def encode_title(
    source: Path,
    target: Path,
    settings: TitleSettings | None = None,
    *,
    codec: str = "libx265",
    options: Mapping[str, str] | None = None,
    overwrite: bool = False,
    duration: Fraction | None = None,
    say: Callable[[str], None] = lambda _line: None,
    progress: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> TitleReport:
    """Encodes a title with the network that gains most for its bits, or with none.

    Args:
        source: Any video that libavformat reads; audio, subtitles, chapters and tags are copied.
        target: MP4, Matroska, MPEG-TS or raw stream.
        settings: What to try.
        codec: Encoder, ``libx264`` or ``libx265``.
        options: ffmpeg's encoder options by name, with ``crf``.
        overwrite: Whether an existing target may be replaced.
        duration: Stop after so many seconds.
        say: Called with a line about each finding.
        progress: Called with (training steps done, of how many); training takes most of the time.

    Returns:
        What was tried, with figures, and what was chosen.

    Raises:
        ContainerError: A file cannot be read or written.
        CarriageError: The codec has no place for a network.
        ValueError: No ``crf``, or one that is no number.
    """
    settings = settings or TitleSettings()
    given = dict(options or {})
    crf = _quality(given)
    with (
        OutputFile(target, overwrite=overwrite) as output,
        tempfile.TemporaryDirectory(prefix=".nnrvideo-", dir=target.parent) as folder,
    ):
        work = _Work(
            source,
            Path(folder),
            target.suffix,
            codec,
            given,
            settings,
            duration,
            say,
            progress,
            steps_to_do=settings.steps * len(settings.modes) * len(settings.tiers),
        )
        plain = work.plain(crf)
        say(f"plain: {plain.bits} bits, {plain.psnr_y:.2f} dB")
        tried: list[tuple[Candidate, Path]] = []
        # Nothing improves on pictures without any error, such as black ones.
        for mode in settings.modes if math.isfinite(plain.psnr_y) else ():
            if reason := _reason_against(source, mode):
                say(f"{mode}: left out, {reason}")
                continue
            tried += [_try(work, mode, tier, plain) for tier in settings.tiers]
        best = max(tried, key=lambda each: each[0].gain, default=None)
        chosen = best if best is not None and best[0].gain >= _LEAST_GAIN else None
        result = work.coded(Fraction(1), crf) if chosen is None else chosen[1]
        shutil.copyfile(result, output.temporary)
    return TitleReport(
        anchor=tuple(work.anchor.values()),
        candidates=tuple(candidate for candidate, _ in tried),
        chosen=None if chosen is None else chosen[0],
        pictures=work.pictures,
    )


def _quality(options: dict[str, str]) -> float:
    try:
        return float(options.pop("crf"))
    except KeyError:
        raise ValueError("choosing a network needs a constant quality: give -crf") from None


def _reason_against(source: Path, mode: Mode) -> str | None:
    """Why a title cannot be treated so; None if it can."""
    with open_media(source) as media:
        size = media.video.width, media.video.height
    multiple = 2 * mode_scale(mode).numerator
    if mode != "enhance" and any(each % multiple for each in size):
        return f"{size[0]}x{size[1]} does not divide by {multiple}"
    if min(size) / mode_scale(mode) < _LEAST_SIZE:
        return f"{size[0]}x{size[1]} is too small"
    return None


def _try(work: _Work, mode: Mode, tier: Tier, plain: Point) -> tuple[Candidate, Path]:
    """Codes, trains, embeds, measures."""
    scale = mode_scale(mode)
    crf = plain.crf
    if scale != 1:
        crf = _matching_crf(work, scale, plain)
    coded = work.coded(scale, crf)
    pairs = sample_pairs(work.source, coded, scale, work.settings.pictures)
    network = _trained(work, pairs, mode, tier)
    path = work.folder / f"{mode}-{tier}{work.suffix}"
    embed(coded, path, network)
    point, without = work.measured(path, crf)
    gain = point.psnr_y - _plain_quality(work, plain, point.bits)
    work.say(
        f"{mode} {tier}: {point.bits} bits, network {len(network)} bytes, {without:.2f} -> "
        f"{point.psnr_y:.2f} dB, {gain:+.2f} dB against plain at the same bits"
    )
    return Candidate(mode, tier, len(network), point, without, gain), path


def _matching_crf(work: _Work, scale: Fraction, plain: Point) -> float:
    """CRF at which the reduced video takes about the bits of the plain one."""
    crf = plain.crf
    for _ in range(3):
        bits = 8 * probe(work.coded(scale, crf)).video_bytes
        if abs(bits / plain.bits - 1) < _CLOSE_ENOUGH:
            break
        crf = max(0.0, round(crf + _CRF_PER_OCTAVE * math.log2(bits / plain.bits), 2))
    return crf


def _trained(work: _Work, pairs: PairSet, mode: Mode, tier: Tier) -> bytes:
    settings = work.settings
    trained = train_filter(
        pairs,
        mode,
        tier,
        budget=Budget(steps=settings.steps),
        seed=settings.seed,
        threads=settings.threads,
        relative_step=settings.relative_step,
        progress=lambda each: work.progress(work.steps_done + each.done, work.steps_to_do),
    )
    work.steps_done += settings.steps
    return trained.nnc


def _plain_quality(work: _Work, plain: Point, bits: int) -> float:
    """What the plain encode reaches with so many bits: the line through two of its points.

    More bits than a point of the curve has are looked up on the finer side, fewer on the coarser.
    """
    step = -_ANCHOR_STEP if bits > plain.bits else _ANCHOR_STEP
    other = work.plain(max(0.0, plain.crf + step))
    if other.bits == plain.bits:
        return plain.psnr_y
    slope = (other.psnr_y - plain.psnr_y) / math.log(other.bits / plain.bits)
    return plain.psnr_y + slope * math.log(bits / plain.bits)
