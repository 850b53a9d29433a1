# SPDX-License-Identifier: Apache-2.0
"""What the syntax of one unit depends on outside itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from nnrvideo.nnc.units import (
    DataUnit,
    LayerParameterSet,
    ModelParameterSet,
    Quantization,
    StartUnit,
    TopologyUnit,
    Unit,
)


@final
@dataclass(slots=True)
class SyntaxContext:
    """Parameter sets and shapes in force at a point of a bitstream.

    One context serves one bitstream, in reading or in writing; :meth:`note` moves it past a unit.

    Args:
        dimensions: Shapes by element id, known from earlier bitstreams of the same receiver.
    """

    dimensions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    start: StartUnit | None = None
    mps: ModelParameterSet | None = None
    quantization: Quantization | None = None
    reference_list: tuple[str, ...] = ()

    @classmethod
    def after(cls, dimensions: Mapping[str, tuple[int, ...]]) -> SyntaxContext:
        """A fresh bitstream for a receiver that knows ``dimensions`` already."""
        return cls(dimensions=dict(dimensions))

    @property
    def general_profile_idc(self) -> int:
        """Edition of the syntax: 0 or 1."""
        return 0 if self.start is None else self.start.general_profile_idc

    def note(self, unit: Unit) -> None:
        """Lets ``unit`` act on the syntax of those after it."""
        if isinstance(unit, DataUnit):  # nearly every unit
            self.dimensions[unit.topology_elem_ids[0]] = unit.tensor_dimensions
            return
        match unit:
            case StartUnit():
                self.start = unit
            case ModelParameterSet():
                self.mps = unit
                self.quantization = unit.quantization
            case LayerParameterSet():
                # An LPS without values of its own leaves those of the MPS in force.
                self.quantization = unit.quantization or self.quantization
            case TopologyUnit(topology_elem_ids=ids) if ids:
                self.reference_list = ids
            case _:
                pass
