# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo probe NET.nnc``: units and tensors of an NNC bitstream."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrvideo.cli.cmd_diff import load_received
from nnrvideo.cli.exits import Exit
from nnrvideo.cli.report import human_bytes, print_card, print_json, print_pairs, print_table
from nnrvideo.errors import BitstreamError, NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.tensors import TensorSet

if TYPE_CHECKING:
    from nnrvideo.model import ModelCard, Network, Received, Unpacked


def probe_nnc(path: Path, bases: list[Path], *, as_json: bool) -> int:
    """Prints what an NNC bitstream consists of.

    Args:
        path: The bitstream.
        bases: What it is an update of: a network, then updates in between.
        as_json: For programs.

    Raises:
        BitstreamError: It is damaged, or an update that depends on what is not given.
    """
    from nnrvideo import model, nnc

    data = path.read_bytes()
    base = load_received(bases) if bases else None
    unpacked = _unpacked(data, base)
    units = [unit for layer in unpacked.layers for unit in layer.units]
    layers = _layers(data, unpacked)
    network = unpacked.network
    card, problem = _card(path, data, network)
    # As the graph declares them where there is one, else as they were transmitted.
    tensors = unpacked.decoded.tensors if network is None else network.tensors
    if base is not None:
        names = {short: name for name, short in base.ids.items()}
        tensors = TensorSet({names.get(each, each): tensors[each] for each in tensors})
    facts: dict[str, Any] = {
        "path": str(path),
        "bytes": len(data),
        "units": [
            {
                "type": int(unit.header.nnr_unit_type),
                "name": type(unit).__name__,
                "bytes": unit.header.nnr_unit_size,
                "parts": max(1, len(unit.header.parts)),
            }
            for unit in units
        ],
        "is_update": unpacked.decoded.is_update,
        "predicted": unpacked.decoded.is_predicted,
        "base_model_id": unpacked.decoded.base_model_id,
        "model_id": None if unpacked.decoded.is_update else model.model_id(tensors),
        "has_topology": unpacked.decoded.topology is not None,
        "parameters": tensors.parameters,
        "tensors": [
            {"name": name, "shape": list(array.shape), "dtype": str(array.dtype)}
            for name, array in tensors.items()
        ],
        "fingerprint": tensors.fingerprint(),
        "layers": layers,
        "performance": nnc.performance_to_json(unpacked.decoded.parameter_set),
        "card": None if card is None else card.to_json(),
        "problems": [problem] if problem else [],
    }
    if as_json:
        print_json(facts)
        return Exit.OK
    graph = "none" if network is None else f"{len(network.graph.nodes)} operators"
    print_pairs(
        str(path),
        {
            "size": f"{human_bytes(len(data))} in {sum(each['parts'] for each in facts['units'])} "
            "units",
            "kind": _kind(facts),
            **_names(facts),
            "topology": graph,
            "parameters": str(tensors.parameters),
            "fingerprint": tensors.fingerprint(),
        },
    )
    _print_performance(facts["performance"])
    if card is not None:
        print_card("model card", card)
        if card.metrics:
            _print_metrics(card)
    if problem:
        print(f"problem: {problem}")
    if len(layers) > 1:
        print_table(
            ("layer", "bytes", "bytes so far", "rms difference to all"),
            [
                (str(n), str(each["bytes"]), str(each["end"]), f"{each['rms_difference']:.3g}")
                for n, each in enumerate(layers)
            ],
        )
    print_table(
        ("tensor", "shape", "type"),
        [
            (name, "x".join(map(str, a.shape)) or "scalar", str(a.dtype))
            for name, a in tensors.items()
        ],
    )
    return Exit.OK


def _unpacked(data: bytes, base: Received | None) -> Unpacked:
    from nnrvideo import model

    state = None if base is None else base.state.fork()
    try:
        return model.unpack(data, limits=Limits.offline(), state=state)
    except BitstreamError as error:
        if base is None and _is_update(data):
            error.message += "; an update may need what it builds on: --base"
        raise


def _card(path: Path, data: bytes, network: Network | None) -> tuple[ModelCard | None, str]:
    """The card beside the network, or in it, and what is wrong with it."""
    from nnrvideo import model

    try:
        card = model.load_card(path, data)
        if card is None and network is not None:
            card = model.embedded_card(network)
    except NnrVideoError as error:
        return None, str(error)
    return card, ""


def _print_metrics(card: ModelCard) -> None:
    """The table of figures of a card."""
    from nnrvideo.model import plain_text

    columns = tuple(dict.fromkeys(name for row in card.metrics for name in row))
    rows = [[plain_text(row.get(name, "")) for name in columns] for row in card.metrics]
    print_table(tuple(map(plain_text, columns)), rows)


def _is_update(data: bytes) -> bool:
    from nnrvideo import nnc

    reader = nnc.NncReader(Limits.offline())
    reader.feed(data)
    try:
        reader.next_unit()
        unit = reader.next_unit()
    except NnrVideoError:
        return False
    return isinstance(unit, nnc.ModelParameterSet) and unit.mps_parent_signalling_enabled_flag


def _kind(facts: dict[str, Any]) -> str:
    if not facts["is_update"]:
        return "network"
    return "update, residuals of a prediction" if facts["predicted"] else "update"


def _names(facts: dict[str, Any]) -> dict[str, str]:
    """What the network is called by updates, and what an update is for."""
    names = {}
    if facts["model_id"]:
        names["model id"] = facts["model_id"]
    if facts["base_model_id"]:
        names["update of"] = facts["base_model_id"]
    return names


def _print_performance(performance: dict[str, Any]) -> None:
    """The network's performance on its validation set, and a table for each map."""
    metric = performance.get("performance_metric_type") or "performance"
    if "validation_set_performance" in performance:
        print(f"{metric} on the validation set: {performance['validation_set_performance']:.6g}")
    for name, entries in performance.items():
        if isinstance(entries, list):
            print(f"{name} ({metric})")
            if entries:
                columns = tuple(entries[0])
                print_table(columns, [tuple(_cell(each[c]) for c in columns) for each in entries])


def _cell(value: float | tuple[float, ...]) -> str:
    if isinstance(value, tuple):
        return " ".join(f"{each:.6g}" for each in value) or "-"
    return f"{value:.6g}"


def _layers(data: bytes, unpacked: Unpacked) -> list[dict[str, float]]:
    """Bytes of each layer, and how far the network is from the whole one after it.

    The difference is the root of the mean square over the values of all real tensors.
    """
    from nnrvideo import model, nnc

    if len(unpacked.layers) == 1:
        return [{"bytes": len(data), "end": len(data), "rms_difference": 0.0}]
    networks = [unpacked.layers[0].network_tensors()]
    for layer in unpacked.layers[1:]:
        changes = layer.network_tensors()
        networks.append(model.apply_update(networks[-1], changes, differences=True))
    found = []
    end = 0
    for part, tensors in zip(nnc.split_layers(data), networks, strict=True):
        end += len(part)
        squares = values = 0.0
        for name, value in networks[-1].items():
            if model.is_floating(value.dtype):
                left = value.astype(np.float64) - tensors[name].astype(np.float64)
                squares += float(np.square(left).sum())
                values += value.size
        found.append(
            {
                "bytes": len(part),
                "end": end,
                "rms_difference": math.sqrt(squares / values) if values else 0.0,
            }
        )
    return found
