# SPDX-License-Identifier: Apache-2.0
"""The payload of one compressed data unit: codeword bytes on one side, integers on the other.

Decoding keeps what the encoder had chosen, so that coding the result again gives the same bytes.
What the integers mean is the business of ``reconstruct``.
Spec: ISO/IEC 15938-17, nnr_compressed_data_unit_payload().
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import final

import numpy as np
import numpy.typing as npt

from nnrvideo import entropy
from nnrvideo.entropy import EntryPoint, TensorChoices, TensorSpec
from nnrvideo.errors import BitstreamError
from nnrvideo.nnc.constants import PayloadType
from nnrvideo.nnc.elements import Element
from nnrvideo.nnc.units import DataUnit, Quantization
from nnrvideo.nnc.update import DecoderState

Levels = npt.NDArray[np.int32]

_QUANTISED = frozenset({int(PayloadType.NNR_PT_FLOAT), int(PayloadType.NNR_PT_BLOCK)})

MAX_STEP_EXPONENT = 120  # beyond it a step, or a level times a step, may leave float32


@final
@dataclass(frozen=True, slots=True, eq=False)
class CodedTensor:
    """One tensor of a codeword with all that its syntax depends on.

    Args:
        element: Name, shape and role.
        spec: Input of the entropy coder.
        levels: int32 in the tensor's shape, after DQ expansion; with a codebook the index
            relative to its zero entry.
        choices: What the encoder had chosen.
        qp_delta: As coded; None for integers.
        qp: qp_delta plus the base; None for integers.
    """

    element: Element
    spec: TensorSpec
    levels: Levels = field(repr=False)
    choices: TensorChoices = field(default_factory=TensorChoices)
    qp_delta: int | None = None
    qp: int | None = None


@final
@dataclass(frozen=True, slots=True)
class PayloadContext:
    """What a payload depends on outside its unit.

    Args:
        general_profile_idc: 0 or 1.
        quantization: Parameter set in force, None if no set has one.
        state: Memory of the receiver.
        nncodec1: First-edition stream in the flavour of NNCodec 1.x.
        threads: For the block rows of one tensor.
    """

    general_profile_idc: int
    quantization: Quantization | None
    state: DecoderState
    nncodec1: bool = False
    threads: int = 1


def decode_codeword(
    unit: DataUnit, elements: Sequence[Element], context: PayloadContext
) -> tuple[CodedTensor, ...]:
    """Decodes the codeword of an INT, FLOAT or BLOCK unit.

    Args:
        unit: The unit.
        elements: Its tensors, by ``elements_of``.
        context: What the payload depends on outside its unit.

    Returns:
        Tensors in the order of the payload.

    Raises:
        BitstreamError: The codeword is broken or does not end exactly at the end of the unit,
            its entry points are wrong, or a reference is missing.  ``bit`` counts from the start
            of the payload.
    """
    if unit.parent is not None and unit.parent.temporal_context_modeling_flag:
        context.state.check_node(unit)
    specs = [tensor_spec(unit, element, context) for element in elements]
    decoder = entropy.decoder(unit.payload)
    tensors: list[CodedTensor] = []
    points: list[EntryPoint] = []
    given = iter(unit.entry_points)
    quantised = is_quantised(unit)
    for element, spec in zip(elements, specs, strict=True):
        qp_delta = qp = None
        if quantised:
            qp_delta, qp = _read_qp(decoder, context)
        ahead = tuple(islice(given, block_rows(spec) - 1)) if element.scan_order else ()
        decoded = decoder.tensor(spec, ahead, context.threads)
        levels = decoded.levels.reshape(element.shape)
        levels.flags.writeable = False
        tensors.append(CodedTensor(element, spec, levels, decoded.choices, qp_delta, qp))
        points.extend(decoded.entry_points)
    consumed = decoder.terminate()
    if consumed != len(unit.payload):
        raise BitstreamError(
            f"codeword ends after {consumed} of {len(unit.payload)} bytes", bit=8 * consumed
        )
    # A parallel decoder would start from the list, so a wrong list is a broken stream.
    if tuple(points) != unit.entry_points:
        raise BitstreamError("entry points do not match the codeword", element="bit_offset_list")
    return tuple(tensors)


def block_rows(spec: TensorSpec) -> int:
    """Block rows of a tensor with a block scan, 1 for any other.  Spec: scan orders."""
    return max(1, -(-spec.rows // spec.block_size)) if spec.block_size else 1


def encode_codeword(
    tensors: Sequence[CodedTensor], qp_density: int
) -> tuple[bytes, tuple[EntryPoint, ...]]:
    """Inverse of :func:`decode_codeword`.

    Args:
        tensors: In the order of the payload.
        qp_density: Of the parameter set in force; it sets the width of qp_delta.

    Returns:
        The payload and the entry points of all its tensors.

    Raises:
        ValueError: A qp_delta or the levels cannot be coded.
    """
    encoder = entropy.encoder()
    for tensor in tensors:
        if tensor.qp_delta is not None:
            encoder.iae(tensor.qp_delta, 6 + qp_density)
        matrix = tensor.levels.reshape(tensor.spec.rows, tensor.spec.cols)
        encoder.tensor(matrix, tensor.spec, tensor.choices)
    codeword = encoder.terminate()
    return codeword, tuple(point for points in encoder.entry_points for point in points)


def decode_raw_floats(unit: DataUnit, element: Element) -> npt.NDArray[np.float32]:
    """Reads a RAW_FLOAT unit: binary32, little-endian, row-major; any bit pattern passes.

    Args:
        unit: The unit.
        element: Its one tensor.

    Raises:
        BitstreamError: The payload has not the size that the shape asks for.
    """
    needed = 4 * math.prod(element.shape)
    if len(unit.payload) != needed:
        raise BitstreamError(
            f"{len(unit.payload)} bytes for a tensor of {needed}", element="raw_float32_parameter"
        )
    values = np.frombuffer(unit.payload, dtype="<f4").astype(np.float32, copy=False)
    return values.reshape(element.shape)


def qp_delta_range(qp_density: int) -> tuple[int, int]:
    """Smallest and largest qp_delta that 6 + qp_density bits can carry."""
    half = 32 << qp_density
    return -half, half - 1


def _read_qp(decoder: entropy.Decoder, context: PayloadContext) -> tuple[int, int]:
    quantization = context.quantization
    if quantization is None:
        raise BitstreamError("no parameter set gives a QP", element="mps_quantization_method_flags")
    delta = decoder.iae(6 + quantization.qp_density)
    qp = quantization.quantization_parameter + delta
    if abs(qp >> quantization.qp_density) > MAX_STEP_EXPONENT:
        raise BitstreamError(f"QP {qp} has no step size in float32", element="qp_delta", bit=0)
    return delta, qp


def tensor_spec(unit: DataUnit, element: Element, context: PayloadContext) -> TensorSpec:
    """What the syntax of a tensor of the unit depends on.

    Raises:
        BitstreamError: The tensor that the receiver should have is missing.
    """
    shape = element.rows, element.cols
    has_parent = unit.parent is not None
    temporal = unit.parent is not None and unit.parent.temporal_context_modeling_flag
    reference = context.state.reference(element.name, element.shape) if temporal else None
    history = context.state.history(element.name, element.shape) if has_parent else None
    codebook = element.codebook
    return TensorSpec(
        *shape,
        general_profile_idc=context.general_profile_idc,
        unary_length=unit.cabac_unary_length,
        # Integers are sent with dq_flag 0; a stream that says otherwise must not change them.
        dq_flag=unit.dq_flag and is_quantised(unit),
        scan_order=element.scan_order,
        codebook_size=0 if codebook is None else len(codebook.entries),
        codebook_zero_offset=0 if codebook is None else codebook.zero_offset,
        parent_node_id_present_flag=has_parent,
        reference=None if reference is None else reference.reshape(shape),
        history=None if history is None else history.reshape(shape),
        nncodec1=context.nncodec1,
    )


def is_quantised(unit: DataUnit) -> bool:
    """True if the unit's integers are to be multiplied by a step size."""
    return unit.nnr_compressed_data_unit_payload_type in _QUANTISED
