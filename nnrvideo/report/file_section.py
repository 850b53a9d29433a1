# SPDX-License-Identifier: Apache-2.0
"""The part of the page about one file: bits, time, networks, pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from nnrvideo.report.charts import timeline_chart
from nnrvideo.report.markup import (
    DASH,
    MINUS,
    RAMP,
    gain_cell,
    image,
    number,
    signed,
    table,
    tone_of,
)
from nnrvideo.report.results import CodedFile, Crop, NetworkFacts, Span

_MAX_TIMES = 6  # of sending a network, in words
_MAX_SCENES = 200


def file_section(entry: CodedFile, *, opened: bool) -> str:
    """Everything about one file, folded away unless ``opened``."""
    summary = (
        f"<b>{escape(entry.name)}</b> <span>{escape(entry.codec)} {entry.width}\u00d7{entry.height}"
        f", {entry.bits.total / entry.seconds / 1000:,.0f} kbit/s</span> "
        f"{gain_cell(entry.plain.psnr_y, entry.network.psnr_y)} dB"
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
                f'{name} <span class="{tone_of(1 - ratio, 0.005)}">{ratio:.1%}</span> of the plain '
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
    return f'<div class="stack">{bars}</div>{table(["kind", "bits", "share"], rows)}'


def _timeline(entry: CodedFile) -> str:
    legend = (
        '<ul class="legend"><li class="video"><i></i>video</li><li class="net"><i></i>networks'
        '</li><li class="gain"><i></i>gain of the network, dB PSNR-Y</li></ul>'
    )
    chart = f'<figure class="wide">{timeline_chart(entry.timeline, entry.scenes)}</figure>{legend}'
    rows = [_scene_row(count, scene) for count, scene in enumerate(entry.scenes[:_MAX_SCENES], 1)]
    header = ["scene", "from s", "to s", "video kbit/s", "network bits"]
    header += ["PSNR-Y plain", "network", "gain dB", "VMAF plain", "network"]
    more = ""
    if len(entry.scenes) > _MAX_SCENES:
        more = f"<p>and {len(entry.scenes) - _MAX_SCENES} scenes more</p>"
    return chart + (table(header, rows) + more if rows else "")


def _scene_row(count: int, scene: Span) -> list[str]:
    rate = scene.video_bits / (scene.end - scene.start) / 1000
    return [
        str(count),
        f"{scene.start:.2f}",
        f"{scene.end:.2f}",
        f"{rate:,.1f}",
        f"{scene.network_bits:,}",
        number(scene.plain_psnr_y, 2),
        number(scene.network_psnr_y, 2),
        gain_cell(scene.plain_psnr_y, scene.network_psnr_y),
        number(scene.plain_vmaf, 2),
        number(scene.network_vmaf, 2),
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
                f"{size[0]}\u00d7{size[1]}" if size else DASH,
                f"{network.payload_bytes:,}",
                f"{network.parameters:,}" if network.parameters is not None else DASH,
                str(network.kmac_per_sample) if network.kmac_per_sample is not None else DASH,
                f"{times} s",
                f"<code>{escape(network.sha256)}</code>",
            ]
        )
    return table(header, rows)


def _crops(crops: Sequence[Crop]) -> str:
    if not crops:
        return ""
    figures = []
    for crop in crops:
        gain = f"{signed(crop.gain_db, 2)} dB" if math.isfinite(crop.gain_db) else ""
        caption = f"{crop.kind}, at {crop.seconds:.3f} s, x {crop.x}, y {crop.y}"
        figures.append(
            f'<div class="crop"><h4>{escape(caption)} <span class="{tone_of(crop.gain_db)}">{gain}'
            '</span></h4><div class="row"><figure><div class="slider">'
            f"{image(crop.plain, 'plain')}{image(crop.network, 'network', 'after')}"
            '<input type="range" min="0" max="100" value="50" step="0.5" '
            'aria-label="plain on the left, network on the right"></div>'
            "<figcaption>plain | network</figcaption></figure>"
            f"<figure>{image(crop.reference, 'source')}<figcaption>source</figcaption></figure>"
            f"<figure>{image(crop.change, 'change')}<figcaption>|network {MINUS} plain|, 0"
            f"{RAMP}{crop.change_scale:.3g}</figcaption></figure></div></div>"
        )
    return f"<h3>Before and after</h3>{''.join(figures)}"


def _change(entry: CodedFile) -> str:
    if entry.change_map is None:
        return ""
    return (
        "<h3>Where the network changes the picture</h3><figure>"
        f"{image(entry.change_map.image, 'change map', 'map')}"
        f"<figcaption>mean of |network {MINUS} plain| over the sequence, 8-bit levels of luma: "
        f"0{RAMP}{entry.change_map.scale:.3g}; over all {entry.change_map.mean:.3f}"
        "</figcaption></figure>"
    )
