# SPDX-License-Identifier: Apache-2.0
"""The element types of ONNX tensors that are accepted, as NumPy knows them.

NumPy has no bfloat16 and nothing narrower than a byte.  ONNX hands such tensors out as arrays of
the types of ``ml_dtypes``, whose ``kind`` is ``"V"``: ask the functions here what they are.
"""

from __future__ import annotations

from typing import Any, Final

import ml_dtypes
import numpy as np
import onnx

DType = np.dtype[Any]

BFLOAT16: Final[DType] = np.dtype(ml_dtypes.bfloat16)
INT4: Final[DType] = np.dtype(ml_dtypes.int4)
UINT4: Final[DType] = np.dtype(ml_dtypes.uint4)

ELEMENT_TYPES: Final[dict[int, DType]] = {
    onnx.TensorProto.FLOAT: np.dtype(np.float32),
    onnx.TensorProto.DOUBLE: np.dtype(np.float64),
    onnx.TensorProto.FLOAT16: np.dtype(np.float16),
    onnx.TensorProto.BFLOAT16: BFLOAT16,
    onnx.TensorProto.INT4: INT4,
    onnx.TensorProto.INT8: np.dtype(np.int8),
    onnx.TensorProto.INT16: np.dtype(np.int16),
    onnx.TensorProto.INT32: np.dtype(np.int32),
    onnx.TensorProto.INT64: np.dtype(np.int64),
    onnx.TensorProto.UINT4: UINT4,
    onnx.TensorProto.UINT8: np.dtype(np.uint8),
    onnx.TensorProto.UINT16: np.dtype(np.uint16),
    onnx.TensorProto.BOOL: np.dtype(np.bool_),
}
"""``data_type`` of a ``TensorProto`` to the type of its array."""

TYPE_CODES: Final = {dtype: code for code, dtype in ELEMENT_TYPES.items()}
"""The inverse of :data:`ELEMENT_TYPES`."""


def is_floating(dtype: DType) -> bool:
    """True for the binary floating-point types, bfloat16 among them."""
    return dtype.kind == "f" or dtype == BFLOAT16


def is_integer(dtype: DType) -> bool:
    """True for signed and unsigned integers of 4 to 64 bits; a truth value is none."""
    return dtype.kind in "iu" or is_packed(dtype)


def is_packed(dtype: DType) -> bool:
    """True for the types of which ONNX stores two to a byte."""
    return dtype in (INT4, UINT4)


def is_foreign(dtype: DType) -> bool:
    """True for the types that NumPy does not know itself."""
    return dtype.kind == "V"


def bits_of(dtype: DType) -> int:
    """Bits of one value as ONNX stores it."""
    return 4 if is_packed(dtype) else 8 * dtype.itemsize


def stored_bytes(dtype: DType, size: int) -> int:
    """Bytes of ``size`` values as ONNX stores them.

    Args:
        dtype: Their type.
        size: How many they are.
    """
    return -(-size * bits_of(dtype) // 8)
