# SPDX-License-Identifier: Apache-2.0
"""Networks whose large tensors lie in a :class:`~nnrvideo.model.store.WeightStore`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping

from nnrvideo.errors import UnsupportedFeatureError
from nnrvideo.limits import Limits
from nnrvideo.model.element_types import is_packed, stored_bytes
from nnrvideo.model.exact import restore
from nnrvideo.model.external import fit_tensors, single_pass_topology, stored_parts
from nnrvideo.model.graph import Array, Graph, Placement, TensorDeclaration
from nnrvideo.model.store import OpenStore, WeightStore, name_of
from nnrvideo.model.topology import Network
from nnrvideo.nnc import iter_tensors
from nnrvideo.tensors import TensorSet


def unpack_stored(
    data: bytes, store: WeightStore, *, limits: Limits | None = None
) -> Network | None:
    """Decodes a large network into a store, one unit at a time.

    Memory grows as for :func:`~nnrvideo.model.external.unpack_external`, by the tensors that are
    too small for the store, and by pages of files, which the system takes back when it needs them.

    Args:
        data: The bitstream of a base; untrusted.
        store: Takes the tensors.
        limits: Bounds; by default :meth:`Limits.desktop`.

    Returns:
        The network that ``unpack`` decodes, large tensors mapped; None if the store does not take
        it, or it cannot be decoded in one pass: ``unpack`` is for both.

    Raises:
        BitstreamError: The bitstream is broken.
        UnsupportedFeatureError: It uses what is not implemented.
        LimitExceededError: It is too large.
        ModelError: Its graph is not acceptable, or its tensors do not fit the graph.
    """
    limits = limits or Limits.desktop()
    source = io.BytesIO(data)
    topology = single_pass_topology(source, limits=limits)
    if topology is None:
        return None
    size = sum(stored_bytes(each.dtype, each.size) for each in topology.tensors)
    fitted: dict[str, Array] = {}
    with store.opened(size) as opened:
        if opened is None:
            return None

        def take(declared: TensorDeclaration, value: Array) -> None:
            if declared.name in fitted:
                # Each would take room on the disk, and what is right is for ``unpack`` to say.
                raise UnsupportedFeatureError(f"tensor {declared.name!r} comes twice")
            fitted[declared.name] = _kept(value, declared, opened)

        try:
            fit_tensors(topology, _bounded(iter_tensors(source, limits=limits), limits), take)
        except UnsupportedFeatureError:
            return None  # in one pass
    return Network(topology, TensorSet(fitted))


def keep(network: Network, store: WeightStore) -> Network:
    """Puts a network into a store.

    Args:
        network: The network.
        store: Takes the tensors.

    Returns:
        The same network, large tensors mapped; as it is if the store does not take it.
    """
    declarations = network.topology.tensors
    size = sum(stored_bytes(each.dtype, each.size) for each in declarations)
    with store.opened(size) as opened:
        if opened is None:
            return network
        kept = {each.name: _kept(network.tensors[each.name], each, opened) for each in declarations}
    return network.with_tensors(TensorSet(kept))


def place(graph: Graph, tensors: Mapping[str, Array], opened: OpenStore) -> dict[str, Placement]:
    """Puts tensors into an open store for a model that refers to them there.

    Args:
        graph: Declares the tensors.
        tensors: Their values.
        opened: The store; the places hold while it is open.

    Returns:
        Place of each tensor that the store has taken.
    """
    placements = {}
    for name, value in tensors.items():
        declared = graph.externals[name]
        file = _put(value, declared, opened)
        if file is not None:
            length = stored_bytes(declared.dtype, declared.size)
            placements[name] = Placement(file, 0, length)
    return placements


def _bounded(tensors: Iterator[tuple[str, Array]], limits: Limits) -> Iterator[tuple[str, Array]]:
    """Tensors until there are too many: those that the graph does not know take time as well.

    Raises:
        LimitExceededError: As for ``unpack``, after the first tensor that is over the limit.
    """
    total = 0
    while (found := next(tensors, None)) is not None:
        total += found[1].size
        limits.require("max_total_elements", total, "elements of the bitstream")
        yield found
        del found


def _kept(value: Array, declared: TensorDeclaration, opened: OpenStore) -> Array:
    """The tensor out of the store, or restored in memory.

    Raises:
        ValueError: It is not what is declared.
    """
    # NumPy has a byte for each of two values that a file has in one.
    if not is_packed(declared.dtype):
        name = _put(value, declared, opened)
        if name is not None:
            with contextlib.suppress(OSError):
                return opened.map(name, declared.dtype, declared.shape)
    return restore(value, declared)


def _put(value: Array, declared: TensorDeclaration, opened: OpenStore) -> str | None:
    def parts() -> Iterator[bytes]:
        return (part for _, part in stored_parts(value, declared))

    name = name_of(value) if value.dtype == declared.dtype else None
    return opened.put(stored_bytes(declared.dtype, declared.size), parts, name)
