# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo bdrate``: Bjøntegaard delta of the curves in two CSV files."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrvideo.cli.args import add_common, add_json
from nnrvideo.cli.exits import Exit, UsageError
from nnrvideo.cli.report import print_json, print_table

if TYPE_CHECKING:
    from nnrvideo.metrics import BdDelta

_FORMAT = """\
CSV files: the first line names the columns; one is the rate (any unit), every other column of
numbers is a metric by its name (more is better), columns of text are passed over.

  rate,psnr_y,vmaf,label
  1358.24,34.851,71.2,qp37
  2486.44,36.845,80.4,qp32

BD-rate is the mean difference in log rate over the part of the quality axis that both curves
cover; BD-metric that in quality over the common part of the log rate axis.  Nothing is
extrapolated.  pchip draws curves as JVET's common test conditions do, cubic as VCEG-M33.
The overlap is the common interval's share of the longer curve's range; below 75 % there is a
warning, below --min-overlap no figure, and the exit code is 1.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = _FORMAT
    parser.add_argument("anchor", metavar="A.csv", type=Path, help="curves to compare with")
    parser.add_argument("test", metavar="B.csv", type=Path, help="curves under test")
    parser.add_argument(
        "--metric",
        metavar="NAME",
        action="append",
        help="metric to compare; may be given several times (default: all that both files have)",
    )
    parser.add_argument(
        "--rate", metavar="NAME", default="rate", help="column of the rate (default: %(default)s)"
    )
    parser.add_argument(
        "--method",
        choices=("pchip", "cubic"),
        default="pchip",
        help="how curves run between points (default: %(default)s)",
    )
    parser.add_argument(
        "--min-overlap",
        type=float,
        default=25.0,
        metavar="PERCENT",
        help="refuse a figure over less than this (default: %(default)g)",
    )
    add_json(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.metrics import BdMethod, bjontegaard
    from nnrvideo.metrics.curves import read_curves

    if not 0 <= options.min_overlap <= 100:
        raise UsageError("--min-overlap takes 0 to 100 per cent")
    anchor = read_curves(options.anchor, rate_column=options.rate).metrics
    test = read_curves(options.test, rate_column=options.rate).metrics
    common = [name for name in anchor if name in test]
    for name in options.metric or ():
        if name not in common:
            lacking = options.anchor if name not in anchor else options.test
            raise UsageError(
                f"{lacking} has no metric {name!r}; both files have: {', '.join(common) or 'none'}"
            )
    if not common:
        raise UsageError(f"{options.anchor} and {options.test} have no metric in common")
    results: dict[str, BdDelta | str] = {}
    for name in options.metric or common:
        try:
            results[name] = bjontegaard(
                anchor[name],
                test[name],
                method=BdMethod(options.method),
                min_overlap=options.min_overlap / 100,
            )
        except ValueError as error:
            results[name] = str(error)
    if options.json:
        print_json(_facts(results, options))
    else:
        _print(results, options)
    refused = any(isinstance(r, str) or r.rate_percent is None for r in results.values())
    return Exit.BAD_INPUT if refused else Exit.OK


def _facts(results: dict[str, BdDelta | str], options: argparse.Namespace) -> dict[str, Any]:
    return {
        "anchor": str(options.anchor),
        "test": str(options.test),
        "method": options.method,
        "metrics": {
            name: {"error": result} if isinstance(result, str) else dataclasses.asdict(result)
            for name, result in results.items()
        },
    }


def _print(results: dict[str, BdDelta | str], options: argparse.Namespace) -> None:
    rows, notes = [], []
    for name, result in results.items():
        if isinstance(result, str):
            rows.append((name, "-", "-", "", "", ""))
            notes.append(f"{name}: {result}")
            continue
        interval = result.quality_interval
        rows.append(
            (
                name,
                "-" if result.rate_percent is None else f"{result.rate_percent:+.2f} %",
                "-" if result.quality is None else f"{result.quality:+.4g}",
                f"{result.quality_overlap:.0%}",
                f"{result.rate_overlap:.0%}",
                f"{interval[0]:.4g} .. {interval[1]:.4g}" if interval else "",
            )
        )
        notes += [f"{name}: {warning}" for warning in result.warnings]
    header = ("metric", "BD-rate", "BD-metric", "overlap", "overlap of rates", "interval")
    print_table(header, rows, f"{options.test} against {options.anchor}, {options.method}")
    for note in notes:
        print(note)
