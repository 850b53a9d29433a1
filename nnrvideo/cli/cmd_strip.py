# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo strip``: remove the networks from a video by stream copy."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnrvideo.cli.args import add_common, add_input, add_overwrite, add_progress, check_output
from nnrvideo.cli.exits import Exit
from nnrvideo.cli.progress import progress
from nnrvideo.cli.report import human_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_input(parser, "video in AVC, HEVC, VVC, AV1, VP8 or VP9")
    parser.add_argument(
        "output", metavar="OUT", type=Path, help="video file; the suffix chooses the container"
    )
    parser.add_argument("--fragmented", action="store_true", help="write fragmented MP4")
    add_overwrite(parser)
    add_progress(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.authoring import strip

    check_output(options.output, overwrite=options.overwrite)
    with progress(
        "stripping", unit="access units", quiet=options.quiet, lines_to=options.progress
    ) as show:
        report = strip(
            options.input,
            options.output,
            overwrite=options.overwrite,
            fragmented=options.fragmented,
            progress=show,
        )
    if not options.quiet:
        print(
            f"{options.output}: {report.messages} messages removed, "
            f"{human_bytes(report.bytes_removed)} less"
        )
        for dropped in report.dropped:
            print(f"  note: not copied: stream {dropped.index}: {dropped.reason}")
    return Exit.OK
