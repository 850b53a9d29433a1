# SPDX-License-Identifier: Apache-2.0
"""From candidates to the one that is worth its bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final, final

from nnrvideo.authoring import coded_size
from nnrvideo.errors import ModelError
from nnrvideo.metrics import decibels
from nnrvideo.training.kinds import USUAL_STEPS, Level, Mode, Tier, kmac_per_sample, mode_scale
from nnrvideo.training.title.curve import Anchor, Knob, PlainCurve, search
from nnrvideo.training.title.decide import BASE, OFF, Choice, choose, spans_of, updates_of
from nnrvideo.training.title.figures import Measure, Scene, total_bits
from nnrvideo.training.title.pieces import Coded, Network, Pieces, Request, Shown, plain_name
from nnrvideo.training.title.results import Candidate, SceneChoice, TitleReport, Variant
from nnrvideo.training.title.sizes import fitting_tier, left_for_video, reduced_knob, sent_bits

_LEAST_SIZE: Final = 40  # of the coded picture: the largest tier needs 24 around a crop
_LEAST_GAIN: Final = {"psnr": 0.02, "ms-ssim": 1e-4, "vmaf": 0.1}
"""Less is no reason to make players work."""
_HOPELESS: Final = {"psnr": 0.5, "ms-ssim": 5e-3, "vmaf": 3.0}
"""Who is further behind the plain encode is not saved by updates."""
_LEAST_PICTURES: Final = 12  # of a scene that gets an update of its own
_UPDATE_STEPS: Final = 5  # times as many has the network
_UPDATE_SHARE: Final = 0.3  # of a budget


@final
@dataclass(frozen=True, slots=True)
class _Tried:
    """A candidate, and what it takes to go on with it."""

    candidate: Candidate
    network: Network
    shown: Shown
    expected: float
    """Gain that switching by scene promises, or the measured one."""


@final
class Trial:
    """Tries what a request allows.

    Args:
        pieces: Makes what is needed.
        request: What is wanted.
        say: Called with a line about each finding.
    """

    def __init__(self, pieces: Pieces, request: Request, say: Callable[[str], None]) -> None:
        self._pieces, self._request, self._say = pieces, request, say
        self._settings = request.settings
        self._plain: dict[Knob, tuple[Coded, Shown]] = {}
        self._notes: list[str] = []
        self._results: list[_Tried] = []
        self._curve = PlainCurve(request.knob, self._anchor)

    def _anchor(self, knob: Knob) -> Anchor:
        coded = self._pieces.code(Fraction(1), knob, "plain")
        shown = self._pieces.measure(coded)
        self._plain[knob] = coded, shown
        anchor = Anchor(knob, total_bits(shown.scenes).total, shown.quality)
        self._say(f"plain, {knob}: {anchor.bits} bits, {self._in_words(anchor.quality)}")
        return anchor

    def decide(self) -> tuple[TitleReport, Path]:
        """Tries everything; the report and the file that is the result."""
        plain_coded, plain = self._plain[self._curve.asked.knob]
        tried = self._results
        for network in self._networks(plain_coded, plain):
            tried.append(self._try(network))
        if tried:
            tried += self._by_scene(max(tried, key=lambda each: each.expected))
        chosen = self._proven(tried)
        best = chosen or max(tried, key=lambda each: each.candidate.gain, default=None)
        report = TitleReport(
            target=self._settings.target,
            plain=plain.point(plain_coded.knob),
            curve=tuple(
                self._plain[anchor.knob][1].point(anchor.knob) for anchor in self._curve.points
            ),
            candidates=tuple(each.candidate for each in tried),
            chosen=None if chosen is None else chosen.candidate,
            pictures=plain_coded.pictures,
            cropped=(plain_coded if chosen is None else chosen.network.coded).cropped,
            notes=tuple(self._notes),
            training_seconds=self._pieces.training_seconds,
            files=(
                *([] if best is None else [Path(best.shown.file)]),
                *(Path(self._plain[anchor.knob][0].file) for anchor in self._curve.points),
            ),
            network=None if best is None else Path(best.network.file),
            network_seconds=0.0 if best is None else best.network.cpu_seconds,
        )
        return report, Path(plain_coded.file if chosen is None else chosen.shown.file)

    def _networks(self, plain_coded: Coded, plain: Shown) -> Iterator[Network]:
        """Trains what is to be tried, or takes what was given."""
        if not math.isfinite(plain.psnr_y):
            self._note("no network was tried: the plain encode has no errors")
            return
        bits = plain_coded.bits
        wanted = [
            (mode, tier)
            for mode in self._settings.modes
            if self._possible(mode)
            for tier in self._settings.tiers or [fitting_tier(self._request, mode, bits)]
            if self._affordable(mode, tier)
        ]
        seconds = self._settings.budget
        if seconds is not None and wanted:
            share = 1 - _UPDATE_SHARE if self._settings.levels and len(plain.scenes) > 1 else 1
            seconds = seconds * share / len(wanted)
        for mode, tier in wanted:
            if self._hopeless(mode):
                self._note(f"{mode} was left out: less reduction was far behind already")
                continue
            coded = self._coded_for(mode, tier, plain_coded)
            if self._request.base is not None:
                yield self._pieces.adopt(coded, mode, tier, self._request.base)
                continue
            share = sent_bits(self._request, mode, tier) / bits
            yield self._pieces.train(coded, mode, tier, share, seconds)

    def _hopeless(self, mode: Mode) -> bool:
        """Whether one that reduces less, but does reduce, has lost by too much."""
        gains = [
            each.candidate.gain
            for each in self._results
            if 1 < mode_scale(each.candidate.mode) < mode_scale(mode)
        ]
        return bool(gains) and max(gains) < -_HOPELESS[self._settings.target]

    def _possible(self, mode: Mode) -> bool:
        try:
            coded, _ = coded_size(*self._request.size, (mode_scale(mode), mode_scale(mode)))
        except ModelError as error:
            self._note(f"{mode} was left out: {error}")
            return False
        if min(coded) < _LEAST_SIZE:
            self._note(f"{mode} was left out: {coded[0]}x{coded[1]} is too small")
            return False
        return True

    def _affordable(self, mode: Mode, tier: Tier) -> bool:
        limit = self._settings.complexity_limit
        cost = kmac_per_sample(mode, tier)
        if limit is not None and cost > limit:
            reason = f"it takes {cost:.2f} kMAC a sample, over the limit of {limit:g}"
        elif self._request.buffer and not left_for_video(self._request, mode, tier):
            reason = "it is too large for -maxrate or -bufsize"
        else:
            return True
        self._note(f"{mode} {tier} was left out: {reason}")
        return False

    def _coded_for(self, mode: Mode, tier: Tier, plain: Coded) -> Coded:
        """The version that a network works on, at about the bits of the plain encode."""
        scale = mode_scale(mode)
        buffer = left_for_video(self._request, mode, tier)
        if scale == 1:
            return plain if buffer is None else self._pieces.code(scale, plain.knob, mode, buffer)
        network = sent_bits(self._request, mode, tier)
        known: dict[Knob, Coded] = {}

        def bits_of(knob: Knob) -> int:
            known[knob] = self._pieces.code(scale, knob, mode, buffer)
            return known[knob].bits

        start = reduced_knob(self._request, mode)
        return known[search(start, bits_of, max(plain.bits - network, plain.bits // 2))]

    def _try(self, network: Network) -> _Tried:
        """Measures a network that is on throughout."""
        shown = self._pieces.measure(network.coded, network, name=_file_name(network, "whole"))
        tried = self._tried(network, shown, (BASE,) * len(shown.scenes), "whole")
        choice = self._choice({BASE: shown.scenes}, shown)
        expected = tried.candidate.gain
        if set(choice.options) != {OFF}:  # which is the plain encode, for better or worse
            expected = max(expected, choice.quality - self._curve.quality(choice.bits))
        return replace(tried, expected=expected)

    def _choice(self, versions: Mapping[str, Sequence[Scene]], shown: Shown) -> Choice:
        bits = total_bits(shown.scenes).total
        return choose(versions, shown.measure, self._curve.octave(bits))

    def _by_scene(self, best: _Tried) -> list[_Tried]:
        """Adapts a network to scenes, and switches it; nothing if that leaves it as it is."""
        network, shown = best.network, best.shown
        versions: dict[str, Sequence[Scene]] = {BASE: shown.scenes}
        files: dict[str, dict[int, str]] = {}
        result: list[_Tried] = []
        # What was trained on the title as a whole need not be adapted to its only scene.
        levels = self._settings.levels if len(shown.scenes) > 1 or self._request.base else ()
        if self._request.base or best.expected > -_HOPELESS[self._settings.target]:
            for level in levels:
                files[level], updated = self._updated(network, shown, level)
                versions[level] = updated.shown.scenes
                result.append(updated)
        elif levels:
            self._note(f"no updates were tried: {network.mode} {network.tier} is too far behind")
        choice = self._choice(versions, shown)
        self._say(f"by scene: {' '.join(choice.options)}")
        if set(choice.options) in ({BASE}, {OFF}):
            return result
        updates = [
            # A scene too short for an update of its own has the base in every version.
            (start, files[option].get(at) if option in files else None)
            for start, option, at in updates_of(shown.scenes, choice.options)
        ]
        measured = self._pieces.measure(
            network.coded,
            network,
            updates=updates,
            spans=spans_of(shown.scenes, choice.options),
            name=_file_name(network, "scenes"),
        )
        return [*result, self._tried(network, measured, choice.options, "by scene")]

    def _updated(
        self, network: Network, shown: Shown, level: Level
    ) -> tuple[dict[int, str], _Tried]:
        """Updates of one kind for each scene that is long enough, and what they reach."""
        files: dict[int, str] = {}
        starts: list[Fraction | None] = [*(scene.start for scene in shown.scenes), None]
        steps = self._update_steps(network, len(shown.scenes))
        for at, scene in enumerate(shown.scenes):
            if scene.pictures < _LEAST_PICTURES or not scene.plain.squared_error:
                continue
            self._say(f"{network.mode} {network.tier}: update {level} of scene {at + 1}")
            span = (starts[at] if at else None, starts[at + 1])
            file = self._pieces.adapt(network, level, span, steps)
            if file is not None:
                files[at] = file
        options = [level if at in files else BASE for at in range(len(shown.scenes))]
        updates = [(start, files.get(at)) for start, _, at in updates_of(shown.scenes, options)]
        measured = self._pieces.measure(
            network.coded, network, updates=updates, name=_file_name(network, level)
        )
        return files, self._tried(network, measured, options, level)

    def _update_steps(self, network: Network, scenes: int) -> int:
        budget = self._settings.budget
        steps = self._settings.update_steps
        if steps is None and self._request.base is not None:
            # A network that was given has seen nothing of the title yet.
            steps = self._settings.steps or USUAL_STEPS
        elif steps is None:
            steps = max(network.steps // _UPDATE_STEPS, 1)
        if budget is None:
            return steps
        share = budget * _UPDATE_SHARE / (scenes * len(self._settings.levels))
        allowed = round(share * network.steps / max(network.cpu_seconds, 1e-3))
        return max(min(steps, allowed), 1)

    def _tried(
        self, network: Network, shown: Shown, options: Sequence[str], variant: Variant
    ) -> _Tried:
        gain = shown.quality - self._curve.quality(total_bits(shown.scenes).total)
        candidate = Candidate(
            mode=network.mode,
            tier=network.tier,
            variant=variant,
            network_bytes=network.bytes,
            steps=network.steps,
            kmac_per_sample=kmac_per_sample(network.mode, network.tier),
            point=shown.point(network.coded.knob),
            without=shown.without,
            gain=gain,
            scenes=tuple(
                _scene_choice(scene, option, shown.measure)
                for scene, option in zip(shown.scenes, options, strict=True)
            ),
        )
        self._say(
            f"{candidate.name}: {candidate.point.bits.total} bits, network {network.bytes} bytes, "
            f"{self._in_words(shown.without)} -> {self._in_words(shown.quality)}, "
            f"{self._in_words(gain, sign=True)} against plain at the same bits"
        )
        return _Tried(candidate, network, shown, gain)

    def _proven(self, tried: list[_Tried]) -> _Tried | None:
        """The best candidate that beats a plain encode at very nearly its bits.

        None may flicker more than its decoded pictures do without it, or keep less of what
        receivers were promised than the plain encode does.
        """
        least = _LEAST_GAIN[self._settings.target]
        for at in sorted(range(len(tried)), key=lambda at: -tried[at].candidate.gain):
            each = tried[at]
            if each.candidate.gain < least:
                break
            name = each.candidate.name
            if _flickers(each.shown):
                self._note(f"{name} was left out: it flickers more than the plain pictures")
                continue
            late = each.shown.lacking - self._plain[self._curve.asked.knob][1].lacking
            if late > 0:
                self._note(f"{name} was left out: a buffer of -bufsize would lack {late} bits")
                continue
            proof = self._curve.prove(each.candidate.point.bits.total)
            gain = each.shown.quality - proof
            tried[at] = replace(each, candidate=replace(each.candidate, gain=gain))
            if gain >= least:
                return tried[at]
            self._say(f"{name}: a plain encode at these bits is as good")
        return None

    # Words

    def _note(self, line: str) -> None:
        self._notes.append(line)
        self._say(line)

    def _in_words(self, quality: float, *, sign: bool = False) -> str:
        target = self._settings.target
        form = f"{'+' if sign else ''}.{4 if target == 'ms-ssim' else 2}f"
        return f"{quality:{form}} {'dB' if target == 'psnr' else target.upper()}"


def _flickers(shown: Shown) -> bool:
    """Whether a scene flickers more than its decoded pictures do without the network."""
    return any(scene.shown.flicker > scene.plain.flicker for scene in shown.scenes)


def _scene_choice(scene: Scene, option: str, measure: Measure) -> SceneChoice:
    samples = measure.samples * scene.pictures
    return SceneChoice(
        float(scene.start),
        scene.pictures,
        option,
        decibels(scene.plain.squared_error, samples, measure.bit_depth),
        decibels(scene.shown.squared_error, samples, measure.bit_depth),
        scene.bits.networks,
    )


def _file_name(network: Network, what: str) -> str:
    return f"{network.mode}-{network.tier}-{what}-{plain_name(network.coded.knob)}"
