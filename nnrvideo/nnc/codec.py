# SPDX-License-Identifier: Apache-2.0
"""Whole bitstreams: ``decode`` to tensors, ``recode`` back to the very same bytes.

``encode`` lives in ``encoder``.  Spec: ISO/IEC 15938-17, decoding process.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from nnrvideo.errors import BitstreamError, NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.nnc.constants import PayloadType
from nnrvideo.nnc.context import SyntaxContext
from nnrvideo.nnc.elements import Element, elements_of
from nnrvideo.nnc.parallel import run_all
from nnrvideo.nnc.payload import (
    CodedTensor,
    PayloadContext,
    decode_codeword,
    decode_raw_floats,
    encode_codeword,
)
from nnrvideo.nnc.prediction import add_prediction
from nnrvideo.nnc.reconstruct import (
    Block,
    apply_blocks,
    blocks_of,
    convert,
    reconstruct_tensor,
)
from nnrvideo.nnc.stream import located, parse_units, write_units
from nnrvideo.nnc.topology import TopologyPayload, unpack_topology
from nnrvideo.nnc.units import DataUnit, ModelParameterSet, TopologyUnit, Unit
from nnrvideo.nnc.update import DecoderState
from nnrvideo.tensors import TensorSet

Array = npt.NDArray[Any]

_PARALLEL_BYTES: Final = 1 << 15
_BYTES_A_UNIT: Final = 1 << 10
"""Of payload, in all and for each unit; below, threads cost more than they save."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """One decoded bitstream.

    Args:
        tensors: Values as transmitted, in order of first appearance; differences if
            ``is_update``, and what is left of them if they were predicted (``nnr_pre_flag``; int32
            or float32 then).  Local scales and factors stand beside their weights, see
            :meth:`network_tensors`.
        levels: int32 before multiplication, by name; raw float tensors have none.
        topology: The graph, if the bitstream carries one.
        units: All units in order.
        coded: For each data unit, in order, its coded tensors; empty for raw floats.
        blocks: Weights with their companions.
        is_update: Values are differences to what the receiver has; a tensor that is missing is
            unchanged.
        nncodec1: A first-edition stream in the flavour of NNCodec 1.x.
    """

    tensors: TensorSet
    levels: Mapping[str, npt.NDArray[np.int32]] = field(repr=False)
    topology: TopologyPayload | None
    units: tuple[Unit, ...] = field(repr=False)
    coded: tuple[tuple[CodedTensor, ...], ...] = field(repr=False)
    blocks: tuple[Block, ...]
    is_update: bool
    nncodec1: bool
    _known_dimensions: Mapping[str, tuple[int, ...]] = field(repr=False)
    _sums: TensorSet | None = field(repr=False)  # with predictions, where there are any

    @property
    def base_model_id(self) -> str | None:
        """What the sender says the values are relative to."""
        return None if self.parameter_set is None else self.parameter_set.base_model_id

    @property
    def parameter_set(self) -> ModelParameterSet | None:
        """The model parameter set; only a bitstream without tensors may lack one."""
        return next((unit for unit in self.units if isinstance(unit, ModelParameterSet)), None)

    @property
    def is_predicted(self) -> bool:
        """An update whose values are residuals of a prediction."""
        return self.parameter_set is not None and self.parameter_set.nnr_pre_flag

    def network_tensors(self) -> TensorSet:
        """Tensors of the network itself, or of its change.

        Predictions are added (:mod:`nnrvideo.nnc.prediction`), local scales applied, factors
        multiplied.

        Raises:
            BitstreamError: Shapes contradict each other or a value leaves float32.
        """
        return apply_blocks(self.tensors if self._sums is None else self._sums, self.blocks)


def decode(
    data: bytes,
    *,
    state: DecoderState | None = None,
    limits: Limits | None = None,
    threads: int | None = None,
) -> Decoded:
    """Decodes a bitstream of either edition.

    Args:
        data: The whole bitstream.
        state: Memory of a receiver of a sequence of bitstreams; changed only on success.
        limits: Bounds; those of a desktop if absent.
        threads: Units decoded at a time; None: one for each core.  The result is the same.

    Returns:
        Tensors, levels and everything needed to write the bitstream again.

    Raises:
        BitstreamError: The syntax is broken; names unit, byte and bit.
        UnsupportedFeatureError: Legal but not implemented.
        LimitExceededError: A limit is exceeded.
    """
    limits = limits or Limits.desktop()
    state = DecoderState() if state is None else state
    units = tuple(parse_units(data, limits, dimensions=state.dimensions))
    _check_totals(units, limits)
    try:
        return _decode_units(units, state, limits, threads, nncodec1=False)
    except BitstreamError:
        if _first_edition(units):
            # Nothing in a stream tells the two flavours of the first edition apart, and a single
            # codeword may pass in the wrong one; only the stream as a whole decides.
            try:
                return _decode_units(units, state, limits, threads, nncodec1=True)
            except BitstreamError:
                pass
        raise


def recode(decoded: Decoded) -> bytes:
    """Writes a decoded bitstream again, every codeword coded anew with the choices found.

    Returns:
        The bytes that were decoded, if their sender wrote sizes in the shortest form.
    """
    context = SyntaxContext.after(decoded._known_dimensions)  # noqa: SLF001
    coded = iter(decoded.coded)
    units: list[Unit] = []
    for unit in decoded.units:
        context.note(unit)
        if not isinstance(unit, DataUnit):
            units.append(unit)
            continue
        tensors = next(coded)
        if not tensors:
            units.append(unit)
            continue
        density = 0 if context.quantization is None else context.quantization.qp_density
        payload, points = encode_codeword(tensors, density)
        units.append(replace(unit, payload=payload, entry_points=points))
    return write_units(units, dimensions=decoded._known_dimensions)  # noqa: SLF001


def _first_edition(units: Sequence[Unit]) -> bool:
    context = SyntaxContext()
    context.note(units[0])
    return context.general_profile_idc == 0


def _check_totals(units: Sequence[Unit], limits: Limits) -> None:
    """Bounds the sum of all tensors before the first is decoded."""
    tensors = elements = 0
    for index, unit in enumerate(units):
        if isinstance(unit, DataUnit):
            with located(index, unit.header, 8 * unit.payload_offset):
                for element in elements_of(unit, limits):
                    tensors += 1
                    elements += math.prod(element.shape)
                limits.require("max_tensors", tensors, "tensors of the bitstream")
                limits.require("max_total_elements", elements, "elements of the bitstream")


@final
class _Ahead:
    """Codewords decoded ahead by other threads, where no unit depends on one before it.

    What fails there is left for the walk through the units to meet again, in order and with its
    place.
    """

    def __init__(self, units: Sequence[Unit], threads: int | None) -> None:
        coded = [
            unit
            for unit in units
            if isinstance(unit, DataUnit)
            and unit.nnr_compressed_data_unit_payload_type != PayloadType.NNR_PT_RAW_FLOAT
        ]
        names = [name for unit in coded for name in unit.topology_elem_ids]
        size = sum(len(unit.payload) for unit in coded)
        large = size >= max(_PARALLEL_BYTES, _BYTES_A_UNIT * len(coded))
        self.wanted = large and threads != 1 and len(coded) > 1 and len(set(names)) == len(names)
        self._threads = threads
        self._found: dict[int, tuple[CodedTensor, ...]] = {}

    def run(
        self,
        units: Sequence[Unit],
        known: Mapping[str, tuple[int, ...]],
        decode_one: Callable[[DataUnit, SyntaxContext], tuple[CodedTensor, ...]],
    ) -> None:
        """Decodes all units that can be, if that is worth the threads."""
        if not self.wanted:
            return
        context = SyntaxContext.after(known)
        jobs: list[tuple[int, DataUnit, SyntaxContext]] = []
        for index, unit in enumerate(units):
            context.note(unit)
            if isinstance(unit, DataUnit):
                jobs.append((index, unit, replace(context)))

        def attempt(job: tuple[int, DataUnit, SyntaxContext]) -> tuple[CodedTensor, ...] | None:
            _, unit, around = job
            if unit.nnr_compressed_data_unit_payload_type == PayloadType.NNR_PT_RAW_FLOAT:
                return None
            try:
                return decode_one(unit, around)
            except NnrVideoError:
                return None

        results = run_all(attempt, jobs, self._threads, size=lambda job: len(job[1].payload))
        for (index, _, _), found in zip(jobs, results, strict=True):
            if found is not None:
                self._found[index] = found

    def get(self, index: int) -> tuple[CodedTensor, ...] | None:
        """Tensors of a unit, if they are there already."""
        return self._found.pop(index, None)


def _decode_units(
    units: tuple[Unit, ...],
    state: DecoderState,
    limits: Limits,
    threads: int | None,
    *,
    nncodec1: bool,
) -> Decoded:
    working = state.fork()

    def decode_one(unit: DataUnit, context: SyntaxContext) -> tuple[CodedTensor, ...]:
        around = PayloadContext(
            context.general_profile_idc,
            context.quantization,
            working,
            nncodec1,
            1 if ahead.wanted else threads or os.cpu_count() or 1,
        )
        return decode_codeword(unit, around, limits)

    ahead = _Ahead(units, threads)
    ahead.run(units, state.dimensions, decode_one)
    context = SyntaxContext.after(state.dimensions)
    tensors: dict[str, Array] = {}
    sums: dict[str, Array] = {}
    levels: dict[str, npt.NDArray[np.int32]] = {}
    coded: list[tuple[CodedTensor, ...]] = []
    grouped: list[tuple[DataUnit, tuple[Element, ...]]] = []
    topology: TopologyPayload | None = None

    def predicted() -> bool:
        return context.mps is not None and context.mps.nnr_pre_flag

    def keep(name: str, values: Array, data_format: int | None) -> None:
        if predicted():
            tensors[name] = values
            sums[name] = convert(add_prediction(values, working.difference(name)), data_format)
        else:
            tensors[name] = convert(values, data_format)

    for index, unit in enumerate(units):
        context.note(unit)
        with located(index, unit.header):
            if isinstance(unit, TopologyUnit):
                topology = unpack_topology(unit, limits) or topology
        if not isinstance(unit, DataUnit):
            continue
        with located(index, unit.header, 8 * unit.payload_offset):
            working.check_parent(unit)
            if predicted():
                working.check_prediction(unit)
            if unit.nnr_compressed_data_unit_payload_type == PayloadType.NNR_PT_RAW_FLOAT:
                element, values = decode_raw_floats(unit, limits)
                keep(element.name, values, unit.nnr_decompressed_data_format)
                levels.pop(element.name, None)
                working.note_unit(unit, [])
                coded.append(())
                grouped.append((unit, (element,)))
                continue
            found = ahead.get(index)
            if found is None:
                found = decode_one(unit, context)
            density = 0 if context.quantization is None else context.quantization.qp_density
            for tensor in found:
                values = reconstruct_tensor(tensor, density)
                keep(tensor.element.name, values, unit.nnr_decompressed_data_format)
                levels[tensor.element.name] = tensor.levels
        working.note_unit(unit, [(tensor.element.name, tensor.levels) for tensor in found])
        coded.append(found)
        grouped.append((unit, tuple(tensor.element for tensor in found)))
    is_update = context.mps is not None and context.mps.mps_parent_signalling_enabled_flag
    if is_update:
        working.note_update(levels, sums or tensors)
    else:
        working.note_base(tensors)
    known = dict(state.dimensions)
    state.adopt(working)
    return Decoded(
        TensorSet(tensors),
        MappingProxyType(levels),
        topology,
        units,
        tuple(coded),
        blocks_of(grouped),
        is_update,
        nncodec1,
        MappingProxyType(known),
        TensorSet(sums) if sums else None,
    )
