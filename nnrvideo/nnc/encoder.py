# SPDX-License-Identifier: Apache-2.0
"""``encode``: tensors to a bitstream.

Every choice that costs nothing to a decoder is made by size: the initial states of the contexts,
whether rows of zeros get flags.  Nothing wraps: what cannot be coded is refused by name.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy import (
    EntryPoint,
    TensorChoices,
    TensorSpec,
    choose_row_skip_flags,
    dependent_quantise,
    search_init_indices,
    step_size,
    uniform_quantise,
)
from nnrvideo.nnc.constants import PayloadType
from nnrvideo.nnc.elements import Element, Role
from nnrvideo.nnc.exact import is_single, to_single
from nnrvideo.nnc.payload import (
    MAX_STEP_EXPONENT,
    CodedTensor,
    encode_codeword,
    qp_delta_range,
)
from nnrvideo.nnc.settings import EncodeSettings
from nnrvideo.nnc.stream import write_units
from nnrvideo.nnc.topology import TopologyPayload, pack_topology
from nnrvideo.nnc.units import (
    DataUnit,
    ModelParameterSet,
    NodeId,
    Quantization,
    StartUnit,
    Unit,
)

Array = npt.NDArray[Any]
Levels = npt.NDArray[np.int32]

_log = logging.getLogger(__name__)

_INT32_MAX = (1 << 31) - 1
_MIN_BASE, _MAX_BASE = -4096, 4095  # i(13)

# dtype -> nnr_decompressed_data_format; None where the payload type says it already.
_FORMATS: dict[str, int | None] = {
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
    per_tensor: Mapping[str, EncodeSettings] = MappingProxyType({}),
) -> bytes:
    """Encodes tensors as a bitstream with one data unit for each.

    Args:
        tensors: Name to array of float32, float16, float64 (coded as binary32), int32, int16,
            int8 or int64 (coded as int32).  Integers are always exact.  A scalar is sent as one
            dimension of size 1.
        settings: Choices of the encoder.
        topology: Graph to carry along; without it the bitstream has no topology unit.
        per_tensor: Settings of single tensors, for instance lossless ones among others; the
            profile and ``qp_density`` are always those of ``settings``.

    Returns:
        The bitstream.  NNCodec 2.1.3 decodes it, unless the topology is binary.

    Raises:
        ValueError: A dtype or value that NNC cannot carry: NaN and infinity unless lossless,
            integers over 31 bits, float64 that is not binary32 if lossless; a QP that no 6 + d
            bits can carry; a name with a zero byte.
    """
    settings = settings or EncodeSettings()
    own = {name: _own(per_tensor.get(name, settings), settings) for name in tensors}
    arrays = {name: _checked(name, array, own[name]) for name, array in tensors.items()}
    qps = {
        name: _quantisation_parameter(name, array, own[name])
        for name, array in arrays.items()
        if array.dtype == np.float32 and not own[name].lossless
    }
    base = _base_qp(qps, settings)
    mps = ModelParameterSet(
        topology_carriage_flag=topology is not None,
        quantization=Quantization(settings.qp_density, base),
    )
    units: list[Unit] = [StartUnit(settings.profile), mps]
    if topology is not None:
        units.append(pack_topology(topology))
    for index, (name, array) in enumerate(arrays.items()):
        data_format = _FORMATS[np.asarray(tensors[name]).dtype.name]
        units.append(_data_unit(name, array, index, qps.get(name), base, data_format, own[name]))
    return write_units(units)


def _own(chosen: EncodeSettings, settings: EncodeSettings) -> EncodeSettings:
    """Settings of one tensor, with what the whole bitstream has in common."""
    if chosen is settings:
        return settings
    return replace(chosen, profile=settings.profile, qp_density=settings.qp_density)


def _checked(name: str, array: Array, settings: EncodeSettings) -> Array:
    """The tensor as int32 or float32, at least one-dimensional; or a refusal by name."""
    array = np.asarray(array)
    if array.dtype.name not in _FORMATS:
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


# --- quantisation parameters --------------------------------------------------------------------


def _quantisation_parameter(name: str, array: Array, settings: EncodeSettings) -> int:
    """QP asked for, raised where levels would need more than 31 bits."""
    asked = settings.qp_of(name, array.ndim)
    density = settings.qp_density
    if abs(asked >> density) > MAX_STEP_EXPONENT:
        msg = f"tensor {name!r}: QP {asked} at density {density} has no step size in float32"
        raise ValueError(msg)
    largest = float(np.abs(array).max()) if array.size else 0.0
    qp = asked
    # Two steps of margin: dependent quantisation may move a level away from the nearest.
    while largest / float(step_size(qp, density)) > _INT32_MAX - 128:
        qp += 1
    if qp != asked:
        _log.warning("tensor %r: QP raised from %d to %d, levels need 31 bits", name, asked, qp)
    return qp


def _base_qp(qps: Mapping[str, int], settings: EncodeSettings) -> int:
    """mps_quantization_parameter: 0 if that reaches all QPs, else the nearest to 0 that does."""
    if not qps:
        return 0
    low, high = min(qps.values()), max(qps.values())
    low_delta, high_delta = qp_delta_range(settings.qp_density)
    first, last = max(_MIN_BASE, high - high_delta), min(_MAX_BASE, low - low_delta)
    if first > last:
        msg = (
            f"QPs from {low} to {high} do not fit the {high_delta - low_delta + 1} values that "
            f"qp_density {settings.qp_density} can tell apart; raise the density"
        )
        raise ValueError(msg)
    return min(max(0, first), last)


# --- one tensor ---------------------------------------------------------------------------------


def _data_unit(  # noqa: PLR0917
    name: str,
    array: Array,
    index: int,
    qp: int | None,
    base: int,
    data_format: int | None,
    settings: EncodeSettings,
) -> DataUnit:
    node_id = None
    if settings.node_ids and settings.profile == 1:
        node_id = NodeId(settings.device_id, index, 0)
    if array.dtype == np.float32 and settings.lossless:
        return DataUnit(
            PayloadType.NNR_PT_RAW_FLOAT,
            (name,),
            array.shape,
            payload=array.astype("<f4", copy=False).tobytes(),
            nnr_decompressed_data_format=data_format,
            node_id=node_id,
        )
    # A block scan of a single row or column is coded row by row, so the header must say so.
    rows, cols = array.shape[0], math.prod(array.shape[1:])
    scan_order = settings.scan_order if rows > 1 and cols > 1 else 0
    dq_flag = qp is not None and settings.dependent_quantisation
    levels = array if qp is None else _quantise(array, qp, scan_order, settings)
    spec = TensorSpec(
        rows,
        cols,
        general_profile_idc=settings.profile,
        unary_length=settings.cabac_unary_length_minus1 + 1,
        dq_flag=dq_flag,
        scan_order=scan_order,
    )
    element = Element(name, array.shape, Role.WEIGHT, None, scan_order)
    delta = None if qp is None else qp - base
    best = _cheapest(element, spec, levels, delta, settings)
    return DataUnit(
        PayloadType.NNR_PT_INT if qp is None else PayloadType.NNR_PT_FLOAT,
        (name,),
        array.shape,
        payload=best.payload,
        nnr_decompressed_data_format=data_format,
        node_id=node_id,
        dq_flag=dq_flag,
        cabac_unary_length_minus1=settings.cabac_unary_length_minus1,
        scan_order=scan_order,
        entry_points=best.entry_points,
    )


def _quantise(array: Array, qp: int, scan_order: int, settings: EncodeSettings) -> Levels:
    step = step_size(qp, settings.qp_density)
    if not settings.dependent_quantisation:
        return uniform_quantise(array, step)
    matrix = array.reshape(array.shape[0], math.prod(array.shape[1:]))
    levels = dependent_quantise(
        matrix,
        step,
        lam=settings.rate_weight,
        scan_order=scan_order,
        unary_length=settings.cabac_unary_length_minus1 + 1,
    )
    return levels.reshape(array.shape)


@final
@dataclass(frozen=True, slots=True)
class _Coded:
    payload: bytes
    entry_points: tuple[EntryPoint, ...]


def _cheapest(
    element: Element,
    spec: TensorSpec,
    levels: Levels,
    qp_delta: int | None,
    settings: EncodeSettings,
) -> _Coded:
    """Codes the tensor with each set of choices worth trying and keeps the shortest."""
    matrix = levels.reshape(spec.rows, spec.cols)
    flags = choose_row_skip_flags(matrix, spec) if settings.row_skipping else None
    skips = [None] if flags is None else [None, flags]
    trials = []
    for skip in skips:
        choices = TensorChoices(row_skip_flags=skip)
        if settings.search:
            indices = search_init_indices(matrix, spec, choices)
            choices = TensorChoices(indices, skip)
        tensor = CodedTensor(element, spec, levels, choices, qp_delta, None)
        trials.append(_Coded(*encode_codeword([tensor], settings.qp_density)))
    return min(trials, key=lambda trial: len(trial.payload))
