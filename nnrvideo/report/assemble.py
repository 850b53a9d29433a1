# SPDX-License-Identifier: Apache-2.0
"""From measurements to a report: files, curves, scenes, images."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from nnrvideo.authoring import ProbeReport, probe
from nnrvideo.container import open_media, picture_to_rgb, png_bytes
from nnrvideo.errors import NnrVideoError
from nnrvideo.metrics import SequenceResult, decibels
from nnrvideo.picture import Picture
from nnrvideo.report.bits import UnitBits, count_bits
from nnrvideo.report.crops import CropPictures
from nnrvideo.report.measure import Measured, MeasureOptions, measure_file
from nnrvideo.report.results import (
    AnchorFile,
    Bits,
    ChangeMap,
    CodedFile,
    Crop,
    NetworkFacts,
    Report,
    Source,
    Span,
)
from nnrvideo.runtime import resize_plane

FileProgress = Callable[[str, int, int | None], None]
"""Called with (name of the file, pictures done of all files, total or None)."""

_TIMELINE = 240  # pieces at most
_MAP_WIDTH = 640  # columns at most
_CROP_CHANGE = 16.0  # 8-bit levels at which the change of a crop is brightest
# A dark-to-bright ramp that keeps its order in grey: black, violet, red, yellow, white.
_RAMP = np.array(
    [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]], np.float64
)


class NothingToReportError(NnrVideoError):
    """A file that shall be measured with its network has none."""


def make_report(
    reference: Path,
    coded: Sequence[Path],
    anchors: Sequence[Sequence[Path]] = (),
    options: MeasureOptions | None = None,
    *,
    title: str | None = None,
    anchor_names: Sequence[str] = (),
    projected_seconds: float | None = None,
    software: str = "",
    progress: FileProgress | None = None,
) -> Report:
    """Measures files and sums up.

    Args:
        reference: The source, at the size that the networks produce.
        coded: Files with networks; each is a point of a curve.
        anchors: Plain encodes, for each curve its files.
        options: What to measure.
        title: Heading; the name of the source if absent.
        anchor_names: Names of the anchors' curves, in their order; those without are called by
            their codec.
        projected_seconds: Also tell BD-rates for a film of this length that sends its base
            networks once, where the files are shorter.
        software: Name and version of the program, for the page.
        progress: Called while pictures are measured.

    Raises:
        NothingToReportError: A file of ``coded`` carries no network.
        ContainerError: A file cannot be read, or sizes do not fit.
        ValueError: There is no file in ``coded``.
    """
    if not coded:
        raise ValueError("a report needs at least one file with a network")
    options = options or MeasureOptions()
    total = _total_pictures([*coded, *chain.from_iterable(anchors)], options.max_pictures)
    report = _Reporter(reference, options, total, progress)
    # Before any work: measuring takes long.
    probes = [_probe(path) for path in coded]
    entries = [report.coded_file(*pair) for pair in zip(coded, probes, strict=True)]
    plain = [[report.anchor_file(path) for path in group] for group in anchors]
    assert report.source is not None
    return Report(
        title=title or reference.name,
        source=report.source,
        coded=tuple(sorted(entries, key=lambda entry: entry.bits.total / entry.seconds)),
        anchors=_named_apart(plain, anchor_names),
        upscaler=options.upscaler.value,
        projected_seconds=projected_seconds,
        vmaf_model=report.vmaf_model,
        libvmaf_version=report.libvmaf_version,
        absent=report.absent,
        software=software,
    )


def network_facts(found: ProbeReport, start: Fraction) -> tuple[NetworkFacts, ...]:
    """The networks of a file, for the table; times from ``start``."""
    return tuple(
        NetworkFacts(
            nnpfc_id=network.nnpfc_id,
            is_base=network.is_base,
            purposes=network.purpose_names,
            output_size=network.output_size,
            payload_bytes=network.payload_bytes,
            parameters=network.content.parameters if network.content else None,
            kmac_per_sample=network.nnpfc.nnpfc_num_kmac_operations_idc
            if network.nnpfc.nnpfc_complexity_info_present_flag
            else None,
            sha256=network.sha256,
            uri=network.uri,
            sent_at=tuple(float(occurrence.pts - start) for occurrence in network.occurrences),
        )
        for network in found.networks
    )


def _probe(path: Path) -> ProbeReport:
    found = probe(path)
    if not found.networks:
        raise NothingToReportError(f"{path} carries no network; a plain encode is an anchor")
    return found


@final
class _Reporter:
    """One run of :func:`make_report`: measures file after file and keeps what is common."""

    def __init__(
        self,
        reference: Path,
        options: MeasureOptions,
        total: int | None,
        progress: FileProgress | None,
    ) -> None:
        self.source: Source | None = None  # as the first file was paired with it
        self.absent: dict[str, str] = {}
        self.vmaf_model: str | None = None
        self.libvmaf_version: str | None = None
        self._reference = reference
        self._options = options
        self._done = 0
        self._total = total
        self._progress = progress

    def coded_file(self, path: Path, found: ProbeReport) -> CodedFile:
        """Measures a file plain and with its networks."""
        measured = self._measure(path, networks=True)
        network = measured.network
        assert network is not None
        bits, units = _bits(measured)
        return CodedFile(
            name=path.name,
            curve=f"{measured.video.codec_name} + network",
            codec=measured.video.codec_name,
            width=measured.video.width,
            height=measured.video.height,
            pictures=len(measured.times),
            enhanced=measured.enhanced,
            unpaired=measured.unpaired,
            seconds=float(measured.seconds),
            bits=bits,
            plain=measured.plain.quality,
            network=network.quality,
            networks=network_facts(found, measured.times[0]),
            scenes=_spans(measured, units, measured.scene_starts),
            timeline=_spans(measured, units, _even(len(measured.times))),
            crops=tuple(_crop(crop, measured.times[0]) for crop in measured.crops),
            change_map=None if measured.change is None else _change_map(measured.change),
            notes=(*_why(measured), *found.problems),
        )

    def anchor_file(self, path: Path) -> AnchorFile:
        """Measures a plain encode; its curve has no name yet."""
        measured = self._measure(path, networks=False)
        video = measured.video
        return AnchorFile(
            name=path.name,
            curve="",
            codec=video.codec_name,
            width=video.width,
            height=video.height,
            pictures=len(measured.times),
            unpaired=measured.unpaired,
            seconds=float(measured.seconds),
            bits=_bits(measured)[0],
            quality=measured.plain.quality,
        )

    def _measure(self, path: Path, *, networks: bool) -> Measured:
        before = self._done

        def tell(done: int, _: int | None) -> None:
            self._done = before + done
            if self._progress is not None:
                self._progress(path.name, self._done, self._total)

        measured = measure_file(
            self._reference, path, self._options, networks=networks, progress=tell
        )
        for result in (measured.plain, measured.network):
            if result is not None:
                self.absent.update(result.absent)
                self.vmaf_model = result.vmaf_model or self.vmaf_model
                self.libvmaf_version = result.libvmaf_version or self.libvmaf_version
        if self.source is None:
            self.source = _source(self._reference, measured)
        return measured


def _source(reference: Path, measured: Measured) -> Source:
    video = measured.source
    return Source(
        name=reference.name,
        width=video.width,
        height=video.height,
        bit_depth=video.bit_depth,
        frame_rate=float(video.frame_rate) if video.frame_rate else None,
        pictures=len(measured.times),
        seconds=float(measured.seconds),
    )


def _total_pictures(paths: Sequence[Path], most: int | None) -> int | None:
    total = 0
    for path in paths:
        with open_media(path) as media:
            frames = media.video.frames
        if not frames and most is None:
            return None
        total += min(frames or most or 0, most or frames)
    return total


def _named_apart(
    groups: Sequence[Sequence[AnchorFile]], names: Sequence[str]
) -> tuple[AnchorFile, ...]:
    """Gives each curve a name: the one given or the codec, numbered where two are the same."""
    wanted = [
        names[number] if number < len(names) else f"anchor {group[0].codec}"
        for number, group in enumerate(groups)
    ]
    return tuple(
        replace(
            anchor,
            curve=f"{name} ({wanted[: number + 1].count(name)})"
            if wanted.count(name) > 1
            else name,
        )
        for number, (name, group) in enumerate(zip(wanted, groups, strict=True))
        for anchor in group
    )


def _bits(measured: Measured) -> tuple[Bits, tuple[UnitBits, ...]]:
    with open_media(measured.path) as media:
        return count_bits(media, until=measured.times[-1])


def _even(pictures: int) -> tuple[int, ...]:
    pieces = min(pictures, _TIMELINE)
    return tuple(pictures * piece // pieces for piece in range(pieces))


def _spans(
    measured: Measured, units: Sequence[UnitBits], starts: Sequence[int]
) -> tuple[Span, ...]:
    """Sums up from each picture of ``starts`` to the next."""
    times = measured.times
    begins = [times[index] for index in starts]
    video, networks = [0] * len(starts), [0] * len(starts)
    for unit in units:
        at = max(bisect_right(begins, unit.pts) - 1, 0)
        video[at] += unit.video
        networks[at] += unit.networks
    spans = []
    ends = [*starts[1:], len(times)]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        after = times[end] if end < len(times) else times[0] + measured.seconds
        plain = _slice(measured.plain, start, end, measured.source.bit_depth)
        network = _slice(measured.network, start, end, measured.source.bit_depth)
        spans.append(
            Span(
                start=float(times[start] - times[0]),
                end=float(after - times[0]),
                pictures=end - start,
                video_bits=video[number],
                network_bits=networks[number],
                plain_psnr_y=plain[0],
                network_psnr_y=network[0],
                plain_vmaf=plain[1],
                network_vmaf=network[1],
            )
        )
    return tuple(spans)


def _slice(
    result: SequenceResult | None, start: int, end: int, bit_depth: int
) -> tuple[float | None, float | None]:
    """PSNR-Y and VMAF of some pictures."""
    if result is None:
        return None, None
    pictures = result.pictures[start:end]
    error, samples = sum(p.squared_error for p in pictures), sum(p.samples for p in pictures)
    scores = [p.vmaf for p in pictures if p.vmaf is not None]
    return decibels(error, samples, bit_depth), sum(scores) / len(scores) if scores else None


def _why(measured: Measured) -> list[str]:
    return [
        f"{count} of {len(measured.times)} pictures not enhanced: {reason or 'no reason given'}"
        for reason, count in measured.reasons.items()
    ]


def _crop(crop: CropPictures, start: Fraction) -> Crop:
    unit = 1 << (crop.plain.bit_depth - 8)
    first, second = (p.planes[0].astype(np.float64) for p in (crop.plain, crop.network))
    return Crop(
        kind=crop.kind.value,
        seconds=float(crop.pts - start),
        x=crop.x,
        y=crop.y,
        gain_db=crop.gain_db,
        reference=_png(crop.reference),
        plain=_png(crop.plain),
        network=_png(crop.network),
        change=_ramp_png(np.abs(second - first) / unit, _CROP_CHANGE),
        change_scale=_CROP_CHANGE,
    )


def _change_map(change: npt.NDArray[np.float64]) -> ChangeMap:
    rows, columns = change.shape
    width = min(columns, _MAP_WIDTH)
    height = max(rows * width // columns, 1)
    small = resize_plane(change.astype(np.float32), width, height, 32)
    # One sample in a thousand may be brighter than the brightest colour.
    scale = max(float(np.quantile(small, 0.999)), 0.1)
    return ChangeMap(_ramp_png(small, scale), scale, float(change.mean()))


def _png(picture: Picture) -> bytes:
    return png_bytes(picture_to_rgb(picture))


def _ramp_png(values: npt.NDArray[np.floating], scale: float) -> bytes:
    """Values from 0 to ``scale`` in colours."""
    places = np.linspace(0, 1, len(_RAMP))
    share = np.clip(values / scale, 0, 1)
    channels = [np.interp(share, places, _RAMP[:, channel]) for channel in range(3)]
    return png_bytes(np.rint(np.stack(channels, axis=-1)).astype(np.uint8))
