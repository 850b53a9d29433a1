# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo enhance``: decode, run the network of the stream, write the result."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

from nnrvideo.cli.args import (
    add_common,
    add_encoder,
    add_input,
    add_json,
    add_overwrite,
    add_progress,
    check_output,
    encoder_options,
)
from nnrvideo.cli.exits import Exit, NoNetworkError, UsageError
from nnrvideo.cli.progress import progress
from nnrvideo.cli.report import print_json

_DESCRIPTION = """\
Audio, subtitles, chapters, metadata and timestamps are copied. Where no network applies,
pictures are plainly upscaled to the same size, so that the output has one size throughout.
Without any network in the video the verb stops with exit code 3, unless --plain is given.
With --resume, a run that was interrupted, by whatever, is gone on with by the same command: coded
pictures are kept in pieces in a folder beside the output meanwhile. The finished part of the film
is decoded again, not enhanced. A key frame begins each piece, and rate control begins anew there.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = _DESCRIPTION
    add_input(parser, "video with a network inside")
    parser.add_argument(
        "output",
        metavar="OUT",
        type=Path,
        help="video file (suffix chooses the container), .y4m, .nut, or - for standard output",
    )
    parser.add_argument(
        "-f",
        dest="format",
        choices=("y4m", "nut", "raw"),
        help="uncompressed: y4m (one rate), nut (keeps every timestamp) or raw (planes and nothing "
        "else; with a file name, too); default for '-': y4m",
    )
    parser.add_argument(
        "--split",
        action="store_true",
        help="left half plain upscale, right half network: before | after",
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="write plainly upscaled pictures if there is no network",
    )
    parser.add_argument(
        "--upscaler",
        choices=("bilinear", "bicubic", "lanczos"),
        default="bicubic",
        help="plain upscale where no network applies (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the network")
    parser.add_argument(
        "--max-memory",
        type=int,
        default=256,
        metavar="MIB",
        help="bound on the memory that enhancing adds (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "int8"),
        default="auto",
        help="numbers that networks compute in (default: %(default)s: 8-bit integers where the "
        "sender allows them and the processor has them)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on where an interrupted run with --resume stopped; coded files only (H.264, "
        "H.265, AV1, VP9)",
    )
    parser.add_argument(
        "--resume-every",
        type=int,
        default=240,
        metavar="N",
        help="pictures of a piece, so of the work that an interruption costs at most (default: "
        "%(default)s)",
    )
    add_encoder(parser, codec=None, crf=None)
    add_overwrite(parser)
    add_json(parser)
    add_progress(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.authoring import probe
    from nnrvideo.container import (
        PIPE_FORMATS,
        MediaReader,
        PictureWriter,
        PipeWriter,
        ResumableWriter,
        open_media,
        open_writer,
    )
    from nnrvideo.picture import PictureFormat
    from nnrvideo.player import enhance_file
    from nnrvideo.runtime import Upscaler

    to_stdout = str(options.output) == "-"
    if to_stdout and (options.json or options.progress == "-"):
        raise UsageError("standard output carries the pictures; --json and -progress - cannot")
    suffix = options.output.suffix.lower()
    if options.format == "y4m" and not to_stdout and suffix != ".y4m":
        raise UsageError(f"-f {options.format} does not fit {options.output}")
    uncompressed = options.format or ("nut" if suffix == ".nut" and not options.codec else None)
    if options.resume and (to_stdout or uncompressed or suffix == ".y4m"):
        raise UsageError(
            "--resume is for coded files: uncompressed pictures are not kept in pieces"
        )
    if options.resume_every < 1:
        raise UsageError("--resume-every is at least 1")
    check_output(options.output, overwrite=options.overwrite)
    if not options.plain and not probe(options.input).networks:
        raise NoNetworkError(
            f"{options.input} carries no network (nnrvideo probe tells more); "
            "--plain upscales nothing but passes the pictures on"
        )

    with ExitStack() as stack:
        resumable: ResumableWriter | None = None
        if options.resume:
            with open_media(options.input) as film:
                video = film.video
            resumable = stack.enter_context(
                ResumableWriter(
                    options.output,
                    settings=_settings(options),
                    every=options.resume_every,
                    like=video,
                    codec=options.codec,
                    options=encoder_options(options),
                    copy_from=options.input,
                    overwrite=options.overwrite,
                )
            )
        done = resumable.done if resumable is not None else 0

        def open_sink(media: MediaReader, output: PictureFormat) -> PictureWriter:
            del output
            if resumable is not None:
                return resumable
            if uncompressed in PIPE_FORMATS:
                return stack.enter_context(
                    PipeWriter(
                        options.output,
                        uncompressed,
                        frame_rate=media.video.frame_rate,
                        time_base=media.video.time_base,
                        overwrite=options.overwrite,
                    )
                )
            return stack.enter_context(
                open_writer(
                    options.output,
                    like=media.video,
                    codec=options.codec,
                    options=encoder_options(options),
                    copy_from=media.path,
                    overwrite=options.overwrite,
                )
            )

        show = stack.enter_context(
            progress("enhancing", quiet=options.quiet, lines_to=options.progress)
        )
        report = enhance_file(
            options.input,
            open_sink,
            split=options.split,
            upscaler=Upscaler(options.upscaler),
            threads=options.threads,
            max_memory_mib=options.max_memory,
            precision=options.precision,
            pass_over=done,
            progress=show,
        )
    facts = {
        "output": str(options.output),
        "pictures": done + report.pictures,
        "resumed": done,
        "enhanced": report.enhanced,
        "width": report.output.width,
        "height": report.output.height,
        "precision": report.precision,
        "activations": [{"pts": float(t), "nnpfc_id": i} for t, i in report.activations],
        "rejected": list(report.rejected),
    }
    if options.json:
        print_json(facts)
    elif not options.quiet:
        print(
            f"{options.output}: {done + report.pictures} pictures of "
            f"{report.output.width}x{report.output.height}, "
            + (f"{done} of them from before, " if done else "")
            + f"{report.enhanced} by a network"
            + (f" in {report.precision}" if report.precision else ""),
            file=sys.stderr if to_stdout else sys.stdout,
        )
    # The picture was never lost, but a script must be able to see that the enhancement was.
    return Exit.REJECTED if report.rejected and not report.enhanced else Exit.OK


def _settings(options: argparse.Namespace) -> dict[str, str]:
    """What decides about the pictures besides the encoder; interrupted work must agree in it."""
    from nnrvideo import __version__

    facts = options.input.stat()
    return {
        "input": str(options.input.resolve()),
        "size of the input": str(facts.st_size),
        "change of the input": str(facts.st_mtime_ns),
        "version of nnrvideo": __version__,
        "--split": str(options.split),
        "--upscaler": options.upscaler,
        "--precision": options.precision,
    }
