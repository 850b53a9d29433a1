# SPDX-License-Identifier: Apache-2.0
"""The command behind ``python -m nnrvideo.training``: arguments, progress, result."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nnrvideo.errors import NnrVideoError
from nnrvideo.files import write_bytes
from nnrvideo.model import ModelCard, card_markdown, card_path, receive, save_card
from nnrvideo.model.blocknet import out_block_of
from nnrvideo.training.adaptation import (
    AdaptSettings,
    adapt,
    adaptation_psnr,
    to_update,
)
from nnrvideo.training.base_card import base_card
from nnrvideo.training.data import (
    BASE_DEGRADATIONS,
    Degradation,
    PairSet,
    PairSettings,
    base_pair_settings,
    find_clips,
    make_pairs,
)
from nnrvideo.training.evaluate import CARD_DEGRADATIONS, measure
from nnrvideo.training.export import PlaneFilter
from nnrvideo.training.kinds import OUT_BLOCKS, TIERS, Mode, Tier
from nnrvideo.training.recipe import base_training, code_base
from nnrvideo.training.steps import Progress
from nnrvideo.training.train import train

_MODE: Mode = "sr2x"
_TIER: Tier = "M"
_DEFAULTS = base_training(_MODE, _TIER)
_ADAPT_DEFAULTS = AdaptSettings()
_ADAPTED_CRF = 22

# Options that have a meaning only with --base, or only without it.
_OF_ADAPTATION = ("pull", "refine_steps", "codec", "crf", "downscaler")
_OF_TRAINING = (
    "measure",
    "mode",
    "tier",
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
    given = sys.argv[1:] if arguments is None else arguments
    options.spelt = shlex.join(("python", "-m", "nnrvideo.training", *given))
    try:
        _run(options)
    except (NnrVideoError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    card_file = card_path(options.out)
    for path in (options.out, card_file) if options.base is None else (options.out,):
        if path.exists() and not options.overwrite:
            raise ValueError(f"{path} exists (--overwrite replaces it)")
    _refuse_what_has_no_effect(options)
    if options.base is not None:
        _write(options, _update(options))
        return
    card = _network(options)
    save_card(card, options.out, overwrite=options.overwrite)
    print(card_markdown(card), end="")


def _write(options: argparse.Namespace, data: bytes) -> None:
    write_bytes(options.out, data, overwrite=options.overwrite)
    say(f"{options.out}: {len(data)} bytes")


def _refuse_what_has_no_effect(options: argparse.Namespace) -> None:
    names = _OF_TRAINING if options.base is not None else _OF_ADAPTATION
    for name in names:
        if getattr(options, name) is not None:
            kind = "training from the start" if options.base is not None else "adapting a --base"
            raise ValueError(f"--{name.replace('_', '-')} is an option of {kind}")


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Options that were given, by the names of the settings' fields."""
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _network(options: argparse.Namespace) -> ModelCard:
    """Trains a network from the start and writes it; measures it for its card."""
    mode, tier = options.mode or _MODE, options.tier or _TIER
    training, held_out = _clips(options), options.measure or []
    for clip in held_out:
        if any(clip.samefile(each) for each in training):
            raise ValueError(f"--measure {clip} is trained on; leave it out by --hold-out")
    settings = base_training(mode, tier)
    if options.steps is not None:
        settings = replace(settings, float_steps=options.steps)
    settings = replace(
        settings, **_given(options, "quantised_steps", "relative_step", "seed", "threads")
    )
    begin = time.process_time()
    kinds = base_pair_settings(mode)
    pairs = _pairs(options, kinds)
    say(f"{len(pairs)} pairs of pictures")
    trained = train(pairs, settings, checkpoint=options.checkpoint, progress=_report)
    data, integer_loss = code_base(trained, tier, pairs)
    seconds = time.process_time() - begin
    card_path(options.out).unlink(missing_ok=True)  # it is not that of what follows
    _write(options, data)
    say(f"{seconds:.0f} CPU seconds; measuring on {len(held_out)} clips")
    return base_card(
        data,
        trained,
        name=options.out.stem,
        mode=mode,
        tier=tier,
        pairs=kinds,
        examples=len(pairs),
        training=training,
        held_out=held_out,
        measured=measure(PlaneFilter(data), held_out, CARD_DEGRADATIONS[mode]),
        integer_loss=integer_loss,
        cpu_seconds=seconds,
        command=options.spelt,
    )


def _update(options: argparse.Namespace) -> bytes:
    """What adapts the base to the clips."""
    settings = AdaptSettings(**_given(options, "steps", "refine_steps", "pull", "seed", "threads"))
    base = receive(options.base.read_bytes())
    before = {name: np.asarray(value, np.float32) for name, value in base.tensors.items()}
    keeps_size = out_block_of(before) == OUT_BLOCKS["enhance"]
    if keeps_size and options.downscaler is not None:
        raise ValueError("--downscaler is for networks that enlarge; this one keeps the size")
    degradation = Degradation(
        None if keeps_size else options.downscaler or "bicubic",
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
    pairs = make_pairs(_clips(options), settings, progress=say)
    if cache is not None:
        pairs.save(cache)
    return pairs


def _clips(options: argparse.Namespace) -> list[Path]:
    """What to train on."""
    if options.clips.is_file():
        return [options.clips]
    return find_clips(options.clips, hold_out=options.hold_out)


def say(line: str) -> None:
    """Prints a line of progress at once; standard output stays for the result."""
    print(line, file=sys.stderr, flush=True)


def _report(progress: Progress) -> None:
    say(
        f"{progress.phase} {progress.step}/{progress.steps}: mean squared error "
        f"{progress.loss:.2f}, {progress.gain:+.2f} dB against what is shown without"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nnrvideo.training",
        description="Trains a network for luma on clips, to double decoded pictures or to clean "
        "them at their size, codes it as NNC and writes its model card beside it "
        "(NET.nnc.card.json, as Markdown to standard output); or adapts one to a clip and codes "
        "what changed as an update.",
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
    add(
        "--pairs",
        type=Path,
        metavar="FILE.npz",
        help="keep the coded training pairs here; delete it when clips or --mode change",
    )
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
        help="clip, not trained on, to measure the coded network on; may be repeated",
    )
    add(
        "--mode",
        choices=tuple(BASE_DEGRADATIONS),
        help=f"what it does: doubles pictures, or enhances them at their size (default: {_MODE})",
    )
    add("--tier", choices=TIERS, help=f"8, 16, 32 or 64 channels (default: {_TIER})")
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
