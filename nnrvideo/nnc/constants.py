# SPDX-License-Identifier: Apache-2.0
"""Code points of NNC, spelt as the standard spells them."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class UnitType(IntEnum):
    """nnr_unit_type.  7 to 31 are reserved, 32 to 63 free for applications."""

    NNR_STR = 0  # start of bitstream
    NNR_MPS = 1  # model parameter set
    NNR_LPS = 2  # layer parameter set
    NNR_TPL = 3  # topology
    NNR_QNT = 4  # quantisation side data
    NNR_NDU = 5  # compressed data unit
    NNR_AGG = 6  # aggregate


class PayloadType(IntEnum):
    """nnr_compressed_data_unit_payload_type."""

    NNR_PT_INT = 0
    NNR_PT_FLOAT = 1
    NNR_PT_RAW_FLOAT = 2
    NNR_PT_BLOCK = 3


class StorageFormat(IntEnum):
    """topology_storage_format."""

    NNR_TPL_UNREC = 0
    NNR_TPL_NNEF = 1
    NNR_TPL_ONNX = 2
    NNR_TPL_PYT = 3
    NNR_TPL_TEF = 4
    NNR_TPL_PRUN = 5
    NNR_TPL_REFLIST = 6


TEXT_FORMATS = frozenset(
    {StorageFormat.NNR_TPL_UNREC, StorageFormat.NNR_TPL_PYT, StorageFormat.NNR_TPL_TEF}
)


class CompressionFormat(IntEnum):
    """topology_compression_format."""

    NNR_PT_RAW = 0
    NNR_DFL = 1  # deflate


class ParameterTypes(IntFlag):
    """compressed_parameter_types: which companions a weight tensor has."""

    NNR_CPT_DC = 1  # the weight is a product of two factors
    NNR_CPT_LS = 2  # local scaling
    NNR_CPT_BN = 4  # batch norm: beta, gamma, mean, variance
    NNR_CPT_BI = 8  # bias


NO_COMPANIONS = ParameterTypes(0)


class QuantizationMethod(IntFlag):
    """mps_quantization_method_flags and lps_quantization_method_flags."""

    NNR_QSU = 1  # uniform
    NNR_QCB = 2  # codebook


class ParentNodeIdType(IntEnum):
    """parent_node_id_type."""

    ICNN_NDU_ID = 0
    ICNN_NDU_PL_SHA256 = 1
    ICNN_NDU_PL_SHA512 = 2


DEFAULT_CABAC_UNARY_LENGTH_MINUS1 = 9  # inferred when the NDU header does not carry it
SHORT_UNIT_MAX_BYTES = 32767  # largest nnr_unit_size of the 15-bit form
LONG_UNIT_MAX_BYTES = (1 << 31) - 1

# nnr_decompressed_data_format -> numpy dtype and, for integers, the bits of the value's range.
DECOMPRESSED_DATA_FORMATS: dict[int, tuple[str, int]] = {
    0: ("int32", 32),
    1: ("float32", 0),
    2: ("int8", 2),
    3: ("int8", 3),
    4: ("int8", 4),
    5: ("int8", 8),
    6: ("int16", 16),
    7: ("int64", 64),
    8: ("float16", 0),
    9: ("float64", 0),
}
