# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo describe``: compact descriptors of a film or a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nnrvideo.cli.args import add_common, add_json, add_overwrite, check_output
from nnrvideo.cli.describing import add_form, describe_options, load_descriptor_model
from nnrvideo.cli.exits import Exit, NoNetworkError, UsageError
from nnrvideo.cli.report import human_bytes, print_json, print_pairs

_EXAMPLES = """\
CDVA-style NIP descriptors, loose model: not the bitstream of ISO/IEC 15938-15.

An output .nvd is a stream of descriptors alone; .mp4, .mkv, .webm or .ts is a copy of the film
with them as timed metadata.  Without -m the model that travels in the film is taken.

examples:
  nnrvideo describe film.mp4 -m model.nnc -o film.nvd
  nnrvideo describe film.mp4 -m model.nnc --real --rate 256 -o described.mkv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("input", metavar="IN", type=Path, help="film or picture")
    parser.add_argument("-m", dest="model", metavar="MODEL", type=Path, help="descriptor model")
    parser.add_argument(
        "-o", dest="output", metavar="OUT", type=Path, required=True, help="stream or film"
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="compute in 8-bit integers, with a model that has ranges (describe-model --ranges); "
        "the descriptors have an id of their own",
    )
    add_form(parser)
    add_overwrite(parser)
    add_json(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.container.timed import copy_with_timed
    from nnrvideo.descriptors import describe, save
    from nnrvideo.descriptors.files import SUFFIX, packets
    from nnrvideo.descriptors.stream import Header, Segment

    output = check_output(options.output, overwrite=options.overwrite)
    if options.int8 and options.model is None:
        raise UsageError("--int8 needs a model (-m)")
    model = None
    if options.model is not None:
        model = load_descriptor_model(options.model, integers=options.int8)
    items = list(describe(options.input, model, describe_options(options)))
    segments = [item for item in items if isinstance(item, Segment)]
    headers = [item for item in items if isinstance(item, Header)]
    if not headers:
        raise NoNetworkError(f"{options.input} carries no descriptor model; give one with -m")
    if output.suffix.lower() == SUFFIX:
        size = save(output, items, overwrite=options.overwrite)
    else:
        beside = list(packets(items))
        copy_with_timed(options.input, output, beside, overwrite=options.overwrite)
        size = sum(len(body) for _, _, body in beside)
    seconds = float(sum((s.end - s.start) * headers[0].time_base for s in segments))
    facts: dict[str, Any] = {
        "models": [header.model_id.hex() for header in headers],
        "segments": len(segments),
        "key_frames": sum(len(segment.times) for segment in segments),
        "bytes": size,
        "seconds": seconds,
        "bytes_per_second": size / seconds if seconds else 0.0,
    }
    if options.json:
        print_json(facts)
    elif not options.quiet:
        print_pairs(
            f"{options.input} -> {output}",
            {
                "model": ", ".join(name[:16] for name in facts["models"]),
                "key frames": f"{facts['key_frames']} in {facts['segments']} segments",
                "size": f"{human_bytes(size)}, {human_bytes(facts['bytes_per_second'])} a second",
            },
        )
    return Exit.OK
