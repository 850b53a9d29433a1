# SPDX-License-Identifier: Apache-2.0
"""The curves of a report and the Bjøntegaard deltas between them.

They follow from the points, so that they are never stored without them and cannot disagree.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
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
    network_share: float | None = None  # of the bits; None where no networks are used

    def figure(self, metric: str) -> float | None:
        """A figure by its name in :class:`Quality`; None where it is missing or infinite."""
        value: float | None = getattr(self.quality, metric)
        return value if value is not None and math.isfinite(value) else None


@final
@dataclass(frozen=True, slots=True)
class Curve:
    """Files that differ in rate alone."""

    name: str
    kind: str  # "network", "plain" or "anchor"
    points: tuple[Point, ...]
    files: str = ""  # for networks and plain pictures: name of the curve of files they come from

    def line(self, metric: str, *, projected: bool = False) -> list[tuple[float, float]]:
        """(kbit/s, figure) of the points that have a finite one, by rate."""
        found = []
        for point in self.points:
            rate = point.projected_kbps if projected else point.kbps
            figure = point.figure(metric)
            if rate is not None and figure is not None:
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

    @property
    def has_rate(self) -> bool:
        """There is a BD-rate."""
        return not isinstance(self.delta, str) and self.delta.rate_percent is not None


def curves(report: Report) -> tuple[Curve, ...]:
    """All curves: networks, the same files without, anchors."""
    groups: dict[str, list[CodedFile]] = {}
    for entry in report.coded:
        groups.setdefault(entry.curve, []).append(entry)
    anchors: dict[str, list[Point]] = {}
    for anchor in report.anchors:
        rate = _kbps(anchor)
        anchors.setdefault(anchor.curve, []).append(Point(anchor.name, rate, anchor.quality, rate))
    return tuple(
        Curve(name, kind, tuple(sorted(points, key=lambda point: point.kbps)), files)
        for name, kind, points, files in (
            *((name, "network", _enhanced(group, report), name) for name, group in groups.items()),
            *((_plain_name(g, report), "plain", _plain(g), name) for name, g in groups.items()),
            *((name, "anchor", points, "") for name, points in anchors.items()),
        )
    )


def _enhanced(entries: list[CodedFile], report: Report) -> list[Point]:
    return [
        Point(
            entry.name,
            _kbps(entry),
            entry.network,
            _projected(entry, report),
            entry.bits.networks / entry.bits.total,
        )
        for entry in entries
    ]


def _plain(entries: list[CodedFile]) -> list[Point]:
    rates = [entry.bits.video / entry.seconds / 1000 for entry in entries]
    return [
        Point(entry.name, rate, entry.plain, rate)
        for entry, rate in zip(entries, rates, strict=True)
    ]


def _plain_name(entries: list[CodedFile], report: Report) -> str:
    codec, full = entries[0].codec, (report.source.width, report.source.height)
    if all((entry.width, entry.height) == full for entry in entries):
        return f"{codec} without network"
    return f"{codec}, {report.upscaler} upscale"


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
                if kind == "plain" and anchor.files != test.files:
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


def pairs(found: Sequence[Comparison]) -> list[list[Comparison]]:
    """Comparisons of the same two curves together; first those that have a figure."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in found:
        groups.setdefault((comparison.anchor, comparison.test), []).append(comparison)
    return sorted(groups.values(), key=lambda group: not any(c.has_rate for c in group))


def remarks(found: Sequence[Comparison]) -> list[str]:
    """What must be said beside the figures, once for all metrics that it holds for."""
    metrics: dict[str, list[str]] = {}
    for comparison in found:
        delta = comparison.delta
        for remark in (delta,) if isinstance(delta, str) else delta.warnings:
            metrics.setdefault(remark, []).append(comparison.metric.name)
    return [f"{', '.join(names)}: {remark}" for remark, names in metrics.items()]


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
        rows = [
            [f"{point.kbps:.6g}", *(point.figure(m.key) for m in METRICS), point.file]
            for point in curve.points
        ]
        header = [RATE_COLUMN, *(metric.key for metric in METRICS), "file"]
        safe = re.sub(r"[^a-z0-9]+", "-", curve.name.lower()).strip("-")[:60]
        found.append((f"{number}-{safe or curve.kind}", curves_csv(header, rows)))
    return tuple(found)


def _delta(anchor: list[tuple[float, float]], test: list[tuple[float, float]]) -> BdDelta | str:
    try:
        return bjontegaard(anchor, test)
    except ValueError as error:
        return str(error)


def _kbps(entry: CodedFile | AnchorFile) -> float:
    return entry.bits.total / entry.seconds / 1000


def _projected(entry: CodedFile, report: Report) -> float | None:
    """Rate of a film that long with the same pictures: base networks are first sent once in it."""
    if report.projected_seconds is None:
        return None
    spread = max(report.projected_seconds, entry.seconds)
    rest = entry.bits.total - entry.bits.base
    return (rest / entry.seconds + entry.bits.base / spread) / 1000
