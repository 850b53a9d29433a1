# SPDX-License-Identifier: Apache-2.0
"""What a receiver remembers from one bitstream of a sequence to the next.

Second-edition updates are coded against earlier ones: contexts look at the levels sent last
(TCA), at where earlier updates were non-zero (HDSP), blocks leave out shapes that the
receiver knows, and the update before predicts the next.
Spec: ISO/IEC 15938-17, incremental coding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nnrvideo.errors import BitstreamError
from nnrvideo.nnc.constants import ParentNodeIdType
from nnrvideo.nnc.units import DataUnit, NodeId

Array = npt.NDArray[Any]
Levels = npt.NDArray[np.int32]


@final
class DecoderState:
    """Memory of one receiver of one sequence of bitstreams.

    Pass the same object to each ``decode`` of the sequence.  A bitstream that fails leaves it
    as it was.
    """

    __slots__ = ("_differences", "_history", "_levels", "_nodes", "_payloads", "_shapes")

    def __init__(self) -> None:
        self._levels: dict[str, Levels] = {}  # as decoded last, in the tensor's shape
        self._history: dict[str, npt.NDArray[np.uint8]] = {}  # 1 where an update was non-zero
        self._differences: dict[str, Array] = {}  # as decoded last, in updates alone
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._nodes: dict[str, NodeId] = {}
        self._payloads: dict[str, bytes] = {}  # of the last unit, as parents are named by hash

    @property
    def dimensions(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes that may be left out from now on, by element id."""
        return self._shapes

    def node(self, name: str) -> NodeId | None:
        """The last node of a tensor, or ``None`` if none was received."""
        return self._nodes.get(name)

    def levels(self, name: str, shape: tuple[int, ...]) -> Levels | None:
        """Levels decoded last for a tensor, or ``None`` if there are none of this shape."""
        levels = self._levels.get(name)
        return levels if levels is not None and levels.shape == shape else None

    def payload_sha(self, name: str, id_type: int) -> bytes | None:
        """Hash of the payload of a tensor's last unit, or ``None`` if none was received.

        Args:
            name: Element id.
            id_type: ``ParentNodeIdType``, one of the two hashes.
        """
        payload = self._payloads.get(name)
        if payload is None:
            return None
        if id_type == ParentNodeIdType.ICNN_NDU_PL_SHA256:
            return hashlib.sha256(payload).digest()
        return hashlib.sha512(payload).digest()

    def difference(self, name: str) -> Array | None:
        """What the last update said about a tensor, or ``None`` if none did since its base."""
        return self._differences.get(name)

    def fork(self) -> DecoderState:
        """A copy to work on while a bitstream may still fail.  Arrays are shared, never changed."""
        copy = DecoderState()
        copy.adopt(self)
        return copy

    def adopt(self, other: DecoderState) -> None:
        """Becomes equal to ``other``."""
        self._levels = dict(other._levels)
        self._history = dict(other._history)
        self._differences = dict(other._differences)
        self._shapes = dict(other._shapes)
        self._nodes = dict(other._nodes)
        self._payloads = dict(other._payloads)

    def reference(self, name: str, shape: tuple[int, ...]) -> Levels:
        """Levels that temporal contexts look at.

        Raises:
            BitstreamError: The tensor was never received, or had another shape.
        """
        levels = self.levels(name, shape)
        if levels is None:
            other = self._levels.get(name)
            found = "none" if other is None else f"one of shape {other.shape}"
            raise BitstreamError(
                f"{name!r} of shape {shape} needs a reference tensor, there is {found}",
                element="temporal_context_modeling_flag",
            )
        return levels

    def history(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8] | None:
        """Map of where earlier updates were non-zero, or ``None`` if there is none that fits."""
        found = self._history.get(name)
        return found if found is not None and found.shape == shape else None

    def check_parent(self, unit: DataUnit) -> None:
        """Refuses a unit whose parent is named by hash and is not what was received last.

        Raises:
            BitstreamError: The parent is missing or another one.
        """
        parent = unit.parent
        if parent is None or parent.parent_node_id_type == ParentNodeIdType.ICNN_NDU_ID:
            return
        name = unit.topology_elem_ids[0]
        found = self.payload_sha(name, parent.parent_node_id_type)
        if found != parent.parent_node_payload_sha:
            what = "was never received" if found is None else "is another one"
            raise BitstreamError(
                f"the parent of {name!r} {what}", element="parent_node_payload_sha"
            )

    def check_node(self, unit: DataUnit) -> None:
        """Refuses a unit that depends on the last one of its tensor and does not follow it.

        Raises:
            BitstreamError: Another sender or parameter, or an update before it was lost.
        """
        node, stored = node_of(unit), self._nodes.get(unit.topology_elem_ids[0])
        if node is None or stored is None:
            return
        expected = NodeId(stored.device_id, stored.parameter_id, stored.put_node_depth + 1)
        if unit.node_id is None:  # the device is not named then
            node = NodeId(stored.device_id, node.parameter_id, node.put_node_depth)
        if node != expected:
            raise BitstreamError(
                f"update {node} does not follow {stored} of {unit.topology_elem_ids[0]!r}",
                element="put_node_depth",
            )

    def check_prediction(self, unit: DataUnit) -> None:
        """Refuses a predicted unit that does not follow the last one of its tensor.

        Raises:
            BitstreamError: It has no node id, or an update before it was lost.
        """
        node, name = node_of(unit), unit.topology_elem_ids[0]
        if node is None:
            raise BitstreamError(
                f"the prediction of {name!r} needs node ids", element="node_id_present_flag"
            )
        if name not in self._nodes and node.put_node_depth > 1:
            raise BitstreamError(
                f"update {node} of {name!r} follows others that were not received",
                element="put_node_depth",
            )
        self.check_node(unit)

    def note_unit(self, unit: DataUnit, tensors: Iterable[tuple[str, Levels]]) -> None:
        """Remembers a decoded unit.

        Args:
            unit: The unit.
            tensors: Name and levels, in the tensor's shape, of all that it carried as integers.
        """
        self._shapes[unit.topology_elem_ids[0]] = unit.tensor_dimensions
        self._payloads[unit.topology_elem_ids[0]] = unit.payload
        for name, levels in tensors:
            self._levels[name] = levels
        node = node_of(unit)
        if node is not None:
            # A base says 0, but is the first node below the root for what follows: NNCodec counts
            # what it receives, from 1.
            depth = max(1, node.put_node_depth)
            self._nodes[unit.topology_elem_ids[0]] = replace(node, put_node_depth=depth)

    def note_base(self, names: Iterable[str]) -> None:
        """Forgets the updates of what a bitstream without parent signalling has replaced."""
        for name in names:
            self._differences.pop(name, None)

    def note_update(self, levels: Mapping[str, Levels], differences: Mapping[str, Array]) -> None:
        """Remembers an update at the end of a bitstream with parent signalling.

        Args:
            levels: Extend the history maps.
            differences: As returned to the application; predictions for the next update.
        """
        self._differences.update(differences)
        for name, array in levels.items():
            non_zero = (array != 0).astype(np.uint8)
            known = self.history(name, array.shape)
            self._history[name] = non_zero if known is None else known | non_zero


def node_of(unit: DataUnit) -> NodeId | None:
    """Node id of a unit, wherever its header keeps it."""
    if unit.node_id is not None:
        return unit.node_id
    parent = unit.parent
    if parent is None or parent.parameter_id is None or parent.put_node_depth is None:
        return None
    return NodeId(0, parent.parameter_id, parent.put_node_depth)
