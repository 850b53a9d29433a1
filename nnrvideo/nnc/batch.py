# SPDX-License-Identifier: Apache-2.0
"""Codewords of many small tensors, decoded by the native core in one call.

Asking for one small tensor takes longer than decoding it, so tensors without parent, codebook and
block scan are decoded together, levels and values at once, and what a caller may want to know
about their coding is put into words only when asked for.  ``payload`` and ``reconstruct`` do the
same one tensor at a time: for the others, for errors, and where the core was not built.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy import BACKEND, TensorChoices
from nnrvideo.nnc.constants import PayloadType
from nnrvideo.nnc.elements import Element
from nnrvideo.nnc.payload import CodedTensor, Levels, PayloadContext, is_quantised, tensor_spec
from nnrvideo.nnc.units import DataUnit, Quantization

if BACKEND == "native":
    from nnrvideo import _native

_SMALL: Final = 1 << 16
"""Values of a unit, at most: beyond, asking costs nothing beside decoding."""
_TOGETHER: Final = 1 << 20
"""Values decoded into one array, about: whoever keeps a tensor keeps those beside it, too."""
_PARALLEL_BYTES: Final = 1 << 14
"""Of payload in one call; below, threads cost more than they save."""

_NO_QUANTIZATION: Final = Quantization(0, 0)

Job = tuple[int, DataUnit, PayloadContext]


@final
@dataclass(slots=True, eq=False)  # not frozen: that takes as long as all the rest of it
class BatchedCodeword:
    """A decoded codeword.

    Args:
        unit: Its unit.
        elements: Its tensors, in the order of the payload.
        context: What the payload depended on.
        levels: int32 in the shape of each tensor, read-only.
        values: Of each tensor, read-only: float32, or the levels themselves.
        found: qp_delta, row skip flags and initialisation indices of each tensor.
    """

    unit: DataUnit
    elements: tuple[Element, ...]
    context: PayloadContext
    levels: list[Levels]
    values: list[npt.NDArray[Any]]
    found: list[tuple[int, bytes | None, bytes]]

    def coded(self) -> tuple[CodedTensor, ...]:
        """The tensors as ``decode_codeword`` gives them."""
        return tuple(self._coded())

    def _coded(self) -> Iterator[CodedTensor]:
        quantization = self.context.quantization if is_quantised(self.unit) else None
        for element, levels, (qp_delta, rows, indices) in zip(
            self.elements, self.levels, self.found, strict=True
        ):
            flags = None if rows is None else np.frombuffer(rows, np.bool_)
            yield CodedTensor(
                element,
                tensor_spec(self.unit, element, self.context),
                levels,
                TensorChoices(tuple(indices), flags),
                None if quantization is None else qp_delta,
                None if quantization is None else quantization.quantization_parameter + qp_delta,
            )


def decode_together(
    jobs: Sequence[Job], elements: Sequence[tuple[Element, ...]], threads: int
) -> dict[int, BatchedCodeword]:
    """Decodes those codewords that can be decoded together.

    Args:
        jobs: INT, FLOAT and BLOCK units: number, unit and surroundings.
        elements: Tensors of the unit of each number.
        threads: Codewords decoded at a time.

    Returns:
        Codewords by number.  One that is not plain, too large or broken is missing.
    """
    found: dict[int, BatchedCodeword] = {}
    if BACKEND != "native":
        return found
    together: list[Job] = []
    size = 0
    for job in jobs:
        values = _size(job, elements[job[0]])
        if values is None:
            continue
        if size + values > _TOGETHER:
            _decode(together, elements, size, threads, found)
            together, size = [], 0
        together.append(job)
        size += values
    _decode(together, elements, size, threads, found)
    return found


def _size(job: Job, elements: tuple[Element, ...]) -> int | None:
    """Values of a unit that can be decoded with others, else None."""
    _, unit, context = job
    if (
        unit.parent is not None
        or unit.codebook is not None
        or unit.codebook_h is not None
        or unit.scan_order
        or (context.quantization is None and is_quantised(unit))
    ):
        return None
    size = 0
    for element in elements:
        values = math.prod(element.shape)
        if not values:
            return None
        size += values
    return size if size <= _SMALL else None


def _decode(
    jobs: list[Job],
    elements: Sequence[tuple[Element, ...]],
    size: int,
    threads: int,
    found: dict[int, BatchedCodeword],
) -> None:
    if not jobs:
        return
    codewords: list[int] = []
    tensors: list[int] = []
    first = 0
    for number, (index, unit, context) in enumerate(jobs):
        quantization = context.quantization or _NO_QUANTIZATION
        quantised = is_quantised(unit)
        codewords += (
            context.general_profile_idc,
            context.nncodec1,
            unit.cabac_unary_length,
            unit.dq_flag and quantised,
            quantised,
            quantization.qp_density,
            quantization.quantization_parameter,
        )
        for element in elements[index]:
            shape = element.shape
            tensors += (number, shape[0], math.prod(shape[1:]), first)
            first += math.prod(shape)
    levels = np.empty(size, np.int32)
    values = np.empty(size, np.float32)
    payloads = [unit.payload for _, unit, _ in jobs]
    if sum(map(len, payloads)) < _PARALLEL_BYTES:
        threads = 1
    results = _native.decode_batch(
        payloads,
        np.array(codewords, np.int64).reshape(-1, 7),
        np.array(tensors, np.int64).reshape(-1, 4),
        levels,
        values,
        threads,
    )
    levels.flags.writeable = False
    values.flags.writeable = False
    first = 0
    for (index, unit, context), result in zip(jobs, results, strict=True):
        integers = unit.nnr_compressed_data_unit_payload_type == PayloadType.NNR_PT_INT
        own_levels, own_values = [], []
        for element in elements[index]:
            shape = element.shape
            end = first + math.prod(shape)
            own = levels[first:end].reshape(shape)
            own_levels.append(own)
            own_values.append(own if integers else values[first:end].reshape(shape))
            first = end
        if result is not None:
            found[index] = BatchedCodeword(
                unit, elements[index], context, own_levels, own_values, result
            )
