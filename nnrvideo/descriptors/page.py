# SPDX-License-Identifier: Apache-2.0
"""Matches as one HTML file that needs nothing else: thumbnails, timelines, figures.

Names of films may be hostile; every one passes through :func:`html.escape`, and a content security
policy allows images and styles inside the page and nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Final, final

from nnrvideo.container import png_bytes
from nnrvideo.descriptors.frames import Rgb
from nnrvideo.descriptors.matching import Match
from nnrvideo.report.markup import DASH, image, number, table

_WIDTH: Final = 600
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """A film that matches.

    Args:
        name: Of the film.
        match: What it shares with the query.
        seconds: Lengths of query and film.
        pictures: The best pair of key frames, query first; None where the films are not at hand.
    """

    name: str
    match: Match
    seconds: tuple[float, float]
    pictures: tuple[Rgb, Rgb] | None = None


def render(query: str, shown: Sequence[Shown], remarks: Sequence[str] = ()) -> str:
    """The page.

    Args:
        query: Name of the query.
        shown: Films that match, best first.
        remarks: What was not compared, and why.
    """
    style = (files("nnrvideo.report") / "assets" / "report.css").read_text(encoding="utf-8")
    rows = [
        (
            escape(each.name),
            number(each.match.score, 3),
            _interval(each.match.query),
            _interval(each.match.reference),
            number(each.match.seconds, 2),
            DASH if each.match.pdq_distance is None else str(each.match.pdq_distance),
        )
        for each in shown
    ]
    header = ("film", "similarity", "in the query, s", "in the film, s", "seconds", "PDQ distance")
    notes = "".join(f'<p class="warning">not compared: {escape(each)}</p>' for each in remarks)
    found = (
        f"{len(shown)} films share content with it" if shown else "nothing shares content with it"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(query)}</title><style>{style}</style></head>\n"
        f"<body><header><h1>{escape(query)}</h1><p>{found}; CDVA-style NIP descriptors, loose "
        f"model</p></header><main>{notes}{table(header, rows) if rows else ''}"
        f"{''.join(_section(each) for each in shown)}</main></body></html>\n"
    )


def _section(shown: Shown) -> str:
    bars = "".join(
        f"<tr><td>{label}</td><td>{_timeline(interval, length)}</td></tr>"
        for label, interval, length in (
            ("query", shown.match.query, shown.seconds[0]),
            ("film", shown.match.reference, shown.seconds[1]),
        )
    )
    pictures = ""
    if shown.pictures is not None:
        labels = ("key frame of the query", "key frame of the film")
        pictures = "".join(
            image(png_bytes(rgb), label) + " "
            for rgb, label in zip(shown.pictures, labels, strict=True)
        )
    return (
        f"<h3>{escape(shown.name)}</h3><p>{pictures}</p>"
        f'<div class="scroll"><table>{bars}</table></div>'
    )


def _timeline(interval: tuple[float, float] | None, length: float) -> str:
    """A bar of the whole, with the interval in colour."""
    mark = ""
    if interval is not None and length > 0:
        begin, end = (min(max(value / length, 0), 1) * _WIDTH for value in interval)
        mark = (
            f'<rect x="{begin:.1f}" y="2" width="{max(end - begin, 2):.1f}" height="14" '
            'fill="var(--s0)"/>'
        )
    return (
        f'<svg width="{_WIDTH}" height="18" role="img" aria-label="{_interval(interval)}">'
        f'<rect x="0" y="6" width="{_WIDTH}" height="6" fill="var(--rule)"/>{mark}</svg> '
        f"<small>{length:.1f} s</small>"
    )


def _interval(interval: tuple[float, float] | None) -> str:
    return DASH if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"
