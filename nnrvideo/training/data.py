# SPDX-License-Identifier: Apache-2.0
"""Turns clips into training pairs: a coded luma plane and the one it came from.

A network that follows a decoder has to undo the codec and, where it enlarges, the downscaling, too,
so the small picture of each pair is downscaled, really encoded at some quality and decoded again;
for networks that keep the size it is only coded and as large as the other.  Kinds of degradation
(downscaler, codec, CRF) are mixed, because a base network does not know who made the stream.  Clips
are also used at half their size: most of them are soft at full size, and a network that never saw a
sharp edge does not learn to draw one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from nnrvideo.authoring import crop_picture
from nnrvideo.container import open_media
from nnrvideo.errors import ContainerError
from nnrvideo.picture import Picture
from nnrvideo.runtime.resample import Downscaler, change_depth, resize_plane
from nnrvideo.training.kinds import Mode
from nnrvideo.training.video import code_luma, read_luma

Plane = npt.NDArray[np.uint8]

_LANCZOS_LOBES = 3
# Coded samples: a crop with its overlap.  Besides, x265 crashes now and then on smaller pictures.
_LEAST_SIZE = 64


@dataclass(frozen=True, slots=True)
class Degradation:
    """How a coded picture is made from its source.

    Args:
        downscaler: ``"area"`` (2x2 mean), ``"bicubic"`` (8 taps, what ``encode`` does) or
            ``"lanczos"`` (12 taps, 3 lobes) halve the picture; None keeps its size.
        codec: Name of the encoder, ``"libx264"`` or ``"libx265"``.
        crf: Constant rate factor given to the encoder.
    """

    downscaler: str | None
    codec: str
    crf: int

    @property
    def scale(self) -> int:
        """Size of the source relative to the coded picture, in each direction."""
        return 1 if self.downscaler is None else 2


#: What base networks of each mode are trained on: spread so that each clip meets both downscalers,
#: both codecs and the whole range of quality that is usual at this size.
BASE_DEGRADATIONS: Final[Mapping[Mode, tuple[Degradation, ...]]] = {
    "sr2x": (
        Degradation("area", "libx265", 18),
        Degradation("lanczos", "libx265", 22),
        Degradation("area", "libx264", 22),
        Degradation("area", "libx265", 26),
        Degradation("lanczos", "libx264", 26),
        Degradation("lanczos", "libx264", 30),
        Degradation("lanczos", "libx265", 32),
    ),
    "enhance": (
        Degradation(None, "libx265", 22),
        Degradation(None, "libx264", 24),
        Degradation(None, "libx265", 28),
        Degradation(None, "libx264", 30),
        Degradation(None, "libx265", 34),
        Degradation(None, "libx264", 36),
    ),
}


@dataclass(frozen=True, slots=True)
class PairSettings:
    """What is taken from each clip.

    Args:
        degradations: Every one is applied to every clip at every size.
        halvings: Sizes of the large picture, 0 = the clip's, 1 = half of it, ...
        segment_frames: Length of a coded segment in pictures.
        segments: Segments taken from each clip, spread evenly.
        keep_every: Of the coded pictures, every n-th becomes a pair.
        max_luma_samples: Larger large pictures are left out (they are costly and mostly soft).
    """

    degradations: tuple[Degradation, ...] = BASE_DEGRADATIONS["sr2x"]
    halvings: tuple[int, ...] = (0, 1)
    segment_frames: int = 24
    segments: int = 4
    keep_every: int = 6
    max_luma_samples: int = 1920 * 1080


def base_pair_settings(mode: Mode) -> PairSettings:
    """What base networks of a mode are trained on.

    Raises:
        ValueError: There is no base network of that mode.
    """
    if mode not in BASE_DEGRADATIONS:
        raise ValueError(f"base networks are {', '.join(BASE_DEGRADATIONS)}, not {mode!r}")
    # Coded at full size, 1080p takes most of the time and is mostly soft.
    bound = 1280 * 720 if mode == "enhance" else 1920 * 1080
    return PairSettings(BASE_DEGRADATIONS[mode], max_luma_samples=bound)


@dataclass(slots=True)
class PairSet:
    """Training pairs in memory; several small pictures share one large picture.

    Args:
        small: Coded luma planes, ``(H, W) uint8``, H and W even.
        large: Source luma planes, ``(scale * H, scale * W) uint8``; the scale is that of the
            network, 1, 3/2 or 2.
        large_index: For each entry of ``small`` the index of its entry of ``large``.
    """

    small: list[Plane] = field(default_factory=list)
    large: list[Plane] = field(default_factory=list)
    large_index: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.small)

    def extend(self, other: PairSet) -> None:
        """Appends another set's pairs."""
        offset = len(self.large)
        self.small += other.small
        self.large += other.large
        self.large_index += [offset + index for index in other.large_index]

    def save(self, path: Path) -> None:
        """Writes the pairs as an uncompressed ``.npz`` without pickled objects."""
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "large_index": np.asarray(self.large_index, dtype=np.int64)
        }
        arrays |= {f"small.{index}": plane for index, plane in enumerate(self.small)}
        arrays |= {f"large.{index}": plane for index, plane in enumerate(self.large)}
        np.savez(path, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> PairSet:
        """Reads what ``save`` wrote."""
        with np.load(path, allow_pickle=False) as archive:
            index = [int(value) for value in archive["large_index"]]
            small = [archive[f"small.{number}"] for number in range(len(index))]
            large = [archive[f"large.{number}"] for number in range(max(index, default=-1) + 1)]
        return cls(small, large, index)


def halve(plane: Plane, downscaler: str) -> Plane:
    """Halves a plane in both directions; samples stay centred (no shift).

    Args:
        plane: ``(H, W) uint8``, H and W even.
        downscaler: ``"area"``, ``"bicubic"`` or ``"lanczos"``.

    Returns:
        ``(H / 2, W / 2) uint8``.

    Raises:
        ValueError: The downscaler is unknown or a size is odd.
    """
    height, width = plane.shape
    if height % 2 or width % 2:
        raise ValueError(f"cannot halve an odd size: {width}x{height}")
    if downscaler in ("area", "bicubic"):
        kernel = Downscaler(downscaler)
        reduced = resize_plane(plane, width // 2, height // 2, 8, downscaler=kernel)
        return np.asarray(reduced, np.uint8)
    if downscaler != "lanczos":
        raise ValueError(f"unknown downscaler {downscaler!r}: area, bicubic or lanczos")
    # OpenCV's own Lanczos does not widen its kernel when it shrinks a picture, so it aliases.
    distance = (np.arange(4 * _LANCZOS_LOBES) - 2 * _LANCZOS_LOBES + 0.5) / 2
    taps = np.sinc(distance) * np.sinc(distance / _LANCZOS_LOBES)
    taps = (taps / taps.sum()).astype(np.float32)
    margin = 2 * _LANCZOS_LOBES
    padded = cv2.copyMakeBorder(
        plane.astype(np.float32), margin, margin, margin, margin, cv2.BORDER_REPLICATE
    )
    anchor = 2 * _LANCZOS_LOBES - 1
    filtered = cv2.sepFilter2D(padded, cv2.CV_32F, taps, taps, anchor=(anchor, anchor))
    inner = filtered[margin : margin + height : 2, margin : margin + width : 2]
    return np.clip(np.rint(inner), 0, 255).astype(np.uint8)


def make_pairs(
    clips: Sequence[Path],
    settings: PairSettings | None = None,
    *,
    progress: Callable[[str], None] = lambda _line: None,
) -> PairSet:
    """Makes training pairs from clips.

    Args:
        clips: Media files; 8-bit video is used, other files raise what the container raises.
        settings: What to take.
        progress: Called with one line of text for each clip and size.

    Returns:
        The pairs of all clips, in the order of ``clips``; sizes that are coded with less than 64
        samples across or down are left out.

    Raises:
        ValueError: No clip is given, or none gives a pair.
    """
    settings = settings or PairSettings()
    pairs = PairSet()
    for clip in clips:
        for number, (segment, rate) in enumerate(_segments(clip, settings)):
            # Sources come out of either kind of downscaler; a network should know both.
            downscaler = ("area", "lanczos")[number % 2]
            for halvings in settings.halvings:
                large = [_shrink(plane, halvings, downscaler) for plane in segment]
                coded = min(large[0].shape) // max(kind.scale for kind in settings.degradations)
                if large[0].size > settings.max_luma_samples or coded < _LEAST_SIZE:
                    continue
                pairs.extend(_degrade(large, rate, settings))
                height, width = large[0].shape
                progress(f"{clip.name}: {width}x{height}, {len(pairs)} pairs")
    if not len(pairs):
        raise ValueError("the clips give no training pair")
    return pairs


def sample_pairs(
    source: Path,
    coded: Path,
    scale: Fraction,
    count: int,
    *,
    start: Fraction | None = None,
    end: Fraction | None = None,
) -> PairSet:
    """Pairs of decoded and source pictures, spread evenly over a title of any length.

    Args:
        source: The title.
        coded: The same pictures, coded at reduced size.
        scale: Size of the source relative to the coded one.
        count: Pairs that are kept, about; memory holds at most twice as many.
        start: First presentation time to take, in seconds of the coded one.
        end: First presentation time not to take any more.

    Returns:
        Luma pairs of 8 bits.

    Raises:
        ContainerError: A file cannot be read, or the coded one has no picture.
    """
    kept: list[tuple[Plane, Plane]] = []
    stride = 1
    with open_media(source) as original, open_media(coded) as media:
        # Times are counted from each file's first picture.
        lag = (original.video.start or Fraction(0)) - (media.video.start or Fraction(0))
        half = 1 / (2 * (media.video.frame_rate or Fraction(25)))
        earlier = None if start is None else start + lag - half
        pictures = zip(original.pictures(start=earlier), media.pictures(start=start), strict=False)
        for index, (wanted, got) in enumerate(pictures):
            if end is not None and got.pts >= end:
                break
            if index % stride:
                continue
            small = got.picture
            large = crop_picture(
                wanted.picture, *(int(size * scale) for size in (small.width, small.height))
            )
            kept.append((_luma(small), _luma(large)))
            if len(kept) == 2 * count:
                kept = kept[::2]
                stride *= 2
    if not kept:
        raise ContainerError(f"{coded} has no pictures")
    return PairSet(
        [small for small, _ in kept], [large for _, large in kept], list(range(len(kept)))
    )


def _luma(picture: Picture) -> Plane:
    return np.array(change_depth(picture.planes[0], picture.bit_depth, 8), np.uint8)


def degrade(large: Sequence[Plane], degradation: Degradation, rate: Fraction) -> list[Plane]:
    """Encodes and decodes a sequence of luma planes, halved before where that is asked for.

    Args:
        large: Planes ``(scale * H, scale * W) uint8`` in output order, all of one size, H and W
            even.
        degradation: Downscaler and encoder.
        rate: Pictures per second.

    Returns:
        Decoded luma planes ``(H, W) uint8``, as many as given.
    """
    downscaler = degradation.downscaler
    small = large if downscaler is None else [halve(plane, downscaler) for plane in large]
    with tempfile.TemporaryDirectory(prefix="nnrvideo-train-") as folder:
        return code_luma(
            small, codec=degradation.codec, crf=degradation.crf, rate=rate, folder=Path(folder)
        )


def crop_to_multiple(plane: Plane, multiple: int = 4) -> Plane:
    """Cuts a plane at the right and bottom so that it can be halved into even sizes."""
    height, width = (size - size % multiple for size in plane.shape)
    return np.ascontiguousarray(plane[:height, :width])


def find_clips(folder: Path, hold_out: Iterable[str] = ()) -> list[Path]:
    """Lists media files of a folder in the order of their names.

    Args:
        folder: Where to look; subfolders are not searched.
        hold_out: Names without suffix that are left out.

    Raises:
        ValueError: A held-out name is not there (a silent misspelling would train on it).
    """
    suffixes = {".mp4", ".mkv", ".mov", ".webm", ".y4m"}
    found = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in suffixes}
    unknown = set(hold_out) - set(found)
    if unknown:
        raise ValueError(f"held-out clips not found in {folder}: {sorted(unknown)}")
    return [path for stem, path in found.items() if stem not in set(hold_out)]


def describe(settings: PairSettings) -> str:
    """The settings as one line of JSON, the identity of a cached pair set."""
    return json.dumps(asdict(settings), sort_keys=True)


def _segments(clip: Path, settings: PairSettings) -> list[tuple[list[Plane], Fraction]]:
    planes, rate = read_luma(clip)
    length = min(settings.segment_frames, len(planes))
    last = len(planes) - length
    gaps = max(settings.segments - 1, 1)
    starts = sorted({round(last * number / gaps) for number in range(settings.segments)})
    return [([crop_to_multiple(p) for p in planes[s : s + length]], rate) for s in starts]


def _shrink(plane: Plane, halvings: int, downscaler: str) -> Plane:
    for _ in range(halvings):
        plane = halve(crop_to_multiple(plane, 2), downscaler)
    return crop_to_multiple(plane)


def _degrade(large: list[Plane], rate: Fraction, settings: PairSettings) -> PairSet:
    kept = range(settings.keep_every // 2, len(large), settings.keep_every)
    result = PairSet(large=[large[number] for number in kept])
    for degradation in settings.degradations:
        small = degrade(large, degradation, rate)
        result.small += [small[number] for number in kept]
        result.large_index += range(len(kept))
    return result
