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
    parser.add_argument(
        "--external-data",
        action="store_true",
        help="weights in a file beside the model, OUT.onnx.data, which runtimes map into memory; "
        "decoded one tensor at a time (always so above the 2 GiB that one .onnx file can hold)",
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
    if options.external_data and suffix != ".onnx":
        raise UsageError("--external-data is for .onnx")
    if options.base:
        received = load_received([*options.base, options.input])
        network, tensors = received.network, received.tensors
        if suffix == ".onnx" and network is None:
            raise UsageError(f"{options.base[0]} has no graph, so {output} must be .npz")
    else:
        if suffix == ".onnx" and (options.external_data or _is_large(options.input)):
            topology = model.unpack_external(
                options.input, output, overwrite=options.overwrite, limits=Limits.offline()
            )
            _report(options, len(topology.tensors), sum(each.size for each in topology.tensors))
            return Exit.OK
        unpacked = model.unpack(options.input.read_bytes(), limits=Limits.offline())
        network, tensors = unpacked.network, unpacked.tensors
        if suffix == ".onnx":
            network = unpacked.require_network()
    if suffix == ".npz" or network is None:
        with OutputFile(output, overwrite=options.overwrite) as file:
            model.save_npz(tensors, file.temporary)
    elif options.external_data or not network.topology.fits_in_one_file():
        model.save_external(network, output, overwrite=options.overwrite)
    else:
        write_bytes(output, network.to_onnx(), overwrite=options.overwrite)
    _report(options, len(tensors), tensors.parameters)
    return Exit.OK


def _is_large(path: Path) -> bool:
    """True if the stream tells in time that its network is too large for one file."""
    from nnrvideo import model

    with path.open("rb") as file:
        topology = model.read_topology(file, limits=Limits.offline())
    return topology is not None and not topology.fits_in_one_file()


def _report(options: argparse.Namespace, tensors: int, parameters: int) -> None:
    if not options.quiet:
        print(f"{options.output}: {tensors} tensors, {parameters} parameters")
