# SPDX-License-Identifier: Apache-2.0
"""The command behind ``python -m nnrvideo.training``: arguments, progress, result."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnrvideo.errors import NnrVideoError
from nnrvideo.files import write_bytes
from nnrvideo.model import receive
from nnrvideo.training.adaptation import (
    AdaptSettings,
    adapt,
    adaptation_psnr,
    to_update,
)
from nnrvideo.training.data import Degradation, PairSet, PairSettings, find_clips, make_pairs
from nnrvideo.training.evaluate import markdown, measure
from nnrvideo.training.export import Enlarger, to_nnc
from nnrvideo.training.nets import NetShape
from nnrvideo.training.steps import Progress
from nnrvideo.training.train import TrainSettings, train

_DEFAULTS = TrainSettings()
_ADAPT_DEFAULTS = AdaptSettings()
_ADAPTED_CRF = 22

# Options that have a meaning only with --base, or only without it.
_OF_ADAPTATION = ("pull", "refine_steps", "codec", "crf", "downscaler")
_OF_TRAINING = (
    "measure",
    "channels",
    "convolutions",
    "quantised_steps",
    "relative_step",
    "checkpoint",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: Without the program's name; those of the process if None.

    Returns:
        The exit status: 0, or 1 after a message on standard error.
    """
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except (NnrVideoError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    if options.out.exists() and not options.overwrite:
        raise ValueError(f"{options.out} exists (--overwrite replaces it)")
    _refuse_what_has_no_effect(options)
    data = _network(options) if options.base is None else _update(options)
    write_bytes(options.out, data, overwrite=options.overwrite)
    say(f"{options.out}: {len(data)} bytes")
    if options.measure:
        print(markdown(measure(Enlarger(data), options.measure)), end="")


def _refuse_what_has_no_effect(options: argparse.Namespace) -> None:
    names = _OF_TRAINING if options.base is not None else _OF_ADAPTATION
    for name in names:
        if getattr(options, name) is not None:
            kind = "training from the start" if options.base is not None else "adapting a --base"
            raise ValueError(f"--{name.replace('_', '-')} is an option of {kind}")


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Options that were given, by the names of the settings' fields."""
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _network(options: argparse.Namespace) -> bytes:
    """A network trained from the start."""
    settings = TrainSettings(
        shape=NetShape(**_given(options, "channels", "convolutions")),
        float_steps=_DEFAULTS.float_steps if options.steps is None else options.steps,
        **_given(options, "quantised_steps", "relative_step", "seed", "threads"),
    )
    pairs = _pairs(options, PairSettings())
    say(f"{len(pairs)} pairs of pictures")
    trained = train(pairs, settings, checkpoint=options.checkpoint, progress=_report)
    return to_nnc(trained)


def _update(options: argparse.Namespace) -> bytes:
    """What adapts the base to the clips."""
    settings = AdaptSettings(**_given(options, "steps", "refine_steps", "pull", "seed", "threads"))
    base = receive(options.base.read_bytes())
    before = {name: np.asarray(value, np.float32) for name, value in base.tensors.items()}
    degradation = Degradation(
        options.downscaler or "bicubic",
        options.codec or "libx265",
        _ADAPTED_CRF if options.crf is None else options.crf,
    )
    pairs = _pairs(options, PairSettings(degradations=(degradation,), halvings=(0,)))
    say(f"{len(pairs)} pairs of pictures, {adaptation_psnr(before, pairs):.2f} dB by the base")
    adapted = adapt(before, pairs, settings, progress=_report)
    update = to_update(base, adapted, pairs)
    after = receive(update, base).tensors
    reached = adaptation_psnr({name: np.asarray(value) for name, value in after.items()}, pairs)
    say(
        f"{reached:.2f} dB after the update, {adaptation_psnr(adapted, pairs):.2f} before coding it"
    )
    return update


def _pairs(options: argparse.Namespace, settings: PairSettings) -> PairSet:
    cache: Path | None = options.pairs
    if cache is not None and cache.exists():
        return PairSet.load(cache)
    if options.clips.is_file():
        clips = [options.clips]
    else:
        clips = find_clips(options.clips, hold_out=options.hold_out)
    pairs = make_pairs(clips, settings, progress=say)
    if cache is not None:
        pairs.save(cache)
    return pairs


def say(line: str) -> None:
    """Prints a line of progress at once; standard output stays for the result."""
    print(line, file=sys.stderr, flush=True)


def _report(progress: Progress) -> None:
    say(
        f"{progress.phase} {progress.step}/{progress.steps}: mean squared error "
        f"{progress.loss:.2f}, {progress.gain:+.2f} dB against bicubic"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nnrvideo.training",
        description="Trains a 2x luma super-resolution network on clips and codes it as NNC, or "
        "adapts one to a clip and codes what changed as an update.",
    )
    add = parser.add_argument
    add(
        "--clips",
        type=Path,
        required=True,
        metavar="DIR",
        help="clip, or folder of clips, to train on",
    )
    add("--out", type=Path, required=True, metavar="NET.nnc", help="bitstream to write")
    add("--overwrite", action="store_true", help="replace the output if it exists")
    add(
        "--hold-out",
        action="append",
        default=[],
        metavar="NAME",
        help="clip (name without suffix) to leave out; may be repeated",
    )
    add(
        "--steps",
        type=int,
        help=f"steps in float32 (default: {_DEFAULTS.float_steps}, {_ADAPT_DEFAULTS.steps} with "
        "--base)",
    )
    add("--seed", type=int, help=f"default: {_DEFAULTS.seed}")
    add("--threads", type=int, help=f"default: {_DEFAULTS.threads}")
    add("--pairs", type=Path, metavar="FILE.npz", help="keep the coded training pairs here")
    _add_training(parser)
    _add_adaptation(parser)
    return parser


def _add_training(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("training from the start").add_argument
    add(
        "--measure",
        action="append",
        type=Path,
        metavar="CLIP",
        help="clip to measure the coded network on; may be repeated",
    )
    add("--channels", type=int, help=f"default: {_DEFAULTS.shape.channels}")
    add("--convolutions", type=int, help=f"default: {_DEFAULTS.shape.convolutions}")
    add(
        "--quantised-steps",
        type=int,
        help=f"steps on quantised weights (default: {_DEFAULTS.quantised_steps})",
    )
    add(
        "--relative-step",
        type=float,
        help="quantisation step relative to the spread of a tensor's weights "
        f"(default: {_DEFAULTS.relative_step})",
    )
    add("--checkpoint", type=Path, metavar="FILE", help="write and resume the state of training")


def _add_adaptation(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("adapting a network").add_argument
    add(
        "--base",
        type=Path,
        metavar="NET.nnc",
        help="what receivers have; the output then is an update of it",
    )
    add(
        "--pull",
        type=float,
        help="how strongly weights are held: 0 lets all move, 0.003 halves the update, 0.03 leaves "
        f"a seventh of it (default: {_ADAPT_DEFAULTS.pull})",
    )
    add(
        "--refine-steps",
        type=int,
        help=f"steps of the weights that moved (default: {_ADAPT_DEFAULTS.refine_steps})",
    )
    add("--codec", metavar="NAME", help="encoder of the small pictures (default: libx265)")
    add("--crf", type=int, help=f"its quality (default: {_ADAPTED_CRF})")
    add(
        "--downscaler",
        choices=("area", "bicubic", "lanczos"),
        help="default: bicubic, as in nnrvideo encode",
    )
