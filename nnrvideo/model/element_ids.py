# SPDX-License-Identifier: Apache-2.0
"""Short element ids: a tensor is named by its place in the graph that travels along.

Names of tensors are long, and each data unit repeats one; in a network of many small tensors they
are a good part of the bytes.  Who has the graph needs only a number: the decimal index, from 0, of
the tensor among those that the graph leaves to the data units, in the graph's order.

A sender uses these ids only where no tensor of the graph is called like one of them, so a receiver
is never in doubt: an id that is a name in the graph is that name, any other may be an index.

Spec: ISO/IEC 15938-17, topology_elem_id: any text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from nnrvideo.errors import BitstreamError
from nnrvideo.model.graph import Array
from nnrvideo.model.topology import Topology
from nnrvideo.tensors import TensorSet

Value = TypeVar("Value")


def short_ids(topology: Topology) -> dict[str, str]:
    """Element id of each tensor, by name.

    Raises:
        ValueError: A tensor is called like one of the ids.
    """
    ids = {name: str(index) for index, name in enumerate(topology.graph.externals)}
    taken = ids.keys() & set(ids.values())
    if taken:
        msg = f"tensor {min(taken)!r} of the graph is called like a short id; use names"
        raise ValueError(msg)
    return ids


def names_by_id(topology: Topology) -> dict[str, str]:
    """Name of each tensor that may come under its index, by that index."""
    known = topology.graph.externals
    return {str(index): name for index, name in enumerate(known) if str(index) not in known}


def by_name(tensors: TensorSet, topology: Topology) -> tuple[TensorSet, dict[str, str]]:
    """Tensors under the names that the graph has for them.

    Args:
        tensors: By element id; untrusted.
        topology: The graph that belongs to them.

    Returns:
        The tensors, in their order, and the element ids of those that came under an index, by
        name.  Ids that the graph knows in neither way stay.

    Raises:
        BitstreamError: A tensor comes under its name and under its index.
    """
    known = topology.graph.externals
    if all(each in known for each in tensors):
        return tensors, {}
    names = names_by_id(topology)
    found: dict[str, Array] = {}
    ids: dict[str, str] = {}
    for each, value in tensors.items():
        name = names.get(each, each)
        if name in found:
            raise BitstreamError(f"tensor {name!r} comes under two ids", element="topology_elem_id")
        if name != each:
            ids[name] = each
        found[name] = value
    return TensorSet(found), ids


def renamed(mapping: Mapping[str, Value], ids: Mapping[str, str]) -> dict[str, Value]:
    """The same values under element ids where there are some.

    Args:
        mapping: Values by name.
        ids: Element ids by name.
    """
    return {ids.get(name, name): value for name, value in mapping.items()}
