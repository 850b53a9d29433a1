# SPDX-License-Identifier: Apache-2.0
"""The curves of a report and the Bjøntegaard deltas between them.

They follow from the points, so that they are never stored without them and cannot disagree.
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any, final

from nnrvideo.metrics import BdDelta, Quality, bjontegaard
from nnrvideo.metrics.curves import RATE_COLUMN, curves_csv
from nnrvideo.report.results import AnchorFile, CodedFile, Report, encode


@final
@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of merit: more is better."""

    key: str  # field of Quality
    name: str
    unit: str
    digits: int


#: In the order in which they are shown.
METRICS = (
    Metric("psnr_y", "PSNR-Y", "dB", 2),
    Metric("ssim_y", "SSIM", "", 4),
    Metric("ms_ssim_y", "MS-SSIM", "", 4),
    Metric("vmaf", "VMAF", "", 2),
    Metric("vmaf_neg", "VMAF-NEG", "", 2),
)


@final
@dataclass(frozen=True, slots=True)
class Point:
    """One file on a curve."""

    file: str
    kbps: float  # video stream, networks included where they are used
    quality: Quality
    projected_kbps: float | None = None  # with base networks spread over a longer film


@final
@dataclass(frozen=True, slots=True)
class Curve:
    """Files that differ in rate alone."""

    name: str
    kind: str  # "network", "plain" or "anchor"
    points: tuple[Point, ...]

    def line(self, metric: str, *, projected: bool = False) -> list[tuple[float, float]]:
        """(kbit/s, figure) of the points that have a finite one, by rate."""
        found = []
        for point in self.points:
            rate = point.projected_kbps if projected else point.kbps
            figure: float | None = getattr(point.quality, metric)
            if rate is not None and figure is not None and math.isfinite(figure):
                found.append((rate, figure))
        return sorted(found)


@final
@dataclass(frozen=True, slots=True)
class Comparison:
    """One curve against another by one metric; a text says why there is no figure."""

    anchor: str
    test: str
    metric: Metric
    delta: BdDelta | str
    projected: BdDelta | str | None  # None where nothing was projected


def curves(report: Report) -> tuple[Curve, ...]:
    """All curves: networks, the same files without, anchors."""
    networks: dict[str, list[Point]] = {}
    plains: dict[str, list[Point]] = {}
    for entry in report.coded:
        networks.setdefault(entry.curve, []).append(
            Point(entry.name, _kbps(entry), entry.network, _projected(entry, report))
        )
        name = f"{entry.codec}, {report.upscaler} upscale"
        if (entry.width, entry.height) == (report.source.width, report.source.height):
            name = f"{entry.codec} without network"
        rate = entry.bits.video / entry.seconds / 1000
        plains.setdefault(name, []).append(Point(entry.name, rate, entry.plain, rate))
    anchors: dict[str, list[Point]] = {}
    for anchor in report.anchors:
        rate = _kbps(anchor)
        anchors.setdefault(anchor.curve, []).append(Point(anchor.name, rate, anchor.quality, rate))
    return tuple(
        Curve(name, kind, tuple(sorted(points, key=lambda point: point.kbps)))
        for kind, group in (("network", networks), ("plain", plains), ("anchor", anchors))
        for name, points in group.items()
    )


def comparisons(report: Report) -> tuple[Comparison, ...]:
    """Networks against anchors, then against their own plain pictures; by every metric."""
    every = curves(report)
    projects = report.projected_seconds is not None and any(
        entry.seconds < report.projected_seconds for entry in report.coded
    )
    found = []
    for kind in ("anchor", "plain"):
        for test in (curve for curve in every if curve.kind == "network"):
            for anchor in (curve for curve in every if curve.kind == kind):
                if kind == "plain" and not _same_files(anchor, test):
                    continue
                for metric in METRICS:
                    if not test.line(metric.key) or not anchor.line(metric.key):
                        continue
                    now = _delta(anchor.line(metric.key), test.line(metric.key))
                    later: BdDelta | str | None = None
                    if projects:
                        line = test.line(metric.key, projected=True)
                        later = _delta(anchor.line(metric.key), line)
                    found.append(Comparison(anchor.name, test.name, metric, now, later))
    return tuple(found)


def to_json(report: Report) -> dict[str, Any]:
    """The report as JSON values, with the comparisons that follow from it."""
    return {
        **encode(report),
        "comparisons": [
            {
                "anchor": comparison.anchor,
                "test": comparison.test,
                "metric": comparison.metric.key,
                "delta": _facts(comparison.delta),
                "projected": comparison.projected and _facts(comparison.projected),
            }
            for comparison in comparisons(report)
        ],
    }


def _facts(delta: BdDelta | str) -> dict[str, Any]:
    return {"error": delta} if isinstance(delta, str) else dataclasses.asdict(delta)


def curve_files(report: Report) -> tuple[tuple[str, str], ...]:
    """Each curve as (name fit for a file, CSV text as ``read_curves`` of metrics takes it)."""
    found = []
    for number, curve in enumerate(curves(report), 1):
        rows = [[f"{point.kbps:.6g}", *_cells(point.quality), point.file] for point in curve.points]
        header = [RATE_COLUMN, *(metric.key for metric in METRICS), "file"]
        safe = re.sub(r"[^a-z0-9]+", "-", curve.name.lower()).strip("-")[:60]
        found.append((f"{number}-{safe or curve.kind}", curves_csv(header, rows)))
    return tuple(found)


def _cells(quality: Quality) -> list[float | None]:
    figures: list[float | None] = [getattr(quality, metric.key) for metric in METRICS]
    return [figure if figure is not None and math.isfinite(figure) else None for figure in figures]


def _delta(anchor: list[tuple[float, float]], test: list[tuple[float, float]]) -> BdDelta | str:
    try:
        return bjontegaard(anchor, test)
    except ValueError as error:
        return str(error)


def _same_files(first: Curve, second: Curve) -> bool:
    return {point.file for point in first.points} == {point.file for point in second.points}


def _kbps(entry: CodedFile | AnchorFile) -> float:
    return entry.bits.total / entry.seconds / 1000


def _projected(entry: CodedFile, report: Report) -> float | None:
    """Rate of a film that long with the same pictures: base networks are first sent once in it."""
    if report.projected_seconds is None:
        return None
    spread = max(report.projected_seconds, entry.seconds)
    rest = entry.bits.total - entry.bits.base
    return (rest / entry.seconds + entry.bits.base / spread) / 1000
