# SPDX-License-Identifier: Apache-2.0
"""The part of ``nnrvideo encode`` that trains networks: its options and its table."""

from __future__ import annotations

import argparse
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from nnrvideo.cli.args import check_output, encoder_options
from nnrvideo.cli.exits import Exit, UsageError
from nnrvideo.cli.progress import progress
from nnrvideo.cli.report import human_bytes, print_json, print_pairs, print_table
from nnrvideo.training.kinds import LEVELS, SPEEDS, TARGETS, TIERS, TRAINING_OPTIONS

if TYPE_CHECKING:
    from nnrvideo.training.title import Candidate, TitleReport, TitleSettings

_SPELT = {"metric": "--target", "passes": "-pass"}


def training_option(options: argparse.Namespace) -> str | None:
    """An option that means something only where a network is trained, if one was given."""
    for name in (*TRAINING_OPTIONS, "work", "report", "keep_network", "ladder"):
        if getattr(options, name) is not None:
            return _SPELT.get(name, f"--{name.replace('_', '-')}")
    return None


def add_training(parser: argparse.ArgumentParser) -> None:
    """Options of training and of the choice."""
    add = parser.add_argument_group("networks trained on the title").add_argument
    add(
        "--target",
        dest="metric",
        choices=TARGETS,
        help="metric that decides (default: psnr, of luma; vmaf needs an ffmpeg with libvmaf: "
        "pip install 'nnrvideo[vmaf]')",
    )
    add(
        "--speed",
        choices=SPEEDS,
        help="fast: 500 steps, no updates; medium: 1500 steps, updates; slow: tiers XS, S and M, "
        "4500 steps, updates trained three times as long (default: medium); "
        "options that are given count more",
    )
    add(
        "--tiers",
        type=lambda text: _list_of(text, TIERS),
        metavar="XS,S,M,L",
        help="sizes of networks to try: 8, 16, 32, 64 channels (default: XS, S or M, whichever "
        "the video's bits pay for)",
    )
    add("--steps", type=int, metavar="N", help="training steps (default: 1500)")
    add(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="CPU time for all training together (default: what the steps take); how many steps "
        "that are depends on the machine, so the result does, too",
    )
    add(
        "--complexity-limit",
        type=float,
        metavar="KMAC",
        help="thousands of multiply-accumulates for each output sample that receivers can spend; "
        "larger networks are left out (default: no limit)",
    )
    add(
        "--updates",
        type=lambda text: () if text == "none" else _list_of(text, LEVELS),
        metavar="LIST",
        help="what updates for scenes may change: bias, last (layer, and biases), all; each is "
        "tried and what is worth its bits is sent; none for one network throughout (default: "
        "bias,last,all)",
    )
    add(
        "--repeat",
        type=Fraction,
        metavar="SECONDS",
        help="repeat the network at random access points inside a coded video sequence after so "
        "long at the earliest; who tunes in between sees plain pictures till then. Where a "
        "sequence starts, as at each IDR picture, it is always repeated (default: 10)",
    )
    add("--seed", type=int, metavar="N", help="of the training (default: 1)")
    add(
        "--threads",
        type=int,
        metavar="N",
        help="threads of training and measuring; the same file each time only with 1 (default: 1)",
    )
    add(
        "--work",
        type=Path,
        metavar="DIR",
        help="keep intermediate results in DIR, and use what lies there; a run that was killed "
        "goes on from there (default: a hidden folder beside OUT, removed after success)",
    )
    add(
        "-pass",
        dest="passes",
        type=int,
        choices=(1, 2),
        help="2: code in two passes, for -b:v; libx264 and libx265 (default: 1)",
    )
    add(
        "--report",
        type=Path,
        metavar="OUT.html|json",
        help="write the report of the result, or of the best network if none was worth it, "
        "against the plain encodes",
    )
    add(
        "--ladder",
        type=_rungs,
        metavar="HEIGHT[:CRF],...",
        help="code the title in several sizes that share one network and differ by its updates; "
        "OUT contains {height}, as in film-{height}p.mp4",
    )
    add(
        "--keep-network",
        type=Path,
        metavar="NET.nnc",
        help="write the network of the result, or the best that was tried if none was worth its "
        "bits, and its model card beside it (NET.nnc.card.json)",
    )


def _list_of(text: str, names: tuple[str, ...]) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    if not set(chosen) <= set(names) or len(set(chosen)) < len(chosen):
        raise argparse.ArgumentTypeError(f"{text!r} is no list out of {','.join(names)}")
    return chosen


def _rungs(text: str) -> list[tuple[int, str | None]]:
    rungs = []
    for part in text.split(","):
        height, _, crf = part.partition(":")
        if not height.isdecimal():
            raise argparse.ArgumentTypeError(f"{part!r} is no HEIGHT or HEIGHT:CRF")
        rungs.append((int(height), crf or None))
    return rungs


def encode_ladder_of_rungs(options: argparse.Namespace) -> int:
    """Trains one network for several sizes of the title."""
    from nnrvideo.training.title import Rung, encode_ladder, settings_of

    for name in ("network", "report", "keep_network"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is not for a --ladder")
    if "{height}" not in options.output.name:
        raise UsageError("a --ladder writes several files: OUT must contain {height}")
    rungs = [
        Rung(
            height,
            options.output.with_name(options.output.name.replace("{height}", str(height))),
            crf,
        )
        for height, crf in options.ladder
    ]
    for rung in rungs:
        check_output(rung.target, overwrite=options.overwrite)
    with progress("working", quiet=options.quiet, lines_to=options.progress) as show:
        reports = encode_ladder(
            options.input,
            rungs,
            settings_of(options.mode, vars(options)),
            codec=options.codec,
            options=encoder_options(options),
            overwrite=options.overwrite,
            duration=options.duration,
            work=options.work,
            say=_say if options.verbose else lambda _line: None,
            progress=show,
        )
    results = list(zip((rung.target for rung in rungs), reports, strict=True))
    if options.json:
        print_json([{"output": str(target), **report.to_json()} for target, report in results])
    elif not options.quiet:
        for target, report in results:
            _print(options, target, report)
    return Exit.OK


def encode_with_own_network(options: argparse.Namespace) -> int:
    """Trains on the title and keeps what is worth its bits."""
    from nnrvideo.data import read_network
    from nnrvideo.model import card_path
    from nnrvideo.training.title import encode_title, settings_of

    if options.report is not None:
        if options.report.suffix.lower() not in (".html", ".json"):
            raise UsageError(f"--report takes a file .html or .json, not {options.report}")
        check_output(options.report, overwrite=options.overwrite)
    if options.keep_network is not None:
        check_output(options.keep_network, overwrite=options.overwrite)
        check_output(card_path(options.keep_network), overwrite=options.overwrite)
        if options.network is not None:
            raise UsageError("--keep-network is for a network that is trained, not for --network")
    settings = settings_of(options.mode, vars(options))

    def before_cleaning(found: TitleReport) -> None:
        _keep_network(options, settings, found)
        _write_report(options, settings, found)

    with progress("working", quiet=options.quiet, lines_to=options.progress) as show:
        report = encode_title(
            options.input,
            options.output,
            settings,
            codec=options.codec,
            options=encoder_options(options),
            overwrite=options.overwrite,
            duration=options.duration,
            base=None if options.network is None else read_network(options.network),
            work=options.work,
            say=_say if options.verbose else lambda _line: None,
            progress=show,
            before_cleaning=before_cleaning,
        )
    if options.json:
        print_json({"output": str(options.output), **report.to_json()})
    elif not options.quiet:
        _print(options, options.output, report)
    return Exit.OK


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _keep_network(options: argparse.Namespace, settings: TitleSettings, found: TitleReport) -> None:
    if options.keep_network is None:
        return
    from nnrvideo.files import write_bytes
    from nnrvideo.model import save_card
    from nnrvideo.training.title import title_card

    if found.network is None:
        _say(f"no network to keep: {'; '.join(found.notes) or 'none was tried'}")
        return
    bitstream = found.network.read_bytes()
    card = title_card(
        bitstream,
        found,
        settings,
        source=options.input,
        codec=options.codec,
        options=encoder_options(options),
    )
    write_bytes(options.keep_network, bitstream, overwrite=options.overwrite)
    save_card(card, options.keep_network, overwrite=options.overwrite)


def _write_report(options: argparse.Namespace, settings: TitleSettings, found: TitleReport) -> None:
    if options.report is None:
        return
    import json

    from nnrvideo import __version__
    from nnrvideo.files import write_bytes
    from nnrvideo.metrics import VmafError, find_vmaf
    from nnrvideo.report import MeasureOptions, make_report, render, to_json

    if not found.candidates:
        _say(f"no report: {'; '.join(found.notes) or 'no network was tried'}")
        return
    try:
        tool = find_vmaf()
    except VmafError:
        if settings.target == "vmaf":
            raise
        tool = None
    result, *anchors = found.files
    title = options.input.name
    if found.chosen is None and found.best is not None:
        title += f": {found.best.name}, not worth its bits"
    report = make_report(
        options.input,
        [result],
        [anchors],
        MeasureOptions(vmaf=tool, crop_size=192, max_pictures=found.pictures),
        title=title,
        anchor_names=[f"plain {options.codec}"],
        software=f"nnrvideo {__version__}",
    )
    if options.report.suffix.lower() == ".html":
        text = render(report)
    else:
        text = json.dumps(to_json(report), ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    write_bytes(options.report, text.encode(), overwrite=options.overwrite)


def _print(options: argparse.Namespace, target: Path, report: TitleReport) -> None:
    unit = {"psnr": "dB", "ms-ssim": "MS-SSIM", "vmaf": "VMAF"}[report.target]
    digits = 4 if report.target == "ms-ssim" else 2
    header = ("", "bits", "video", "base", "updates", "repeats", "activations", unit, "gain")
    rows = []
    for point in report.curve:
        name = f"plain, {point.knob}"
        rows.append((name, str(point.bits.total), *[""] * 5, f"{point.quality:.{digits}f}", ""))
    for each in report.candidates:
        bits = each.point.bits
        kinds = (bits.total, bits.video, bits.base, bits.updates, bits.repeats, bits.activations)
        rows.append(
            (
                f"{each.name}, {each.point.knob}",
                *map(str, kinds),
                f"{each.point.quality:.{digits}f}",
                f"{each.gain:+.{digits}f}",
            )
        )
    print_table(header, rows, "bits by kind; gain against plain at the same bits")
    chosen = report.chosen
    pairs = {
        "chosen": "plain: no network is worth its bits here" if chosen is None else chosen.name,
        "pictures": str(report.pictures),
        "training": f"{report.training_seconds:.0f} CPU seconds",
        "file": human_bytes(target.stat().st_size),
    }
    if chosen is not None:
        pairs["network"] = (
            f"{human_bytes(chosen.network_bytes)}, {chosen.kmac_per_sample:.2f} kMAC a sample"
        )
        if chosen.variant != "whole":
            pairs["scenes"] = _scenes(chosen)
    print_pairs(f"{options.input} -> {target}", pairs)
    if any(report.cropped):
        columns, rows_cut = report.cropped
        print(f"  note: cut off {columns} columns and {rows_cut} rows, to divide evenly")
    for line in report.notes:
        print(f"  note: {line}")


def _scenes(chosen: Candidate) -> str:
    return ", ".join(f"{scene.start:.2f} s {scene.option}" for scene in chosen.scenes)
