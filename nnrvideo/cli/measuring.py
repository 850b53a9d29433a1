# SPDX-License-Identifier: Apache-2.0
"""Options of the verbs that measure."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnrvideo.cli.exits import UsageError

if TYPE_CHECKING:
    from nnrvideo.report import MeasureOptions

_METRICS = ("psnr", "ssim", "vmaf", "flicker")
_CROP = 192
_OPTIONS = ("upscaler", "metrics", "crop", "frames", "threads")


def add_measuring(parser: argparse.ArgumentParser, *, metrics: str) -> None:
    """What is measured and how.

    Args:
        parser: Where the options go.
        metrics: Default of ``--metrics``, for the help text.
    """
    parser.add_argument(
        "--upscaler",
        choices=("bilinear", "bicubic", "lanczos"),
        help="plain upscale to compare with (default: lanczos)",
    )
    parser.add_argument(
        "--metrics",
        metavar="LIST",
        help=f"of {','.join(_METRICS)}; psnr is always there, ssim brings MS-SSIM along, vmaf "
        "brings VMAF-NEG and needs an ffmpeg with libvmaf: pip install 'nnrvideo[vmaf]' "
        f"(default: {metrics})",
    )
    parser.add_argument(
        "--crop",
        type=int,
        metavar="N",
        help=f"side of crops in luma samples (default: {_CROP})",
    )
    parser.add_argument("--frames", type=int, metavar="N", help="measure the first N pictures only")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads of networks and metrics (default: all)"
    )


def given(options: argparse.Namespace) -> list[str]:
    """Those of the options that were given, as they are spelt."""
    return [f"--{name}" for name in _OPTIONS if getattr(options, name) is not None]


def measure_options(
    options: argparse.Namespace, *, default: tuple[str, ...], crops: bool
) -> tuple[MeasureOptions, dict[str, str]]:
    """What the options ask for.

    Args:
        options: Parsed options.
        default: Metrics without ``--metrics``; a "vmaf" in it is given up where there is no
            libvmaf, while one that was asked for by name is an error then.
        crops: Crops are wanted.

    Returns:
        The options, and metrics that cannot be had with the reason why.

    Raises:
        UsageError: An unknown metric, or a number that makes no sense.
        VmafError: VMAF was asked for and is not there.
    """
    from nnrvideo.metrics import VmafError, find_vmaf
    from nnrvideo.report import MeasureOptions
    from nnrvideo.runtime import Upscaler

    named = options.metrics
    metrics = default if named is None else tuple(m.strip() for m in named.lower().split(","))
    for metric in metrics:
        if metric not in _METRICS:
            raise UsageError(f"there is no metric {metric!r}; choose from {', '.join(_METRICS)}")
    for option, least in (("crop", 8), ("frames", 1), ("threads", 1)):
        value = getattr(options, option)
        if value is not None and value < least:
            raise UsageError(f"--{option} takes {least} or more")
    absent: dict[str, str] = {}
    tool = None
    if "vmaf" in metrics:
        try:
            tool = find_vmaf()
        except VmafError as error:
            if named is not None:
                raise
            absent = dict.fromkeys(("vmaf", "vmaf_neg"), str(error))
    return MeasureOptions(
        upscaler=Upscaler(options.upscaler or "lanczos"),
        structure="ssim" in metrics,
        flicker="flicker" in metrics,
        vmaf=tool,
        threads=options.threads,
        max_pictures=options.frames,
        crop_size=(options.crop or _CROP) if crops else 0,
    ), absent
