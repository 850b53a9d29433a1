# SPDX-License-Identifier: Apache-2.0
"""``encode``: tensors to a bitstream.

Every choice that costs nothing to a decoder is made by size.  Nothing wraps: what cannot be coded
is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from nnrvideo.nnc.elements import BATCH_NORM, Role
from nnrvideo.nnc.exact import is_single, to_single
from nnrvideo.nnc.lowrank import factorise
from nnrvideo.nnc.quantisation import base_qp, is_automatic, quantisation_parameter
from nnrvideo.nnc.settings import EncodeSettings
from nnrvideo.nnc.sparsify import sparsify
from nnrvideo.nnc.stream import write_units
from nnrvideo.nnc.topology import TopologyPayload, pack_topology
from nnrvideo.nnc.unitcoder import UnitPlan, code_units
from nnrvideo.nnc.units import ModelParameterSet, NodeId, Quantization, StartUnit, Unit

Array = npt.NDArray[Any]
Value = TypeVar("Value")

_INT32_MAX: Final = (1 << 31) - 1

# dtype -> nnr_decompressed_data_format; None where the payload type says it already.
FORMATS: Final[dict[str, int | None]] = {
    "int32": None,
    "float32": None,
    "int8": 5,
    "int16": 6,
    "int64": 7,
    "float16": 8,
    "float64": 9,
}


def encode(
    tensors: Mapping[str, Array],
    settings: EncodeSettings | None = None,
    *,
    topology: TopologyPayload | None = None,
    blocks: Sequence[Mapping[Role, str]] = (),
    per_tensor: Mapping[str, EncodeSettings] = MappingProxyType({}),
    parameters: ModelParameterSet | None = None,
) -> bytes:
    """Encodes tensors as a bitstream with one data unit for each tensor or block.

    Args:
        tensors: Name to array of float32, float16, float64 (coded as binary32), int32, int16,
            int8 or int64 (coded as int32).  Integers are always exact.  A scalar is sent as one
            dimension of size 1.
        settings: Choices of the encoder.
        topology: Graph to carry along; without it the bitstream has no topology unit.
        blocks: Tensors that belong together, names by role: a ``Role.WEIGHT`` of shape (d0, ...)
            with companions of shape (d0,), all float32.  One unit carries them, which is shorter.
            A lossless stream has none.
        per_tensor: Settings of single tensors, for instance lossless ones among others; no block
            has them.  The profile and ``qp_density`` are always those of ``settings``.
        parameters: What the model parameter set shall say besides: performance maps, metric,
            performance on a validation set.  What depends on the coding is filled in.

    Returns:
        The bitstream.  ``Decoded.network_tensors`` has the network's own tensors, with factors
        multiplied and local scales applied.  NNCodec 2.1.3 decodes it, unless the topology is
        binary or a unit is spread over several.

    Raises:
        ValueError: A dtype or value that NNC cannot carry: NaN and infinity unless lossless,
            integers over 31 bits, float64 that is not binary32 if lossless; a QP that no 6 + d
            bits can carry; a name with a zero byte; a block whose tensors do not fit together.
    """
    settings = settings or EncodeSettings()
    own = {name: _own(per_tensor.get(name, settings), settings) for name in tensors}
    arrays = {
        name: sparsify(checked_array(name, array, own[name]), own[name])
        for name, array in tensors.items()
    }
    qps = {
        name: quantisation_parameter(name, array, own[name])
        for name, array in arrays.items()
        if array.dtype == np.float32 and not own[name].lossless
    }
    blocks = [block for block in blocks if not per_tensor.keys() & set(block.values())]
    grouped = {} if settings.lossless else grouped_by_weight(arrays, tensors, blocks)
    qps.update(_finer_batch_norm(grouped.values(), arrays, qps, settings))
    base = base_qp(qps, settings)
    companions = {name for block in grouped.values() for name in block.values()}
    plans = []
    for index, name in enumerate(arrays):
        block = grouped.get(name, {Role.WEIGHT: name})
        if name in companions and name not in grouped:
            continue
        plan = UnitPlan(
            {role: arrays[each] for role, each in block.items()},
            block,
            arrays[name].shape,
            {role: qps[each] for role, each in block.items() if each in qps},
            base,
            NodeId(settings.device_id, index, 0)
            if settings.node_ids and settings.profile == 1
            else None,
            FORMATS[np.asarray(tensors[name]).dtype.name],
            settings=None if own[name] is settings else own[name],
        )
        plans.append(_decomposed(plan, name, own[name], tensors))
    mps = replace(
        parameters or ModelParameterSet(),
        topology_carriage_flag=topology is not None,
        mps_parent_signalling_enabled_flag=False,
        quantization=Quantization(settings.qp_density, base),
    )
    units: list[Unit] = [StartUnit(settings.profile), mps]
    if topology is not None:
        units.append(pack_topology(topology))
    units.extend(code_units(plans, settings))
    return write_units(units, max_unit_bytes=settings.max_unit_bytes)


def _finer_batch_norm(
    blocks: Iterable[Mapping[Role, str]],
    arrays: Mapping[str, Array],
    qps: Mapping[str, int],
    settings: EncodeSettings,
) -> dict[str, int]:
    """QPs of batch norms in blocks that nobody asked for.

    Dependent quantisation, which a block has for all of its tensors, is as exact at half the step
    as the uniform quantisation that short vectors have on their own.
    """
    if not settings.dependent_quantisation:
        return {}
    names = [name for block in blocks for role, name in block.items() if role in BATCH_NORM]
    return {
        name: qps[name] - (1 << settings.qp_density)
        for name in names
        if is_automatic(name, arrays[name], settings)
    }


def _decomposed(
    plan: UnitPlan, name: str, settings: EncodeSettings, tensors: Mapping[str, Array]
) -> UnitPlan:
    """The plan with two factors instead of the weight, where they pay."""
    if not settings.low_rank or Role.WEIGHT not in plan.qps:
        return plan
    factors = factorise(plan.arrays[Role.WEIGHT], settings.low_rank)
    names = dict(zip((Role.G, Role.H), (f"{name}_G", f"{name}_H"), strict=True))
    if factors is None or any(each in tensors for each in names.values()):
        return plan

    def swapped(old: Mapping[Role, Value], new: Sequence[Value]) -> dict[Role, Value]:
        result: dict[Role, Value] = dict(zip((Role.G, Role.H), new, strict=True))
        result.update((role, each) for role, each in old.items() if role is not Role.WEIGHT)
        return result

    qp = plan.qps[Role.WEIGHT]
    return replace(
        plan,
        arrays=swapped(plan.arrays, factors),
        names=swapped(plan.names, tuple(names.values())),
        qps=swapped(plan.qps, (qp, qp)),
        rank=factors[0].shape[1],
    )


def _own(chosen: EncodeSettings, settings: EncodeSettings) -> EncodeSettings:
    """Settings of one tensor, with what the whole bitstream has in common."""
    if chosen is settings:
        return settings
    return replace(chosen, profile=settings.profile, qp_density=settings.qp_density)


def checked_array(name: str, array: Array, settings: EncodeSettings) -> Array:
    """The tensor as int32 or float32, at least one-dimensional.

    Args:
        name: Of the tensor, for messages.
        array: As given to ``encode``.
        settings: Choices of the encoder.

    Raises:
        ValueError: NNC cannot carry its type or a value.
    """
    array = np.asarray(array)
    if array.dtype.name not in FORMATS:
        msg = f"tensor {name!r}: NNC has no data type for {array.dtype}"
        raise ValueError(msg)
    array = np.atleast_1d(array)
    if array.dtype.kind == "i":
        if array.size and not -_INT32_MAX <= int(array.min()) <= int(array.max()) <= _INT32_MAX:
            msg = f"tensor {name!r}: integers beyond 31 bits and sign cannot be coded"
            raise ValueError(msg)
        return np.ascontiguousarray(array, dtype=np.int32)
    single = to_single(array)
    if settings.lossless:
        if array.dtype == np.float64 and not is_single(array):
            msg = f"tensor {name!r}: float64 values are not binary32, lossless coding cannot be"
            raise ValueError(msg)
    elif not bool(np.isfinite(single).all()):
        msg = f"tensor {name!r}: NaN or infinity cannot be quantised (lossless coding can)"
        raise ValueError(msg)
    return single


def grouped_by_weight(
    arrays: Mapping[str, Array], given: Mapping[str, Array], blocks: Sequence[Mapping[Role, str]]
) -> dict[str, Mapping[Role, str]]:
    """Blocks by the name of their weight, checked.

    Args:
        arrays: Tensors as they will be coded.
        given: Tensors as the caller gave them.
        blocks: Names by role.

    Raises:
        ValueError: A tensor is missing, in two blocks, of another type or of a wrong shape.
    """
    grouped: dict[str, Mapping[Role, str]] = {}
    seen: set[str] = set()
    for block in blocks:
        weight = block.get(Role.WEIGHT)
        if weight is None or len(block) < 2:
            msg = f"a block needs a weight and a companion, not {dict(block)}"
            raise ValueError(msg)
        norm = BATCH_NORM & block.keys()
        if norm and norm != BATCH_NORM:
            msg = f"block of {weight!r}: a batch norm needs beta, gamma, mean and variance"
            raise ValueError(msg)
        for role, name in block.items():
            if name not in arrays:
                msg = f"block of {weight!r}: there is no tensor {name!r}"
                raise ValueError(msg)
            if name in seen:
                msg = f"tensor {name!r} is in two blocks"
                raise ValueError(msg)
            seen.add(name)
            if np.asarray(given[name]).dtype != np.float32:
                msg = f"block of {weight!r}: {name!r} is not float32"
                raise ValueError(msg)
            if role is not Role.WEIGHT and arrays[name].shape != arrays[weight].shape[:1]:
                msg = f"block of {weight!r}: {name!r} is no vector of {arrays[weight].shape[0]}"
                raise ValueError(msg)
        grouped[weight] = dict(block)
    return grouped
