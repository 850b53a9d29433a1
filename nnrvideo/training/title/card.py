# SPDX-License-Identifier: Apache-2.0
"""The model card of a network that was trained for a title."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from nnrvideo.jsontext import JSON
from nnrvideo.model import DataSource, ModelCard, make_card
from nnrvideo.training.title.results import TitleReport
from nnrvideo.training.title.settings import TitleSettings
from nnrvideo.training.title.workshop import content_id


def title_card(
    bitstream: bytes,
    report: TitleReport,
    settings: TitleSettings,
    *,
    source: Path,
    codec: str,
    options: Mapping[str, str],
) -> ModelCard:
    """Says where the network of a title comes from and what it was worth there.

    Args:
        bitstream: The network, which is ``report.network``.
        report: What came of the title; something was tried.
        settings: What was asked for.
        source: The title.
        codec: Its encoder.
        options: Of the encoder.

    Raises:
        ContainerError: The source cannot be read.
        ValueError: The report holds no network.
    """
    best = report.best
    if best is None:
        raise ValueError("no network was tried")
    recipe: dict[str, JSON] = {
        "mode": best.mode,
        "tier": best.tier,
        "steps": best.steps,
        "seed": settings.seed,
        "codec": codec,
        "quality": best.point.knob,
        "options": dict(options),
    }
    row: dict[str, JSON] = {
        "title": source.name,
        "variant": best.variant,
        "bits": best.point.bits.total,
        "without": _number(best.without),
        "with": _number(best.point.quality),
        "gain over plain at equal bits": _number(best.gain),
    }
    return make_card(
        bitstream,
        f"{source.stem} {best.mode} {best.tier}",
        description=f"trained on {source.name} alone, for pictures decoded from its {codec} encode",
        cpu_seconds=report.network_seconds,
        data=(
            DataSource(
                name=source.name,
                sha256=content_id(source),
                note=f"up to {settings.pictures} pictures, evenly spread, luma of 8 bits",
            ),
        ),
        recipe=recipe,
        metrics=(row,),
        metrics_note=f"{report.target} of the sequence as shown; bits of networks included; "
        "measured on the pictures it was trained on",
        limits="other titles, other qualities",
    )


def _number(value: float) -> float | str:
    """JSON knows no infinity."""
    return round(value, 4) if math.isfinite(value) else str(value)
