# SPDX-License-Identifier: Apache-2.0
"""The pictures of a corpus that are described: references on a grid, queries between."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from nnrvideo.container import open_media
from nnrvideo.descriptors.bench.corpus import Corpus
from nnrvideo.descriptors.extractor import Extractor, Form
from nnrvideo.descriptors.frames import Rgb, quality, signature, small_rgb
from nnrvideo.descriptors.package import DescriptorModel
from nnrvideo.descriptors.pdq import pdq_hash
from nnrvideo.errors import InferenceError

_log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]

_STEP: Final = Fraction(1)  # seconds between described pictures
_BETWEEN: Final = Fraction(1, 2)  # seconds by which those of queries are off the grid
_PDQ_SIDE: Final = 512
VPDQ_QUALITY: Final = 50  # below, vPDQ's authors drop a frame


@final
@dataclass(frozen=True, slots=True)
class Set:
    """Described pictures of some items, one after the other.

    Args:
        rgb: Small pictures.
        quality: (n,) uint8.
        pdq: (n, 32) uint8.
        colours: (n, 96) float64 colour signatures.
        first: (items,) index of each item's first picture.
        vpdq: Hashes of each item by the vpdq library, (k, 32) uint8; None without it.
    """

    rgb: list[Rgb]
    quality: npt.NDArray[np.uint8]
    pdq: npt.NDArray[np.uint8]
    colours: npt.NDArray[np.float64]
    first: npt.NDArray[np.int64]
    vpdq: list[npt.NDArray[np.uint8]] | None


def load_set(
    files: Sequence[Path],
    long_side: int,
    *,
    between: bool,
    hashes: bool,
    progress: Progress,
    what: str,
) -> Set:
    """Decodes items and takes their pictures.

    Args:
        files: Films or pictures.
        long_side: Of the small pictures.
        between: Take them between those of the grid, as queries do.
        hashes: Make PDQ and vPDQ hashes; zeros and None otherwise.
        progress: Called with what, done and total.
        what: Name for it.
    """
    rgb: list[Rgb] = []
    grades: list[int] = []
    marks: list[npt.NDArray[np.uint8]] = []
    colours: list[npt.NDArray[np.float64]] = []
    first: list[int] = []
    video_hashes: list[npt.NDArray[np.uint8]] | None = [] if hashes and _vpdq() else None
    for number, file in enumerate(files):
        first.append(len(rgb))
        due = _BETWEEN if between else Fraction(0)
        with open_media(file) as media:
            last = None
            for decoded in media.pictures():
                last = decoded.picture
                if decoded.pts >= due:
                    due += _STEP
                    _append(last, long_side, hashes, rgb, grades, marks, colours)
            if len(rgb) == first[-1] and last is not None:  # shorter than half a step
                _append(last, long_side, hashes, rgb, grades, marks, colours)
        if video_hashes is not None:
            own = np.stack(marks[first[-1] :])
            video_hashes.append(_video_hash(file) if file.suffix == ".mp4" else own)
        progress(what, number + 1, len(files))
    return Set(
        rgb,
        np.array(grades, np.uint8),
        np.stack(marks),
        np.stack(colours),
        np.array(first, np.int64),
        video_hashes,
    )


def _append(picture: Any, long_side: int, hashes: bool, *lists: list[Any]) -> None:
    rgb = small_rgb(picture, long_side)
    mark = pdq_hash(small_rgb(picture, _PDQ_SIDE)) if hashes else np.zeros(32, np.uint8)
    values = (rgb, quality(rgb), mark, signature(rgb).ravel())
    for target, value in zip(lists, values, strict=True):
        target.append(value)


def _vpdq() -> Any:
    """The vpdq library, which needs FFmpeg's headers to be built; None where it is not there."""
    try:
        return importlib.import_module("vpdq")
    except ImportError:
        return None


def _video_hash(file: Path) -> npt.NDArray[np.uint8]:
    library = _vpdq()
    found = library.computeHash(str(file), seconds_per_hash=1)
    good = [each for each in found if each.quality >= VPDQ_QUALITY] or list(found)
    texts = [library.hash_to_hex(each.hash) for each in good]
    return np.array([list(bytes.fromhex(text)) for text in texts], np.uint8).reshape(-1, 32)


def vectors(
    model: DescriptorModel,
    rotations: int,
    pictures: Set,
    cache: Path,
    progress: Progress,
) -> npt.NDArray[np.float64]:
    """Real descriptors of all pictures of a set; NaN where the network gave none.

    Args:
        model: Makes them.
        rotations: 1 or 4.
        pictures: The set.
        cache: File in which they are kept.
        progress: Called with what, done and total.
    """
    if cache.exists():
        stored = np.load(cache, allow_pickle=False)
        if stored.shape == (len(pictures.rgb), model.dimensions):
            return np.asarray(stored, np.float64)
    extractor = Extractor(model, Form(0, rotations), threads=1)
    found = np.full((len(pictures.rgb), model.dimensions), np.nan)
    for number, rgb in enumerate(pictures.rgb):
        try:
            found[number] = extractor.describe(rgb)
        except InferenceError as error:
            _log.warning("picture %d has no descriptor: %s", number, error)
        progress(cache.stem, number + 1, len(pictures.rgb))
    with cache.open("wb") as file:
        np.save(file, found, allow_pickle=False)
    return found


def files_of(corpus: Corpus) -> tuple[list[Path], list[Path]]:
    """Files of queries, and of candidates: references, then distractors."""
    queries = [corpus.folder / each.file for each in corpus.queries]
    names = [each.file for each in corpus.references] + [e.file for e in corpus.distractors]
    return queries, [corpus.folder / name for name in names]
