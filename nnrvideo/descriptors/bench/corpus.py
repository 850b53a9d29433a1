# SPDX-License-Identifier: Apache-2.0
"""The corpus: references cut from clips, edited copies of them, and pictures to be confused with.

Pieces of one clip show the same scene, so a query has one right reference, and the other pieces of
its clip, and pictures cut from it, count neither for nor against.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, final

import numpy as np

from nnrvideo.container import open_media, open_writer, picture_to_rgb, png_bytes
from nnrvideo.descriptors.bench.transforms import (
    CRF,
    DEFAULT_CRF,
    TRANSFORMS,
    fitted,
    transformed,
)
from nnrvideo.errors import ContainerError
from nnrvideo.files import write_bytes
from nnrvideo.picture import ChromaFormat, Picture, PictureFormat
from nnrvideo.runtime import resize_picture

Progress = Callable[[str, int, int], None]

PICTURE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png"})
SPLICE_SIZE: Final = (640, 360)

_LONG_SIDE: Final = 640
_REFERENCE_CRF: Final = 18
_SPLICE_CRF: Final = 26
_CUTS: Final = 6  # distractor pictures of a clip
_SPLICED: Final = Fraction(30)  # seconds
_COPY: Final = Fraction(4)


@final
@dataclass(frozen=True, slots=True)
class Reference:
    """A piece of a clip."""

    file: str
    group: str  # clip


@final
@dataclass(frozen=True, slots=True)
class Query:
    """An edited copy of a reference."""

    file: str
    group: str
    reference: int
    transform: str


@final
@dataclass(frozen=True, slots=True)
class Distractor:
    """A picture that is no copy; of a clip's own queries it is none either."""

    file: str
    group: str  # "" for pictures from elsewhere


@final
@dataclass(frozen=True, slots=True)
class Splice:
    """A copy of some seconds of a clip, inside a film of other clips."""

    file: str
    clip: str
    transform: str
    start: float  # seconds in ``file``
    end: float
    clip_start: float  # seconds in ``clip``


@final
@dataclass(frozen=True, slots=True)
class Corpus:
    """What :func:`build_corpus` made; files are relative to ``folder``, clips absolute."""

    folder: Path
    references: tuple[Reference, ...]
    queries: tuple[Query, ...]
    distractors: tuple[Distractor, ...]
    splices: tuple[Splice, ...]

    @property
    def digest(self) -> str:
        """Identity of the corpus, for caches."""
        text = json.dumps(_plain(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def build_corpus(
    clips: Sequence[Path],
    folder: Path,
    *,
    photos: Sequence[Path] = (),
    seconds: Fraction = Fraction(2),
    pieces: int = 4,
    splices: int = 18,
    progress: Progress = lambda *_: None,
) -> Corpus:
    """Builds the corpus; files that are there already are kept.

    Args:
        clips: Films, each of another scene.
        folder: Where to.
        photos: Further distractors, none of which a projection was learnt on.
        seconds: Length of a reference.
        pieces: References of a clip, at most.
        splices: Films for localisation.
        progress: Called with what, done and total.

    Raises:
        ContainerError: A clip cannot be read, or fewer than two are given.
    """
    if len(clips) < 2:
        raise ContainerError("a corpus needs two clips at least: others are the false alarms")
    folder.mkdir(parents=True, exist_ok=True)
    references: list[Reference] = []
    queries: list[Query] = []
    distractors: list[Distractor] = []
    loaded = [(clip, _load(clip)) for clip in clips]
    for number, (clip, (pictures, rate)) in enumerate(loaded):
        group = f"{number:03}-{clip.stem}"
        behind = _background(photos, loaded, number)
        length = min(len(pictures), round(seconds * rate))
        for piece in range(max(1, min(pieces, len(pictures) // length))):
            part = pictures[piece * length : (piece + 1) * length]
            name = f"ref-{group}-{piece}.mp4"
            _encode(folder / name, part, rate, _REFERENCE_CRF)
            references.append(Reference(name, group))
            for transform in TRANSFORMS:
                copy = f"query-{group}-{piece}-{transform}.mp4"
                if not (folder / copy).exists():
                    edited = transformed(part, transform, behind)
                    _encode(folder / copy, edited, rate, CRF.get(transform, DEFAULT_CRF))
                queries.append(Query(copy, group, len(references) - 1, transform))
        distractors += _cut_pictures(folder, group, pictures, number)
        progress("corpus", number + 1, len(clips))
    distractors += [Distractor(str(photo.resolve()), "") for photo in photos]
    made = []
    for number in range(splices):
        made.append(_splice(folder, loaded, number))
        progress("splices", number + 1, splices)
    corpus = Corpus(
        folder,
        tuple(references),
        tuple(queries),
        tuple(distractors),
        tuple(splice for splice in made if splice is not None),
    )
    text = json.dumps(_plain(corpus), indent=1)
    write_bytes(folder / "corpus.json", text.encode(), overwrite=True)
    return corpus


def _plain(corpus: Corpus) -> dict[str, object]:
    return {
        name: [asdict(each) for each in getattr(corpus, name)]
        for name in ("references", "queries", "distractors", "splices")
    }


def _load(clip: Path) -> tuple[list[Picture], Fraction]:
    """Pictures of a clip, at most 640 samples long, 4:2:0 of 8 bits."""
    with open_media(clip) as media:
        rate = media.video.frame_rate or Fraction(25)
        scale = min(1.0, _LONG_SIDE / max(media.video.width, media.video.height))
        size = [
            max(64, int(side * scale) // 2 * 2) for side in (media.video.width, media.video.height)
        ]
        target = PictureFormat(size[0], size[1], ChromaFormat.C420, 8)
        # Clips of 60 pictures a second are thinned: nothing here depends on it but time.
        step = 2 if rate > 40 else 1
        pictures = [
            resize_picture(decoded.picture, target)
            for decoded in media.pictures()
            if decoded.index % step == 0
        ]
    if not pictures:
        raise ContainerError(f"{clip} has no pictures")
    return pictures, rate / step


def _background(
    photos: Sequence[Path], loaded: Sequence[tuple[Path, tuple[list[Picture], Fraction]]], own: int
) -> Callable[[], Picture]:
    def make() -> Picture:
        if photos:
            with open_media(photos[own % len(photos)]) as media:
                return next(media.pictures()).picture
        other = loaded[(own + 1) % len(loaded)][1][0]
        return other[len(other) // 2]

    return make


def _encode(
    path: Path, pictures: Sequence[Picture] | Iterator[Picture], rate: Fraction, crf: int
) -> None:
    if path.exists():
        return
    options = {"crf": str(crf), "preset": "veryfast", "threads": "1", "r": str(rate)}
    with open_writer(path, codec="libx264", options=options) as writer:
        for index, picture in enumerate(pictures):
            writer.write(picture, index / rate)


def _cut_pictures(
    folder: Path, group: str, pictures: Sequence[Picture], seed: int
) -> list[Distractor]:
    """Random parts of a clip's pictures, a third to two thirds of each side."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(_CUTS):
        name = f"cut-{group}-{number}.png"
        share = generator.uniform(0.35, 0.65, 2)
        place = generator.uniform(0, 1, 2)
        index = int(generator.integers(len(pictures)))
        found.append(Distractor(name, group))
        if (folder / name).exists():
            continue
        rgb = picture_to_rgb(pictures[index])
        rows, columns = (int(s * side) for s, side in zip(share, rgb.shape[:2], strict=True))
        y = int(place[0] * (rgb.shape[0] - rows))
        x = int(place[1] * (rgb.shape[1] - columns))
        write_bytes(folder / name, png_bytes(rgb[y : y + rows, x : x + columns]))
    return found


def _splice(
    folder: Path, loaded: Sequence[tuple[Path, tuple[list[Picture], Fraction]]], number: int
) -> Splice | None:
    """Other clips, an edited copy of four seconds, other clips again."""
    generator = np.random.default_rng(1000 + number)
    long = [i for i, (_, (p, rate)) in enumerate(loaded) if len(p) / rate >= _COPY - Fraction(1, 4)]
    if not long:
        return None
    own = long[number % len(long)]
    clip, (pictures, rate) = loaded[own]
    transform = TRANSFORMS[number % len(TRANSFORMS)]
    count = min(len(pictures), round(_COPY * rate))
    first = int(generator.integers(len(pictures) - count + 1))
    start = int(generator.uniform(6, 18) * rate)
    total = round(_SPLICED * rate)
    splice = Splice(
        f"splice-{number:03}-{transform}.mp4",
        str(clip.resolve()),
        transform,
        float(start / rate),
        float((start + count) / rate),
        float(first / rate),
    )
    path = folder / splice.file
    if path.exists():
        return splice
    others = [i for i in range(len(loaded)) if i != own]
    generator.shuffle(others)
    filler = (p for turn in range(100) for i in others for p in loaded[i][1][0])

    def all_pictures() -> Iterator[Picture]:
        for _ in range(start):
            yield fitted(next(filler), *SPLICE_SIZE)
        copied = pictures[first : first + count]
        background = loaded[others[-1]][1][0][0]
        for picture in transformed(copied, transform, lambda: background):
            yield fitted(picture, *SPLICE_SIZE)
        for _ in range(total - start - count):
            yield fitted(next(filler), *SPLICE_SIZE)

    _encode(path, all_pictures(), rate, _SPLICE_CRF)
    return splice
