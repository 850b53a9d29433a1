# SPDX-License-Identifier: Apache-2.0
"""From integers to weights: step sizes, codebooks, local scales, low-rank factors, data types.

Spec: ISO/IEC 15938-17, reconstruction processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy import dequantise, step_size
from nnrvideo.errors import BitstreamError, UnsupportedFeatureError
from nnrvideo.nnc.constants import DECOMPRESSED_DATA_FORMATS, ParameterTypes
from nnrvideo.nnc.elements import Element, Role
from nnrvideo.nnc.exact import from_single
from nnrvideo.nnc.payload import CodedTensor
from nnrvideo.nnc.units import Codebook, DataUnit
from nnrvideo.tensors import TensorSet

Array = npt.NDArray[Any]

_FLOAT32_MAX = float(np.finfo(np.float32).max)


@final
@dataclass(frozen=True, slots=True)
class Block:
    """A weight and the companions that were sent for it, by element id.

    Args:
        shape: Dimensions of the weight.
        names: Element id of each role that was sent.
    """

    shape: tuple[int, ...]
    names: Mapping[Role, str] = field(default_factory=dict)


def reconstruct_tensor(tensor: CodedTensor, qp_density: int) -> Array:
    """Values of a coded tensor.

    Args:
        tensor: Decoded integers.
        qp_density: Of the parameter set in force.

    Returns:
        int32 for integers, else float32: one rounding of level times step.

    Raises:
        BitstreamError: A level is outside the codebook, or a value outside float32.
    """
    if tensor.qp is None:
        return tensor.levels
    step = step_size(tensor.qp, qp_density)
    codebook = tensor.element.codebook
    if codebook is not None:
        return _from_codebook(tensor.levels, codebook, float(step))
    check_range(tensor.levels, float(step))
    return dequantise(tensor.levels, step)


def check_range(levels: npt.NDArray[np.int32], step: float) -> None:
    """Refuses levels whose product with the step leaves float32.

    Raises:
        BitstreamError: A product is too large.
    """
    # Most steps are so small that no level can get there.
    if step * 2.0**31 > _FLOAT32_MAX and levels.size and _largest(levels) * step > _FLOAT32_MAX:
        raise BitstreamError("a weight is outside the range of float32", element="qp_delta")


def _from_codebook(
    levels: npt.NDArray[np.int32], codebook: Codebook, step: float
) -> npt.NDArray[np.float32]:
    # First-edition binarisation does not know the codebook's bounds, so a stream may leave them.
    last = len(codebook.entries) - 1 - codebook.zero_offset
    if levels.size and not -codebook.zero_offset <= int(levels.min()) <= int(levels.max()) <= last:
        raise BitstreamError("a level is outside the codebook", element="codebook")
    entries = np.array(codebook.entries, dtype=np.float64)
    if max(abs(codebook.entries[0]), abs(codebook.entries[-1])) * step > _FLOAT32_MAX:
        raise BitstreamError("a weight is outside the range of float32", element="codebook")
    # The product is exact in binary64, so that float32 sees a single rounding.
    table = (entries * step).astype(np.float32)
    return table[levels.astype(np.int64) + codebook.zero_offset]


def _largest(levels: npt.NDArray[np.int32]) -> int:
    return max(-int(levels.min()), int(levels.max()))


def convert(values: Array, data_format: int | None) -> Array:
    """Converts to nnr_decompressed_data_format.

    Args:
        values: int32 or float32.
        data_format: Code point, or None to leave the values as they are.

    Raises:
        BitstreamError: A value does not fit the format.
        UnsupportedFeatureError: The format is not known.
    """
    if data_format is None:
        return values
    if data_format not in DECOMPRESSED_DATA_FORMATS:
        msg = f"nnr_decompressed_data_format {data_format} is unknown"
        raise UnsupportedFeatureError(msg)
    name, bits = DECOMPRESSED_DATA_FORMATS[data_format]
    dtype = np.dtype(name)
    if values.dtype == dtype and bits in (0, 8 * dtype.itemsize):
        return values
    if not bits:
        if values.dtype == np.float32 and dtype.itemsize in (2, 8):
            converted = from_single(values, dtype)
        else:
            converted = values.astype(dtype)
        if not np.array_equal(np.isfinite(values), np.isfinite(converted)):
            raise BitstreamError(
                f"a value is outside the range of {name}", element="nnr_decompressed_data_format"
            )
        return converted
    whole = np.rint(values.astype(np.float64))
    low, high = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    # Written so that NaN fails the test as well.
    if not bool(np.all((whole >= low) & (whole <= high) & (whole < 2.0**63))):
        raise BitstreamError(
            f"a value does not fit {bits} bits", element="nnr_decompressed_data_format"
        )
    return whole.astype(dtype)


def blocks_of(units: Sequence[tuple[DataUnit, tuple[Element, ...]]]) -> tuple[Block, ...]:
    """Blocks of a bitstream, whether sent as block units or as separate units with type bits.

    Args:
        units: Data units with their elements.
    """
    blocks = [
        Block(unit.tensor_dimensions, {element.role: element.name for element in elements})
        for unit, elements in units
        if unit.is_block
    ]
    single = {elements[0].name: unit for unit, elements in units if not unit.is_block}
    for name, unit in single.items():
        types = unit.compressed_parameter_types
        if not types:
            continue
        if types & ParameterTypes.NNR_CPT_LS and f"{name}_scaling" in single:
            blocks.append(
                Block(
                    unit.tensor_dimensions,
                    {Role.WEIGHT: name, Role.SCALING: f"{name}_scaling"},
                )
            )
        if types & ParameterTypes.NNR_CPT_DC and name.endswith("_G"):
            stem = name.removesuffix("_G")
            names = {Role.G: name, Role.H: f"{stem}_H", Role.SCALING: f"{stem}_scaling"}
            found = {role: each for role, each in names.items() if each in single}
            if Role.H in found:
                blocks.append(Block(unit.tensor_dimensions, found))
    return tuple(blocks)


def apply_blocks(tensors: Mapping[str, Array], blocks: Sequence[Block]) -> TensorSet:
    """Replaces factors by their product and multiplies local scales into the weights.

    Batch-norm parameters and biases are values of the network already and stay as they are.

    Args:
        tensors: Tensors as transmitted.
        blocks: Which of them belong together.

    Returns:
        The network's own tensors; a product is named as its factor G without ``_G``.

    Raises:
        BitstreamError: Shapes contradict each other or a product leaves float32.
    """
    result: dict[str, Array] = dict(tensors)
    for block in blocks:
        weight = block.names.get(Role.WEIGHT)
        scaling = block.names.get(Role.SCALING)
        factors = [block.names[role] for role in (Role.G, Role.H) if role in block.names]
        if weight is None and scaling is None and len(factors) != 2:
            continue
        if weight is not None:
            value = result[weight]
            if scaling is not None:
                value = _scale_rows(value, result.pop(scaling))
            result[weight] = value
            continue
        left, right = (result.pop(name) for name in factors)
        if scaling is not None:
            left = _scale_rows(left, result.pop(scaling))
        result[factors[0].removesuffix("_G")] = _product(left, right, block.shape)
    return TensorSet(result)


def _scale_rows(weight: Array, scale: Array) -> Array:
    if scale.shape != weight.shape[:1]:
        raise BitstreamError(f"{scale.shape} local scales for a weight of shape {weight.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        scaled: Array = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return _finite(scaled)


def _product(left: Array, right: Array, shape: tuple[int, ...]) -> Array:
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        raise BitstreamError(f"factors of shapes {left.shape} and {right.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        product: Array = _finite(left @ right)
    if product.size != int(np.prod(shape, dtype=np.int64)):
        raise BitstreamError(f"product of {product.size} values for shape {shape}")
    return product.reshape(shape)


def _finite(values: Array) -> Array:
    if values.dtype.kind == "f" and not bool(np.isfinite(values).all()):
        raise BitstreamError("a reconstructed weight is outside the range of its type")
    return values
