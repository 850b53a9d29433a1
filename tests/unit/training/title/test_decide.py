# SPDX-License-Identifier: Apache-2.0
"""Scenes take what is worth its bits, and nothing that flickers."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from nnrvideo.report.results import Bits
from nnrvideo.training.title.decide import BASE, OFF, choose, spans_of, updates_of
from nnrvideo.training.title.figures import Measure, Scene, Side, total_bits

PSNR = Measure("psnr", samples=1000, bit_depth=8)
OCTAVE = 3.0  # dB that twice the bits gain


def scene(at: int, plain: int, shown: int, *, updates: int = 0, flicker: int = 10) -> Scene:
    return Scene(
        Fraction(at),
        10,
        Side(plain, plain, 10),
        Side(shown, shown, flicker),
        Bits(video=10_000, base=3000 if at == 0 else 0, updates=updates, activations=64),
    )


def test_filters_are_off_where_they_do_harm() -> None:
    scenes = [scene(0, 100_000, 60_000), scene(1, 100_000, 120_000), scene(2, 100_000, 60_000)]
    choice = choose({BASE: scenes}, PSNR, OCTAVE)
    assert choice.options == (BASE, OFF, BASE)
    assert choice.bits == 30_000 + 3000 + 2 * 64
    assert choice.quality == PSNR.quality(220_000, 30)


def test_filters_are_off_where_they_flicker() -> None:
    scenes = [scene(0, 100_000, 60_000), scene(1, 100_000, 60_000, flicker=11)]
    assert choose({BASE: scenes}, PSNR, OCTAVE).options == (BASE, OFF)


def test_no_base_is_paid_for_where_nothing_uses_it() -> None:
    choice = choose({BASE: [scene(0, 100_000, 120_000)]}, PSNR, OCTAVE)
    assert choice.options == (OFF,)
    assert choice.bits == 10_000


@pytest.mark.parametrize(("bits", "taken"), [(100, "all"), (20_000, BASE)])
def test_updates_are_bought_at_the_price_of_the_plain_curve(bits: int, taken: str) -> None:
    base = [scene(0, 100_000, 60_000), scene(1, 100_000, 60_000)]
    updated = [replace(base[0]), scene(1, 100_000, 50_000, updates=bits)]
    choice = choose({BASE: base, "all": updated}, PSNR, OCTAVE)
    assert choice.options[1] == taken
    # Half an octave of PSNR for an update: what the plain curve would make of its bits is less
    # in one case and more in the other.
    gain = PSNR.quality(110_000, 20) - PSNR.quality(120_000, 20)
    total = total_bits(base).total
    assert (gain > OCTAVE * bits / total / 0.693) == (taken == "all")


def test_other_metrics_are_means_over_pictures() -> None:
    vmaf = Measure("vmaf", samples=1000, bit_depth=8)
    assert vmaf.quality(200, 10) == 80
    assert Measure("ms-ssim", 1000, 8).quality(0.5, 10) == 0.95
    assert vmaf.slope(123, 10) == 0.1


def test_spans_and_updates_follow_from_choices() -> None:
    scenes = [scene(at, 1, 1) for at in range(5)]
    options = ("bias", BASE, OFF, "all", "all")
    assert spans_of(scenes, options) == ((None, 2), (3, None))
    assert updates_of(scenes, options) == (
        (0, "bias", 0),
        (1, BASE, 1),
        (3, "all", 3),
        (4, "all", 4),
    )
    assert spans_of(scenes, (OFF,) * 5) == ()
    assert spans_of(scenes, (OFF, BASE, OFF, OFF, OFF)) == ((1, 2),)
    # Where nothing is filtered no update is in force.
    assert updates_of(scenes[:2], ("all", OFF)) == ((0, "all", 0), (1, BASE, 1))


def test_scenes_survive_json() -> None:
    one = scene(3, 5, 4, updates=2)
    assert Scene.from_json(one.to_json()) == one
