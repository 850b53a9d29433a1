# SPDX-License-Identifier: Apache-2.0
"""Options that several verbs share, so that they read alike everywhere."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnrvideo.cli.exits import UsageError


def add_common(parser: argparse.ArgumentParser) -> None:
    """-v, -q: every verb has them."""
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="say more; twice: also where it failed"
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="say nothing but errors; no progress bar"
    )


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """-y and -n, as ffmpeg has them; without either an existing output is an error."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-y", dest="overwrite", action="store_true", help="overwrite outputs")
    group.add_argument(
        "-n", dest="overwrite", action="store_false", help="never overwrite (the default)"
    )
    parser.set_defaults(overwrite=False)


def add_input(parser: argparse.ArgumentParser, help_text: str) -> None:
    """-i IN."""
    parser.add_argument("-i", dest="input", metavar="IN", type=Path, required=True, help=help_text)


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json: the same facts for programs."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def add_progress(parser: argparse.ArgumentParser) -> None:
    """-progress: key=value lines for programs that drive this one."""
    parser.add_argument(
        "-progress",
        dest="progress",
        metavar="FILE",
        help="write progress as key=value lines, as ffmpeg does, to FILE ('-': standard output)",
    )


def check_output(path: Path, *, overwrite: bool) -> Path:
    """Refuses an output that exists, before any work is done.

    Raises:
        UsageError: ``path`` exists and ``overwrite`` is off, or its folder does not exist.
    """
    if str(path) == "-":
        return path
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already; -y overwrites it")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}")
    return path


# Option as ffmpeg spells it -> help.  The values go to the encoder or the muxer untouched.
_ENCODER_OPTIONS = {
    "-crf": ("N", "constant quality: smaller is better and bigger"),
    "-b:v": ("RATE", "bit rate, e.g. 2M"),
    "-maxrate": ("RATE", "upper bound of the bit rate"),
    "-bufsize": ("SIZE", "size of the rate control buffer"),
    "-preset": ("NAME", "speed of the encoder: ultrafast ... placebo"),
    "-tune": ("NAME", "what the encoder is tuned for"),
    "-profile:v": ("NAME", "profile of the codec"),
    "-g": ("N", "longest distance of key frames; the network is repeated at each"),
    "-bf": ("N", "B-frames in a row"),
    "-pix_fmt": ("NAME", "sample format, e.g. yuv420p10le"),
    "-x264-params": ("K=V:K=V", "further options of libx264"),
    "-x265-params": ("K=V:K=V", "further options of libx265"),
    "-svtav1-params": ("K=V:K=V", "further options of libsvtav1"),
    "-movflags": ("FLAGS", "flags of the MP4 muxer, e.g. +faststart"),
}


def add_encoder(parser: argparse.ArgumentParser, codec: str | None, crf: str | None) -> None:
    """Options of the video encoder, by ffmpeg's names.

    Args:
        parser: Where they go.
        codec: Default encoder; None lets the output's suffix choose.
        crf: Default quality; None leaves it to the encoder.
    """
    group = parser.add_argument_group("encoder (as in ffmpeg)")
    group.add_argument(
        "-c:v",
        dest="codec",
        metavar="CODEC",
        default=codec,
        help="libx264, libx265, libsvtav1, libvpx-vp9 ... "
        f"(default: {codec or 'by the suffix of the output'})",
    )
    for option, (metavar, text) in _ENCODER_OPTIONS.items():
        note = f" (default: {crf}, unless -b:v is given)" if option == "-crf" and crf else ""
        group.add_argument(
            option, dest="encoder" + option, metavar=metavar, default=None, help=text + note
        )
    parser.set_defaults(default_crf=crf)


def encoder_options(options: argparse.Namespace) -> dict[str, str]:
    """What the user said to the encoder, by ffmpeg's names without the dash."""
    given = {
        name.removeprefix("-"): value
        for name in _ENCODER_OPTIONS
        if (value := getattr(options, "encoder" + name)) is not None
    }
    if options.default_crf is not None and "b:v" not in given:
        given.setdefault("crf", options.default_crf)
    return given
