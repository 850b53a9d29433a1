# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo search``: which films of an index share content with a query?"""

from __future__ import annotations

import argparse
from pathlib import Path

from nnrvideo.cli.args import add_common, add_json
from nnrvideo.cli.cmd_match import match_facts
from nnrvideo.cli.describing import (
    add_form,
    describe_options,
    descriptors_of,
    load_descriptor_model,
)
from nnrvideo.cli.exits import Exit
from nnrvideo.cli.report import print_json, print_table
from nnrvideo.errors import ModelError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = "example:\n  nnrvideo search library.nvx clip.mp4 -m model.nnc\n"
    parser.add_argument("index", metavar="INDEX", type=Path, help="made by nnrvideo index")
    parser.add_argument("query", metavar="QUERY", type=Path, help=".nvd, film or picture")
    parser.add_argument("-m", dest="model", metavar="MODEL", type=Path, help="descriptor model")
    parser.add_argument("--threshold", type=float, metavar="S", help="similarity, -1 to 1")
    add_form(parser)
    add_json(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.descriptors.index import Index

    if not options.index.exists():
        raise FileNotFoundError(f"{options.index}: no such index")
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


def _interval(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.2f} - {interval[1]:.2f}"
