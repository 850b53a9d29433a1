# SPDX-License-Identifier: Apache-2.0
"""Model cards for people: Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nnrvideo.model.card import DataSource, ModelCard


def card_markdown(card: ModelCard) -> str:
    """A card as a page of Markdown; what is not known is left out.

    Args:
        card: The card.
    """
    parts = [f"# {plain_text(card.name)}"]
    if card.description:
        parts.append(card.description)
    facts = {**card.facts, **({"licence": card.licence} if card.licence else {})}
    parts += [_pairs(facts)] if facts else []
    if card.data:
        parts += ["## Data", *_data(card.data)]
        parts += [f"All of the training data: SHA-256 `{card.data_sha256}`."] * bool(
            card.data_sha256
        )
    if card.recipe:
        parts += ["## Recipe", _pairs({key: _value(each) for key, each in card.recipe.items()})]
    if card.metrics:
        parts += ["## Metrics", *([card.metrics_note] if card.metrics_note else [])]
        parts.append(_table(card.metrics))
    if card.limits:
        parts += ["## Limits", card.limits]
    parts += ["## Origin", _pairs(_origin(card))]
    return "\n\n".join(parts) + "\n"


def card_rows(card: ModelCard) -> dict[str, str]:
    """What a card says, but for tables, as lines for a terminal; what is not known is left out.

    Args:
        card: The card; may come from a stranger.
    """
    rows = {
        "card": f"{card.name}: {card.description}" if card.description else card.name,
        **_origin(card),
        "licence": card.licence,
        "data": ", ".join(f"{each.name} ({each.use})" for each in card.data),
        "data hash": card.data_sha256,
        "recipe": _value(dict(card.recipe)),
        "limits": card.limits,
    }
    return {
        name: text for name, each in rows.items() if (text := plain_text(each.replace("`", "")))
    }


def _origin(card: ModelCard) -> dict[str, str]:
    rows = {
        "bitstream": f"SHA-256 `{card.sha256}`" if card.sha256 else "",
        "model id": f"`{card.model_id}`" if card.model_id else "",
        "made from": ", ".join(f"`{each}`" for each in card.parents),
        "created": card.created,
        "training examples": "" if card.num_examples is None else str(card.num_examples),
        "software": ", ".join(f"{name} {each}" for name, each in card.software.items()),
    }
    energy = card.energy_estimate
    if energy is not None:
        how = f"{energy.cpu_seconds:.0f} CPU seconds at {energy.watts_per_cpu:g} W assumed"
        if energy.accelerator_seconds:
            how += (
                f", {energy.accelerator_seconds:.0f} accelerator seconds at "
                f"{energy.watts_per_accelerator:g} W assumed"
            )
        rows["energy, estimated"] = f"{energy.joules / 1000:.1f} kJ ({how}; not measured)"
    return {name: each for name, each in rows.items() if each}


def _data(sources: Sequence[DataSource]) -> Iterable[str]:
    for use in dict.fromkeys(source.use for source in sources):
        rows = [
            {
                "name": each.name,
                "examples": "" if each.examples is None else each.examples,
                "licence": each.licence,
                "note": each.note,
                "SHA-256": f"`{each.sha256}`" if each.sha256 else "",
            }
            for each in sources
            if each.use == use
        ]
        used = [name for name in rows[0] if any(row[name] != "" for row in rows)]
        yield f"{use[:1].upper()}{use[1:]}:"
        yield _table([{name: row[name] for name in used} for row in rows])


def _pairs(pairs: Mapping[str, str]) -> str:
    lines = ["| | |", "|---|---|"]
    lines += [f"| {_cell(name)} | {_cell(each)} |" for name, each in pairs.items()]
    return "\n".join(lines)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(map(_cell, columns))} |", "|" + "---|" * len(columns)]
    for row in rows:
        lines.append(f"| {' | '.join(_cell(row.get(name, '')) for name in columns)} |")
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_value(each)}" for key, each in value.items())
    return str(value)


def plain_text(value: Any) -> str:
    """Anything as text that stays in its line and commands no terminal."""
    line = " ".join(_value(value).split())
    return "".join(each for each in line if each.isprintable())


def _cell(value: Any) -> str:
    return plain_text(value).replace("|", "\\|")
