# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo probe``: what networks travel in a video, or what an NNC bitstream consists of."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nnrvideo.cli.args import add_common, add_json
from nnrvideo.cli.exits import Exit, UsageError
from nnrvideo.cli.report import human_bytes, print_card, print_json, print_pairs, print_table

if TYPE_CHECKING:
    from nnrvideo.authoring import ProbedNetwork, ProbeReport

_SHOWN_TIMES = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = "Exit code 3 tells a script that the video carries no network."
    parser.add_argument("input", metavar="IN", type=Path, help="video, or NNC bitstream (.nnc)")
    parser.add_argument(
        "--base",
        metavar="BASE",
        type=Path,
        action="append",
        default=[],
        help="IN.nnc is an update of this network (.nnc, .onnx, .npz); repeat for updates in "
        "between",
    )
    add_json(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    if options.input.suffix.lower() == ".nnc":
        from nnrvideo.cli.probe_nnc import probe_nnc

        return probe_nnc(options.input, options.base, as_json=options.json)
    if options.base:
        raise UsageError("--base is for NNC bitstreams (.nnc)")
    from nnrvideo.authoring import probe

    report = probe(options.input)
    if options.json:
        print_json(report.to_json())
    else:
        _print(report)
    return Exit.OK if report.networks else Exit.NO_NETWORK


def _print(report: ProbeReport) -> None:
    video = report.video
    rate = f", {float(video.frame_rate):.5g} fps" if video.frame_rate else ""
    print_pairs(
        report.path,
        {
            "container": report.format_name,
            "video": f"{video.codec_name} {video.width}x{video.height} {video.pixel_format}{rate}, "
            f"{report.access_units} access units, {report.clvs_count} CLVS",
            "bytes": f"video {human_bytes(report.video_bytes)}, networks "
            f"{human_bytes(report.network_bytes)} ({report.network_share:.1%})",
            "networks": str(len(report.networks)) if report.networks else "none",
        },
    )
    if report.networks:
        print_table(
            (
                "network",
                "purpose",
                "output",
                "parameters",
                "bytes",
                "times",
                "at seconds",
                "sha256",
            ),
            [_row(network) for network in report.networks],
        )
        _print_activations(report)
        for network in report.networks:
            if network.content is not None and network.content.card is not None:
                print_card(f"filter {network.nnpfc_id}", network.content.card)
    for problem in report.problems:
        print(f"problem: {problem}")


def _row(network: ProbedNetwork) -> tuple[str, ...]:
    kind = "base" if network.is_base else "update"
    size = "-" if network.output_size is None else "x".join(map(str, network.output_size))
    parameters = "-" if network.content is None else str(network.content.parameters)
    times = [f"{float(o.pts):.3f}" for o in network.occurrences]
    shown = " ".join(times[:_SHOWN_TIMES]) + (" ..." if len(times) > _SHOWN_TIMES else "")
    return (
        f"{network.nnpfc_id} {kind}",
        ", ".join(network.purpose_names) or "by application",
        size,
        parameters,
        str(network.payload_bytes) if network.payload_bytes else f"by URI {network.uri}",
        str(len(times)),
        shown,
        network.sha256[:12],
    )


def _print_activations(report: ProbeReport) -> None:
    lines = []
    for activation in report.activations:
        if activation.cancel:
            what = "cancelled"
        else:
            network = "base" if activation.uses_base else "latest update"
            what = f"{network}, " + ("until further notice" if activation.persistent else "once")
        lines.append(f"{float(activation.pts):.3f} s: filter {activation.nnpfc_id}: {what}")
    for line in lines[:_SHOWN_TIMES]:
        print(f"activation at {line}")
    if len(lines) > _SHOWN_TIMES:
        print(f"... and {len(lines) - _SHOWN_TIMES} more activations (--json lists all)")
    if not lines:
        print("no activation: the networks are on board but no picture uses them")
