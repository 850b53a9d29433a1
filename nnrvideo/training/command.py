# SPDX-License-Identifier: Apache-2.0
"""The command behind ``python -m nnrvideo.training``: arguments, progress, result."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nnrvideo.errors import NnrVideoError
from nnrvideo.training.data import PairSet, find_clips, make_pairs
from nnrvideo.training.evaluate import markdown, measure
from nnrvideo.training.export import Enlarger, to_nnc
from nnrvideo.training.nets import SrNetShape
from nnrvideo.training.train import Progress, TrainSettings, train

_DEFAULTS = TrainSettings()


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
    settings = TrainSettings(
        shape=SrNetShape(options.channels, options.convolutions),
        float_steps=options.steps,
        quantised_steps=options.quantised_steps,
        relative_step=options.relative_step,
        seed=options.seed,
        threads=options.threads,
    )
    pairs = _pairs(options)
    say(f"{len(pairs)} pairs of pictures")
    trained = train(pairs, settings, checkpoint=options.checkpoint, progress=_report)
    data = to_nnc(trained)
    partial = options.out.with_name(options.out.name + ".partial")
    partial.write_bytes(data)
    partial.replace(options.out)
    say(f"{options.out}: {len(data)} bytes")
    if options.measure:
        print(markdown(measure(Enlarger(data), options.measure)), end="")


def _pairs(options: argparse.Namespace) -> PairSet:
    cache: Path | None = options.pairs
    if cache is not None and cache.exists():
        return PairSet.load(cache)
    clips = find_clips(options.clips, hold_out=options.hold_out)
    pairs = make_pairs(clips, progress=say)
    if cache is not None:
        pairs.save(cache)
    return pairs


def say(line: str) -> None:
    """Prints a line of progress at once; standard output stays for the result."""
    print(line, file=sys.stderr, flush=True)


def _report(progress: Progress) -> None:
    gain = 10 * np.log10(progress.interpolation_loss / progress.loss)
    say(
        f"{progress.phase} {progress.step}/{progress.steps}: mean squared error "
        f"{progress.loss:.2f}, {gain:+.2f} dB against bicubic"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nnrvideo.training",
        description="Trains a 2x luma super-resolution network on clips and codes it as NNC.",
    )
    add = parser.add_argument
    add("--clips", type=Path, required=True, metavar="DIR", help="folder of clips to train on")
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
        "--measure",
        action="append",
        default=[],
        type=Path,
        metavar="CLIP",
        help="clip to measure the coded network on; may be repeated",
    )
    add("--channels", type=int, default=_DEFAULTS.shape.channels)
    add("--convolutions", type=int, default=_DEFAULTS.shape.convolutions)
    add("--steps", type=int, default=_DEFAULTS.float_steps, help="steps in float32")
    add(
        "--quantised-steps",
        type=int,
        default=_DEFAULTS.quantised_steps,
        help="steps on quantised weights",
    )
    add(
        "--relative-step",
        type=float,
        default=_DEFAULTS.relative_step,
        help="quantisation step relative to the spread of a tensor's weights",
    )
    add("--seed", type=int, default=_DEFAULTS.seed)
    add("--threads", type=int, default=_DEFAULTS.threads)
    add("--checkpoint", type=Path, metavar="FILE", help="write and resume the state of training")
    add("--pairs", type=Path, metavar="FILE.npz", help="keep the coded training pairs here")
    return parser  # fmt: skip
