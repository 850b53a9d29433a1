# SPDX-License-Identifier: Apache-2.0
"""The report as one HTML file that needs nothing else: no server, no network, no other file.

Strings of a report come from files that may be hostile; every one of them passes through
:func:`html.escape`, and a content security policy allows the page's own script, known by its
hash, images inside the page and nothing more.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from nnrvideo.metrics import BdDelta, Quality
from nnrvideo.report.charts import Line, rate_chart, timeline_chart
from nnrvideo.report.deltas import METRICS, Comparison, Curve, Metric, comparisons, curves
from nnrvideo.report.results import CodedFile, Crop, NetworkFacts, Report, Span

_MINUS = "\u2212"
_DASH = "\u2013"
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
_MAX_TIMES = 6  # of sending a network, in words
_MAX_SCENES = 200


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
    first = [c for c in found if (c.anchor, c.test) == (found[0].anchor, found[0].test)]
    cards = []
    for comparison in first:
        delta = comparison.delta
        if isinstance(delta, str) or delta.rate_percent is None:
            figure, tone, note = _DASH, "", "no figure, see below"
        else:
            figure, tone = _percent(delta.rate_percent), _tone(-delta.rate_percent)
            note = f"{delta.quality_overlap:.0%} overlap"
        cards.append(
            f'<div class="card"><span>{comparison.metric.name}</span>'
            f'<strong class="{tone}">{figure}</strong><small>{note}</small></div>'
        )
    lead = (
        f"BD-rate of <b>{escape(found[0].test)}</b> against <b>{escape(found[0].anchor)}</b>, "
        "every bit of the networks charged. Negative: fewer bits for the same quality."
    )
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
    pairs = list(dict.fromkeys((c.anchor, c.test) for c in found))
    for anchor, test in pairs:
        rows, notes = [], []
        for comparison in found:
            if (comparison.anchor, comparison.test) == (anchor, test):
                row, remarks = _delta_row(comparison, projected=projected)
                rows.append(row)
                notes += remarks
        blocks.append(
            f"<h3>{escape(test)} against {escape(anchor)}</h3>{_table(header, rows)}"
            + "".join(f'<p class="warning">{escape(note)}</p>' for note in notes)
        )
    return f"<section><h2>Bj\u00f8ntegaard delta</h2>{''.join(blocks)}</section>"


def _delta_row(comparison: Comparison, *, projected: bool) -> tuple[list[str], list[str]]:
    metric, delta = comparison.metric, comparison.delta
    name = escape(metric.name)
    later = [_rate_cell(comparison.projected)] if projected else []
    if isinstance(delta, str):
        return [name, _DASH, *later, _DASH, _DASH, ""], [f"{metric.name}: {delta}"]
    quality = _DASH
    if delta.quality is not None:
        text = _signed(delta.quality, metric.digits + 1) + (
            f" {metric.unit}" if metric.unit else ""
        )
        quality = f'<span class="{_tone(delta.quality)}">{text}</span>'
    interval = ""
    if delta.quality_interval is not None:
        low, high = (f"{value:.{metric.digits}f}" for value in delta.quality_interval)
        interval = f"{low} {_DASH} {high} {metric.unit}"
    row = [name, _rate_cell(delta), *later, quality, f"{delta.quality_overlap:.0%}", interval]
    return row, [f"{metric.name}: {warning}" for warning in delta.warnings]


def _rate_cell(delta: BdDelta | str | None) -> str:
    if delta is None or isinstance(delta, str) or delta.rate_percent is None:
        return _DASH
    return f'<span class="{_tone(-delta.rate_percent)}">{_percent(delta.rate_percent)}</span>'


def _points_section(report: Report) -> str:
    shown = [metric for metric in METRICS if _any_figure(report, metric.key)]
    header = ["file", "kbit/s", "of it networks", *(metric.name for metric in shown)]
    header += ["PSNR-Cb", "PSNR-Cr", "flicker", "static"]
    groups = []
    for curve in curves(report):
        rows = []
        for point in curve.points:
            share = ""
            for entry in report.coded:
                if curve.kind == "network" and entry.name == point.file:
                    share = f"{entry.bits.networks / entry.bits.total:.1%}"
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
        f"{_table(header, body)}<p>PSNR in dB, of the squared error of the whole sequence. Flicker "
        "in 8-bit levels: how much the difference to the source changes from picture to picture; "
        "static: where the source stands still.</p></section>"
    )


def _figures(quality: Quality, shown: Sequence[Metric]) -> list[str]:
    cells = [_figure(getattr(quality, metric.key), metric.digits) for metric in shown]
    cells += [_figure(quality.psnr_cb, 2), _figure(quality.psnr_cr, 2)]
    return [*cells, _figure(quality.flicker, 3), _figure(quality.static_flicker, 3)]


def _files_section(report: Report) -> str:
    shown = len(report.coded) // 2
    parts = [_file(entry, opened=number == shown) for number, entry in enumerate(report.coded)]
    return f"<section><h2>File by file</h2>{''.join(parts)}</section>"


def _file(entry: CodedFile, *, opened: bool) -> str:
    summary = (
        f"<b>{escape(entry.name)}</b> <span>{escape(entry.codec)} {entry.width}\u00d7{entry.height}"
        f", {entry.bits.total / entry.seconds / 1000:,.0f} kbit/s</span> "
        f"{_gain(entry.plain.psnr_y, entry.network.psnr_y)} dB"
    )
    notes = [f"network on {entry.enhanced} of {entry.pictures} pictures", *entry.notes]
    if entry.unpaired:
        notes.append(f"{entry.unpaired} pictures without a partner in the source")
    return (
        f"<details{' open' if opened else ''}><summary>{summary}</summary>"
        f'<p class="notes">{escape("; ".join(notes))}</p>'
        f"{_stability(entry)}"
        f"<h3>Bits by kind</h3>{_bits(entry)}"
        f"<h3>Bits and gain over time</h3>{_timeline(entry)}"
        f"<h3>Networks</h3>{_networks(entry.networks)}"
        f"{_crops(entry.crops)}{_change(entry)}</details>"
    )


def _stability(entry: CodedFile) -> str:
    plain, network = entry.plain, entry.network
    sentences = []
    for name, before, after in (
        ("Flicker", plain.flicker, network.flicker),
        ("where the source stands still", plain.static_flicker, network.static_flicker),
    ):
        if before and after is not None:
            ratio = after / before
            sentences.append(
                f'{name} <span class="{_tone(1 - ratio, 0.005)}">{ratio:.1%}</span> of the plain '
                f"picture\u2019s ({before:.3f} \u2192 {after:.3f})"
            )
    return f"<p>{', '.join(sentences)}.</p>" if sentences else ""


def _bits(entry: CodedFile) -> str:
    kinds = (
        ("video", "video", entry.bits.video),
        ("base networks", "base", entry.bits.base),
        ("updates", "update", entry.bits.updates),
        ("repetitions", "repeat", entry.bits.repeats),
        ("activations", "activation", entry.bits.activations),
    )
    total = entry.bits.total
    bars = "".join(
        f'<i class="{style}" style="width:{100 * bits / total:.3f}%"></i>'
        for _, style, bits in kinds
        if bits
    )
    rows = [
        [f'<i class="key {style}"></i>{name}', f"{bits:,}", f"{bits / total:.2%}"]
        for name, style, bits in kinds
        if bits
    ]
    return f'<div class="stack">{bars}</div>{_table(["kind", "bits", "share"], rows)}'


def _timeline(entry: CodedFile) -> str:
    legend = (
        '<ul class="legend"><li class="video"><i></i>video</li><li class="net"><i></i>networks'
        '</li><li class="gain"><i></i>gain of the network, dB PSNR-Y</li></ul>'
    )
    chart = f'<figure class="wide">{timeline_chart(entry.timeline, entry.scenes)}</figure>{legend}'
    rows = [_scene_row(number, scene) for number, scene in enumerate(entry.scenes[:_MAX_SCENES], 1)]
    header = ["scene", "from s", "to s", "video kbit/s", "network bits"]
    header += ["PSNR-Y plain", "network", "gain dB", "VMAF plain", "network"]
    more = ""
    if len(entry.scenes) > _MAX_SCENES:
        more = f"<p>and {len(entry.scenes) - _MAX_SCENES} scenes more</p>"
    return chart + (_table(header, rows) + more if rows else "")


def _scene_row(number: int, scene: Span) -> list[str]:
    rate = scene.video_bits / (scene.end - scene.start) / 1000
    return [
        str(number),
        f"{scene.start:.2f}",
        f"{scene.end:.2f}",
        f"{rate:,.1f}",
        f"{scene.network_bits:,}",
        _figure(scene.plain_psnr_y, 2),
        _figure(scene.network_psnr_y, 2),
        _gain(scene.plain_psnr_y, scene.network_psnr_y),
        _figure(scene.plain_vmaf, 2),
        _figure(scene.network_vmaf, 2),
    ]


def _networks(networks: Sequence[NetworkFacts]) -> str:
    header = ["id", "kind", "purpose", "output", "bytes", "parameters", "kMAC/sample"]
    header += ["sent at", "sha256"]
    rows = []
    for network in networks:
        size = network.output_size
        times = ", ".join(f"{at:.3f}" for at in network.sent_at[:_MAX_TIMES])
        if len(network.sent_at) > _MAX_TIMES:
            times += f", \u2026 ({len(network.sent_at)} times)"
        uri = f"<br>{escape(network.uri)}" if network.uri else ""
        rows.append(
            [
                str(network.nnpfc_id),
                "base" if network.is_base else "update",
                escape(", ".join(network.purposes)) + uri,
                f"{size[0]}\u00d7{size[1]}" if size else _DASH,
                f"{network.payload_bytes:,}",
                f"{network.parameters:,}" if network.parameters is not None else _DASH,
                str(network.kmac_per_sample) if network.kmac_per_sample is not None else _DASH,
                f"{times} s",
                f"<code>{escape(network.sha256)}</code>",
            ]
        )
    return _table(header, rows)


def _crops(crops: Sequence[Crop]) -> str:
    if not crops:
        return ""
    figures = []
    for crop in crops:
        gain = f"{_signed(crop.gain_db, 2)} dB" if math.isfinite(crop.gain_db) else ""
        caption = f"{crop.kind}, at {crop.seconds:.3f} s, x {crop.x}, y {crop.y}"
        figures.append(
            f'<div class="crop"><h4>{escape(caption)} <span class="{_tone(crop.gain_db)}">{gain}'
            '</span></h4><div class="row"><figure><div class="slider">'
            f"{_image(crop.plain, 'plain')}{_image(crop.network, 'network', 'after')}"
            '<input type="range" min="0" max="100" value="50" step="0.5" '
            'aria-label="plain on the left, network on the right"></div>'
            "<figcaption>plain | network</figcaption></figure>"
            f"<figure>{_image(crop.reference, 'source')}<figcaption>source</figcaption></figure>"
            f"<figure>{_image(crop.change, 'change')}<figcaption>|network {_MINUS} plain|, 0"
            f"{_ramp()}{crop.change_scale:.3g}</figcaption></figure></div></div>"
        )
    return f"<h3>Before and after</h3>{''.join(figures)}"


def _change(entry: CodedFile) -> str:
    if entry.change_map is None:
        return ""
    return (
        "<h3>Where the network changes the picture</h3><figure>"
        f"{_image(entry.change_map.image, 'change map', 'map')}"
        f"<figcaption>mean of |network {_MINUS} plain| over the sequence, 8-bit levels of luma: "
        f"0{_ramp()}{entry.change_map.scale:.3g}; over all {entry.change_map.mean:.3f}"
        "</figcaption></figure>"
    )


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
    items += [f"Absent: {metric}: {reason}" for metric, reason in report.absent.items()]
    rows = "".join(f"<li>{escape(item)}</li>" for item in items)
    foot = f"<footer>{escape(report.software)}</footer>" if report.software else ""
    return f"<section><h2>How it was measured</h2><ul>{rows}</ul></section></main>{foot}"


# -- small parts ---------------------------------------------------------------------------------


def _line(curve: Curve, number: int, metric: Metric) -> Line:
    points, tips = curve.line(metric.key), []
    for rate, figure in points:
        name = next((p.file for p in curve.points if p.kbps == rate), "")
        tips.append(
            f"{curve.name}\n{name}\n{rate:,.1f} kbit/s\n{metric.name} {figure:.{metric.digits}f} "
            f"{metric.unit}".rstrip()
        )
    return Line(curve.name, f"s{number % 8}", points, tips)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are markup and escaped already; a lone ``<th`` fills its row."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(
        "<tr>" + "".join(c if c.startswith("<th") else f"<td>{c}</td>" for c in row) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def _image(data: bytes, name: str, style: str = "") -> str:
    source = base64.b64encode(data).decode("ascii")
    kind = f' class="{style}"' if style else ""
    return f'<img{kind} alt="{name}" src="data:image/png;base64,{source}">'


def _ramp() -> str:
    return '<i class="ramp"></i>'


def _any_figure(report: Report, key: str) -> bool:
    sides = [quality for entry in report.coded for quality in (entry.plain, entry.network)]
    sides += [anchor.quality for anchor in report.anchors]
    return any(getattr(quality, key) is not None for quality in sides)


def _with_unit(metric: Metric) -> str:
    return f"{metric.name}, {metric.unit}" if metric.unit else metric.name


def _figure(value: float | None, digits: int) -> str:
    if value is None:
        return _DASH
    return "\u221e" if math.isinf(value) else f"{value:.{digits}f}"


def _gain(plain: float | None, network: float | None) -> str:
    """Difference of two figures; a dash where one is missing or infinite."""
    if plain is None or network is None or not math.isfinite(network - plain):
        return _DASH
    gain = network - plain
    return f'<span class="{_tone(gain, 0.005)}">{_signed(gain, 2)}</span>'


def _percent(value: float) -> str:
    return f"{_signed(value, 1)}\u202f%"


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", _MINUS)


def _tone(gain: float, dead: float = 0.0) -> str:
    """Class of a figure by its sign: better, worse, or neither."""
    if gain > dead:
        return "better"
    return "worse" if gain < -dead else ""
