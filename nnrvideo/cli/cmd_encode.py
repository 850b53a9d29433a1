# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo encode``: downscale, encode and embed in one go."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from nnrvideo.training.title import TitleReport

_MODES = ("enhance", "sr1.5x", "sr2x")
_AUTO = ("enhance", "sr2x")

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
        "--mode",
        choices=("base", *_MODES, "auto"),
        default="base",
        help="base: reduce and send --network as it is; enhance, sr1.5x, sr2x: train a network on "
        "this title, for its own or for reduced size; auto: try enhance and sr2x. A trained "
        "network must beat the plain encode at the same bits, or the result is the plain encode "
        "(default: %(default)s; training needs the extra [train])",
    )
    parser.add_argument(
        "--tiers",
        type=_tiers,
        default=None,
        metavar="S,M,L",
        help="sizes of trained networks to try: 16, 32, 64 channels (default: S)",
    )
    parser.add_argument(
        "--steps", type=int, default=None, metavar="N", help="training steps (default: 1500)"
    )
    parser.add_argument(
        "--seed", type=int, default=None, metavar="N", help="of the training (default: 1)"
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


def _tiers(text: str) -> tuple[str, ...]:
    tiers = tuple(text.split(","))
    if not tiers or not set(tiers) <= {"S", "M", "L"}:
        raise ValueError("must be a list out of S,M,L")
    return tiers


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    return _with_given_network(options) if options.mode == "base" else _with_own_network(options)


def _with_own_network(options: argparse.Namespace) -> int:
    """Trains on the title and keeps what is worth its bits."""
    check_output(options.output, overwrite=options.overwrite)
    _require_trainable(options.codec)
    if options.network is not None:
        raise UsageError(f"--network is an option of --mode base; {options.mode} trains its own")
    try:
        from nnrvideo.training.title import TitleSettings, encode_title
    except ImportError as error:
        raise UsageError(str(error)) from error
    chosen = {
        "modes": _AUTO if options.mode == "auto" else (options.mode,),
        "tiers": options.tiers,
        "steps": options.steps,
        "seed": options.seed,
    }
    try:
        settings = TitleSettings(**{k: v for k, v in chosen.items() if v is not None})
        with progress("training", quiet=options.quiet, lines_to=options.progress) as show:
            report = encode_title(
                options.input,
                options.output,
                settings,
                codec=options.codec,
                options=encoder_options(options),
                overwrite=options.overwrite,
                duration=options.duration,
                say=_say if options.verbose else lambda _line: None,
                progress=show,
            )
    except ValueError as error:
        raise UsageError(str(error)) from error
    if options.json:
        print_json({"output": str(options.output), **asdict(report)})
    elif not options.quiet:
        _print_title(options, report)
    return Exit.OK


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print_title(options: argparse.Namespace, report: TitleReport) -> None:
    plain = report.anchor[0]
    rows = {"plain": f"{plain.bits} bits, {plain.psnr_y:.2f} dB"}
    for each in report.candidates:
        rows[f"{each.mode} {each.tier}"] = (
            f"{each.point.bits} bits, {each.point.psnr_y:.2f} dB, network "
            f"{human_bytes(each.network_bytes)}, {each.gain:+.2f} dB against plain at these bits"
        )
    chosen = report.chosen
    rows["chosen"] = (
        "plain: no network is worth its bits here"
        if chosen is None
        else f"{chosen.mode} {chosen.tier}"
    )
    rows["file"] = human_bytes(options.output.stat().st_size)
    print_pairs(f"{options.input} -> {options.output}", rows)


def _require_trainable(codec: str) -> None:
    if codec not in ("libx264", "libx265"):
        raise UsageError(
            f"networks are trained on titles for libx264 and libx265, not for {codec}; "
            "--mode base takes any encoder"
        )


def _with_given_network(options: argparse.Namespace) -> int:
    from nnrvideo import model
    from nnrvideo.authoring import encode
    from nnrvideo.data import base_network

    check_output(options.output, overwrite=options.overwrite)
    for name in ("tiers", "steps", "seed"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} is an option of training; --mode base trains nothing")
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
            print(f"  note: cut off {columns} columns and {rows} rows, to halve evenly")
        for line in reduced.dropped:
            print(f"  note: not copied: {line}")
    return Exit.OK
