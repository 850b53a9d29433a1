# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo encode``: downscale, encode and embed in one go."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from nnrvideo.cli.args import (
    add_common,
    add_encoder,
    add_input,
    add_json,
    add_progress,
    check_output,
    encoder_options,
)
from nnrvideo.cli.exits import Exit
from nnrvideo.cli.progress import progress
from nnrvideo.cli.report import human_bytes, print_json, print_pairs

_DESCRIPTION = """\
The video is reduced (area average) by the factor by which the network enlarges, encoded, and the
network is put into every random access point. Audio, subtitles, chapters and metadata are copied.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = _DESCRIPTION
    add_input(parser, "any video")
    parser.add_argument(
        "output", metavar="OUT", type=Path, help="video file; the suffix chooses the container"
    )
    parser.add_argument(
        "-n",
        "--network",
        metavar="NET.nnc",
        type=Path,
        help="network to send (default: the shipped one for 2x super-resolution on luma)",
    )
    parser.add_argument(
        "-t", dest="duration", metavar="SECONDS", type=_seconds, help="encode only so much"
    )
    add_encoder(parser, codec="libx265", crf="22")
    _add_yes(parser)
    add_json(parser)
    add_progress(parser)
    add_common(parser)


def _add_yes(parser: argparse.ArgumentParser) -> None:
    # -n names the network here, so only -y is left of ffmpeg's pair.
    parser.add_argument("-y", dest="overwrite", action="store_true", help="overwrite outputs")


def _seconds(text: str) -> Fraction:
    value = Fraction(text)
    if value <= 0:
        raise ValueError("must be positive")
    return value


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo import model
    from nnrvideo.authoring import encode
    from nnrvideo.data import base_network

    check_output(options.output, overwrite=options.overwrite)
    network = base_network() if options.network is None else options.network.read_bytes()
    contract = model.infer_contract(model.unpack(network).require_network())
    with progress("encoding", quiet=options.quiet, lines_to=options.progress) as show:
        report = encode(
            options.input,
            options.output,
            network,
            contract,
            codec=options.codec,
            options=encoder_options(options),
            overwrite=options.overwrite,
            duration=options.duration,
            progress=show,
        )
    embedded = report.embedded
    size = options.output.stat().st_size
    facts = {
        "output": str(options.output),
        "pictures": report.pictures,
        "source": [report.source.width, report.source.height],
        "coded": [report.coded.width, report.coded.height],
        "cropped": list(report.cropped),
        "network_bytes": len(network),
        "copies": embedded.positions,
        "file_bytes": size,
        "dropped": list(report.dropped),
    }
    if options.json:
        print_json(facts)
    elif not options.quiet:
        print_pairs(
            f"{options.input} -> {options.output}",
            {
                "pictures": str(report.pictures),
                "size": f"{report.source.width}x{report.source.height}, coded at "
                f"{report.coded.width}x{report.coded.height} ({options.codec})",
                "network": f"{human_bytes(len(network))}, sent {embedded.positions} times",
                "file": human_bytes(size),
            },
        )
        if any(report.cropped):
            columns, rows = report.cropped
            print(f"  note: cut off {columns} columns and {rows} rows, to halve evenly")
        for line in report.dropped:
            print(f"  note: not copied: {line}")
    return Exit.OK
