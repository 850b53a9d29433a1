# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo unpack``: NNC bitstream -> ONNX or npz."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnrvideo.cli.args import add_common, add_overwrite, check_output
from nnrvideo.cli.cmd_diff import load_received
from nnrvideo.cli.exits import Exit, UsageError
from nnrvideo.files import OutputFile, write_bytes
from nnrvideo.limits import Limits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("input", metavar="IN.nnc", type=Path, help="NNC bitstream")
    parser.add_argument(
        "-o",
        dest="output",
        metavar="OUT",
        type=Path,
        required=True,
        help="network: .onnx (needs a topology in the stream) or .npz (weights only)",
    )
    parser.add_argument(
        "--base",
        metavar="BASE",
        type=Path,
        action="append",
        default=[],
        help="IN is an update of this network (.nnc, .onnx, .npz); repeat for updates in between",
    )
    add_overwrite(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo import model

    output = check_output(options.output, overwrite=options.overwrite)
    suffix = output.suffix.lower()
    if suffix not in (".onnx", ".npz"):
        raise UsageError(f"{output}: the suffix must be .onnx or .npz")
    if options.base:
        received = load_received([*options.base, options.input])
        network, tensors = received.network, received.tensors
    else:
        unpacked = model.unpack(options.input.read_bytes(), limits=Limits.offline())
        network, tensors = unpacked.network, unpacked.tensors
        if suffix == ".onnx":
            network = unpacked.require_network()
    if suffix == ".onnx":
        if network is None:
            raise UsageError(f"{options.base[0]} has no graph, so {output} must be .npz")
        write_bytes(output, network.to_onnx(), overwrite=options.overwrite)
    else:
        with OutputFile(output, overwrite=options.overwrite) as file:
            model.save_npz(tensors, file.temporary)
    if not options.quiet:
        print(f"{output}: {len(tensors)} tensors, {tensors.parameters} parameters")
    return Exit.OK
