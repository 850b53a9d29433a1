# SPDX-License-Identifier: Apache-2.0
"""Weights in data files beside a model that the user gives.

A model names these files itself, and a model may come from anywhere: what it names must lie in its
own folder or below, links followed, and must hold what it says.

Spec: ONNX external data: location, offset and length; a checksum is not looked at.
"""

from __future__ import annotations

import bisect
from pathlib import Path
from typing import final

import numpy as np
import onnx

from nnrvideo.errors import ModelError
from nnrvideo.model.element_types import ELEMENT_TYPES, is_packed, stored_bytes
from nnrvideo.model.graph import Array, TensorDeclaration, to_array


@final
class DataFiles:
    """The data files of one model.

    Args:
        folder: Where the model lies; None if it came as bytes, and then has no files.
    """

    def __init__(self, folder: Path | None) -> None:
        self._root = None if folder is None else folder.resolve()
        self._taken: dict[Path, list[tuple[int, int]]] = {}

    def read(self, tensor: onnx.TensorProto) -> Array:
        """Values of an initialiser.

        Args:
            tensor: Of an accepted type, and with external data.

        Raises:
            ModelError: The file is elsewhere or too short, or offset and length make no sense.
                Two tensors may share all of their bytes, as tied weights do, but not some.
        """
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        path = self._path(tensor.name, location)
        declared = TensorDeclaration(
            tensor.name, ELEMENT_TYPES[tensor.data_type], tuple(int(n) for n in tensor.dims)
        )
        needed = stored_bytes(declared.dtype, declared.size)
        try:
            offset = int(entries.get("offset", "0"))
            length = int(entries.get("length", needed))
            if offset < 0 or length != needed:
                raise ModelError(
                    f"initialiser {tensor.name!r}: {length} bytes at {offset} in the data file "
                    f"{location!r}, where {needed} are needed"
                )
            if offset + needed > path.stat().st_size:
                raise ModelError(f"the data file {location!r} ends inside of {tensor.name!r}")
            self._take(path, offset, needed, tensor.name)
            data = np.fromfile(path, np.uint8, needed, offset=offset)
            if data.size != needed:
                raise ModelError(f"the data file {location!r} became shorter while it was read")
            return _values(data, tensor, declared)
        except (ValueError, OSError) as error:
            raise ModelError(f"initialiser {tensor.name!r} in {location!r}: {error}") from error

    def _path(self, name: str, location: str) -> Path:
        if self._root is None:
            raise ModelError(
                f"initialiser {name!r} is in the file {location!r}; give the path of the model"
            )
        try:
            path = (self._root / location).resolve()
            relative = not Path(location).is_absolute() and path.is_relative_to(self._root)
            inside = relative and path.is_file()
        except (OSError, ValueError, RuntimeError):  # names too long, zero bytes, links in circles
            inside = False
        if not location or not inside:
            raise ModelError(
                f"initialiser {name!r}: no data file {location[:200]!r} beside the model"
            )
        return path

    def _take(self, path: Path, offset: int, length: int, name: str) -> None:
        """Refuses bytes of which some but not all are those of another tensor."""
        if not length:
            return
        taken = self._taken.setdefault(path, [])
        own = (offset, offset + length)
        index = bisect.bisect_left(taken, own)
        around = taken[max(0, index - 1) : index + 1]
        if own in around:
            return
        if any(first < own[1] and own[0] < end for first, end in around):
            raise ModelError(
                f"initialiser {name!r} overlaps another one in the data file {path.name!r}"
            )
        taken.insert(index, own)


def _values(data: Array, tensor: onnx.TensorProto, declared: TensorDeclaration) -> Array:
    if is_packed(declared.dtype):
        raw = onnx.TensorProto(
            data_type=tensor.data_type, dims=declared.shape, raw_data=data.tobytes()
        )
        return to_array(raw)
    # Bits, not numbers, for the types that NumPy does not know have no byte order.
    bits = data.view(f"<u{declared.dtype.itemsize}")
    own = bits.astype(f"=u{declared.dtype.itemsize}", copy=False)
    return own.view(declared.dtype).reshape(declared.shape)
