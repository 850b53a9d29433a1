# SPDX-License-Identifier: Apache-2.0
"""Rate-quality curves as CSV files, the form in which other programs hand them over.

The first line names the columns.  One is the rate, called ``rate`` unless told otherwise, in any
unit over 0; every other column whose cells are all numbers is a metric by its name, more being
better; the rest (labels, file names) are passed over.  Each further line is one point; the order
of lines means nothing.  Separators are commas, semicolons or tabs; an empty cell is a point
without that metric.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from nnrvideo.errors import NnrVideoError

RATE_COLUMN = "rate"
_MAX_BYTES = 4 << 20
_MAX_COLUMNS = 256


class CurveFileError(NnrVideoError):
    """A CSV file does not hold curves; the message says where."""


@final
@dataclass(frozen=True, slots=True)
class CurveFile:
    """Curves of several metrics over one rate.

    Args:
        metrics: Name to (rate, quality) of each point, in the order of the file.
    """

    metrics: Mapping[str, Sequence[tuple[float, float]]]


def read_curves(path: Path, *, rate_column: str = RATE_COLUMN) -> CurveFile:
    """Reads a CSV file.

    Args:
        path: UTF-8 text, at most 4 MiB.
        rate_column: Name of the column with the rate.

    Raises:
        CurveFileError: No such column, a rate that is no number over 0, or no metric.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise CurveFileError(f"{path} is larger than {_MAX_BYTES >> 20} MiB: no table of curves")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CurveFileError(f"{path} is no UTF-8 text (byte {error.start})") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error as error:
        raise CurveFileError(f"{path}: {error}") from error
    header = [name.strip() for name in rows[0]] if rows else []
    if rate_column not in header:
        raise CurveFileError(
            f"{path} has no column {rate_column!r}; its columns: {', '.join(header[:20]) or 'none'}"
        )
    if len(header) > _MAX_COLUMNS or len(set(header)) != len(header):
        raise CurveFileError(f"{path}: columns must have different names, {_MAX_COLUMNS} at most")
    lines = [(number, row) for number, row in enumerate(rows[1:], 2) if any(map(str.strip, row))]
    for number, row in lines:
        if len(row) != len(header):
            raise CurveFileError(
                f"{path}, line {number}: {len(row)} cells under {len(header)} column names"
            )
    rates = []
    for number, row in lines:
        cell = row[header.index(rate_column)]
        rate = _number(cell)
        if rate is None or not 0 < rate < math.inf:
            raise CurveFileError(
                f"{path}, line {number}: rate {cell.strip()!r} is no number over 0"
            )
        rates.append(rate)
    metrics = {}
    for column, name in enumerate(header):
        cells = [row[column].strip() for _, row in lines]
        values = [_number(cell) for cell in cells if cell]
        if name and name != rate_column and values and None not in values:
            metrics[name] = [
                (rate, float(cell)) for rate, cell in zip(rates, cells, strict=True) if cell
            ]
    if not metrics:
        raise CurveFileError(f"{path} has no column of numbers beside {rate_column!r}")
    return CurveFile(metrics)


def curves_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table that :func:`read_curves` reads; None becomes an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return out.getvalue()


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return None if math.isnan(value) else value
