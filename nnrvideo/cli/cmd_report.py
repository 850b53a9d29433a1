# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo report``: what networks are worth, measured, as one HTML file."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nnrvideo.cli.args import add_common, add_overwrite, add_progress, check_output
from nnrvideo.cli.exits import Exit, NoNetworkError, UsageError
from nnrvideo.cli.measuring import add_measuring, given, measure_options
from nnrvideo.cli.progress import progress
from nnrvideo.cli.report import print_table
from nnrvideo.files import write_bytes

if TYPE_CHECKING:
    from nnrvideo.report import Comparison, Report

_PROJECTED = 30.0  # seconds
_FORMAT = """\
Several files of one title, coded at several rates, make a curve; each --anchor with its files
makes a curve of plain encodes to compare with.  Without an anchor networks are held against the
plain pictures of the same files.

examples:
  nnrvideo report -r in.mp4 -i q22.mp4 q27.mp4 q32.mp4 --anchor x22.mp4 x27.mp4 x32.mp4 -o out.html
  nnrvideo report -r in.mp4 -i coded.mp4 -o out.html --json out.json --csv out
  nnrvideo report --from-json out.json -o again.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = _FORMAT
    parser.add_argument(
        "-r", dest="reference", metavar="SOURCE", type=Path, help="the original video"
    )
    parser.add_argument(
        "-i",
        dest="inputs",
        metavar="CODED",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        help="videos with networks inside",
    )
    parser.add_argument(
        "--anchor",
        metavar="FILE",
        type=Path,
        nargs="+",
        action="append",
        default=[],
        help="plain encodes of the source, one curve; may be given several times",
    )
    parser.add_argument(
        "--anchor-name",
        metavar="TEXT",
        action="append",
        default=[],
        help="what to call the curve of the first, second, ... --anchor (default: its codec)",
    )
    parser.add_argument(
        "--from-json", metavar="FILE", type=Path, help="render results instead of measuring"
    )
    parser.add_argument(
        "-o", dest="output", metavar="OUT.html", type=Path, help="the page; opens without a network"
    )
    parser.add_argument(
        "--json", metavar="OUT.json", type=Path, help="write the results ('-': standard output)"
    )
    parser.add_argument(
        "--csv",
        metavar="PREFIX",
        help="write each curve to PREFIX-NUMBER-NAME.csv, as nnrvideo bdrate reads them",
    )
    parser.add_argument("--title", metavar="TEXT", help="heading (default: name of the source)")
    parser.add_argument(
        "--project",
        type=float,
        metavar="SECONDS",
        help="also tell BD-rates of a film of this length that sends its base networks once; "
        f"0: do not (default: {_PROJECTED:g})",
    )
    add_measuring(parser, metrics="psnr,ssim,flicker, and vmaf where there is libvmaf")
    add_overwrite(parser)
    add_progress(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    _check(options)
    for path in (options.output, options.json):
        if path is not None:
            check_output(path, overwrite=options.overwrite)
    if options.csv is not None:
        _check_prefix(options.csv, overwrite=options.overwrite)
    if options.from_json is not None:
        report = _read(options.from_json)
    else:
        report = _measure(options)
    if options.title is not None:
        report = dataclasses.replace(report, title=options.title)
    if options.project is not None:
        report = dataclasses.replace(report, projected_seconds=options.project or None)
    _write(report, options)
    if not options.quiet and str(options.json) != "-":
        _print(report, options)
    unused = [entry.name for entry in report.coded if entry.enhanced == 0]
    if unused:
        print(f"networks were never used in: {', '.join(unused)}", file=sys.stderr)
        return Exit.REJECTED
    return Exit.OK


def _check(options: argparse.Namespace) -> None:
    if options.from_json is not None:
        sources = {"-r": options.reference, "-i": options.inputs, "--anchor": options.anchor}
        wrong = [name for name, value in sources.items() if value] + given(options)
        if wrong:
            raise UsageError(f"--from-json renders results; it takes no {', '.join(wrong)}")
    if len(options.anchor_name) > len(options.anchor):
        raise UsageError("there are more --anchor-name than --anchor")
    if options.from_json is None and not (options.reference is not None and options.inputs):
        raise UsageError("give -r SOURCE and -i CODED ..., or --from-json FILE")
    if options.output is None and options.json is None and options.csv is None:
        raise UsageError("give at least one of -o OUT.html, --json OUT.json and --csv PREFIX")
    if options.project is not None and not 0 <= options.project < float("inf"):
        raise UsageError("--project takes seconds, or 0")


def _check_prefix(prefix: str, *, overwrite: bool) -> None:
    """Refuses tables that exist, before any work is done."""
    path = Path(prefix)
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}")
    known = [p.name for p in path.parent.iterdir() if p.name.startswith(f"{path.name}-")]
    tables = sorted(name for name in known if name.endswith(".csv"))
    if tables and not overwrite:
        raise UsageError(f"{path.parent / tables[0]} exists already; -y overwrites it")


def _measure(options: argparse.Namespace) -> Report:
    from nnrvideo import __version__
    from nnrvideo.report import NothingToReportError, make_report

    default = ("psnr", "ssim", "vmaf", "flicker")
    wanted, absent = measure_options(options, default=default, crops=True)
    try:
        with progress("measuring", quiet=options.quiet, lines_to=options.progress) as show:
            report = make_report(
                options.reference,
                options.inputs,
                options.anchor,
                wanted,
                anchor_names=options.anchor_name,
                projected_seconds=_PROJECTED,
                software=f"nnrvideo {__version__}",
                progress=lambda _, done, total: show(done, total),
            )
    except NothingToReportError as error:
        raise NoNetworkError(str(error)) from error
    return dataclasses.replace(report, absent={**absent, **report.absent})


def _read(path: Path) -> Report:
    from nnrvideo.report import MAX_JSON_BYTES, from_json

    with path.open("rb") as file:
        return from_json(file.read(MAX_JSON_BYTES + 1))


def _write(report: Report, options: argparse.Namespace) -> None:
    from nnrvideo.report import curve_files, render, to_json

    if options.output is not None:
        page = render(report).encode()
        write_bytes(options.output, page, overwrite=options.overwrite)
    if options.json is not None:
        text = json.dumps(to_json(report), ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        if str(options.json) == "-":
            sys.stdout.write(text)
        else:
            write_bytes(options.json, text.encode(), overwrite=options.overwrite)
    if options.csv is not None:
        for suffix, table in curve_files(report):
            path = Path(f"{options.csv}-{suffix}.csv")
            write_bytes(path, table.encode(), overwrite=options.overwrite)


def _print(report: Report, options: argparse.Namespace) -> None:
    from nnrvideo.report import comparisons, pairs, remarks

    header = ("metric", "BD-rate", "BD-metric", "overlap")
    for group in pairs(comparisons(report)):
        rows = [_row(comparison) for comparison in group]
        print_table(header, rows, f"{group[0].test} against {group[0].anchor}")
        for remark in remarks(group):
            print(remark)
    for metric, reason in report.absent.items():
        print(f"no {metric}: {reason}")
    if options.output is not None:
        print(f"{report.title} -> {options.output}")


def _row(comparison: Comparison) -> tuple[str, ...]:
    delta = comparison.delta
    if isinstance(delta, str):
        return (comparison.metric.name, "-", "-", "")
    return (
        comparison.metric.name,
        "-" if delta.rate_percent is None else f"{delta.rate_percent:+.2f} %",
        "-" if delta.quality is None else f"{delta.quality:+.4g}",
        f"{delta.quality_overlap:.0%}",
    )
