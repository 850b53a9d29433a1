# SPDX-License-Identifier: Apache-2.0
"""The plain curve: brackets what it is asked for, and proves it with a point nearby."""

from __future__ import annotations

import math

import pytest

from nnrvideo.training.title.curve import Anchor, Knob, PlainCurve, knob_of, matched, search


def encoder(made: list[float], *, per_octave: float = 5.0):
    """An encoder with a concave curve: 1000 bits and 30 dB at CRF 30."""

    def make(knob: Knob) -> Anchor:
        made.append(knob.value)
        octaves = (30 - knob.value) / per_octave
        return Anchor(knob, round(1000 * 2**octaves), 30 + 3 * octaves - 0.2 * octaves**2)

    return make


def true_quality(bits: float) -> float:
    octaves = math.log2(bits / 1000)
    return 30 + 3 * octaves - 0.2 * octaves**2


def test_quality_lies_between_points_on_both_sides() -> None:
    made: list[float] = []
    curve = PlainCurve(Knob("crf", 30.0), encoder(made))
    assert made == [30]
    # The chord of the neighbours would say 31.42 dB, and flatter whoever is compared with it.
    assert curve.quality(1400) == pytest.approx(true_quality(1400), abs=0.02)
    assert sorted(made) == [27, 30, 33]
    assert curve.quality(3000) == pytest.approx(true_quality(3000), abs=0.03)
    assert sorted(made) == [21, 24, 27, 30, 33]


def test_a_proof_has_a_point_near_by() -> None:
    made: list[float] = []
    curve = PlainCurve(Knob("crf", 30.0), encoder(made))
    assert curve.prove(1250) == pytest.approx(true_quality(1250), abs=0.005)
    assert any(abs(point.bits / 1250 - 1) < 0.03 for point in curve.points)


def test_more_bits_that_look_worse_count_for_nothing() -> None:
    def make(knob: Knob) -> Anchor:
        return Anchor(knob, round(1000 - 10 * knob.value), 30.0 - abs(knob.value - 30))

    curve = PlainCurve(Knob("crf", 30.0), make)
    assert curve.quality(710) == 30.0
    assert curve.quality(10**6) == 30.0


def test_octave_is_the_slope() -> None:
    curve = PlainCurve(Knob("crf", 30.0), encoder([]))
    assert curve.octave(1000) == pytest.approx(3, abs=0.2)


def test_search_closes_in() -> None:
    made: list[float] = []
    make = encoder(made, per_octave=9.0)
    knob = search(Knob("crf", 30.0), lambda each: make(each).bits, 400)
    assert make(knob).bits == pytest.approx(400, rel=0.03)
    assert len(made) <= 5
    whole = search(Knob("crf", 30.0, real=False), lambda each: make(each).bits, 400)
    assert whole.value == 42


def test_matched_stays_within_what_encoders_take() -> None:
    assert matched([(Knob("crf", 50.0), 1000)], 1).value == 51
    assert matched([(Knob("crf", 2.0, real=False), 1000)], 10**6).value == 0
    assert matched([(Knob("b:v", 1e6), 1000)], 2000).value == 2e6


def test_knobs() -> None:
    options = {"crf": "30.5", "preset": "fast"}
    assert knob_of("libx265", options) == Knob("crf", 30.5)
    assert options == {"preset": "fast"}
    assert knob_of("libsvtav1", {"crf": "35"}).options == {"crf": "35"}
    assert knob_of("libx264", {"b:v": "1.5M"}).options == {"b:v": "1500000"}
    assert knob_of("libx264", {"b:v": "800k"}).neighbour(2).options == {"b:v": "1600000"}


@pytest.mark.parametrize(
    ("options", "message"),
    [({}, "-crf or -b:v"), ({"crf": "good"}, "number"), ({"crf": "99"}, "0 to 63"),
     ({"crf": "nan"}, "0 to 63"), ({"b:v": "fast"}, "2M"), ({"b:v": "0"}, "2M")],
)  # fmt: skip
def test_what_is_no_quality(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        knob_of("libx265", options)
