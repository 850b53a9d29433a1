# SPDX-License-Identifier: Apache-2.0
"""Charts as SVG: rate-quality curves and the timeline, with what a pointer shows as data.

Every text is escaped here, whoever wrote it.  Colours are classes, so that the page's style sheet
can choose them for light and for dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import final

from nnrvideo.metrics.bdrate import curve_between
from nnrvideo.report.results import Span

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 16, 14, 52
_CURVE_STEPS = 60
_MEGA = 4000  # kbit/s from which an axis is in Mbit/s
_TIMELINE_WIDTH, _TIMELINE_HEIGHT = 960, 320


@final
@dataclass(frozen=True, slots=True)
class Line:
    """One curve of a chart."""

    name: str
    style: str  # class of its colour, "s0", "s1", ...
    points: Sequence[tuple[float, float]]  # (kbit/s, figure), by rate
    tips: Sequence[str]  # what to show at each point


def rate_chart(lines: Sequence[Line], y_name: str, digits: int) -> str:
    """Quality over the logarithm of the rate.

    Args:
        lines: Curves; one without points is passed over.
        y_name: Name and unit of the figure.
        digits: Decimals on the axis at most.

    Returns:
        An ``<svg>`` element.
    """
    rates = [rate for line in lines for rate, _ in line.points]
    figures = [figure for line in lines for _, figure in line.points]
    if not rates:
        return ""
    low, high = _padded(min(figures), max(figures))
    x = _Axis(math.log(min(rates)), math.log(max(rates)), _LEFT, _WIDTH - _RIGHT, margin=0.04)
    y = _Axis(low, high, _HEIGHT - _BOTTOM, _TOP)
    parts = [_open(_WIDTH, _HEIGHT, f"{y_name} over rate")]
    for value in _ticks(low, high, 6):
        parts.append(_grid_row(y.at(value), _number(value, digits), _LEFT, _WIDTH - _RIGHT))
    for value in _log_ticks(math.exp(x.low), math.exp(x.high)):
        at = x.at(math.log(value))
        parts.append(
            f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" '
            f'y2="{_HEIGHT - _BOTTOM}"/><text class="tick" text-anchor="middle" x="{at:.1f}" '
            f'y="{_HEIGHT - _BOTTOM + 19}">{_number(value, 2)}</text>'
        )
    parts.append(_axis_names("kbit/s, logarithmic", y_name, _WIDTH - _RIGHT, _HEIGHT))
    for line in lines:
        parts.append(_curve(line, x, y))
    return "".join([*parts, "</svg>"])


def timeline_chart(pieces: Sequence[Span], scenes: Sequence[Span]) -> str:
    """Bits of video and networks over time as bars, the gain of the network as a line.

    Args:
        pieces: In order of time.
        scenes: Their limits are drawn as lines from top to bottom.

    Returns:
        An ``<svg>`` element; empty without pieces.
    """
    if not pieces:
        return ""
    right, bottom = _TIMELINE_WIDTH - 64, _TIMELINE_HEIGHT - _BOTTOM
    rates = [
        (p.video_bits / (p.end - p.start) / 1e3, p.network_bits / (p.end - p.start) / 1e3)
        for p in pieces
    ]
    top = max(1e-3, *(video + network for video, network in rates))
    unit, thousands = ("Mbit/s", 1000) if top >= _MEGA else ("kbit/s", 1)
    x = _Axis(pieces[0].start, pieces[-1].end, _LEFT, right)
    y = _Axis(0, top * 1.05, bottom, _TOP)
    gains = [_gain(piece) for piece in pieces]
    known = [gain for gain in gains if gain is not None]
    low, high = _padded(min([0.0, *known]), max([0.1, *known]))
    z = _Axis(low, high, bottom, _TOP)
    parts = [_open(_TIMELINE_WIDTH, _TIMELINE_HEIGHT, "bits and gain over time")]
    for value in _ticks(0, top, 5):
        label = _number(value / thousands, 2)
        parts.append(_grid_row(y.at(value), label, _LEFT, right))
    for value in _ticks(x.low, x.high, 8):
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{x.at(value):.1f}" '
            f'y="{bottom + 19}">{_number(value, 3)}</text>'
        )
    for piece, pair, gain in zip(pieces, rates, gains, strict=True):
        parts.append(_bars(piece, pair, gain, x, y))
    for value in _ticks(low, high, 5):
        parts.append(
            f'<text class="tick gain" x="{right + 8}" y="{z.at(value) + 5:.1f}">'
            f"{_number(value, 2)}</text>"
        )
    path = " ".join(
        f"{x.at((piece.start + piece.end) / 2):.1f},{z.at(gain):.1f}"
        for piece, gain in zip(pieces, gains, strict=True)
        if gain is not None
    )
    parts.append(f'<line class="zero" x1="{_LEFT}" x2="{right}" y1="{z.at(0):.1f}" ')
    parts.append(f'y2="{z.at(0):.1f}"/><polyline class="gain" points="{path}"/>')
    for scene in scenes[1:]:
        at = x.at(scene.start)
        parts.append(f'<line class="cut" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{bottom}"/>')
    parts.append(_axis_names("seconds", unit, right, _TIMELINE_HEIGHT))
    parts.append(
        f'<text class="axis gain" text-anchor="middle" transform="translate({_TIMELINE_WIDTH - 8} '
        f'{(_TOP + bottom) / 2:.0f}) rotate(-90)">gain, dB PSNR-Y</text>'
    )
    return "".join([*parts, "</svg>"])


@final
class _Axis:
    """Values to places."""

    def __init__(
        self, low: float, high: float, start: float, end: float, *, margin: float = 0.0
    ) -> None:
        room = (high - low) * margin or (0.0 if high > low else max(abs(low) * 0.05, 0.05))
        self.low, self.high = low - room, high + room
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """The place of a value, in units of the drawing."""
        share = (value - self.low) / (self.high - self.low)
        return self._start + share * (self._end - self._start)


def _open(width: int, height: int, name: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(name)}">'


def _grid_row(at: float, label: str, left: float, right: float) -> str:
    return (
        f'<line class="grid" x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'
        f'<text class="tick" text-anchor="end" x="{left - 8}" y="{at + 5:.1f}">{label}</text>'
    )


def _axis_names(x_name: str, y_name: str, right: int, height: int) -> str:
    middle = (_TOP + height - _BOTTOM) / 2
    return (
        f'<text class="axis" text-anchor="middle" x="{(_LEFT + right) / 2}" '
        f'y="{height - 10}">{escape(x_name)}</text>'
        f'<text class="axis" text-anchor="middle" transform="translate(14 {middle:.0f}) '
        f'rotate(-90)">{escape(y_name)}</text>'
    )


def _curve(line: Line, x: _Axis, y: _Axis) -> str:
    try:
        drawn = curve_between(line.points, _CURVE_STEPS)
    except ValueError:
        drawn = list(line.points)  # a single point, or points that make no curve
    path = " ".join(f"{x.at(math.log(rate)):.1f},{y.at(figure):.1f}" for rate, figure in drawn)
    marks = "".join(
        _mark(line.style, x.at(math.log(rate)), y.at(figure), tip)
        for (rate, figure), tip in zip(line.points, line.tips, strict=True)
    )
    return f'<g class="{line.style}"><polyline points="{path}"/>{marks}</g>'


def _mark(style: str, x: float, y: float, tip: str) -> str:
    """A shape of its own for each style, for those who see colours otherwise."""
    shapes = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5"/>',
        f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>',
        f'<path d="M{x:.1f} {y - 6.5:.1f}l6.5 11.5h-13z"/>',
        f'<path d="M{x:.1f} {y - 7:.1f}l7 7-7 7-7-7z"/>',
    )
    shape = shapes[int(style[1:]) % len(shapes)]
    return f'<g class="mark" tabindex="0" data-tip="{escape(tip)}">{shape}</g>'


def _bars(piece: Span, rates: tuple[float, float], gain: float | None, x: _Axis, y: _Axis) -> str:
    video, network = rates
    left, right = x.at(piece.start), x.at(piece.end)
    width = max(right - left - (0.6 if right - left > 2 else 0), 0.5)
    foot, middle, head = y.at(0), y.at(video), y.at(video + network)
    tip = (
        f"{piece.start:.2f} to {piece.end:.2f} s\nvideo {video:,.0f} kbit/s\n"
        f"networks {network:,.0f} kbit/s"
    )
    if gain is not None:
        tip += f"\ngain {gain:+.2f} dB"
    bars = f'<rect class="video" x="{left:.1f}" y="{middle:.1f}" width="{width:.1f}" '
    bars += f'height="{max(foot - middle, 0):.1f}"/>'
    if network:
        bars += f'<rect class="net" x="{left:.1f}" y="{head:.1f}" width="{max(width, 2):.1f}" '
        bars += f'height="{max(middle - head, 1):.1f}"/>'
    reach = f'<rect class="reach" x="{left:.1f}" y="{_TOP}" width="{max(right - left, 0.5):.1f}" '
    reach += f'height="{foot - _TOP:.1f}"/>'
    return f'<g data-tip="{escape(tip)}">{reach}{bars}</g>'


def _gain(piece: Span) -> float | None:
    if piece.plain_psnr_y is None or piece.network_psnr_y is None:
        return None
    gain = piece.network_psnr_y - piece.plain_psnr_y
    return gain if math.isfinite(gain) else None


def _padded(low: float, high: float) -> tuple[float, float]:
    room = (high - low) * 0.06 or max(abs(low) * 0.02, 1e-6)
    return low - room, high + room


def _ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round values between two, about as many as wanted."""
    raw = (high - low) / wanted
    if not raw > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * f for f in (1, 2, 2.5, 5, 10) if power * f >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [step * number for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Round values between two on a logarithmic axis, dense enough for at least two."""
    for factors in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)):
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [10.0**p * f for p in powers for f in factors if low <= 10.0**p * f <= high]
        if len(found) >= 4:
            break
    return found if len(found) >= 3 else _ticks(low, high, 4)


def _number(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
