# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo unpack``: NNC bitstream -> ONNX or npz."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnrvideo.cli.args import add_common, add_overwrite, check_output
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
    add_overwrite(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo import model

    output = check_output(options.output, overwrite=options.overwrite)
    suffix = output.suffix.lower()
    if suffix not in (".onnx", ".npz"):
        raise UsageError(f"{output}: the suffix must be .onnx or .npz")
    unpacked = model.unpack(options.input.read_bytes(), limits=Limits.offline())
    if suffix == ".onnx":
        write_bytes(output, unpacked.require_network().to_onnx(), overwrite=options.overwrite)
    else:
        with OutputFile(output, overwrite=options.overwrite) as file:
            model.save_npz(unpacked.tensors, file.temporary)
    if not options.quiet:
        tensors = unpacked.tensors
        print(f"{output}: {len(tensors)} tensors, {tensors.parameters} parameters")
    return Exit.OK
