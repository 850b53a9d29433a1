# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo compare``: plain upscale against the network, both against a reference."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrvideo.cli.args import (
    add_common,
    add_input,
    add_json,
    add_overwrite,
    add_progress,
    check_output,
)
from nnrvideo.cli.exits import Exit, NoNetworkError
from nnrvideo.cli.progress import progress
from nnrvideo.cli.report import human_bytes, print_json, print_table
from nnrvideo.files import write_bytes

if TYPE_CHECKING:
    from nnrvideo.authoring import ProbeReport
    from nnrvideo.player import Comparison, Crop, Quality

_ZOOM = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "-r",
        dest="reference",
        metavar="REFERENCE",
        type=Path,
        required=True,
        help="the original video, at the size that the network produces",
    )
    add_input(parser, "video with a network inside")
    parser.add_argument(
        "--upscaler",
        choices=("bilinear", "bicubic", "lanczos"),
        default="lanczos",
        help="plain upscale to compare with (default: %(default)s)",
    )
    parser.add_argument(
        "--png",
        metavar="OUT.png",
        type=Path,
        help="write a crop side by side: original, plain upscale, network",
    )
    parser.add_argument(
        "--crop",
        type=int,
        default=192,
        metavar="N",
        help="side of that crop in samples; the spot with the largest gain is shown "
        "(default: %(default)s)",
    )
    parser.add_argument("--frames", type=int, metavar="N", help="compare the first N pictures only")
    parser.add_argument("--no-ssim", action="store_true", help="PSNR only, which is much faster")
    add_overwrite(parser)
    add_json(parser)
    add_progress(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.authoring import probe
    from nnrvideo.player import compare_files
    from nnrvideo.runtime import Upscaler

    if options.png is not None:
        check_output(options.png, overwrite=options.overwrite)
    report = probe(options.input)
    if not report.networks:
        raise NoNetworkError(f"{options.input} carries no network, so there is nothing to compare")
    with progress("comparing", quiet=options.quiet, lines_to=options.progress) as show:
        result = compare_files(
            options.reference,
            options.input,
            upscaler=Upscaler(options.upscaler),
            ssim=not options.no_ssim,
            crop_size=options.crop if options.png is not None else 0,
            max_pictures=options.frames,
            progress=show,
        )
    if options.png is not None and result.crop is not None:
        write_bytes(options.png, _crop_png(result.crop), overwrite=options.overwrite)
    if options.json:
        print_json(_facts(result, report))
    else:
        _print(result, report)
    if result.enhanced == 0:
        reasons = "; ".join(result.reasons) or "unknown reason"
        print(f"the network was never used: {reasons}")
        return Exit.REJECTED
    return Exit.OK


def _facts(result: Comparison, report: ProbeReport) -> dict[str, Any]:
    return {
        "pictures": result.pictures,
        "enhanced": result.enhanced,
        "unpaired": result.unpaired,
        "video_bits": report.video_bytes * 8,
        "network_bits": report.network_bytes * 8,
        "upscaler": result.upscaler.value,
        "plain": dataclasses.asdict(result.plain),
        "network": dataclasses.asdict(result.network),
        "psnr_y_gain_db": result.network.psnr_y - result.plain.psnr_y,
        "reasons": result.reasons,
    }


def _print(result: Comparison, report: ProbeReport) -> None:
    video, network = report.video_bytes * 8, report.network_bytes * 8
    rows = [
        (f"plain {result.upscaler.value} upscale", f"{video}", "", *_figures(result.plain, None)),
        ("network", f"{video}", f"{network}", *_figures(result.network, result.plain.psnr_y)),
    ]
    print_table(
        ("", "video bits", "network bits", "PSNR Y", "gain dB", "PSNR Cb", "PSNR Cr", "SSIM Y"),
        rows,
    )
    print(
        f"{result.pictures} pictures compared, the network ran on {result.enhanced}; "
        f"it takes {human_bytes(report.network_bytes)} of {human_bytes((video + network) / 8)}, "
        f"{report.network_share:.1%}"
    )
    if result.unpaired:
        print(f"{result.unpaired} pictures had no partner at the same time in the other file")


def _figures(side: Quality, baseline: float | None) -> tuple[str, ...]:
    gain = "" if baseline is None else f"{side.psnr_y - baseline:+.2f}"
    chroma = ("-" if v is None else f"{v:.2f}" for v in (side.psnr_cb, side.psnr_cr))
    ssim = "-" if side.ssim_y is None else f"{side.ssim_y:.4f}"
    return (f"{side.psnr_y:.2f}", gain, *chroma, ssim)


def _crop_png(crop: Crop) -> bytes:
    from nnrvideo.container import picture_to_rgb, png_bytes
    from nnrvideo.runtime import side_by_side

    panels = [
        (caption, picture_to_rgb(picture))
        for caption, picture in (
            ("plain upscale", crop.plain),
            ("network", crop.network),
            ("original", crop.reference),
        )
    ]
    return png_bytes(side_by_side(panels, zoom=_ZOOM))
