# SPDX-License-Identifier: Apache-2.0
"""Pairs for restoration: a degraded picture or film, and what it should have been."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

from nnrvideo.container import open_media
from nnrvideo.errors import DatasetError
from nnrvideo.files import PathLike
from nnrvideo.limits import Limits
from nnrvideo.training.data import PairSet, sample_pairs
from nnrvideo.training.datasets.dataset import Dataset, Sample, identifier
from nnrvideo.training.datasets.folders import picture_names
from nnrvideo.training.datasets.items import FILM_SUFFIXES, FileItem, inside, read_item
from nnrvideo.training.datasets.pictures import Plane, decode_luma

_SCALES: Final = (Fraction(1), Fraction(3, 2), Fraction(2))
_FILM_PICTURES: Final = 48  # pairs that are taken from a film, about


def load_folder_pairs(
    degraded: PathLike, clean: PathLike, *, name: str = "", licence: str = ""
) -> Dataset:
    """Pairs two folders of pictures by their paths without suffix.

    Args:
        degraded: Folder of the degraded pictures.
        clean: Folder of what they should have been.
        name: Of the set; by default that of the second folder.
        licence: Under which the pictures may be used.

    Raises:
        DatasetError: A picture has no partner or several.
    """
    sides = [_by_id(Path(folder)) for folder in (degraded, clean)]
    for here, there, folder in ((0, 1, clean), (1, 0, degraded)):
        if lonely := sorted(sides[here].keys() - sides[there].keys()):
            raise DatasetError(f"{sides[here][lonely[0]]}: has no partner in {folder}")
    samples = [
        Sample(key, FileItem(path), target=FileItem(sides[1][key]), group=key)
        for key, path in sides[0].items()
    ]
    return Dataset(name or Path(clean).name, "restoration", tuple(samples), licence)


def load_film_pairs(
    pairs: Sequence[tuple[PathLike, PathLike]], *, name: str = "films", licence: str = ""
) -> Dataset:
    """Pairs of films: coded at some size, and the source; picture for picture.

    Args:
        pairs: (coded, source); the stem of the coded one is the sample's id.
        name: Of the set.
        licence: Under which the films may be used.

    Raises:
        DatasetError: A file is missing or no film, or two coded ones have one stem.
    """
    samples = []
    for number, (coded, source) in enumerate(pairs):
        items = []
        for path in map(Path, (coded, source)):
            if not path.is_file() or path.suffix.lower() not in FILM_SUFFIXES:
                raise DatasetError(f"pair {number}: {path} is no film")
            items.append(FileItem(path))
        # Several codings of one source show the same pictures: they stay together.
        group = Path(source).name
        samples.append(Sample(Path(coded).stem, items[0], target=items[1], group=group))
    return Dataset(name, "restoration", tuple(samples), licence)


def pair_set(data: Dataset, *, pictures: int = _FILM_PICTURES) -> PairSet:
    """Reads a set for restoration into memory, as training takes it.

    Args:
        data: Folder or film pairs, all of one scale: 1, 3/2 or 2.
        pictures: Pairs that are taken from each film, about, spread evenly.

    Returns:
        Luma pairs of 8 bits, in the order of the samples.

    Raises:
        DatasetError: A pair has another scale, or cannot be decoded.
        ContainerError: A film cannot be read.
    """
    if data.task != "restoration":
        raise DatasetError(f"{data.name} is for classification and has no pairs")
    pairs = PairSet()
    scale: Fraction | None = None
    for sample in data.samples:
        found, of_this = _read(sample, data.limits, pictures)
        if scale not in (None, of_this):
            raise DatasetError(f"{sample.id}: is of scale {of_this}, others of {scale}")
        scale = of_this
        pairs.extend(found)
    return pairs


def _read(sample: Sample, limits: Limits, pictures: int) -> tuple[PairSet, Fraction]:
    assert sample.target is not None
    if sample.is_film:
        assert isinstance(sample.item, FileItem)
        assert isinstance(sample.target, FileItem)
        scale = _scale(sample, *_film_sizes(limits, sample.item, sample.target))
        return sample_pairs(sample.target.path, sample.item.path, scale, pictures), scale
    small, large = (
        decode_luma(read_item(item), str(item), limits) for item in (sample.item, sample.target)
    )
    scale = _scale(sample, _size(small), _size(large))
    return PairSet([small], [large], [0]), scale


def _scale(sample: Sample, small: tuple[int, int], large: tuple[int, int]) -> Fraction:
    for scale in _SCALES:
        # A source may have a few rows and columns more than divide.
        rest = [big - size * scale for size, big in zip(small, large, strict=True)]
        if rest == [0, 0] or (sample.is_film and all(0 <= each < 8 for each in rest)):
            return scale
    sizes = " and ".join(f"{width}x{height}" for width, height in (small, large))
    raise DatasetError(f"{sample.id}: {sizes} are in no proportion of 1, 3/2 or 2")


def _film_sizes(limits: Limits, *items: FileItem) -> Iterator[tuple[int, int]]:
    for item in items:
        with open_media(item.path, limits=limits) as media:
            yield media.video.width, media.video.height


def _size(plane: Plane) -> tuple[int, int]:
    return plane.shape[1], plane.shape[0]


def _by_id(root: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name in picture_names(root):
        key = identifier(name)
        if key in found:
            raise DatasetError(f"{root / name}: {found[key].name} has the same name")
        found[key] = inside(root, name, str(root))
    return found
