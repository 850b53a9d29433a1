# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo describe-model``: make a descriptor model of a network, and put it into films."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from nnrvideo.cli.args import add_common, add_overwrite, check_output
from nnrvideo.cli.describing import picture_files, pictures
from nnrvideo.cli.exits import Exit, UsageError
from nnrvideo.cli.progress import progress
from nnrvideo.cli.report import human_bytes, print_pairs
from nnrvideo.files import write_bytes

if TYPE_CHECKING:
    from nnrvideo.descriptors import DescriptorModel, Manifest
    from nnrvideo.descriptors.frames import Rgb

_DIMENSIONS = 256
_LEARNING = ("manifest", "dimensions")
_MENDING = ("correct", "fine_tune")
_CODING = ("pictures", "bit_depth", "lossless", "ranges", *_MENDING)

_EXAMPLES = """\
The backbone is an ONNX network from pictures (1, 3, H, W) to features (1, C, H', W').  How
pictures are fed is told by --manifest, a JSON file with any of long_side, mean, scale,
colour_order, windows, rotations, min_quality, name, licence (default: BGR less 104, 117, 123).
The projection is learnt on --pictures: a few hundred, none that will be searched for.

examples:
  nnrvideo describe-model net.onnx --pictures photos/ -o model.nnc --bit-depth 8
  nnrvideo describe-model model.nnc --pictures photos/ -o small.nnc --bit-depth 5 --fine-tune 250
  nnrvideo describe-model model.nnc --into film.mp4 -o out.mp4
  nnrvideo describe-model model.nnc --into film.mp4 --update 1.5=update.nnc -o out.mp4
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("input", metavar="IN", type=Path, help="ONNX backbone, or model (.nnc)")
    parser.add_argument("-o", dest="output", metavar="OUT", type=Path, required=True)
    parser.add_argument("--pictures", metavar="PATH", type=Path, nargs="+", default=[])
    parser.add_argument("--manifest", metavar="FILE", type=Path)
    parser.add_argument(
        "--dimensions", metavar="D", type=int, help=f"a power of two (default: {_DIMENSIONS})"
    )
    coding = parser.add_mutually_exclusive_group()
    coding.add_argument("--bit-depth", metavar="BITS", type=int, help="of weights (default: 8)")
    coding.add_argument("--lossless", action="store_true", help="every bit of the weights")
    parser.add_argument(
        "--correct",
        action="store_true",
        help="scales and biases, measured on --pictures, that keep coarse weights comparable "
        "with fine ones",
    )
    parser.add_argument(
        "--fine-tune",
        metavar="STEPS",
        type=_steps,
        help="correct, then train the weights on --pictures until descriptors are nearest to the "
        "original's, 250 steps or so (needs the extra [train])",
    )
    parser.add_argument(
        "--ranges",
        action="store_true",
        help="measure ranges on --pictures, with which the model may run in 8-bit integers",
    )
    parser.add_argument("--into", metavar="FILM", type=Path, help="embed a model by stream copy")
    parser.add_argument(
        "--update",
        metavar="SECONDS=FILE",
        action="append",
        default=[],
        help="with --into: an update of the model (nnrvideo diff) and when it takes over",
    )
    add_overwrite(parser)
    add_common(parser)


def _steps(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of steps of 1 or more")
    return value


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    check_output(options.output, overwrite=options.overwrite)
    if options.into is not None:
        _refuse(options, _LEARNING + _CODING, "makes a model; --into embeds one as it is")
        return _embed(options)
    if options.update:
        raise UsageError("--update belongs to --into")
    if options.input.suffix.lower() != ".onnx":
        _refuse(options, _LEARNING, "is for ONNX backbones; a model has its own")
    if options.lossless:
        _refuse(options, _MENDING, "makes up for coarse weights; --lossless leaves them alone")
    return _make(options)


def _refuse(options: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    """Options that would be passed over."""
    for name in names:
        if getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} {why}")


def _make(options: argparse.Namespace) -> int:
    from nnrvideo.descriptors import code_model, learn, load_model, with_measured_ranges
    from nnrvideo.model import load_onnx

    learning = options.input.suffix.lower() == ".onnx"
    if learning and not options.pictures:
        raise UsageError("a projection is learnt on --pictures")
    model = None if learning else load_model(options.input.read_bytes())
    manifest = _manifest(options.manifest) if model is None else model.manifest
    files = picture_files(options.pictures) if options.pictures else []
    rows = list(pictures(files, manifest.long_side))
    if model is None:
        dimensions = options.dimensions or _DIMENSIONS
        model = learn(load_onnx(options.input), manifest, rows, dimensions=dimensions)
    elif not rows:
        _refuse(options, ("ranges", *_MENDING), "needs --pictures")
    if options.ranges:
        model = with_measured_ranges(model, rows)
    depth = None if options.lossless else options.bit_depth or 8
    facts: dict[str, str] = {}
    if options.fine_tune:
        bitstream, facts = _fine_tuned(options, model, rows)
    else:
        bitstream = code_model(model, bit_depth=depth, correct_on=rows if options.correct else None)
    write_bytes(options.output, bitstream, overwrite=options.overwrite)
    coded = load_model(bitstream)
    print_pairs(
        f"{options.input} -> {options.output}",
        {
            "model": coded.model_id.hex(),
            "size": human_bytes(len(bitstream)),
            "descriptors": f"{coded.dimensions} numbers, or up to {coded.max_bits} bits",
            "thresholds": ", ".join(f"{k} {v}" for k, v in coded.manifest.thresholds.items()),
            **facts,
        },
    )
    return Exit.OK


def _fine_tuned(
    options: argparse.Namespace, model: DescriptorModel, rows: list[Rgb]
) -> tuple[bytes, dict[str, str]]:
    from nnrvideo.training.descriptors import TuneSettings, fine_tune

    settings = TuneSettings(steps=options.fine_tune, bit_depth=options.bit_depth or 8)
    with progress("fine-tuning", unit="steps", quiet=options.quiet) as show:
        tuned = fine_tune(model, rows, settings, show)
    cosines = f"{1 - tuned.before:.4f} corrected, {1 - tuned.after:.4f} fine-tuned"
    return tuned.bitstream, {"cosine to the original": cosines}


def _manifest(path: Path | None) -> Manifest:
    from nnrvideo.descriptors import Manifest

    return Manifest() if path is None else Manifest.from_json(path.read_bytes())


def _embed(options: argparse.Namespace) -> int:
    from nnrvideo.authoring import embed
    from nnrvideo.descriptors.models import model_message
    from nnrvideo.sei import PREFERRED_FILTER_IDS

    updates = {}
    for text in options.update:
        time, separator, path = text.partition("=")
        try:
            updates[Fraction(time)] = Path(path).read_bytes()
        except (ValueError, ZeroDivisionError) as error:
            raise UsageError(f"--update {text!r} is not SECONDS=FILE") from error
        if not separator:
            raise UsageError(f"--update {text!r} is not SECONDS=FILE")
    base = model_message(options.input.read_bytes(), nnpfc_id=PREFERRED_FILTER_IDS[-1])
    report = embed(
        options.into,
        options.output,
        base,
        updates=updates,
        activate=False,
        keep_existing=True,
        overwrite=options.overwrite,
    )
    print_pairs(
        f"{options.into} -> {options.output}",
        {
            "model": f"sent {report.positions} times",
            "size": human_bytes(report.message_bytes),
        },
    )
    return Exit.OK
