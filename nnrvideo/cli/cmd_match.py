# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo match``: do two films share content, and where?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrvideo.cli.args import add_common, add_json, add_overwrite, check_output
from nnrvideo.cli.describing import (
    add_form,
    describe_options,
    descriptors_of,
    load_descriptor_model,
    picture_at,
)
from nnrvideo.cli.exits import Exit, UsageError
from nnrvideo.cli.report import print_json, print_pairs

if TYPE_CHECKING:
    from nnrvideo.descriptors.matching import Match

_EXAMPLES = """\
Each side is a .nvd file, a film with descriptors or a descriptor model inside, or with -m any film
or picture.  Descriptors of different models are refused, unless one model lists the other.
The exit code is 0 whether there is a match or not; --json tells.

examples:
  nnrvideo match query.nvd reference.nvd
  nnrvideo match clip.mp4 film.mp4 -m model.nnc --pdq --map why.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("query", metavar="QUERY", type=Path)
    parser.add_argument("reference", metavar="REFERENCE", type=Path)
    parser.add_argument("-m", dest="model", metavar="MODEL", type=Path, help="descriptor model")
    parser.add_argument(
        "--threshold", type=float, metavar="S", help="similarity, -1 to 1 (default: the model's)"
    )
    parser.add_argument(
        "--map",
        metavar="OUT.png",
        type=Path,
        help="draw which regions of the best key frame made the match; needs films and -m",
    )
    add_form(parser)
    add_overwrite(parser)
    add_json(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.descriptors.matching import compare_parts

    if options.map is not None:
        check_output(options.map, overwrite=options.overwrite)
        if options.model is None:
            raise UsageError("--map needs the model (-m), and films on both sides")
    model = None if options.model is None else load_descriptor_model(options.model)
    wanted = describe_options(options)
    query, reference = (
        descriptors_of(path, model, wanted) for path in (options.query, options.reference)
    )
    match, refused = compare_parts(query, reference, options.threshold)
    facts = match_facts(match)
    facts["not_compared"] = refused
    if options.map is not None:
        _draw(options, match)
    if options.json:
        print_json(facts)
    elif not options.quiet:
        print_pairs(f"{options.query} in {options.reference}", lines(match))
        for reason in sorted(set(refused)):
            print(f"not compared: {reason}")
    return Exit.OK


def match_facts(match: Match) -> dict[str, Any]:
    """A match for programs."""
    return {
        "matches": match.matches,
        "score": None if match.score != match.score else match.score,
        "threshold": match.threshold,
        "query": match.query,
        "reference": match.reference,
        "seconds": match.seconds,
        "pairs": match.pairs,
        "pdq_distance": match.pdq_distance,
        "near_identical": match.near_identical,
        "interoperable_models": match.interoperable,
    }


def lines(match: Match) -> dict[str, str]:
    """A match for people."""
    found = {
        "match": "yes" if match.matches else "no",
        "similarity": f"{match.score:.3f} (threshold {match.threshold:.3f})",
    }
    if match.query is not None and match.reference is not None:
        found["query"] = f"{match.query[0]:.2f} s to {match.query[1]:.2f} s"
        found["reference"] = f"{match.reference[0]:.2f} s to {match.reference[1]:.2f} s"
        found["key frames"] = f"{match.pairs} pairs, {match.seconds:.2f} s"
    if match.pdq_distance is not None:
        near = "nearly identical pictures" if match.near_identical else "no identical pictures"
        found["PDQ"] = f"{match.pdq_distance} of 256 bits differ: {near}"
    if match.interoperable:
        found["models"] = "two, listed as interoperable"
    return found


def _draw(options: argparse.Namespace, match: Match) -> None:
    from nnrvideo.container import png_bytes
    from nnrvideo.descriptors import Extractor, Form
    from nnrvideo.descriptors.occlusion import drawn, occlusion_map
    from nnrvideo.files import write_bytes

    if match.best is None:
        raise UsageError("there is no key frame to draw a map of")
    model = load_descriptor_model(options.model)
    extractor = Extractor(model, Form(0, options.rotations), threads=options.threads)
    side = model.manifest.long_side
    rgb = picture_at(options.query, match.best[0], side)
    other = picture_at(options.reference, match.best[1], side)
    contributions = occlusion_map(extractor, rgb, extractor.describe(other))
    image = png_bytes(drawn(rgb, contributions))
    write_bytes(options.map, image, overwrite=options.overwrite)
