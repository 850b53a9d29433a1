# SPDX-License-Identifier: Apache-2.0
"""Values in the memory of their levels, from which the levels can be had back.

Levels and values of a large network take twice its size, and hardly anybody asks for the levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy import TensorChoices, TensorSpec, step_size
from nnrvideo.nnc.elements import Element
from nnrvideo.nnc.payload import CodedTensor, Levels
from nnrvideo.nnc.reconstruct import check_range

_CHUNK: Final = 1 << 18  # values converted at a time
_RECOVERABLE: Final = 1 << 23
"""Below, a level times its step, rounded once to float32, is not nearer to another product."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Overwritten:
    """A coded tensor whose levels have made room for its values; else as ``CodedTensor``.

    Args:
        values: float32 in the tensor's shape, read-only.
        step: Of the values.
    """

    element: Element
    spec: TensorSpec
    choices: TensorChoices
    qp_delta: int | None
    qp: int | None
    values: npt.NDArray[np.float32]
    step: np.float32

    @property
    def levels(self) -> Levels:
        """The levels, computed anew."""
        found = np.empty(self.values.size, np.int32)
        values = self.values.reshape(-1)
        for first in range(0, found.size, _CHUNK):
            exact = values[first : first + _CHUNK].astype(np.float64)
            found[first : first + _CHUNK] = np.rint(exact / float(self.step))
        found.flags.writeable = False
        return found.reshape(self.values.shape)

    def coded(self) -> CodedTensor:
        """The tensor with its levels."""
        return CodedTensor(
            self.element, self.spec, self.levels, self.choices, self.qp_delta, self.qp
        )


def can_overwrite(tensor: CodedTensor) -> bool:
    """True for evenly spaced values."""
    return tensor.qp is not None and tensor.element.codebook is None and tensor.levels.size > 0


def can_recover(tensor: CodedTensor) -> bool:
    """True if values will tell the levels."""
    levels = tensor.levels
    return int(levels.min()) > -_RECOVERABLE and int(levels.max()) < _RECOVERABLE


def overwrite(tensor: CodedTensor, qp_density: int) -> Overwritten:
    """Puts the values into the memory of the levels, which nobody else may hold.

    Args:
        tensor: One that :func:`can_overwrite`; its levels mean nothing any more.
        qp_density: Of the parameter set in force.

    Raises:
        BitstreamError: A value is outside float32.
    """
    assert tensor.qp is not None
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
        chunk *= step
        values[first : first + _CHUNK] = chunk
    return Overwritten(
        tensor.element,
        tensor.spec,
        tensor.choices,
        tensor.qp_delta,
        tensor.qp,
        values.reshape(tensor.levels.shape),
        step,
    )
