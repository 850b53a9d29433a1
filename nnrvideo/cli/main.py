# SPDX-License-Identifier: Apache-2.0
"""Entry point: builds the parser, runs a verb and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from nnrvideo.cli.exits import EXIT_CODES_HELP, Exit, exit_code
from nnrvideo.errors import NnrVideoError

# Verb -> what it does, in one line.  Each lives in a module of its own that is only imported
# when it is used: the heavy packages take most of a second to load.
VERBS = {
    "pack": "compress a network: ONNX or npz -> NNC (.nnc)",
    "unpack": "decompress a network: NNC -> ONNX or npz",
    "diff": "code what turns one network into another, as an NNC update",
    "calibrate": "measure on a film whether a network may run in 8-bit integers, and allow it",
    "embed": "put a network into a video by stream copy (no re-encoding)",
    "probe": "show which networks travel in a video, where, and how big they are",
    "extract": "write the networks of a video to files",
    "strip": "remove the networks from a video by stream copy",
    "enhance": "decode a video, run its network on the pictures, write the result",
    "play": "show a video in a window, enhanced as it plays",
    "encode": "downscale, encode and embed in one go",
    "jobs": "encode many titles: a list of jobs, resumable, on processes or a cluster",
    "compare": "measure plain upscale against the network (PSNR, SSIM, side-by-side picture)",
    "report": "measure files with networks and write a page: curves, BD-rates, before and after",
    "bdrate": "Bjøntegaard delta (BD-rate, BD-metric) of the curves in two CSV files",
    "gst": "set up and examine the GStreamer elements",
}

_EXAMPLES = """\
examples:
  nnrvideo encode -i in.mp4 -c:v libx265 -crf 22 coded.mp4    half size + network in the stream
  nnrvideo probe coded.mp4                                    what travels in the file
  nnrvideo enhance -i coded.mp4 better.mp4                    full size again, by the network
  nnrvideo play -i coded.mp4 --split                          watch it, before | after
  nnrvideo compare -r in.mp4 -i coded.mp4 --png crop.png      is it any better?
  nnrvideo pack net.onnx -o net.nnc --qp -32                  your own network
  nnrvideo diff net.nnc tuned.onnx -o update.nnc --qp -28     what fine-tuning changed
  nnrvideo embed -i in.mp4 -n net.nnc out.mp4                 into an existing file
  nnrvideo jobs plan -i 'films/*.mp4' list.json               many titles, then: jobs run
  nnrvideo gst install --user                                 elements for gst-launch-1.0

"nnrvideo VERB --help" explains the options of a verb.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser with all verbs, but without their options."""
    parser = argparse.ArgumentParser(
        prog="nnrvideo",
        description="The neural network travels inside the video.",
        epilog=_EXAMPLES + "\n" + EXIT_CODES_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="store_true", help="versions, coder backend, inference providers"
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for verb, help_text in VERBS.items():
        verbs.add_parser(verb, help=help_text, add_help=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; those of the process if absent.

    Returns:
        Exit code, see :class:`nnrvideo.cli.exits.Exit`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if not arguments:
        parser.print_help(sys.stderr)
        return Exit.USAGE
    if arguments[0] not in VERBS:
        # Options of the program itself, --help, or a typing error, which argparse explains.
        options = parser.parse_args(arguments)
        if options.version:
            from nnrvideo.cli.version import print_version

            print_version()
            return Exit.OK
        parser.print_help(sys.stderr)
        return Exit.USAGE
    return _run_verb(arguments[0], arguments[1:])


def _run_verb(verb: str, arguments: list[str]) -> int:
    module = importlib.import_module(f"nnrvideo.cli.cmd_{verb}")
    parser = argparse.ArgumentParser(
        prog=f"nnrvideo {verb}",
        description=VERBS[verb][0].upper() + VERBS[verb][1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    options = parser.parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=_log_level(options), format="nnrvideo: %(levelname)s: %(message)s"
    )
    try:
        code: int = module.execute(options)
    except (NnrVideoError, OSError, ValueError, ImportError) as error:
        if getattr(options, "verbose", 0) > 1:
            logging.getLogger(__name__).exception("details")
        if isinstance(error, BrokenPipeError):
            raise
        print(f"nnrvideo {verb}: {_one_line(error)}", file=sys.stderr)
        return exit_code(error)
    return code


def _log_level(options: argparse.Namespace) -> int:
    verbosity = getattr(options, "verbose", 0) - 2 * getattr(options, "quiet", 0)
    if verbosity < 0:
        return logging.CRITICAL
    return (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)]


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return text


def run() -> NoReturn:
    """Console script: exits with the code; quiet on a closed pipe and on Ctrl-C."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away (| head).  Python would complain once more while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        print("nnrvideo: interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
