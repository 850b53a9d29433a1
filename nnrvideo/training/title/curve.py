# SPDX-License-Identifier: Apache-2.0
"""The plain encode at several rates: what a network has to beat, bits for bits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, final

from nnrvideo.metrics.bdrate import quality_at

CRF_STEP: Final = 3.0
"""Between neighbours on the plain curve; about 1.4 times the bits."""

_CRF_PER_OCTAVE: Final = 6.0  # of bits, about, until two points tell
_RATE_STEP: Final = math.sqrt(2)
_CLOSE_ENOUGH: Final = 0.03  # of the bits that are aimed at
_TRIALS: Final = 4
_MOST_POINTS: Final = 4  # on either side of the one asked for
_UNITS: Final = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}
# Encoders whose CRF is a real number from 0 to 51; those of the others are integers up to 63.
_REAL_CRF: Final = frozenset({"libx264", "libx264rgb", "libx265"})


@final
@dataclass(frozen=True, slots=True)
class Knob:
    """What sets quality and bits of an encoder.

    Args:
        kind: Constant rate factor, or bit rate.
        value: The factor, or bits a second.
        real: Whether fractions of a factor are possible.
    """

    kind: Literal["crf", "b:v"]
    value: float
    real: bool = True

    @property
    def options(self) -> Mapping[str, str]:
        """For the encoder."""
        return {self.kind: f"{self.value:g}" if self.kind == "crf" else f"{self.value:.0f}"}

    def __str__(self) -> str:
        return f"CRF {self.value:g}" if self.kind == "crf" else f"{self.value / 1000:.0f} kbit/s"

    def turned(self, octaves: float) -> Knob:
        """For about 2 ** octaves times the bits."""
        if self.kind == "crf":
            return self.at(self.value - _CRF_PER_OCTAVE * octaves)
        return self.at(self.value * 2**octaves)

    def neighbour(self, steps: int) -> Knob:
        """The next one on the plain curve but ``steps`` - 1; finer for steps over 0."""
        if self.kind == "crf":
            return self.at(self.value - CRF_STEP * steps)
        return self.at(self.value * _RATE_STEP**steps)

    def at(self, value: float) -> Knob:
        """Another position, as near as the encoder has one."""
        if self.kind == "b:v":
            return replace(self, value=float(max(1000, round(value))))
        most = 51 if self.real else 63
        return replace(self, value=min(max(round(value, 2 if self.real else None), 0), most))

    @property
    def scale(self) -> float:
        """Something that log bits are nearly linear in, rising with them."""
        return -self.value if self.kind == "crf" else math.log2(self.value)

    def from_scale(self, scale: float) -> Knob:
        """Inverse of :attr:`scale`."""
        return self.at(-scale if self.kind == "crf" else 2**scale)


def knob_of(codec: str, options: dict[str, str]) -> Knob:
    """Takes the quality out of encoder options.

    Raises:
        ValueError: There is none, or it is no number.
    """
    if "crf" in options:
        text = options.pop("crf")
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"-crf takes a number, not {text!r}") from None
        if not 0 <= value <= 63:
            raise ValueError(f"-crf takes 0 to 63, not {text}")
        return Knob("crf", 0.0, real=codec in _REAL_CRF).at(value)
    if "b:v" in options:
        return Knob("b:v", 1.0).at(bits_of_option("-b:v", options.pop("b:v")))
    raise ValueError("choosing a network needs a quality or a rate: give -crf or -b:v")


def bits_of_option(name: str, text: str) -> float:
    """What an option says in bits, or in bits a second.

    Raises:
        ValueError: It is no number above 0, with one of the usual units or with none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgG]?)", text)
    if not found or not float(found[1]):
        raise ValueError(f"{name} takes bits such as 2M, not {text!r}")
    return float(found[1]) * _UNITS[found[2].lower()]


@final
@dataclass(frozen=True, slots=True)
class Anchor:
    """A point of the plain curve."""

    knob: Knob
    bits: int
    quality: float


@final
class PlainCurve:
    """The plain encode's curve; points are made as they are needed.

    Args:
        asked: The knob that was asked for.
        make: Codes and measures a point.
    """

    def __init__(self, asked: Knob, make: Callable[[Knob], Anchor]) -> None:
        self._make = make
        self._points: dict[Knob, Anchor] = {}
        self.asked = self.point(asked)

    @property
    def points(self) -> Sequence[Anchor]:
        """By rising bits."""
        return sorted(self._points.values(), key=lambda point: point.bits)

    def point(self, knob: Knob) -> Anchor:
        """A point, made when it is first asked for."""
        if knob not in self._points:
            self._points[knob] = self._make(knob)
        return self._points[knob]

    def quality(self, bits: int) -> float:
        """What the plain encode reaches with so many bits, by points on both sides of them.

        Beyond what the encoder can do it is the best that there is, or the worst.
        """
        for steps in range(1, _MOST_POINTS + 1):
            finest, coarsest = self.points[-1], self.points[0]
            if len(self._points) > 2 and coarsest.bits <= bits <= finest.bits:
                break
            if bits > finest.bits or len(self._points) < 2:
                self.point(self.asked.knob.neighbour(steps))
            if bits < coarsest.bits or len(self._points) < 3:
                self.point(self.asked.knob.neighbour(-steps))
        return self._between(bits)

    def prove(self, bits: int) -> float:
        """As :meth:`quality`, with a point at very nearly these bits."""
        for _ in range(_TRIALS):
            nearest = min(self.points, key=lambda point: abs(math.log(point.bits / bits)))
            if abs(nearest.bits / bits - 1) < _CLOSE_ENOUGH:
                break
            known = [(point.knob, point.bits) for point in self.points]
            knob = matched(known, bits)
            if knob in self._points:
                break
            self.point(knob)
        return self.quality(bits)

    def octave(self, bits: int) -> float:
        """Quality that doubling these bits gains, about: the slope of the curve there."""
        here = self.quality(bits)
        other = round(bits * (1.1 if bits * 1.1 <= self.points[-1].bits else 1 / 1.1))
        return max((self.quality(other) - here) / math.log2(other / bits), 0.0)

    def _between(self, bits: int) -> float:
        # Where more bits look no better, what fewer reach counts: nobody need spend them.
        rising: list[tuple[float, float]] = []
        for point in self.points:
            bits_before, quality_before = rising[-1] if rising else (0.0, -math.inf)
            if point.bits > bits_before and quality_before < point.quality < math.inf:
                rising.append((point.bits, point.quality))
        if not rising:
            return math.inf
        if bits <= rising[0][0] or bits >= rising[-1][0]:
            return rising[0 if bits <= rising[0][0] else -1][1]
        return quality_at(rising, bits)


def matched(known: Sequence[tuple[Knob, int]], wanted: int) -> Knob:
    """Knob for so many bits, by what others gave: the line through the two nearest."""
    ordered = sorted(known, key=lambda pair: abs(math.log(pair[1] / wanted)))
    knob, bits = ordered[0]
    for other, other_bits in ordered[1:]:
        run, rise = other.scale - knob.scale, math.log(other_bits / bits)
        if run * rise > 0:
            return knob.from_scale(knob.scale + run * math.log(wanted / bits) / rise)
    return knob.turned(math.log2(wanted / bits))


def search(start: Knob, bits_of: Callable[[Knob], int], wanted: int) -> Knob:
    """Knob at which something takes nearly so many bits.

    Args:
        start: First trial.
        bits_of: Codes with a knob and tells the bits.
        wanted: Bits that are aimed at.
    """
    known: dict[Knob, int] = {}
    knob = start
    for _ in range(_TRIALS):
        known[knob] = bits_of(knob)
        if abs(known[knob] / wanted - 1) < _CLOSE_ENOUGH:
            break
        knob = matched(list(known.items()), wanted)
        if knob in known:
            break
    return min(known, key=lambda each: abs(math.log(known[each] / wanted)))
