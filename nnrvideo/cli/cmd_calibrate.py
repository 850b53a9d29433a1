# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo calibrate``: lets players run a network in 8-bit integers where that loses little."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnrvideo.cli.args import add_common, add_json, add_overwrite, check_output
from nnrvideo.cli.exits import Exit
from nnrvideo.cli.report import print_json, print_pairs
from nnrvideo.files import write_bytes

_DESCRIPTION = """\
Runs the network on pictures of the films in real numbers and in 8-bit integers. If the integers
lose at most --max-loss against the originals, the ranges of the activations go into the bitstream,
about 100 bytes; players with fast integers then run the network about twice as fast, and all others
as before. The coded weights stay bit for bit. Exit code 4 if integers lose too much.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = _DESCRIPTION
    parser.add_argument("network", metavar="NET.nnc", type=Path, help="network with its topology")
    parser.add_argument(
        "-i",
        dest="originals",
        metavar="FILM",
        type=Path,
        action="append",
        required=True,
        help="film before coding; may be given several times, the more varied the better",
    )
    parser.add_argument(
        "--coded",
        metavar="FILM",
        type=Path,
        help="the same film as receivers decode it (default: the original, made smaller); "
        "for one -i only",
    )
    parser.add_argument(
        "-o", dest="output", metavar="OUT.nnc", type=Path, required=True, help="NNC bitstream"
    )
    parser.add_argument(
        "--max-loss",
        type=float,
        default=0.05,
        metavar="DB",
        help="PSNR that integers may cost (default: %(default)s dB)",
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=16,
        metavar="N",
        help="pictures of each film (default: %(default)s)",
    )
    add_overwrite(parser)
    add_json(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.limits import Limits
    from nnrvideo.model import attach_ranges, unpack
    from nnrvideo.player import calibrate, calibration_pairs

    if options.coded is not None and len(options.originals) > 1:
        raise ValueError("--coded goes with exactly one -i")
    if options.pictures < 1:
        raise ValueError(f"--pictures must be at least 1, not {options.pictures}")
    output = check_output(options.output, overwrite=options.overwrite)
    bitstream = options.network.read_bytes()
    network = unpack(bitstream, limits=Limits.offline()).require_network()
    pairs = [
        pair
        for original in options.originals
        for pair in calibration_pairs(network, original, options.coded, pictures=options.pictures)
    ]
    found = calibrate(network, pairs, max_loss=options.max_loss)
    allowed = found.integer > 0
    if allowed:
        write_bytes(output, attach_ranges(bitstream, found.network), overwrite=options.overwrite)
    facts = {
        "pictures": len(pairs),
        "convolutions": found.convolutions,
        "integer": found.integer,
        "psnr_fp32": round(found.psnr_fp32, 4),
        "psnr_int8": round(found.psnr_int8, 4),
        "loss": round(found.loss, 4),
        "output": str(output) if allowed else None,
    }
    if options.json:
        print_json(facts)
    elif not options.quiet:
        verdict = f"{found.integer} of {found.convolutions} convolutions in 8-bit integers"
        print_pairs(
            f"{options.network} -> {output}" if allowed else f"{options.network}: nothing written",
            {
                "pictures": str(len(pairs)),
                "PSNR": f"{found.psnr_fp32:.3f} dB in real numbers, {found.psnr_int8:.3f} dB in "
                f"integers, {found.loss:+.3f} dB lost",
                "verdict": verdict if allowed else "stays in real numbers",
            },
        )
    return Exit.OK if allowed else Exit.REJECTED
