# SPDX-License-Identifier: Apache-2.0
"""``TensorSet``: the named weights of a network, the currency between all layers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@final
class TensorSet(Mapping[str, Array]):
    """Ordered mapping of tensor names to read-only C-contiguous arrays.

    Args:
        tensors: Name to array of any shape and of any dtype but ``object``.  An array that is
            contiguous is kept without a copy, through a read-only view.

    Raises:
        TypeError: An array holds Python objects.
    """

    __slots__ = ("_arrays",)

    def __init__(self, tensors: Mapping[str, npt.ArrayLike] = MappingProxyType({})) -> None:
        self._arrays: dict[str, Array] = {
            name: _frozen(name, value) for name, value in tensors.items()
        }

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"TensorSet({len(self)} tensors, {self.parameters} values)"

    @property
    def parameters(self) -> int:
        """Number of values in all tensors together."""
        return sum(array.size for array in self._arrays.values())

    def fingerprint(self) -> str:
        """Identifies the exact weights: SHA-256 (hex) over names, dtypes, shapes and bytes.

        The order of the tensors counts; byte order of the machine does not.
        """
        digest = hashlib.sha256()
        for name, array in self._arrays.items():
            kind, little = _little_endian(array)
            head = f"{name}\0{kind}\0{array.shape}\0".encode()
            digest.update(len(head).to_bytes(8, "little") + head)
            digest.update(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()


def _little_endian(array: Array) -> tuple[str, Array]:
    """What a type is called, and its bits in the order that counts."""
    if array.dtype.kind == "V":  # not NumPy's own: bfloat16 and the like
        return array.dtype.name, array.view(f"u{array.dtype.itemsize}").astype(
            f"<u{array.dtype.itemsize}", copy=False
        )
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return little.dtype.str, little


def _frozen(name: str, value: npt.ArrayLike) -> Array:
    array = np.asarray(value, order="C")
    if array.dtype.hasobject:
        msg = f"tensor {name!r} holds Python objects"
        raise TypeError(msg)
    view = array.view()
    view.flags.writeable = False
    return view
