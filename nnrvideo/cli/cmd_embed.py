# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo embed``: put a network into a video by stream copy."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from nnrvideo.cli.args import add_common, add_input, add_json, add_progress, check_output
from nnrvideo.cli.exits import Exit
from nnrvideo.cli.progress import progress
from nnrvideo.cli.report import human_bytes, print_json, print_pairs
from nnrvideo.data import NETWORK_NAMES, read_network

_DESCRIPTION = """\
Nothing is re-encoded: audio, subtitles, chapters, metadata and timestamps are kept, and every
player still plays the video. The network is repeated at each random access point, so that
a player can join anywhere. Networks that the video carries already are replaced.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = _DESCRIPTION
    add_input(
        parser, "video in AVC, HEVC, VVC, AV1, VP8 or VP9: MP4, Matroska, MPEG-TS or raw stream"
    )
    parser.add_argument(
        "-n",
        "--network",
        metavar="NET.nnc",
        type=Path,
        required=True,
        help="network with its topology, as nnrvideo pack writes it, or the name of a shipped one: "
        f"{', '.join(NETWORK_NAMES)}",
    )
    parser.add_argument(
        "output", metavar="OUT", type=Path, help="video file; the suffix chooses the container"
    )
    parser.add_argument("-y", dest="overwrite", action="store_true", help="overwrite outputs")
    parser.add_argument(
        "--id",
        type=int,
        default=7,
        metavar="N",
        help="nnpfc_id; 7 to 14 and 127 to 254 suit every reader (default: %(default)s)",
    )
    parser.add_argument(
        "--start", type=Fraction, metavar="SECONDS", help="activate from this time on"
    )
    parser.add_argument("--end", type=Fraction, metavar="SECONDS", help="deactivate at this time")
    parser.add_argument(
        "--no-activate", action="store_true", help="send the network without activating it"
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep networks that the video carries already"
    )
    parser.add_argument("--fragmented", action="store_true", help="write fragmented MP4")
    add_json(parser)
    add_progress(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.authoring import embed

    check_output(options.output, overwrite=options.overwrite)
    network = read_network(options.network)
    with progress(
        "embedding", unit="access units", quiet=options.quiet, lines_to=options.progress
    ) as show:
        report = embed(
            options.input,
            options.output,
            network,
            nnpfc_id=options.id,
            start=options.start,
            end=options.end,
            activate=not options.no_activate,
            keep_existing=options.keep,
            overwrite=options.overwrite,
            fragmented=options.fragmented,
            progress=show,
        )
    rate = report.bits_per_second
    if options.json:
        print_json(
            {
                "output": str(options.output),
                "nnpfc_id": list(report.filters),
                "network_bytes": len(network),
                "access_units": report.access_units,
                "positions": report.positions,
                "message_bytes": report.message_bytes,
                "bytes_added": report.bytes_added,
                "bits_per_second": None if rate is None else float(rate),
                "dropped": [f"stream {d.index}: {d.reason}" for d in report.dropped],
            }
        )
    elif not options.quiet:
        cost = "" if rate is None else f", {float(rate) / 1000:.1f} kbit/s"
        print_pairs(
            f"{options.input} -> {options.output}",
            {
                "network": f"{human_bytes(len(network))}, nnpfc_id {report.filters[0]}",
                "repeated at": f"{report.positions} of {report.access_units} access units",
                "cost": f"{human_bytes(report.message_bytes)}{cost}",
            },
        )
        for dropped in report.dropped:
            print(f"  note: not copied: stream {dropped.index}: {dropped.reason}")
    return Exit.OK
