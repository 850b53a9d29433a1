# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo index``: gather the descriptors of films for search."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnrvideo.cli.args import add_common, add_json
from nnrvideo.cli.describing import add_form, describe_options, load_descriptor_model
from nnrvideo.cli.exits import Exit, NoNetworkError
from nnrvideo.cli.report import print_json, print_pairs

_EXAMPLES = """\
Films that are in the index already are left alone, so that a build which was interrupted, however
rudely, goes on where it ended when it is started again.

example:
  nnrvideo index library.nvx films/*.mp4 -m model.nnc
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("index", metavar="INDEX", type=Path, help="the index (.nvx), old or new")
    parser.add_argument("inputs", metavar="IN", type=Path, nargs="*", help=".nvd, film or picture")
    parser.add_argument("-m", dest="model", metavar="MODEL", type=Path, help="descriptor model")
    add_form(parser)
    add_json(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.descriptors import describe
    from nnrvideo.descriptors.files import is_stream, load_items
    from nnrvideo.descriptors.index import Index

    model = None if options.model is None else load_descriptor_model(options.model)
    wanted = describe_options(options)
    added = 0
    with Index(options.index) as index:
        for path in options.inputs:
            if str(path) in index:
                continue
            items = load_items(path) if is_stream(path) else list(describe(path, model, wanted))
            if not items:
                raise NoNetworkError(f"{path} carries no descriptor model; give one with -m")
            index.add(str(path), items)
            added += 1
        facts = {"films": len(index.films), "key_frames": len(index), "added": added}
    if options.json:
        print_json(facts)
    elif not options.quiet:
        print_pairs(str(options.index), {name: str(value) for name, value in facts.items()})
    return Exit.OK
