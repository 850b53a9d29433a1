# SPDX-License-Identifier: Apache-2.0
"""From arrays to compressed data units: one tensor each, or a block of a weight and companions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy import TensorSpec, step_size, uniform_quantise
from nnrvideo.limits import Limits
from nnrvideo.nnc.choose import (
    DEFAULT_UNARY_LENGTH,
    Chosen,
    choose_coding,
    choose_levels,
    choose_unary_length,
)
from nnrvideo.nnc.codebook import choose_codebook, codebook_bits
from nnrvideo.nnc.constants import NO_COMPANIONS, ParameterTypes, PayloadType
from nnrvideo.nnc.elements import Element, Role, elements_of, id_order
from nnrvideo.nnc.parallel import run_all
from nnrvideo.nnc.payload import CodedTensor, encode_codeword, qp_delta_range
from nnrvideo.nnc.quantisation import is_automatic
from nnrvideo.nnc.settings import EncodeSettings
from nnrvideo.nnc.units import Codebook, DataUnit, NodeId, ParentNode

Array = npt.NDArray[Any]

_PARALLEL_ELEMENTS: Final = 1 << 16
_ELEMENTS_A_UNIT: Final = 1 << 11
"""In all and for each unit; below, threads cost more than they save."""

_MIN_DEPENDENT: Final = 64
"""Shorter vectors do not pay for the contexts that dependent quantisation adds."""

_TYPE_OF_ROLE: Final = {
    Role.SCALING: ParameterTypes.NNR_CPT_LS,
    Role.BIAS: ParameterTypes.NNR_CPT_BI,
    Role.BETA: ParameterTypes.NNR_CPT_BN,
    Role.GAMMA: ParameterTypes.NNR_CPT_BN,
    Role.MEAN: ParameterTypes.NNR_CPT_BN,
    Role.VARIANCE: ParameterTypes.NNR_CPT_BN,
    Role.G: ParameterTypes.NNR_CPT_DC,
    Role.H: ParameterTypes.NNR_CPT_DC,
}


@final
@dataclass(frozen=True, slots=True)
class Parentage:
    """What a unit of an update is relative to.

    Args:
        parent: As signalled, but for the temporal contexts.
        references: Levels that temporal contexts may look at, by element id.
        histories: Where earlier updates were non-zero, by element id.
    """

    parent: ParentNode
    references: Mapping[str, npt.NDArray[np.int32]] = field(default_factory=dict, repr=False)
    histories: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict, repr=False)


@final
@dataclass(frozen=True, slots=True, eq=False)
class UnitPlan:
    """What one data unit shall carry.

    Args:
        arrays: float32, or int32 for integers, by role: a single tensor under ``Role.WEIGHT``.
        names: Element id of each.
        shape: Dimensions of the weight, also where factors stand for it.
        qps: QP of each float tensor, base included.
        base: mps_quantization_parameter.
        node_id: None to leave it out.
        data_format: nnr_decompressed_data_format.
        parentage: None for a unit of its own.
        rank: Columns of G, 0 without factors.
        optional: Leave the unit out if nothing but zeros would be sent.
        settings: Choices for this unit alone; None for those of the bitstream.
    """

    arrays: Mapping[Role, Array] = field(repr=False)
    names: Mapping[Role, str]
    shape: tuple[int, ...]
    qps: Mapping[Role, int]
    base: int
    node_id: NodeId | None = None
    data_format: int | None = None
    parentage: Parentage | None = None
    rank: int = 0
    optional: bool = False
    settings: EncodeSettings | None = None

    @property
    def elements(self) -> int:
        """Values that the unit carries."""
        return sum(array.size for array in self.arrays.values())


def code_units(plans: Sequence[UnitPlan], settings: EncodeSettings) -> list[DataUnit]:
    """Codes units, several at a time.

    Args:
        plans: In the order of the bitstream.
        settings: Choices of the encoder.

    Returns:
        Units in the same order; they do not depend on the number of threads.

    Raises:
        ValueError: A tensor cannot be coded.
    """
    total = sum(plan.elements for plan in plans)
    small = total < max(_PARALLEL_ELEMENTS, _ELEMENTS_A_UNIT * len(plans))
    threads = 1 if small else settings.threads
    units = run_all(
        lambda plan: code_unit(plan, settings), plans, threads, size=lambda plan: plan.elements
    )
    return [unit for unit in units if unit is not None]


def code_unit(plan: UnitPlan, settings: EncodeSettings) -> DataUnit | None:
    """Codes one unit in the shortest of the ways that the settings and its parentage allow.

    Args:
        plan: What it carries.
        settings: Choices of the encoder.

    Returns:
        The unit; None if it is optional and only zeros are left.

    Raises:
        ValueError: A tensor cannot be coded.
    """
    settings = plan.settings or settings
    if plan.parentage is not None:
        return _code_update(plan, settings)
    return _code_alone(plan, settings)


def _code_update(plan: UnitPlan, settings: EncodeSettings) -> DataUnit | None:
    """With temporal contexts or without, whichever is shorter."""
    unit = _code_alone(plan, settings)
    parentage = plan.parentage
    if unit is None or parentage is None or not parentage.references:
        return unit
    parent = replace(parentage.parent, temporal_context_modeling_flag=True)
    temporal = _code_alone(
        replace(plan, parentage=replace(parentage, parent=parent), optional=False), settings
    )
    return min(unit, temporal, key=_bits) if temporal is not None else unit


def _code_alone(plan: UnitPlan, settings: EncodeSettings) -> DataUnit | None:
    if len(plan.arrays) > 1:
        return _code_block(plan, settings)
    array = plan.arrays[Role.WEIGHT]
    if array.dtype == np.float32 and settings.lossless:
        return _header(
            plan,
            PayloadType.NNR_PT_RAW_FLOAT,
            payload=array.astype("<f4", copy=False).tobytes(),
        )
    if array.dtype == np.int32:
        return _code_integers(plan, settings)
    return min(_candidates(plan, settings), key=_bits, default=None)


def _bits(unit: DataUnit) -> int:
    book = 0 if unit.codebook is None else codebook_bits(unit.codebook)
    return 8 * len(unit.payload) + book


def _candidates(plan: UnitPlan, settings: EncodeSettings) -> list[DataUnit]:
    """A single float tensor, coded in each way that the settings ask for; none if left out."""
    array, qp = plan.arrays[Role.WEIGHT], plan.qps[Role.WEIGHT]
    effort = settings.effort
    with_rate = array.ndim > 1 or plan.parentage is not None
    found: list[DataUnit] = []
    if effort.codebook != "never":
        found += _with_codebook(plan, settings)
    if found and effort.codebook == "always":
        return found  # what has no values, or too many, cannot have one
    # Whoever gives a QP gives it for the quantiser that the settings name.
    short = array.size < _MIN_DEPENDENT and is_automatic(plan.names[Role.WEIGHT], array, settings)
    dependent = settings.dependent_quantisation and not short
    spec = _spec(plan, Role.WEIGHT, settings, dq_flag=dependent)
    chosen = choose_levels(_matrix(array), qp, spec, settings, with_rate=with_rate)
    if plan.optional and not chosen.levels.any():
        return []
    found.append(_single(plan, chosen, settings))
    finer = qp - (1 << settings.qp_density)
    if effort.both_quantisers and dependent and _can_signal(finer - plan.base, settings):
        # Twice as fine, to be not worse than what was asked for.
        spec = replace(spec, dq_flag=False)
        chosen = choose_levels(_matrix(array), finer, spec, settings, with_rate=with_rate)
        found.append(_single(replace(plan, qps={Role.WEIGHT: finer}), chosen, settings))
    return found


def _with_codebook(plan: UnitPlan, settings: EncodeSettings) -> list[DataUnit]:
    """The tensor with a codebook, on a uniform grid as fine as was asked for."""
    array, qp = plan.arrays[Role.WEIGHT], plan.qps[Role.WEIGHT]
    finer = qp - (1 << settings.qp_density)
    if settings.dependent_quantisation and _can_signal(finer - plan.base, settings):
        qp = finer
    levels = uniform_quantise(_matrix(array), step_size(qp, settings.qp_density))
    spec = _spec(plan, Role.WEIGHT, settings, dq_flag=False)
    required = settings.effort.codebook == "always"
    book = choose_codebook(levels, spec, settings, required=required)
    if book is None:
        return []
    codebook, chosen = book
    return [_single(replace(plan, qps={Role.WEIGHT: qp}), chosen, settings, codebook)]


def _can_signal(delta: int, settings: EncodeSettings) -> bool:
    low, high = qp_delta_range(settings.qp_density)
    return low <= delta <= high


def _single(
    plan: UnitPlan, chosen: Chosen, settings: EncodeSettings, codebook: Codebook | None = None
) -> DataUnit:
    qp_delta = plan.qps[Role.WEIGHT] - plan.base
    element = Element(
        plan.names[Role.WEIGHT], plan.shape, Role.WEIGHT, codebook, chosen.spec.scan_order
    )
    tensor = CodedTensor(
        element, chosen.spec, chosen.levels.reshape(plan.shape), chosen.choices, qp_delta
    )
    payload, points = encode_codeword([tensor], settings.qp_density)
    return _header(
        plan,
        PayloadType.NNR_PT_FLOAT,
        payload=payload,
        codebook=codebook,
        dq_flag=chosen.spec.dq_flag,
        cabac_unary_length_minus1=chosen.spec.unary_length - 1,
        scan_order=chosen.spec.scan_order,
        entry_points=points,
    )


def _code_integers(plan: UnitPlan, settings: EncodeSettings) -> DataUnit:
    array = plan.arrays[Role.WEIGHT]
    spec = _spec(plan, Role.WEIGHT, settings, dq_flag=False)
    chosen = choose_coding(_matrix(array), spec, settings)
    element = Element(plan.names[Role.WEIGHT], plan.shape, Role.WEIGHT, None, spec.scan_order)
    tensor = CodedTensor(element, chosen.spec, array, chosen.choices)
    payload, points = encode_codeword([tensor], settings.qp_density)
    return _header(
        plan,
        PayloadType.NNR_PT_INT,
        payload=payload,
        cabac_unary_length_minus1=chosen.spec.unary_length - 1,
        scan_order=spec.scan_order,
        entry_points=points,
    )


def _code_block(plan: UnitPlan, settings: EncodeSettings) -> DataUnit:
    """A weight, or its factors, with companions: one codeword, one dq_flag, one unary length."""
    weights = [role for role in (Role.WEIGHT, Role.G, Role.H) if role in plan.arrays]
    dq_flag = settings.dependent_quantisation
    unary_length = DEFAULT_UNARY_LENGTH
    if settings.cabac_unary_length_minus1 is not None:
        unary_length = settings.cabac_unary_length_minus1 + 1
    elif settings.effort.unary_length:
        main = weights[0]
        levels = uniform_quantise(
            _matrix(plan.arrays[main]), step_size(plan.qps[main], settings.qp_density)
        )
        unary_length = choose_unary_length(levels, dq_flag=dq_flag)
    matrix_scan = any(_is_matrix(plan.arrays[role]) for role in weights)
    header = _header(
        plan,
        PayloadType.NNR_PT_BLOCK,
        dq_flag=dq_flag,
        cabac_unary_length_minus1=unary_length - 1,
        scan_order=settings.scan_order if matrix_scan else 0,
    )
    tensors = []
    for element in elements_of(header, Limits.offline()):
        role = element.role
        spec = replace(
            _spec(plan, role, settings, dq_flag=dq_flag),
            unary_length=unary_length,
            scan_order=element.scan_order,
        )
        values = _matrix(plan.arrays[role])
        qp = plan.qps[role]
        chosen = choose_levels(
            values, qp, spec, settings, with_rate=role in weights, fixed_unary_length=True
        )
        levels = chosen.levels.reshape(element.shape)
        tensors.append(CodedTensor(element, chosen.spec, levels, chosen.choices, qp - plan.base))
    payload, points = encode_codeword(tensors, settings.qp_density)
    return replace(header, payload=payload, entry_points=points)


def _header(plan: UnitPlan, payload_type: PayloadType, **coded: Any) -> DataUnit:
    """The unit of a plan, with what coding it has found."""
    types = NO_COMPANIONS
    for role in plan.names:
        types |= _TYPE_OF_ROLE.get(role, NO_COMPANIONS)
    is_block = payload_type == PayloadType.NNR_PT_BLOCK
    return DataUnit(
        payload_type,
        tuple(plan.names[role] for role in id_order(types)),
        plan.shape,
        multiple=is_block,
        nnr_decompressed_data_format=plan.data_format,
        node_id=plan.node_id,
        parent=None if plan.parentage is None else plan.parentage.parent,
        compressed_parameter_types=types,
        decomposition_rank=plan.rank,
        g_number_of_rows=plan.arrays[Role.G].shape[0] if Role.G in plan.arrays else 0,
        **coded,
    )


def _spec(plan: UnitPlan, role: Role, settings: EncodeSettings, *, dq_flag: bool) -> TensorSpec:
    array = plan.arrays[role]
    shape = rows, cols = array.shape[0], math.prod(array.shape[1:])
    name, parentage = plan.names[role], plan.parentage
    reference = history = None
    if parentage is not None:
        if parentage.parent.temporal_context_modeling_flag:
            reference = parentage.references.get(name)
        history = parentage.histories.get(name)
    unary_minus1 = settings.cabac_unary_length_minus1
    return TensorSpec(
        rows,
        cols,
        general_profile_idc=settings.profile,
        unary_length=DEFAULT_UNARY_LENGTH if unary_minus1 is None else unary_minus1 + 1,
        dq_flag=dq_flag,
        # A block scan of a single row or column is coded row by row; the header must say so.
        scan_order=settings.scan_order if _is_matrix(array) else 0,
        parent_node_id_present_flag=parentage is not None,
        reference=None if reference is None else reference.reshape(shape),
        history=None if history is None else history.reshape(shape),
    )


def _matrix(array: Array) -> Array:
    return array.reshape(array.shape[0], math.prod(array.shape[1:]))


def _is_matrix(array: Array) -> bool:
    return array.shape[0] > 1 and math.prod(array.shape[1:]) > 1
