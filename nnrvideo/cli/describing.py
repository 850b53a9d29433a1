# SPDX-License-Identifier: Apache-2.0
"""What the verbs about descriptors share: options, loading models, reading pictures."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nnrvideo.cli.exits import NoNetworkError, UsageError

if TYPE_CHECKING:
    from nnrvideo.descriptors import DescribeOptions, DescriptorModel, KeyFrames
    from nnrvideo.descriptors.frames import Rgb

PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def add_form(parser: argparse.ArgumentParser) -> None:
    """What descriptors shall look like."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--bits",
        type=int,
        choices=(256, 512, 1024),
        default=256,
        help="bits of a descriptor (default: %(default)s)",
    )
    form.add_argument("--real", action="store_true", help="real numbers instead of bits")
    parser.add_argument(
        "--rotations",
        type=int,
        choices=(1, 4),
        default=4,
        help="pool over 4 rotations, or 1: four times as fast, blind to turned copies "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--rate",
        type=int,
        choices=(16, 64, 256),
        default=64,
        help="density of key frames, named by the cap in KiB per second (default: %(default)s)",
    )
    parser.add_argument(
        "--pdq", action="store_true", help="add PDQ hashes, for copies that are nearly identical"
    )
    parser.add_argument("--threads", type=int, default=None, metavar="N", help="of the network")


def describe_options(options: argparse.Namespace) -> DescribeOptions:
    """What the user said in :func:`add_form`."""
    from nnrvideo.descriptors import DescribeOptions, Form

    form = Form(0 if options.real else options.bits, options.rotations)
    return DescribeOptions(form=form, rate=options.rate, pdq=options.pdq, threads=options.threads)


def load_descriptor_model(path: Path, *, integers: bool = False) -> DescriptorModel:
    """A model from an NNC file, to be run in 8-bit integers if so wanted."""
    from nnrvideo.descriptors import in_integers, load_model

    model = load_model(path.read_bytes())
    return in_integers(model) if integers else model


def descriptors_of(
    path: Path, model: DescriptorModel | None, options: DescribeOptions
) -> list[KeyFrames]:
    """Descriptors of a film, a picture or a descriptor stream; made where there are none yet.

    Raises:
        NoNetworkError: There are none, and nothing to make them with.
    """
    from nnrvideo.descriptors import describe, load, parts
    from nnrvideo.descriptors.files import is_stream
    from nnrvideo.errors import BitstreamError

    if is_stream(path):
        return load(path)
    if model is None:
        try:
            return load(path)
        except BitstreamError as error:
            if "holds no descriptors" not in str(error):
                raise
    found = parts(describe(path, model, options))
    if not found:
        raise NoNetworkError(
            f"{path} holds neither descriptors nor a model to make them; give one with -m"
        )
    return found


def picture_files(paths: list[Path]) -> list[Path]:
    """Pictures among files and folders, folders searched through, in the order of their names.

    Raises:
        UsageError: There are none.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURES)
        else:
            found.append(path)
    if not found:
        raise UsageError("there are no pictures in the folders given")
    return found


def pictures(paths: list[Path], long_side: int, every: float = 1.0) -> Iterator[Rgb]:
    """Small RGB pictures of files; of films one every so many seconds."""
    from fractions import Fraction

    from nnrvideo.container import open_media
    from nnrvideo.descriptors.frames import small_rgb

    for path in paths:
        with open_media(path) as media:
            due = Fraction(0)
            for decoded in media.pictures():
                if decoded.pts >= due:
                    due = decoded.pts + Fraction(every)
                    yield small_rgb(decoded.picture, long_side)


def picture_at(path: Path, seconds: float, long_side: int) -> Rgb:
    """The picture that a film shows at a time, small.

    Raises:
        UsageError: There is none.
        ContainerError: The film cannot be read.
    """
    from fractions import Fraction

    from nnrvideo.container import open_media
    from nnrvideo.descriptors.frames import small_rgb

    with open_media(path) as media:
        start = Fraction(seconds).limit_denominator(1_000_000) - Fraction(1, 1000)
        for decoded in media.pictures(start=start):
            return small_rgb(decoded.picture, long_side)
    raise UsageError(f"{path} has no picture at {seconds:.3f} s")
