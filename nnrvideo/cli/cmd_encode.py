# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo encode``: downscale, encode and embed in one go, or train a network on the title."""

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
from nnrvideo.cli.exits import Exit, UsageError
from nnrvideo.cli.progress import progress
from nnrvideo.cli.report import human_bytes, print_json, print_pairs
from nnrvideo.cli.titles import (
    add_training,
    encode_ladder_of_rungs,
    encode_with_own_network,
    training_option,
)
from nnrvideo.data import BASE_NETWORK, NETWORK_NAMES, read_network
from nnrvideo.training.kinds import MODES

_DESCRIPTION = """\
The video is reduced (widened bicubic) by the factor by which the network enlarges (not at all for
one that keeps the size), coded, and the network is put into every random access point. Audio,
subtitles, chapters and metadata are copied.
With another --mode than base a network is trained on the title first, and has to beat the plain
encode at the same bits. With --ladder the title is coded in several sizes that share a network.
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
        help="network to send: a file or the name of a shipped one, "
        f"{', '.join(NETWORK_NAMES)} (default: {BASE_NETWORK}); with another --mode than base, one "
        "of the kinds that are trained here: the title then uses it with updates instead of one "
        "of its own",
    )
    parser.add_argument(
        "--mode",
        choices=("base", *MODES, "auto"),
        default="base",
        help="base: reduce and send --network as it is; enhance, sr1.5x, sr2x: train a network on "
        "this title, for its own or for reduced size; auto: try all of them. A trained "
        "network must beat the plain encode at the same bits, or the result is the plain encode "
        "(default: %(default)s; training needs the extra [train])",
    )
    add_training(parser)
    parser.add_argument(
        "-t", dest="duration", metavar="SECONDS", type=_seconds, help="encode only so much"
    )
    add_encoder(parser, codec="libx265", crf="22")
    # -n names the network here, so only -y is left of ffmpeg's pair.
    parser.add_argument("-y", dest="overwrite", action="store_true", help="overwrite outputs")
    add_json(parser)
    add_progress(parser)
    add_common(parser)


def _seconds(text: str) -> Fraction:
    value = Fraction(text)
    if value <= 0:
        raise ValueError("must be positive")
    return value


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    if options.ladder is None:
        check_output(options.output, overwrite=options.overwrite)
    if options.mode == "base":
        return _with_given_network(options)
    if options.ladder is not None:
        return encode_ladder_of_rungs(options)
    return encode_with_own_network(options)


def _with_given_network(options: argparse.Namespace) -> int:
    from nnrvideo import model
    from nnrvideo.authoring import encode

    if (spelt := training_option(options)) is not None:
        raise UsageError(f"{spelt} is an option of training; --mode base trains nothing")
    network = read_network(options.network or BASE_NETWORK)
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
    reduced, embedded = report.reduced, report.embedded
    size = options.output.stat().st_size
    facts = {
        "output": str(options.output),
        "pictures": reduced.pictures,
        "source": [reduced.source.width, reduced.source.height],
        "coded": [reduced.coded.width, reduced.coded.height],
        "cropped": list(reduced.cropped),
        "network_bytes": len(network),
        "copies": embedded.positions,
        "file_bytes": size,
        "dropped": list(reduced.dropped),
    }
    if options.json:
        print_json(facts)
    elif not options.quiet:
        print_pairs(
            f"{options.input} -> {options.output}",
            {
                "pictures": str(reduced.pictures),
                "size": f"{reduced.source.width}x{reduced.source.height}, coded at "
                f"{reduced.coded.width}x{reduced.coded.height} ({options.codec})",
                "network": f"{human_bytes(len(network))}, sent {embedded.positions} times",
                "file": human_bytes(size),
            },
        )
        if any(reduced.cropped):
            columns, rows = reduced.cropped
            print(f"  note: cut off {columns} columns and {rows} rows, for even sizes")
        for line in reduced.dropped:
            print(f"  note: not copied: {line}")
    return Exit.OK
