# SPDX-License-Identifier: Apache-2.0
"""Makes model cards, and keeps each with its network.

A card lies beside its network as ``NET.nnc.card.json`` and is bound to it by the bitstream's
SHA-256; or it travels in the graph's metadata, where every bit of it is sent, so only when somebody
asks for that (:func:`with_card`).
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from nnrvideo.errors import ModelError
from nnrvideo.files import PathLike, write_bytes
from nnrvideo.model.card import MAX_BYTES, EnergyEstimate, ModelCard, data_sha256
from nnrvideo.model.complexity import measure
from nnrvideo.model.package import unpack
from nnrvideo.model.topology import Network, Topology
from nnrvideo.model.update import Received, model_id, receive

SUFFIX: Final = ".card.json"

_MAX_EMBEDDED: Final = 32 << 10  # characters
_METADATA: Final = "card."  # with a number; one entry of metadata is short
_ENTRY: Final = 1000  # characters
_PACKAGES: Final = ("nnrvideo", "numpy", "av", "onnx", "onnxruntime", "torch")


def make_card(
    bitstream: bytes,
    name: str,
    *,
    base: Received | None = None,
    parents: Sequence[str] = (),
    cpu_seconds: float | None = None,
    accelerator_seconds: float = 0.0,
    facts: Mapping[str, str] | None = None,
    created: datetime | None = None,
    **known: Any,
) -> ModelCard:
    """Makes the card of a network that has just been trained.

    What the bitstream tells is filled in: hashes, ids, the parent of an update, size, cost.  So
    are time, software and the estimate of energy.

    Args:
        bitstream: The network, or an update, as NNC.
        name: What it is called.
        base: What an update builds on; without it the update's own ``model_id`` stays unknown.
        parents: Ids of the networks it was made from, besides the one an update names.
        cpu_seconds: That training took, of all threads; None for no estimate of energy.
        accelerator_seconds: Likewise.
        facts: More about it.
        created: When; by default now.
        known: Other fields of :class:`ModelCard`: ``description``, ``licence``, ``data``,
            ``num_examples``, ``recipe``, ``metrics``, ``metrics_note``, ``limits``.

    Raises:
        ModelError: The bitstream is no network, or does not fit the base.
        BitstreamError: It is damaged.
    """
    data = tuple(known.pop("data", ()))
    card = ModelCard(
        name=name,
        parents=tuple(parents),
        created=(created or datetime.now(UTC)).isoformat("T", "seconds"),
        facts=dict(facts or {}),
        data=data,
        data_sha256=data_sha256(data),
        software=software(),
        energy_estimate=None
        if cpu_seconds is None
        else EnergyEstimate(cpu_seconds=cpu_seconds, accelerator_seconds=accelerator_seconds),
        **known,
    )
    return bind_card(card, bitstream, base=base)


def bind_card(card: ModelCard, bitstream: bytes, *, base: Received | None = None) -> ModelCard:
    """The card with what a bitstream tells about itself.

    Args:
        card: What is known otherwise, for instance of the network before it was packed.
        bitstream: The network, or an update.
        base: As for :func:`make_card`.

    Raises:
        ModelError: The bitstream is no network, or does not fit the base.
        BitstreamError: It is damaged.
    """
    told, parents, of_itself = _told_by(bitstream, base)
    return replace(
        card,
        sha256=hashlib.sha256(bitstream).hexdigest(),
        model_id=of_itself,
        parents=tuple(dict.fromkeys((*parents, *card.parents))),
        facts={**card.facts, **told},
    )


def software() -> dict[str, str]:
    """Versions of what makes networks here; PyTorch's only where it is loaded."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in _PACKAGES:
        if package == "torch" and package not in sys.modules:
            continue
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def card_path(network: PathLike) -> Path:
    """Where the card of a network's file lies."""
    path = Path(network)
    return path.with_name(path.name + SUFFIX)


def save_card(card: ModelCard, network: PathLike, *, overwrite: bool = False) -> Path:
    """Writes a card beside its network.

    Args:
        card: The card.
        network: File of the bitstream.
        overwrite: Whether an existing card may be replaced.

    Returns:
        Where it is.

    Raises:
        ModelError: The card is that of another bitstream.
        ContainerError: It exists already, or the place is not writable.
    """
    _require_bound(card, Path(network).read_bytes())
    path = card_path(network)
    write_bytes(path, card.to_text().encode(), overwrite=overwrite)
    return path


def load_card(network: PathLike, bitstream: bytes | None = None) -> ModelCard | None:
    """The card that lies beside a network, or None where there is none.

    Args:
        network: File of the bitstream.
        bitstream: Its content, if that has been read already.

    Raises:
        ModelError: It is no card, or that of another bitstream.
        OSError: A file cannot be read.
    """
    path = card_path(network)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    card = ModelCard.from_text(text)
    _require_bound(card, Path(network).read_bytes() if bitstream is None else bitstream)
    return card


def with_card(network: Network, card: ModelCard) -> Network:
    """The network with a card in its graph's metadata, where it is sent with every copy.

    Args:
        network: The network.
        card: The card; its ``sha256`` is left out, because the bitstream contains it.

    Raises:
        ModelError: The card is too long for a graph.
    """
    text = json.dumps(replace(card, sha256="").to_json(), ensure_ascii=True, separators=(",", ":"))
    if len(text) > _MAX_EMBEDDED:
        raise ModelError(f"a card of {len(text)} characters is too long to travel in a graph")
    parts = {
        f"{_METADATA}{start // _ENTRY:02}": text[start : start + _ENTRY]
        for start in range(0, len(text), _ENTRY)
    }
    graph = network.graph
    kept = {key: each for key, each in graph.metadata.items() if not key.startswith(_METADATA)}
    return Network(Topology.from_graph(replace(graph, metadata=kept | parts)), network.tensors)


def embedded_card(network: Network) -> ModelCard | None:
    """The card in a network's graph, or None where there is none.

    Args:
        network: As received; untrusted.

    Raises:
        ModelError: What is there is no card.
    """
    metadata = network.graph.metadata
    keys = sorted(key for key in metadata if key.startswith(_METADATA))
    if not keys:
        return None
    return ModelCard.from_text("".join(metadata[key] for key in keys))


def _told_by(
    bitstream: bytes, base: Received | None
) -> tuple[dict[str, str], tuple[str, ...], str]:
    """Facts, parents and model id that a bitstream tells."""
    facts = {"size": f"{len(bitstream)} bytes"}
    state = None if base is None else base.state.fork()
    unpacked = unpack(bitstream, state=state)
    if unpacked.decoded.is_update:
        parent = unpacked.decoded.base_model_id
        after = "" if base is None else model_id(receive(bitstream, base).tensors)
        return facts, ((parent,) if parent else ()), after
    parameters = unpacked.tensors.parameters
    bits = 8 * len(bitstream) / max(parameters, 1)
    facts["parameters"] = f"{parameters}, {bits:.2f} bits each in the bitstream"
    if unpacked.network is not None:
        cost = measure(unpacked.network).macs_per_sample / 1000
        facts["cost"] = f"{cost:.2f} kMAC for each output sample"
    return facts, (), model_id(unpacked.tensors)


def _require_bound(card: ModelCard, bitstream: bytes) -> None:
    found = hashlib.sha256(bitstream).hexdigest()
    if card.sha256 != found:
        raise ModelError(
            f"the card is of the network {card.sha256[:12] or 'without a hash'}, not of this one, "
            f"{found[:12]}"
        )
