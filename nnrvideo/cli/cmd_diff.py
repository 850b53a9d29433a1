# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo diff``: what turns one network into another, as an NNC update."""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from nnrvideo.cli.args import add_common, add_json, add_overwrite, check_output
from nnrvideo.cli.coding import add_coding, coding_settings, load_tensors
from nnrvideo.cli.exits import Exit, UsageError
from nnrvideo.cli.report import human_bytes, print_json, print_pairs
from nnrvideo.files import write_bytes
from nnrvideo.limits import Limits
from nnrvideo.tensors import TensorSet

if TYPE_CHECKING:
    from nnrvideo.model import Received


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "base",
        metavar="BASE",
        type=Path,
        help="what the receiver has: .nnc (best: the update is coded relative to its levels), "
        ".onnx or .npz",
    )
    parser.add_argument(
        "new", metavar="NEW", type=Path, help="what it shall have: .onnx, .npz or .nnc"
    )
    parser.add_argument(
        "--after",
        metavar="UPDATE.nnc",
        type=Path,
        action="append",
        default=[],
        help="an update that the receiver got since; repeat for each, in order",
    )
    parser.add_argument(
        "-o", dest="output", metavar="UPDATE.nnc", type=Path, required=True, help="NNC update"
    )
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        action="append",
        default=[],
        help="tensors that may change, as names with * and ?; repeat for more (default: all)",
    )
    coding = add_coding(parser)
    coding.add_argument(
        "--parent",
        choices=("node", "sha256", "sha512"),
        default="node",
        help="how each tensor names its parent: by its place in the update tree, or by a hash of "
        "the payload sent last, 32 or 64 bytes a tensor (default: %(default)s)",
    )
    coding.add_argument(
        "--predict",
        choices=("never", "auto", "always"),
        default="never",
        help="send only what the update before (the last --after) did not foretell; auto: where "
        "that is shorter; other receivers may not add the prediction (default: %(default)s)",
    )
    add_overwrite(parser)
    add_json(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo import model
    from nnrvideo.metrics import weight_error

    output = check_output(options.output, overwrite=options.overwrite)
    settings = coding_settings(options)
    base = load_received([options.base, *options.after])
    new = _chosen(load_received([options.new]).tensors, options.only)
    update = model.diff(base, new, settings, parent_ids=options.parent, predict=options.predict)
    after = model.receive(update, base, limits=Limits.offline())
    write_bytes(output, update, overwrite=options.overwrite)

    reached = TensorSet({name: after.tensors[name] for name in new})
    left = weight_error(new, reached)
    changed = 0 if after.decoded is None else len(after.decoded.tensors)
    predicted = after.decoded is not None and after.decoded.is_predicted
    facts = {
        "base": str(options.base),
        "new": str(options.new),
        "output": str(output),
        "tensors": len(base.tensors),
        "tensors_sent": changed,
        "predicted": predicted,
        "nnc_bytes": len(update),
        "max_abs_error": left.max_abs_error,
        "weight_snr_db": left.snr_db,
    }
    if options.json:
        print_json(facts)
    elif not options.quiet:
        print_pairs(
            f"{options.base} -> {options.new}: {output}",
            {
                "sent": f"{changed} of {len(base.tensors)} tensors"
                + (" as residuals of their prediction" if predicted else ""),
                "size": human_bytes(len(update)),
                "largest error": f"{left.max_abs_error:.3g}",
                "weight SNR": "exact" if left.snr_db is None else f"{left.snr_db:.1f} dB",
            },
        )
    return Exit.OK


def _chosen(tensors: TensorSet, patterns: list[str]) -> TensorSet:
    """The tensors whose name fits one of the patterns; all if there are none."""
    if not patterns:
        return tensors
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in tensors):
            raise UsageError(f"--only {pattern}: no tensor is called so")
    return TensorSet(
        {
            name: value
            for name, value in tensors.items()
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        }
    )


def load_received(paths: list[Path]) -> Received:
    """What a receiver has after a base and its updates.

    Args:
        paths: The base (.nnc, .onnx or .npz), then updates (.nnc) in the order of their arrival.

    Raises:
        UsageError: A suffix is none of these.
        NnrVideoError: A file is no network, or an update does not fit what comes before it.
    """
    from nnrvideo import model
    from nnrvideo.errors import NnrVideoError

    received: Received | None = None
    for path in paths:
        if received is None and path.suffix.lower() != ".nnc":
            network, tensors = load_tensors(path)
            received = model.Received.of(tensors if network is None else network)
            continue
        try:
            received = model.receive(path.read_bytes(), received, limits=Limits.offline())
        except NnrVideoError as error:
            error.add_note(f"while reading {path}")
            raise
    assert received is not None  # there is at least the base
    return received
