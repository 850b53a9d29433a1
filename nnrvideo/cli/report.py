# SPDX-License-Identifier: Apache-2.0
"""Printing for people and for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnrvideo.model import ModelCard

_UNITS = ("B", "kB", "MB", "GB")


def human_bytes(count: float) -> str:
    """A size as people write it, decimal units."""
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {_UNITS[-1]}"


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def print_pairs(title: str, pairs: Mapping[str, str]) -> None:
    """A title and aligned lines of name and value."""
    print(title)
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        print(f"  {name:<{width}}  {value}")


def print_card(title: str, card: ModelCard) -> None:
    """A model card, without its table of metrics."""
    from nnrvideo.model import card_rows

    print_pairs(title, card_rows(card))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """A table with aligned columns, plain enough for a log file.

    A first column of text stands left, the others right, as figures want it.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        # What a stranger's file is called is no markup.
        table.add_row(*(Text(str(each)) for each in row))
    # A pipe has no width: do not let the table be folded to 80 columns there.
    Console(width=None if sys.stdout.isatty() else 160).print(table)
