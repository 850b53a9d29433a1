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
from nnrvideo.cli.exits import Exit, NoNetworkError, UsageError
from nnrvideo.cli.measuring import add_measuring, measure_options
from nnrvideo.cli.progress import progress
from nnrvideo.cli.report import human_bytes, print_json, print_table
from nnrvideo.files import write_bytes

if TYPE_CHECKING:
    from nnrvideo.authoring import ProbeReport
    from nnrvideo.metrics import Quality
    from nnrvideo.report import CropPictures, Measured, MeasureOptions

_ZOOM = 2
# Field of Quality -> heading and format; columns without any figure are left out.
_COLUMNS = {
    "psnr_cb": ("PSNR Cb", ".2f"),
    "psnr_cr": ("PSNR Cr", ".2f"),
    "ssim_y": ("SSIM Y", ".4f"),
    "ms_ssim_y": ("MS-SSIM Y", ".4f"),
    "vmaf": ("VMAF", ".2f"),
    "vmaf_neg": ("VMAF-NEG", ".2f"),
    "flicker": ("flicker", ".3f"),
}


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
    add_measuring(parser, metrics="psnr,ssim")
    parser.add_argument(
        "--png",
        metavar="OUT.png",
        type=Path,
        help="write a crop side by side (original, plain upscale, network), of the spot with the "
        "largest gain",
    )
    parser.add_argument("--no-ssim", action="store_true", help="the same as --metrics psnr")
    add_overwrite(parser)
    add_json(parser)
    add_progress(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.authoring import probe
    from nnrvideo.report import measure_file

    if options.png is not None:
        check_output(options.png, overwrite=options.overwrite)
    if options.no_ssim and options.metrics is not None:
        raise UsageError("--no-ssim and --metrics say different things; give one")
    if options.crop is not None and options.png is None:
        raise UsageError("--crop is the size of --png OUT.png, which is missing")
    default = ("psnr",) if options.no_ssim else ("psnr", "ssim")
    wanted, _ = measure_options(options, default=default, crops=options.png is not None)
    report = probe(options.input)
    if not report.networks:
        raise NoNetworkError(f"{options.input} carries no network, so there is nothing to compare")
    with progress("comparing", quiet=options.quiet, lines_to=options.progress) as show:
        result = measure_file(options.reference, options.input, wanted, progress=show)
    if options.png is not None and result.crops:
        write_bytes(options.png, _crop_png(result.crops[0]), overwrite=options.overwrite)
    if options.json:
        print_json(_facts(result, report, wanted))
    else:
        _print(result, report, wanted)
    if result.enhanced == 0:
        reasons = "; ".join(result.reasons) or "unknown reason"
        print(f"the network was never used: {reasons}")
        return Exit.REJECTED
    return Exit.OK


def _sides(result: Measured) -> tuple[Quality, Quality]:
    assert result.network is not None
    return result.plain.quality, result.network.quality


def _facts(result: Measured, report: ProbeReport, wanted: MeasureOptions) -> dict[str, Any]:
    plain, network = _sides(result)
    return {
        "pictures": len(result.times),
        "enhanced": result.enhanced,
        "unpaired": result.unpaired,
        "video_bits": report.video_bytes * 8,
        "network_bits": report.network_bytes * 8,
        "upscaler": wanted.upscaler.value,
        "plain": dataclasses.asdict(plain),
        "network": dataclasses.asdict(network),
        "psnr_y_gain_db": network.psnr_y - plain.psnr_y,
        "absent": {**result.plain.absent},
        "reasons": result.reasons,
    }


def _print(result: Measured, report: ProbeReport, wanted: MeasureOptions) -> None:
    plain, network = _sides(result)
    video, weight = report.video_bytes * 8, report.network_bytes * 8
    columns = [
        name for name in _COLUMNS if name.startswith("psnr") or getattr(plain, name) is not None
    ]
    headings = (_COLUMNS[name][0] for name in columns)
    rows = [
        (f"plain {wanted.upscaler.value} upscale", f"{video}", "", *_figures(plain, None, columns)),
        ("network", f"{video}", f"{weight}", *_figures(network, plain.psnr_y, columns)),
    ]
    print_table(("", "video bits", "network bits", "PSNR Y", "gain dB", *headings), rows)
    print(
        f"{len(result.times)} pictures compared, the network ran on {result.enhanced}; "
        f"it takes {human_bytes(report.network_bytes)} of {human_bytes((video + weight) / 8)}, "
        f"{report.network_share:.1%}"
    )
    for metric, reason in result.plain.absent.items():
        print(f"no {metric}: {reason}")
    if result.unpaired:
        print(f"{result.unpaired} pictures had no partner at the same time in the other file")


def _figures(side: Quality, baseline: float | None, columns: list[str]) -> tuple[str, ...]:
    gain = "" if baseline is None else f"{side.psnr_y - baseline:+.2f}"
    values = ((getattr(side, name), _COLUMNS[name][1]) for name in columns)
    others = ("-" if value is None else format(value, form) for value, form in values)
    return (f"{side.psnr_y:.2f}", gain, *others)


def _crop_png(crop: CropPictures) -> bytes:
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
