# SPDX-License-Identifier: Apache-2.0
"""Decoding unit by unit: one tensor in memory at a time, whatever the size of the network.

Spec: ISO/IEC 15938-17, decoding process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy import step_size
from nnrvideo.errors import UnsupportedFeatureError
from nnrvideo.limits import Limits
from nnrvideo.nnc.constants import ParameterTypes, PayloadType
from nnrvideo.nnc.context import SyntaxContext
from nnrvideo.nnc.payload import CodedTensor, PayloadContext, decode_codeword, decode_raw_floats
from nnrvideo.nnc.reconstruct import (
    apply_blocks,
    blocks_of,
    check_range,
    convert,
    reconstruct_tensor,
)
from nnrvideo.nnc.stream import NEED_DATA, NncReader, located
from nnrvideo.nnc.units import DataUnit
from nnrvideo.nnc.update import DecoderState

Array = npt.NDArray[Any]

_READ_BYTES: Final = 1 << 16
_CHUNK: Final = 1 << 18  # values converted at a time


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
    if unit.nnr_compressed_data_unit_payload_type == PayloadType.NNR_PT_RAW_FLOAT:
        element, values = decode_raw_floats(unit, limits)
        return {element.name: convert(values, unit.nnr_decompressed_data_format)}
    around = PayloadContext(context.general_profile_idc, context.quantization, DecoderState())
    density = 0 if context.quantization is None else context.quantization.qp_density
    coded = decode_codeword(unit, around, limits)
    blocks = blocks_of([(unit, tuple(tensor.element for tensor in coded))])
    found = {}
    for tensor in coded:
        values = _in_place(tensor, density)
        found[tensor.element.name] = convert(values, unit.nnr_decompressed_data_format)
    return dict(apply_blocks(found, blocks)) if unit.is_block else found


def _require_single_pass(unit: DataUnit, context: SyntaxContext) -> None:
    if context.mps is not None and context.mps.mps_parent_signalling_enabled_flag:
        msg = "an update cannot be decoded on its own"
        raise UnsupportedFeatureError(msg)
    companions = ParameterTypes.NNR_CPT_LS | ParameterTypes.NNR_CPT_DC
    if not unit.is_block and unit.compressed_parameter_types & companions:
        msg = "a weight with companions in units of their own cannot be decoded in one pass"
        raise UnsupportedFeatureError(msg)


def _in_place(tensor: CodedTensor, qp_density: int) -> Array:
    """Values in the memory of the levels, which nobody else holds."""
    if tensor.qp is None or tensor.element.codebook is not None or not tensor.levels.size:
        return reconstruct_tensor(tensor, qp_density)
    step = step_size(tensor.qp, qp_density)
    check_range(tensor.levels, float(step))
    levels = tensor.levels.view()
    base = tensor.levels if tensor.levels.base is None else tensor.levels.base
    base.flags.writeable = True
    levels.flags.writeable = True
    flat = levels.reshape(-1)
    values = flat.view(np.float32)
    for first in range(0, flat.size, _CHUNK):
        chunk = flat[first : first + _CHUNK].astype(np.float32)
        values[first : first + _CHUNK] = chunk * step
    return values.reshape(tensor.levels.shape)
