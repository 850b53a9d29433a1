# SPDX-License-Identifier: Apache-2.0
"""Whole bitstreams: ``decode`` to tensors, ``recode`` back to the very same bytes.

``encode`` lives in ``encoder``.  Spec: ISO/IEC 15938-17, decoding process.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nnrvideo.errors import BitstreamError
from nnrvideo.limits import Limits
from nnrvideo.nnc.ahead import Codeword, decode_ahead
from nnrvideo.nnc.batch import BatchedCodeword, Job
from nnrvideo.nnc.constants import PayloadType
from nnrvideo.nnc.context import SyntaxContext
from nnrvideo.nnc.elements import Element, elements_of
from nnrvideo.nnc.overwrite import Overwritten, can_overwrite, can_recover, overwrite
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
from nnrvideo.nnc.units import DataUnit, ModelParameterSet, Quantization, TopologyUnit, Unit
from nnrvideo.nnc.update import DecoderState
from nnrvideo.tensors import TensorSet

Array = npt.NDArray[Any]
KeptCodeword = BatchedCodeword | tuple[CodedTensor | Overwritten, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """One decoded bitstream.

    Args:
        tensors: Values as transmitted, in order of first appearance; differences if
            ``is_update``, and what is left of them if they were predicted (``nnr_pre_flag``; int32
            or float32 then).  Local scales and factors stand beside their weights, see
            :meth:`network_tensors`.
        topology: The graph, if the bitstream carries one.
        units: All units in order.
        blocks: Weights with their companions.
        is_update: Values are differences to what the receiver has; a tensor that is missing is
            unchanged.
        nncodec1: A first-edition stream in the flavour of NNCodec 1.x.
    """

    tensors: TensorSet
    topology: TopologyPayload | None
    units: tuple[Unit, ...] = field(repr=False)
    _codewords: tuple[KeptCodeword, ...] = field(repr=False)
    blocks: tuple[Block, ...]
    is_update: bool
    nncodec1: bool
    _known_dimensions: Mapping[str, tuple[int, ...]] = field(repr=False)
    _sums: TensorSet | None = field(repr=False)  # with predictions, where there are any

    @property
    def coded(self) -> tuple[tuple[CodedTensor, ...], ...]:
        """For each data unit, in order, its coded tensors; empty for raw floats."""
        return tuple(_coded(found) for found in self._codewords)

    @property
    def levels(self) -> Mapping[str, npt.NDArray[np.int32]]:
        """int32 before multiplication, by name; raw float tensors have none."""
        levels: dict[str, npt.NDArray[np.int32]] = {}
        data_units = (unit for unit in self.units if isinstance(unit, DataUnit))
        for unit, codeword in zip(data_units, self._codewords, strict=True):
            levels.update(_levels(codeword))
            if not codeword:
                levels.pop(unit.topology_elem_ids[0], None)
        return MappingProxyType(levels)

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
        state: Memory of a receiver of a sequence of bitstreams; changed only on success.  It keeps
            the levels, so that large tensors take twice their size; without it they take it once.
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
    remembered = state is not None
    state = DecoderState() if state is None else state
    units = tuple(parse_units(data, limits, dimensions=state.dimensions))
    elements = _all_elements(units, limits)
    try:
        return _decode_units(
            units, elements, state, limits, threads, nncodec1=False, remembered=remembered
        )
    except BitstreamError:
        if _first_edition(units):
            # Nothing in a stream tells the two flavours of the first edition apart, and a single
            # codeword may pass in the wrong one; only the stream as a whole decides.
            try:
                return _decode_units(
                    units, elements, state, limits, threads, nncodec1=True, remembered=remembered
                )
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


def _all_elements(units: Sequence[Unit], limits: Limits) -> list[tuple[Element, ...]]:
    """Tensors of each unit, their sum bounded before the first is decoded."""
    found: list[tuple[Element, ...]] = []
    tensors = elements = 0
    with located(0, units[0].header) as place:
        for index, unit in enumerate(units):
            if not isinstance(unit, DataUnit):
                found.append(())
                continue
            place.move(index, unit.header, 8 * unit.payload_offset)
            own = elements_of(unit, limits)
            found.append(own)
            for element in own:
                tensors += 1
                elements += math.prod(element.shape)
            if tensors > limits.max_tensors:
                limits.require("max_tensors", tensors, "tensors of the bitstream")
            if elements > limits.max_total_elements:
                limits.require("max_total_elements", elements, "elements of the bitstream")
    return found


def _decode_units(
    units: tuple[Unit, ...],
    elements: Sequence[tuple[Element, ...]],
    state: DecoderState,
    limits: Limits,
    threads: int | None,
    *,
    nncodec1: bool,
    remembered: bool,
) -> Decoded:
    working = state.fork()
    threads = threads or os.cpu_count() or 1
    context = SyntaxContext()
    jobs: list[Job] = []
    arounds: dict[int, PayloadContext] = {}
    for index, unit in enumerate(units):
        if not isinstance(unit, DataUnit):
            context.note(unit)
            around = PayloadContext(
                context.general_profile_idc, context.quantization, working, nncodec1, threads
            )
        elif unit.nnr_compressed_data_unit_payload_type != PayloadType.NNR_PT_RAW_FLOAT:
            arounds[index] = around
            jobs.append((index, unit, around))
    # A bitstream has one model parameter set, before all of its data.
    mps = context.mps
    is_update = mps is not None and mps.mps_parent_signalling_enabled_flag
    is_predicted = mps is not None and mps.nnr_pre_flag
    remembered = remembered or is_update
    ahead = decode_ahead(jobs, elements, threads)
    tensors: dict[str, Array] = {}
    sums: dict[str, Array] = {}
    levels: dict[str, npt.NDArray[np.int32]] = {}
    coded: list[KeptCodeword] = []
    topology: TopologyPayload | None = None
    with located(0, units[0].header) as place:
        for index, unit in enumerate(units):
            if isinstance(unit, TopologyUnit):
                place.move(index, unit.header)
                topology = unpack_topology(unit, limits) or topology
            if not isinstance(unit, DataUnit):
                continue
            place.move(index, unit.header, 8 * unit.payload_offset)
            kept: KeptCodeword = ()
            values: Sequence[Array]
            working.check_parent(unit)
            if is_predicted:
                working.check_prediction(unit)
            if unit.nnr_compressed_data_unit_payload_type == PayloadType.NNR_PT_RAW_FLOAT:
                values = [decode_raw_floats(unit, elements[index][0])]
                levels.pop(elements[index][0].name, None)
            else:
                found = ahead.get(index) or decode_codeword(unit, elements[index], arounds[index])
                kept, values = _reconstruct(
                    found, arounds[index].quantization, overwriting=not remembered
                )
            data_format = unit.nnr_decompressed_data_format
            for element, each in zip(elements[index], values, strict=True):
                name = element.name
                if is_predicted:
                    tensors[name] = each
                    whole = add_prediction(each, working.difference(name))
                    sums[name] = convert(whole, data_format)
                else:
                    tensors[name] = convert(each, data_format)
            coded.append(kept)
            if remembered:
                received = _levels(kept)
                levels.update(received)
                working.note_unit(unit, received.items())
    if is_update:
        working.note_update(levels, sums or tensors)
    else:
        working.note_base(tensors)
    known = dict(state.dimensions)
    state.adopt(working)
    return Decoded(
        TensorSet(tensors),
        topology,
        units,
        tuple(coded),
        blocks_of(
            [
                (unit, own)
                for unit, own in zip(units, elements, strict=True)
                if isinstance(unit, DataUnit)
            ]
        ),
        is_update,
        nncodec1,
        MappingProxyType(known),
        TensorSet(sums) if sums else None,
    )


def _reconstruct(
    found: Codeword, quantization: Quantization | None, *, overwriting: bool
) -> tuple[KeptCodeword, Sequence[Array]]:
    """The values of a codeword's tensors, in the memory of their levels if ``overwriting``."""
    if isinstance(found, BatchedCodeword):
        return found, found.values
    density = 0 if quantization is None else quantization.qp_density
    kept: list[CodedTensor | Overwritten] = []
    values: list[Array] = []
    for each in found:
        if overwriting and can_overwrite(each) and can_recover(each):
            overwritten = overwrite(each, density)
            kept.append(overwritten)
            values.append(overwritten.values)
        else:
            kept.append(each)
            values.append(reconstruct_tensor(each, density))
    return tuple(kept), values


def _levels(codeword: KeptCodeword) -> dict[str, npt.NDArray[np.int32]]:
    if isinstance(codeword, BatchedCodeword):
        names = (element.name for element in codeword.elements)
        return dict(zip(names, codeword.levels, strict=True))
    return {each.element.name: each.levels for each in codeword}


def _coded(codeword: KeptCodeword) -> tuple[CodedTensor, ...]:
    if isinstance(codeword, BatchedCodeword):
        return codeword.coded()
    return tuple(each.coded() if isinstance(each, Overwritten) else each for each in codeword)
