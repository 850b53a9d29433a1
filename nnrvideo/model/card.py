# SPDX-License-Identifier: Apache-2.0
"""Model cards: where a network comes from, what it was trained on, and what it is worth.

A card is JSON, version 1, with the fields of :class:`ModelCard`.  How it is made and bound to its
network is the business of :mod:`nnrvideo.model.card_binding`.  A card is a claim of whoever wrote
it: nothing here is authenticated.

Energy is an estimate and called so: CPU seconds times assumed watts (10 for each busy CPU, a
server's processor and memory at load divided by its threads, or whatever the maker of the card
knows), plus accelerator seconds times assumed watts.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Self, final

from nnrvideo.errors import ModelError
from nnrvideo.jsontext import JSON, parse_json

FORMAT: Final = "nnrvideo-model-card"
VERSION: Final = 1
WATTS_PER_CPU: Final = 10.0
WATTS_PER_ACCELERATOR: Final = 300.0

MAX_BYTES: Final = 1 << 20


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """Something that a network was trained or judged on.

    Args:
        name: What it is called.
        use: ``"training"`` or ``"held out"``, for instance.
        sha256: Of its file, or of the data card of a set; "" where nobody noted it.
        examples: How many it gave; None where nobody counted.
        licence: Under which it may be used, with its author.
        note: Which part, how prepared.
    """

    name: str
    use: str = "training"
    sha256: str = ""
    examples: int | None = None
    licence: str = ""
    note: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyEstimate:
    """What making a network took, estimated.

    Args:
        cpu_seconds: Of all threads.
        watts_per_cpu: Assumed for each busy CPU.
        accelerator_seconds: Of all accelerators.
        watts_per_accelerator: Assumed for each.
    """

    cpu_seconds: float
    watts_per_cpu: float = WATTS_PER_CPU
    accelerator_seconds: float = 0.0
    watts_per_accelerator: float = WATTS_PER_ACCELERATOR

    @property
    def joules(self) -> float:
        """Seconds times watts."""
        return (
            self.cpu_seconds * self.watts_per_cpu
            + self.accelerator_seconds * self.watts_per_accelerator
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What is known about a network.

    Args:
        name: What it is called.
        description: What it does, in a sentence.
        sha256: Of its bitstream; "" in a card that travels in the graph.
        model_id: Of its exact weights, as updates name it; "" if it is an update whose base is
            not at hand.
        parents: ``model_id`` of the networks that it was made from.
        created: When, RFC 3339.
        licence: Of the network.
        facts: Input, output, size, cost, by name.
        data: What it was trained and judged on.
        data_sha256: Of the training data as a whole, see :func:`data_sha256`; "" where a source
            has no hash of its own.
        num_examples: Training examples, by which an average of networks weighs this one.
        recipe: How it was trained: loss, optimiser, learning rate, steps, seed, codec and quality
            of the training content.
        metrics: Rows of a table, all with the same names.
        metrics_note: How they were measured.
        limits: What it is not good for.
        software: Versions by name.
        energy_estimate: What training took.
    """

    name: str
    description: str = ""
    sha256: str = ""
    model_id: str = ""
    parents: tuple[str, ...] = ()
    created: str = ""
    licence: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    data: tuple[DataSource, ...] = ()
    data_sha256: str = ""
    num_examples: int | None = None
    recipe: Mapping[str, JSON] = field(default_factory=dict)
    metrics: tuple[Mapping[str, JSON], ...] = ()
    metrics_note: str = ""
    limits: str = ""
    software: Mapping[str, str] = field(default_factory=dict)
    energy_estimate: EnergyEstimate | None = None

    def to_json(self) -> dict[str, JSON]:
        """The card as JSON values; the estimate of energy with its sum."""
        facts = asdict(self)
        if self.energy_estimate is not None:
            facts["energy_estimate"]["joules"] = self.energy_estimate.joules
        return {"format": FORMAT, "version": VERSION, **facts}

    def to_text(self) -> str:
        """The card as a file."""
        try:
            text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ModelError(f"the model card is no JSON: {error}") from error
        return text + "\n"

    @classmethod
    def from_text(cls, text: str | bytes) -> Self:
        """Reads a card.

        Args:
            text: JSON; untrusted.

        Raises:
            ModelError: It is no card, or a field is not what it should be; names it.
        """
        if len(text) > MAX_BYTES:
            raise ModelError(f"a model card has at most {MAX_BYTES} bytes")
        try:
            value = parse_json(text)
        except ValueError as error:
            raise ModelError(f"the model card cannot be read: {error}") from error
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ModelError(f'this is no model card: "format" must be "{FORMAT}"')
        if value.get("version") != VERSION:
            raise ModelError(f"model cards of version {value.get('version')!r} are not known")
        return cls(**_card_fields(value))


def data_sha256(data: Sequence[DataSource]) -> str:
    """The identity of training data as a whole.

    Args:
        data: Sources; only those for training count, and their order and names do not.

    Returns:
        SHA-256 (hex) over their hashes, sorted, one a line; "" if one has none.
    """
    hashes = sorted(source.sha256 for source in data if source.use == "training")
    if not hashes or not all(hashes):
        return ""
    return hashlib.sha256("".join(f"{each}\n" for each in hashes).encode()).hexdigest()


def _card_fields(value: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a card, each checked; those of later versions of this package are passed over."""
    given = {each.name: value[each.name] for each in fields(ModelCard) if each.name in value}
    if "name" not in given:
        raise ModelError("model card: name is missing")
    for name, each in given.items():
        given[name] = _CHECKS.get(name, _text)(each, name)
    return given


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ModelError(f"model card: {name} must be text")
    return value


def _count(value: Any, name: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ModelError(f"model card: {name} must be a count or null")
    return value


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ModelError(f"model card: {name} must be a list of texts")
    return tuple(_text(each, name) for each in value)


def _object(value: Any, name: str) -> dict[str, JSON]:
    if not isinstance(value, dict):
        raise ModelError(f"model card: {name} must be an object")
    return value


def _object_of_texts(value: Any, name: str) -> dict[str, str]:
    return {key: _text(each, f"{name}.{key}") for key, each in _object(value, name).items()}


def _objects(value: Any, name: str) -> tuple[dict[str, JSON], ...]:
    if not isinstance(value, list):
        raise ModelError(f"model card: {name} must be a list of objects")
    return tuple(_object(each, name) for each in value)


def _sources(value: Any, name: str) -> tuple[DataSource, ...]:
    sources = []
    for each in _objects(value, name):
        known = {f.name: each[f.name] for f in fields(DataSource) if f.name in each}
        for key, content in known.items():
            check = _count if key == "examples" else _text
            check(content, f"{name}.{key}")
        if "name" not in known:
            raise ModelError(f"model card: {name}.name is missing")
        sources.append(DataSource(**known))  # type: ignore[arg-type]
    return tuple(sources)


def _energy(value: Any, name: str) -> EnergyEstimate | None:
    if value is None:
        return None
    given = _object(value, name)
    names = [each.name for each in fields(EnergyEstimate)]
    return EnergyEstimate(
        **{each: _number(given.get(each, 0.0), f"{name}.{each}") for each in names}
    )


def _number(value: Any, name: str) -> float:
    proper = isinstance(value, int | float) and not isinstance(value, bool)
    if not proper or not math.isfinite(value) or value < 0:
        raise ModelError(f"model card: {name} must be a number, 0 or more")
    return float(value)


_CHECKS: Final[Mapping[str, Any]] = {
    "parents": _texts,
    "facts": _object_of_texts,
    "data": _sources,
    "num_examples": _count,
    "recipe": _object,
    "metrics": _objects,
    "software": _object_of_texts,
    "energy_estimate": _energy,
}
