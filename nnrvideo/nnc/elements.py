# SPDX-License-Identifier: Apache-2.0
"""Which tensors a compressed data unit carries, in what shapes and in what order.

A block lists its element ids in one order and codes its tensors in another; this module is the
only place that knows both.  Spec: ISO/IEC 15938-17, NNR_PT_BLOCK.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import final

from nnrvideo.errors import BitstreamError, UnsupportedFeatureError
from nnrvideo.limits import Limits
from nnrvideo.nnc.constants import ParameterTypes
from nnrvideo.nnc.units import Codebook, DataUnit


@final
class Role(Enum):
    """What a tensor is to its unit."""

    WEIGHT = "weight"
    G = "factor G"
    H = "factor H"
    SCALING = "local scaling"
    BIAS = "bias"
    BETA = "batch norm beta"
    GAMMA = "batch norm gamma"
    MEAN = "batch norm mean"
    VARIANCE = "batch norm variance"


_FACTORS = frozenset({Role.G, Role.H})
_MATRICES = frozenset({Role.WEIGHT, Role.G, Role.H})
_BATCH_NORM = (Role.BETA, Role.GAMMA, Role.MEAN, Role.VARIANCE)
BATCH_NORM = frozenset(_BATCH_NORM)
"""Parameters that a block has all of, or none."""


@final
@dataclass(frozen=True, slots=True)
class Element:
    """One tensor of a unit, before its values are known.

    Args:
        name: Element id.
        shape: Dimensions, row-major.
        role: What it is to the unit.
        codebook: Reconstruction levels, or None for evenly spaced ones.
        scan_order: That of the unit for matrices, 0 for companions.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    codebook: Codebook | None
    scan_order: int

    @property
    def rows(self) -> int:
        """Rows of the matrix that the entropy coder sees."""
        return self.shape[0]

    @property
    def cols(self) -> int:
        """Columns of the matrix that the entropy coder sees."""
        return math.prod(self.shape[1:])


def elements_of(unit: DataUnit, limits: Limits) -> tuple[Element, ...]:
    """The tensors of a unit in the order of its payload.

    Raises:
        BitstreamError: Ids, type bits and shapes contradict each other.
        UnsupportedFeatureError: Dimension shift.
        LimitExceededError: A factor is over ``max_elements``.
    """
    if unit.first_tensor_dimension_shift:
        msg = "first_tensor_dimension_shift other than 0 is not implemented"
        raise UnsupportedFeatureError(msg)
    if not unit.is_block:
        return (_single(unit, limits),)
    order = id_order(unit.compressed_parameter_types)
    named = dict(zip(order, unit.topology_elem_ids, strict=False))
    if len(named) != len(unit.topology_elem_ids) or len(named) != len(order):
        raise BitstreamError(
            f"{len(unit.topology_elem_ids)} ids for the {len(order)} tensors of a block",
            element="count_topology_elements_minus2",
        )
    if len(named) < 2:
        raise BitstreamError(
            "a block has a weight and a companion", element="compressed_parameter_types"
        )
    if len(set(named.values())) != len(named):
        raise BitstreamError("a block names an element twice", element="topology_elem_id_list")
    return tuple(
        Element(
            named[role],
            _shape(unit, role, limits),
            role,
            {Role.WEIGHT: unit.codebook, Role.G: unit.codebook, Role.H: unit.codebook_h}.get(role),
            unit.scan_order if role in _MATRICES else 0,
        )
        for role in _payload_order(unit)
    )


def _single(unit: DataUnit, limits: Limits) -> Element:
    if len(unit.topology_elem_ids) != 1:
        raise BitstreamError(
            f"{len(unit.topology_elem_ids)} ids for a single tensor",
            element="nnr_multiple_topology_elements_present_flag",
        )
    name = unit.topology_elem_ids[0]
    role = Role.WEIGHT
    types = unit.compressed_parameter_types
    if types and types & ParameterTypes.NNR_CPT_DC:
        role = {"_G": Role.G, "_H": Role.H}.get(name[-2:], Role.WEIGHT)
    shape = _shape(unit, role, limits)
    return Element(name, shape, role, unit.codebook, unit.scan_order)


def _weights(types: ParameterTypes) -> list[Role]:
    return [Role.G, Role.H] if types & ParameterTypes.NNR_CPT_DC else [Role.WEIGHT]


def id_order(types: ParameterTypes) -> list[Role]:
    """What the element ids of a unit stand for, in their order.

    Args:
        types: compressed_parameter_types of the unit.
    """
    return [
        *_weights(types),
        *([Role.SCALING] if types & ParameterTypes.NNR_CPT_LS else []),
        *(_BATCH_NORM if types & ParameterTypes.NNR_CPT_BN else []),
        *([Role.BIAS] if types & ParameterTypes.NNR_CPT_BI else []),
    ]


def _payload_order(unit: DataUnit) -> list[Role]:
    types = unit.compressed_parameter_types
    return [
        *([Role.SCALING] if types & ParameterTypes.NNR_CPT_LS else []),
        *([Role.BIAS] if types & ParameterTypes.NNR_CPT_BI else []),
        *(_BATCH_NORM if types & ParameterTypes.NNR_CPT_BN else []),
        *_weights(types),
    ]


def _shape(unit: DataUnit, role: Role, limits: Limits) -> tuple[int, ...]:
    dimensions = unit.tensor_dimensions
    if role is Role.WEIGHT:
        return dimensions
    if role not in _FACTORS:
        return dimensions[:1]
    rows, rank = unit.g_number_of_rows, unit.decomposition_rank
    if not rows or not rank:
        raise BitstreamError("factors without rows or rank", element="g_number_of_rows")
    columns, rest = divmod(math.prod(dimensions), rows)
    if rest:
        raise BitstreamError(
            f"{rows} rows do not divide a tensor of shape {dimensions}", element="g_number_of_rows"
        )
    shape = (rows, rank) if role is Role.G else (rank, columns)
    limits.require("max_elements", max(1, shape[0]) * max(1, shape[1]), f"elements of {role.value}")
    return shape
