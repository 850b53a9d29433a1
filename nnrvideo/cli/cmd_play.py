# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo play``: a film in a window, enhanced as it plays."""

from __future__ import annotations

import argparse
import logging
import os
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING

from nnrvideo.cli.args import add_common, add_input, add_json
from nnrvideo.cli.exits import Exit
from nnrvideo.cli.report import print_json, print_pairs

if TYPE_CHECKING:
    from nnrvideo.player import Screen, Speaker

_log = logging.getLogger(__name__)

_DESCRIPTION = """\
keys:
  space  pause, go on            s  before | after under the pointer
  left, right  10 s              i  state: network, speed, late pictures
  up, down  a minute             e  networks on and off
  f  whole screen                q  end

A picture that the network cannot finish in time is plainly upscaled and shown in time. A film
without a network is plainly shown. The window needs SDL 2: pip install "nnrvideo[play]".
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = _DESCRIPTION
    add_input(parser, "film")
    parser.add_argument("-ss", dest="start", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument(
        "-t", dest="duration", type=float, metavar="SECONDS", help="stop after that long"
    )
    parser.add_argument("--loop", action="store_true", help="begin again at the end")
    parser.add_argument("--split", action="store_true", help="begin with before | after")
    parser.add_argument("--state", action="store_true", help="begin with the state shown")
    parser.add_argument("--no-audio", dest="audio", action="store_false", help="play no sound")
    parser.add_argument(
        "--headless",
        action="store_true",
        help="play in time, but show and sound nothing: for tests and measurements",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the network")
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "int8"),
        default="auto",
        help="numbers that networks compute in (default: %(default)s)",
    )
    parser.add_argument(
        "--max-memory",
        type=int,
        default=256,
        metavar="MIB",
        help="bound on the memory that enhancing adds (default: %(default)s)",
    )
    parser.add_argument(
        "--upscaler",
        choices=("bilinear", "bicubic", "lanczos"),
        default="bicubic",
        help="plain upscale where no network applies (default: %(default)s)",
    )
    add_json(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.container import open_media
    from nnrvideo.player import Playback
    from nnrvideo.runtime import Upscaler

    with ExitStack() as stack:
        media = stack.enter_context(open_media(options.input))
        screen = _screen(options, stack)
        speaker = _speaker(options, stack) if options.audio else None
        report = Playback(
            media,
            screen,
            speaker,
            start=options.start,
            duration=options.duration,
            loop=options.loop,
            split=options.split,
            state=options.state,
            threads=options.threads,
            precision=options.precision,
            max_memory_mib=options.max_memory,
            upscaler=Upscaler(options.upscaler),
        ).run()
    facts = asdict(report)
    if options.json:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        print_json({**facts, "load": load})
    elif not options.quiet:
        counts = report.statistics
        print_pairs(
            str(options.input),
            {
                "shown": f"{report.shown} pictures, {report.enhanced} by a network "
                f"({counts.precision or 'none'}), {report.late} late",
                "worst": f"{1e3 * report.worst_lateness:.1f} ms late, "
                f"{1e3 * report.worst_drift:.1f} ms between picture and sound",
            },
        )
    return Exit.OK


def _screen(options: argparse.Namespace, stack: ExitStack) -> Screen:
    from nnrvideo.player import NoScreen

    if options.headless:
        return NoScreen()
    from nnrvideo.player.window import SdlScreen

    window = SdlScreen(options.input.name)
    stack.callback(window.close)
    return window


def _speaker(options: argparse.Namespace, stack: ExitStack) -> Speaker | None:
    from nnrvideo.errors import UnsupportedFeatureError
    from nnrvideo.player import SilentSpeaker

    if options.headless:
        return SilentSpeaker()
    from nnrvideo.player.window import SdlSpeaker

    try:
        speaker = SdlSpeaker()
    except UnsupportedFeatureError as error:
        # A film without sound is better than none.
        _log.warning("%s", error)
        return None
    stack.callback(speaker.close)
    return speaker
