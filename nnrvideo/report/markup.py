# SPDX-License-Identifier: Apache-2.0
"""Small pieces of the page: tables, images, figures with their sign and tone."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from html import escape

MINUS = "\u2212"
DASH = "\u2013"
RAMP = '<i class="ramp"></i>'  # the colours of change maps, from nothing to the most


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls sideways where it is too wide.

    Args:
        header: Names of the columns, as text.
        rows: Cells as markup; one that is a ``<th>`` element stays one.
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(
        "<tr>" + "".join(c if c.startswith("<th") else f"<td>{c}</td>" for c in row) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def image(data: bytes, name: str, style: str = "") -> str:
    """A PNG file inside the page; ``name`` and ``style`` are the page's own words."""
    source = base64.b64encode(data).decode("ascii")
    kind = f' class="{style}"' if style else ""
    return f'<img{kind} alt="{name}" src="data:image/png;base64,{source}">'


def number(value: float | None, digits: int) -> str:
    """A figure with so many decimals; a dash for none."""
    if value is None:
        return DASH
    return "\u221e" if math.isinf(value) else f"{value:.{digits}f}"


def gain_cell(plain: float | None, network: float | None) -> str:
    """Difference of two figures; a dash where one is missing or infinite."""
    if plain is None or network is None or not math.isfinite(network - plain):
        return DASH
    difference = network - plain
    return f'<span class="{tone_of(difference, 0.005)}">{signed(difference, 2)}</span>'


def percent(value: float) -> str:
    """A signed share with one decimal."""
    return f"{signed(value, 1)}\u202f%"


def signed(value: float, digits: int) -> str:
    """A figure with its sign and so many decimals."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def tone_of(gain: float, dead: float = 0.0) -> str:
    """Class of a figure by its sign: better, worse, or neither."""
    if gain > dead:
        return "better"
    return "worse" if gain < -dead else ""
