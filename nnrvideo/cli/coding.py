# SPDX-License-Identifier: Apache-2.0
"""What the verbs that make NNC bitstreams have in common: coding options and input files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nnrvideo.cli.exits import UsageError
from nnrvideo.limits import Limits
from nnrvideo.tensors import TensorSet

if TYPE_CHECKING:
    from nnrvideo.model import Network
    from nnrvideo.nnc import EncodeSettings


def add_coding(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Options of the NNC encoder; returns their group for further ones."""
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
        "--bit-depth",
        type=int,
        default=None,
        metavar="BITS",
        help="bits of the weights instead of --qp: each tensor's step follows from its spread",
    )
    coding.add_argument(
        "--sparsity",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of each weight's values, the smallest, that become 0 (default: none)",
    )
    coding.add_argument(
        "--structured-sparsity",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="rows become 0 whose mean magnitude is below this share of the mean (default: none)",
    )
    coding.add_argument(
        "--low-rank",
        type=float,
        default=0.0,
        metavar="ENERGY",
        help="send weights as products of two factors that keep this share of their energy, e.g. "
        "0.999, where that takes fewer values (default: never)",
    )
    coding.add_argument(
        "--nonweight-qp",
        type=int,
        default=None,
        metavar="N",
        help="the same for tensors of one dimension, such as biases (default: as fine as each "
        "of them needs)",
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
        "--unary-length-minus1",
        type=int,
        default=None,
        metavar="N",
        help="cabac_unary_length_minus1, 0 to 255 (default: chosen by the preset)",
    )
    coding.add_argument(
        "--scan-order",
        type=int,
        default=0,
        choices=range(5),
        metavar="N",
        help="0 row by row; 1 to 4 in blocks of 8 to 64 with entry points, from which several "
        "cores decode one large tensor; costs up to 1 %% (default: %(default)s)",
    )
    coding.add_argument(
        "--preset",
        choices=("fast", "medium", "slow", "placebo"),
        default="medium",
        help="time to spend on a smaller stream (default: %(default)s)",
    )
    coding.add_argument(
        "--rate-weight",
        type=float,
        default=None,
        metavar="L",
        help="weight of the rate in quantisation: 0 none, 1 theory's (default: by the preset)",
    )
    coding.add_argument(
        "--codebook",
        choices=("never", "auto", "always"),
        default=None,
        help="irregular levels for tensors of few values (default: by the preset)",
    )
    coding.add_argument(
        "--max-unit-bytes",
        type=int,
        default=None,
        metavar="N",
        help="spread larger data over several NNR units, so that each fits a packet; NNCodec "
        "refuses such streams (default: one unit for each tensor)",
    )
    coding.add_argument(
        "--threads", type=int, default=None, metavar="N", help="default: one for each core"
    )
    return coding


def coding_settings(options: argparse.Namespace, *, lossless: bool = False) -> EncodeSettings:
    """The encoder's settings that the options ask for.

    Raises:
        UsageError: A value is out of range.
    """
    from nnrvideo import nnc

    try:
        return nnc.EncodeSettings(
            preset=options.preset,
            qp=options.qp,
            nonweight_qp=options.nonweight_qp,
            bit_depth=options.bit_depth,
            sparsity=options.sparsity,
            structured_sparsity=options.structured_sparsity,
            low_rank=options.low_rank,
            qp_density=options.qp_density,
            dependent_quantisation=options.dq,
            lossless=lossless,
            cabac_unary_length_minus1=options.unary_length_minus1,
            scan_order=options.scan_order,
            rate_weight=options.rate_weight,
            codebook=options.codebook,
            threads=options.threads,
            max_unit_bytes=options.max_unit_bytes,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def load_tensors(path: Path, *, finite: bool = True) -> tuple[Network | None, TensorSet]:
    """Reads a network to be coded: ONNX, or weights alone from npz.

    Args:
        path: The file.
        finite: Refuse a graph whose weights are infinite or not a number.

    Raises:
        UsageError: The suffix is neither.
        ModelError: The file holds no acceptable network.
    """
    from nnrvideo import model

    limits = Limits.offline()
    if path.suffix.lower() == ".npz":
        return None, model.load_npz(path, limits=limits)
    if path.suffix.lower() == ".onnx":
        network = model.load_onnx(path, limits=limits)
        model.check(network, limits=limits, finite=finite)
        return network, network.tensors
    raise UsageError(f"{path}: the suffix must be .onnx or .npz")
