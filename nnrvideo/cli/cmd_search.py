# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo search``: which films of an index share content with a query?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nnrvideo.cli.args import add_common, add_json, add_overwrite, check_output
from nnrvideo.cli.cmd_match import match_facts
from nnrvideo.cli.describing import (
    add_form,
    describe_options,
    descriptors_of,
    load_descriptor_model,
    picture_at,
)
from nnrvideo.cli.exits import Exit, UsageError
from nnrvideo.cli.report import print_json, print_table
from nnrvideo.errors import ModelError, NnrVideoError
from nnrvideo.files import write_bytes

if TYPE_CHECKING:
    from nnrvideo.descriptors import KeyFrames
    from nnrvideo.descriptors.frames import Rgb
    from nnrvideo.descriptors.index import Hit, Index

_THUMBNAILS: Final = 10  # films; each costs the decoding up to a picture
_THUMBNAIL_SIDE: Final = 192


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = "example:\n  nnrvideo search library.nvx clip.mp4 -m model.nnc\n"
    parser.add_argument("index", metavar="INDEX", type=Path, help="made by nnrvideo index")
    parser.add_argument("query", metavar="QUERY", type=Path, help=".nvd, film or picture")
    parser.add_argument("-m", dest="model", metavar="MODEL", type=Path, help="descriptor model")
    parser.add_argument("--threshold", type=float, metavar="S", help="similarity, -1 to 1")
    parser.add_argument(
        "--html",
        metavar="OUT.html",
        type=Path,
        help="write a page with timelines, and thumbnails of films that are still there",
    )
    add_form(parser)
    add_overwrite(parser)
    add_json(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.descriptors.index import Index

    if not options.index.exists():
        raise FileNotFoundError(f"{options.index}: no such index")
    if options.html is not None:
        check_output(options.html, overwrite=options.overwrite)
    model = None if options.model is None else load_descriptor_model(options.model)
    index = Index(options.index, threads=options.threads or 1)
    hits, refused = [], []
    query = descriptors_of(options.query, model, describe_options(options))
    for part in query:
        try:
            hits += index.search(part, threshold=options.threshold)
        except ModelError as error:
            refused.append(str(error))
    if len(refused) == len(query):
        raise ModelError(refused[0])
    hits.sort(key=lambda hit: (-hit.match.score, hit.name))
    if options.html is not None:
        _write_page(options, index, query, hits, refused)
    if options.json:
        found = [{"film": hit.name, **match_facts(hit.match)} for hit in hits]
        print_json({"hits": found, "not_compared": refused})
        return Exit.OK
    rows = [
        (
            hit.name,
            f"{hit.match.score:.3f}",
            _interval(hit.match.query),
            _interval(hit.match.reference),
            f"{hit.match.seconds:.2f}",
        )
        for hit in hits
    ]
    print_table(("film", "similarity", "in the query", "in the film", "seconds"), rows)
    for reason in refused:
        print(f"not compared: {reason}")
    return Exit.OK


def _write_page(
    options: argparse.Namespace,
    index: Index,
    query: list[KeyFrames],
    hits: list[Hit],
    refused: list[str],
) -> None:
    from nnrvideo.descriptors.page import Shown, render

    length = max(float(part.end[-1]) for part in query if len(part))
    shown: list[Shown] = []
    for hit in hits:
        pictures = None
        if len(shown) < _THUMBNAILS and hit.match.best is not None:
            pictures = _pair((options.query, Path(hit.name)), hit.match.best)
        shown.append(
            Shown(hit.name, hit.match, (length, float(index.film(hit.name).end[-1])), pictures)
        )
    page = render(str(options.query), shown, refused)
    write_bytes(options.html, page.encode(), overwrite=options.overwrite)


def _pair(paths: tuple[Path, Path], times: tuple[float, float]) -> tuple[Rgb, Rgb] | None:
    """The two key frames; None where a film is not at hand or only its descriptors are."""
    try:
        first, second = (
            picture_at(path, time, _THUMBNAIL_SIDE) for path, time in zip(paths, times, strict=True)
        )
    except (NnrVideoError, OSError, UsageError):
        return None
    return first, second


def _interval(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.2f} - {interval[1]:.2f}"
