# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo pack``: ONNX or npz -> NNC bitstream."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

from nnrvideo.cli.args import add_common, add_json, add_overwrite, check_output
from nnrvideo.cli.exits import Exit, UsageError
from nnrvideo.cli.report import human_bytes, print_json, print_pairs
from nnrvideo.files import write_bytes
from nnrvideo.limits import Limits
from nnrvideo.tensors import TensorSet

if TYPE_CHECKING:
    from nnrvideo.model import Network, TopologyForm


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("input", metavar="IN", type=Path, help="network: .onnx or .npz")
    parser.add_argument(
        "-o", dest="output", metavar="OUT.nnc", type=Path, required=True, help="NNC bitstream"
    )
    coding = parser.add_argument_group("coding")
    coding.add_argument(
        "--qp",
        type=int,
        default=-38,
        metavar="N",
        help="quantisation parameter of weights: smaller is finer and bigger; with density 2 "
        "every 4 steps halve the step size (default: %(default)s)",
    )
    coding.add_argument(
        "--nonweight-qp",
        type=int,
        default=-75,
        metavar="N",
        help="the same for tensors of one dimension, such as biases (default: %(default)s)",
    )
    coding.add_argument(
        "--qp-density",
        type=int,
        default=2,
        choices=range(8),
        metavar="N",
        help="2^N values of the QP for a factor of two in step size (default: %(default)s)",
    )
    coding.add_argument(
        "--dq",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="dependent (trellis-coded) quantisation (default: on)",
    )
    coding.add_argument(
        "--lossless", action="store_true", help="keep every weight and its type, bit for bit"
    )
    coding.add_argument(
        "--unary-length-minus1",
        type=int,
        default=10,
        metavar="N",
        help="cabac_unary_length_minus1, 0 to 255 (default: %(default)s)",
    )
    coding.add_argument(
        "--topology",
        choices=("onnx", "text", "none"),
        default=None,
        help="how the graph travels with the weights: as the standard has it (onnx), as text for "
        "readers that refuse binary topology, or not at all (default: onnx; none for npz)",
    )
    add_overwrite(parser)
    add_json(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo import model, nnc
    from nnrvideo.metrics import weight_error

    output = check_output(options.output, overwrite=options.overwrite)
    settings = nnc.EncodeSettings(
        qp=options.qp,
        nonweight_qp=options.nonweight_qp,
        qp_density=options.qp_density,
        dependent_quantisation=options.dq,
        lossless=options.lossless,
        cabac_unary_length_minus1=options.unary_length_minus1,
    )
    network, tensors = _load(options.input, lossless=options.lossless)
    topology = options.topology or ("none" if network is None else "onnx")
    if network is None and topology != "none":
        raise UsageError(f"{options.input} has no graph, so --topology {topology} is impossible")
    packed = (
        nnc.encode(tensors, settings)
        if network is None
        else model.pack(network, settings, topology=cast("TopologyForm", topology))
    )
    write_bytes(output, packed, overwrite=options.overwrite)

    # What a receiver will see, from the bytes that were written.
    received = model.unpack(packed, limits=Limits.offline())
    exact = received.tensors if network is None else network.with_tensors(received.tensors).tensors
    error = weight_error(tensors, exact)
    original_bytes = model.stored_bytes(tensors)
    facts = {
        "input": str(options.input),
        "output": str(output),
        "tensors": len(tensors),
        "parameters": tensors.parameters,
        "original_bytes": original_bytes,
        "nnc_bytes": len(packed),
        "ratio": round(original_bytes / len(packed), 3),
        "max_abs_error": error.max_abs_error,
        "weight_snr_db": error.snr_db,
        "topology": topology,
    }
    if options.json:
        print_json(facts)
    elif not options.quiet:
        print_pairs(
            f"{options.input} -> {output}",
            {
                "network": f"{len(tensors)} tensors, {tensors.parameters} parameters",
                "size": f"{human_bytes(original_bytes)} -> {human_bytes(len(packed))} "
                f"({facts['ratio']} to 1)",
                "largest error": f"{error.max_abs_error:.3g}",
                "weight SNR": "exact" if error.snr_db is None else f"{error.snr_db:.1f} dB",
                "topology": topology,
            },
        )
    return Exit.OK


def _load(path: Path, *, lossless: bool) -> tuple[Network | None, TensorSet]:
    from nnrvideo import model

    limits = Limits.offline()
    if path.suffix.lower() == ".npz":
        return None, model.load_npz(path, limits=limits)
    if path.suffix.lower() == ".onnx":
        network = model.load_onnx(path, limits=limits)
        model.check(network, limits=limits, finite=not lossless)
        return network, network.tensors
    raise UsageError(f"{path}: the suffix must be .onnx or .npz")
