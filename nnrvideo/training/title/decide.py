# SPDX-License-Identifier: Apache-2.0
"""Which scene is filtered, and with which update: by what its bits would be worth elsewhere.

A bit that a scene does not spend on the network could make the whole title a little better, by the
slope of the plain curve.  That is its price in loss, and each scene takes what costs least in loss
and bits together.  Nothing may flicker more than it does without a network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, final

from nnrvideo.authoring import Span
from nnrvideo.training.title.figures import Measure, Scene, total_bits

OFF: Final = "off"
BASE: Final = "base"

_ROUNDS: Final = 4  # prices follow from choices and choices from prices; it settles at once


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """What scenes take, and what comes of it if scenes do not depend on each other.

    Args:
        options: For each scene :data:`OFF`, :data:`BASE` or the name of a kind of update.
        bits: Of the whole title.
        quality: Likewise.
    """

    options: tuple[str, ...]
    bits: int
    quality: float


def choose(versions: Mapping[str, Sequence[Scene]], measure: Measure, octave: float) -> Choice:
    """Chooses for every scene.

    Args:
        versions: Name of an option to the title's scenes with it in force throughout; at least
            :data:`BASE`, all with the same scenes.
        measure: The metric that decides.
        octave: Quality that twice the bits would gain the plain encode, in the metric's unit.

    Returns:
        The choice.
    """
    base = versions[BASE]
    pictures = sum(scene.pictures for scene in base)
    fixed = total_bits(base)
    bits = fixed.total
    loss = sum(scene.shown.loss for scene in base)
    options: tuple[str, ...] = ()
    for _ in range(_ROUNDS):
        slope = measure.slope(loss, pictures)
        price = octave / (math.log(2) * bits * slope)  # loss that a bit is worth
        before = options
        options = tuple(
            _cheapest({name: scenes[at] for name, scenes in versions.items()}, price)
            for at in range(len(base))
        )
        loss = sum(_loss(versions, name, at) for at, name in enumerate(options))
        # The base is sent once, whoever uses it.
        bits = fixed.video + (fixed.base if set(options) != {OFF} else 0)
        bits += sum(_bits(versions, name, at) for at, name in enumerate(options))
        if options == before:
            break
    return Choice(options, bits, measure.quality(loss, pictures))


def spans_of(scenes: Sequence[Scene], options: Sequence[str]) -> tuple[Span, ...]:
    """When pictures are filtered, for embedding; neighbours are joined."""
    spans: list[Span] = []
    starts: list[Fraction | None] = [None, *(scene.start for scene in scenes[1:]), None]
    for at, option in enumerate(options):
        if option == OFF:
            continue
        if spans and at and options[at - 1] != OFF:
            spans[-1] = spans[-1][0], starts[at + 1]
        else:
            spans.append((starts[at], starts[at + 1]))
    return tuple(spans)


def updates_of(
    scenes: Sequence[Scene], options: Sequence[str]
) -> tuple[tuple[Fraction, str, int], ...]:
    """From when on what is in force: (start, option, index of the scene).

    Where nothing is filtered the base is in force, so that no update is repeated for nothing.
    """
    result = []
    last = BASE
    for at, (scene, option) in enumerate(zip(scenes, options, strict=True)):
        wanted = BASE if option == OFF else option
        # An update is its scene's own; the base is the same everywhere.
        if wanted != BASE or last != BASE:
            result.append((scene.start, wanted, at))
        last = wanted
    return tuple(result)


def _cheapest(scenes: Mapping[str, Scene], price: float) -> str:
    plain = scenes[BASE].plain
    costs = {OFF: plain.loss}
    for name, scene in scenes.items():
        if scene.shown.flicker <= plain.flicker:
            costs[name] = scene.shown.loss + price * _extra(scene)
    return min(costs, key=lambda name: costs[name])


def _extra(scene: Scene) -> int:
    """Bits that a scene's filter takes, but for the base where it is first sent."""
    return scene.bits.updates + scene.bits.repeats + scene.bits.activations


def _loss(versions: Mapping[str, Sequence[Scene]], name: str, at: int) -> float:
    return versions[BASE][at].plain.loss if name == OFF else versions[name][at].shown.loss


def _bits(versions: Mapping[str, Sequence[Scene]], name: str, at: int) -> int:
    return 0 if name == OFF else _extra(versions[name][at])
