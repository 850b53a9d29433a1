# SPDX-License-Identifier: Apache-2.0
"""Decoding unit by unit: one tensor in memory at a time, whatever the size of the network.

Spec: ISO/IEC 15938-17, decoding process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import numpy.typing as npt

from nnrvideo.errors import UnsupportedFeatureError
from nnrvideo.limits import Limits
from nnrvideo.nnc.constants import ParameterTypes, PayloadType
from nnrvideo.nnc.context import SyntaxContext
from nnrvideo.nnc.elements import elements_of
from nnrvideo.nnc.overwrite import can_overwrite, overwrite
from nnrvideo.nnc.payload import PayloadContext, decode_codeword, decode_raw_floats
from nnrvideo.nnc.reconstruct import (
    apply_blocks,
    blocks_of,
    convert,
    reconstruct_tensor,
)
from nnrvideo.nnc.stream import NEED_DATA, NncReader, located
from nnrvideo.nnc.units import DataUnit
from nnrvideo.nnc.update import DecoderState

Array = npt.NDArray[Any]

_READ_BYTES: Final = 1 << 16


def iter_tensors(source: BinaryIO, *, limits: Limits | None = None) -> Iterator[tuple[str, Array]]:
    """Decodes the tensors of a base bitstream one after the other.

    While a tensor is held, memory grows by its size as float32, by its unit's bytes and little
    else; what was yielded before is not kept.

    Args:
        source: File open for binary reading, at the start of a bitstream that fills it.
        limits: Bounds on each tensor and unit; those of a desktop if absent.  Totals are not
            bounded, for they take no memory.

    Yields:
        Name and values, as ``Decoded.network_tensors`` has them.

    Raises:
        BitstreamError: The syntax is broken; what came before was right.
        UnsupportedFeatureError: Legal but not implemented, or not to be had in one pass: updates,
            first-edition streams in the flavour of NNCodec 1.x, companions in units of their own.
        LimitExceededError: A limit is exceeded.
    """
    limits = limits or Limits.desktop()
    reader = NncReader(limits)
    context = SyntaxContext()
    index = 0
    while True:
        unit = reader.next_unit()
        if unit is NEED_DATA:
            data = source.read(_READ_BYTES)
            if not data:
                reader.close()
                return
            reader.feed(data)
            continue
        context.note(unit)
        if isinstance(unit, DataUnit):
            with located(index, unit.header, 8 * unit.payload_offset):
                found = _decode(unit, context, limits)
            while found:
                name = next(iter(found))
                yield name, found.pop(name)
        index += 1


def _decode(unit: DataUnit, context: SyntaxContext, limits: Limits) -> dict[str, Array]:
    _require_single_pass(unit, context)
    elements = elements_of(unit, limits)
    if unit.nnr_compressed_data_unit_payload_type == PayloadType.NNR_PT_RAW_FLOAT:
        values = decode_raw_floats(unit, elements[0])
        return {elements[0].name: convert(values, unit.nnr_decompressed_data_format)}
    around = PayloadContext(context.general_profile_idc, context.quantization, DecoderState())
    density = 0 if context.quantization is None else context.quantization.qp_density
    coded = decode_codeword(unit, elements, around)
    blocks = blocks_of([(unit, tuple(tensor.element for tensor in coded))])
    found = {}
    for tensor in coded:
        reconstructed = (
            overwrite(tensor, density).values
            if can_overwrite(tensor)
            else reconstruct_tensor(tensor, density)
        )
        found[tensor.element.name] = convert(reconstructed, unit.nnr_decompressed_data_format)
    return dict(apply_blocks(found, blocks)) if unit.is_block else found


def _require_single_pass(unit: DataUnit, context: SyntaxContext) -> None:
    if context.mps is not None and context.mps.mps_parent_signalling_enabled_flag:
        msg = "an update cannot be decoded on its own"
        raise UnsupportedFeatureError(msg)
    companions = ParameterTypes.NNR_CPT_LS | ParameterTypes.NNR_CPT_DC
    if not unit.is_block and unit.compressed_parameter_types & companions:
        msg = "a weight with companions in units of their own cannot be decoded in one pass"
        raise UnsupportedFeatureError(msg)
