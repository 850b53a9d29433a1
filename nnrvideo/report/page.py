# SPDX-License-Identifier: Apache-2.0
"""The report as one HTML file that needs nothing else: no server, no network, no other file.

Strings of a report come from files that may be hostile; every one of them passes through
:func:`html.escape`, and a content security policy allows the page's own script, known by its
hash, images inside the page and nothing more.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from nnrvideo.metrics import BdDelta, Quality
from nnrvideo.report.charts import Line, rate_chart
from nnrvideo.report.deltas import (
    METRICS,
    Comparison,
    Curve,
    Metric,
    comparisons,
    curves,
    pairs,
    remarks,
)
from nnrvideo.report.file_section import file_section
from nnrvideo.report.markup import DASH, number, percent, signed, table, tone_of
from nnrvideo.report.results import Report

_METHOD = (
    (
        "Rates count the video stream with its messages; container, audio and subtitles are left "
        "out. The plain side is charged without the networks."
    ),
    (
        "PSNR: of the squared error of the whole sequence. SSIM: Gaussian window 11\u00d711, "
        "mean over pictures. MS-SSIM: five scales by 2\u00d72 means. All of luma."
    ),
    (
        "Bj\u00f8ntegaard delta: pchip over the logarithm of the rate, within the interval that "
        "both curves cover; the overlap is its share of the longer curve\u2019s range. Below 75 % "
        "it is doubtful, below 25 % there is no figure."
    ),
    (
        "Flicker: root mean square, over samples and pairs of neighbouring pictures, of the change "
        "of (picture \u2212 source); static: where the source moves by two 8-bit levels at most."
    ),
)


def render(report: Report) -> str:
    """The page.

    Args:
        report: What to show.

    Returns:
        A complete HTML document.
    """
    style, script = _asset("report.css"), _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    body = "".join(
        [
            _header(report),
            _verdict(report),
            _curves_section(report),
            _deltas_section(report),
            _points_section(report),
            _files_section(report),
            _method_section(report),
        ]
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{style}</style></head>\n"
        f"<body>{body}<script>{script}</script></body></html>\n"
    )


def _asset(name: str) -> str:
    return (files("nnrvideo.report") / "assets" / name).read_text(encoding="utf-8")


# -- sections ------------------------------------------------------------------------------------


def _header(report: Report) -> str:
    source = report.source
    rate = f", {source.frame_rate:.4g} pictures/s" if source.frame_rate else ""
    facts = (
        f"{source.name}: {source.width}\u00d7{source.height}, {source.bit_depth} bits{rate}, "
        f"{source.pictures} pictures, {source.seconds:.2f} s"
    )
    return f"<header><h1>{escape(report.title)}</h1><p>{escape(facts)}</p></header><main>"


def _verdict(report: Report) -> str:
    """The first comparison in large figures."""
    found = comparisons(report)
    if not found:
        return ""
    first = pairs(found)[0]
    cards = []
    for comparison in first:
        delta = comparison.delta
        if isinstance(delta, str) or delta.rate_percent is None:
            figure, tone, note = DASH, "", "no figure, see below"
        else:
            figure, tone = percent(delta.rate_percent), tone_of(-delta.rate_percent)
            note = f"{delta.quality_overlap:.0%} overlap"
        cards.append(
            f'<div class="card"><span>{comparison.metric.name}</span>'
            f'<strong class="{tone}">{figure}</strong><small>{note}</small></div>'
        )
    lead = (
        f"BD-rate of <b>{escape(first[0].test)}</b> against <b>{escape(first[0].anchor)}</b>, "
        "every bit of the networks charged. Negative: fewer bits for the same quality."
    )
    if report.anchors and first[0].anchor not in {anchor.curve for anchor in report.anchors}:
        lead += " No anchor covers enough of the same qualities, see below."
    return f'<section><p class="lead">{lead}</p><div class="cards">{"".join(cards)}</div></section>'


def _curves_section(report: Report) -> str:
    every = curves(report)
    tabs: list[str] = []
    panels: list[str] = []
    for metric in METRICS:
        lines = [_line(curve, number, metric) for number, curve in enumerate(every)]
        chart = rate_chart(lines, _with_unit(metric), metric.digits)
        if not chart:
            continue
        first = not panels
        tabs.append(
            f'<button type="button" role="tab" data-panel="{metric.key}" '
            f'aria-selected="{str(first).lower()}">{metric.name}</button>'
        )
        panels.append(
            f'<figure class="panel{" shown" if first else ""}" id="panel-{metric.key}">'
            f"<figcaption>{escape(_with_unit(metric))}</figcaption>{chart}</figure>"
        )
    legend = "".join(
        f'<li class="s{number % 8}"><i></i>{escape(curve.name)}</li>'
        for number, curve in enumerate(every)
    )
    return (
        f'<section><h2>Quality over rate</h2><div class="tabs" role="tablist">{"".join(tabs)}'
        f'</div><div class="panels">{"".join(panels)}</div><ul class="legend">{legend}</ul>'
        "</section>"
    )


def _deltas_section(report: Report) -> str:
    found = comparisons(report)
    if not found:
        return ""
    projected = any(comparison.projected is not None for comparison in found)
    header = ["metric", "BD-rate", "BD-metric", "overlap", "interval"]
    if projected:
        header.insert(2, f"BD-rate if {report.projected_seconds:.4g} s long")
    blocks = []
    for group in pairs(found):
        rows = [_delta_row(comparison, projected=projected) for comparison in group]
        blocks.append(
            f"<h3>{escape(group[0].test)} against {escape(group[0].anchor)}</h3>"
            f"{table(header, rows)}"
            + "".join(f'<p class="warning">{escape(remark)}</p>' for remark in remarks(group))
        )
    return f"<section><h2>Bj\u00f8ntegaard delta</h2>{''.join(blocks)}</section>"


def _delta_row(comparison: Comparison, *, projected: bool) -> list[str]:
    metric, delta = comparison.metric, comparison.delta
    name = escape(metric.name)
    later = [_rate_cell(comparison.projected)] if projected else []
    if isinstance(delta, str):
        return [name, DASH, *later, DASH, DASH, ""]
    quality = DASH
    if delta.quality is not None:
        text = signed(delta.quality, metric.digits + 1) + (f" {metric.unit}" if metric.unit else "")
        quality = f'<span class="{tone_of(delta.quality)}">{text}</span>'
    interval = ""
    if delta.quality_interval is not None:
        low, high = (f"{value:.{metric.digits}f}" for value in delta.quality_interval)
        interval = f"{low} {DASH} {high} {metric.unit}"
    return [name, _rate_cell(delta), *later, quality, f"{delta.quality_overlap:.0%}", interval]


def _rate_cell(delta: BdDelta | str | None) -> str:
    if delta is None or isinstance(delta, str) or delta.rate_percent is None:
        return DASH
    return f'<span class="{tone_of(-delta.rate_percent)}">{percent(delta.rate_percent)}</span>'


def _points_section(report: Report) -> str:
    shown = [metric for metric in METRICS if _any_figure(report, metric.key)]
    header = ["file", "kbit/s", "of it networks", *(metric.name for metric in shown)]
    header += ["PSNR-Cb", "PSNR-Cr", "flicker", "static"]
    groups = []
    for curve in curves(report):
        rows = []
        for point in curve.points:
            share = "" if point.network_share is None else f"{point.network_share:.1%}"
            rows.append(
                [escape(point.file), f"{point.kbps:,.1f}", share, *_figures(point.quality, shown)]
            )
        groups.append((curve.name, rows))
    body = [
        [f'<th class="group" colspan="{len(header)}">{escape(name)}</th>'] if row is None else row
        for name, rows in groups
        for row in (None, *rows)
    ]
    return (
        "<section><h2>Points</h2>"
        f"{table(header, body)}<p>PSNR in dB, of the squared error of the whole sequence. Flicker "
        "in 8-bit levels: how much the difference to the source changes from picture to picture; "
        "static: where the source stands still.</p></section>"
    )


def _figures(quality: Quality, shown: Sequence[Metric]) -> list[str]:
    cells = [number(getattr(quality, metric.key), metric.digits) for metric in shown]
    cells += [number(quality.psnr_cb, 2), number(quality.psnr_cr, 2)]
    return [*cells, number(quality.flicker, 3), number(quality.static_flicker, 3)]


def _files_section(report: Report) -> str:
    shown = len(report.coded) // 2
    parts = [
        file_section(entry, opened=number == shown) for number, entry in enumerate(report.coded)
    ]
    return f"<section><h2>File by file</h2>{''.join(parts)}</section>"


def _method_section(report: Report) -> str:
    items = [
        *_METHOD,
        (
            "Plain and network start from the same decoded pictures; plain ones are brought to "
            f"the source\u2019s size by {report.upscaler}."
        ),
    ]
    if report.vmaf_model:
        items.append(
            f"VMAF: model {report.vmaf_model}, VMAF-NEG: {report.vmaf_model}neg, libvmaf "
            f"{report.libvmaf_version}, mean over pictures."
        )
    if report.projected_seconds is not None:
        items.append(
            f"\u201cIf {report.projected_seconds:.4g} s long\u201d spreads the base networks, sent "
            "once, over that time; pictures, updates and repetitions go on at their rate. It is a "
            "projection, no measurement."
        )
    items += [
        f"{anchor.name}: {anchor.unpaired} pictures have no partner in the source."
        for anchor in report.anchors
        if anchor.unpaired
    ]
    items += [f"Absent: {metric}: {reason}" for metric, reason in report.absent.items()]
    rows = "".join(f"<li>{escape(item)}</li>" for item in items)
    foot = f"<footer>{escape(report.software)}</footer>" if report.software else ""
    return f"<section><h2>How it was measured</h2><ul>{rows}</ul></section></main>{foot}"


def _line(curve: Curve, number: int, metric: Metric) -> Line:
    points, tips = [], []
    for point in curve.points:
        figure = point.figure(metric.key)
        if figure is not None:
            points.append((point.kbps, figure))
            tips.append(
                f"{curve.name}\n{point.file}\n{point.kbps:,.1f} kbit/s\n"
                f"{metric.name} {figure:.{metric.digits}f} {metric.unit}".rstrip()
            )
    return Line(curve.name, f"s{number % 8}", points, tips)


def _any_figure(report: Report, key: str) -> bool:
    sides = [quality for entry in report.coded for quality in (entry.plain, entry.network)]
    sides += [anchor.quality for anchor in report.anchors]
    return any(getattr(quality, key) is not None for quality in sides)


def _with_unit(metric: Metric) -> str:
    return f"{metric.name}, {metric.unit}" if metric.unit else metric.name
