# SPDX-License-Identifier: Apache-2.0
"""NNR units as values: one frozen dataclass for each nnr_unit_type.

Fields bear the names of the syntax elements.  What follows from other fields (counts, presence
flags) is not stored; ``None`` stands for an element that is absent.  The units know nothing of
bits; ``syntax`` and ``ndu_syntax`` parse and write them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from nnrvideo.entropy import EntryPoint
from nnrvideo.nnc.constants import (
    DEFAULT_CABAC_UNARY_LENGTH_MINUS1,
    NO_COMPANIONS,
    ParameterTypes,
    ParentNodeIdType,
    PayloadType,
    UnitType,
)
from nnrvideo.nnc.maps import PerformanceMaps


@final
@dataclass(frozen=True, slots=True)
class UnitHeader:
    """The elements that open every unit.

    Args:
        nnr_unit_type: 0 to 63.
        independently_decodable_flag: As signalled.
        partial_data_counter: Units that follow with the rest of the same data; absent if None.
        nnr_unit_size_flag: True if the size field has 31 bits.  A writer uses the long form also
            where the short one is too small.
        nnr_unit_size: Bytes of the whole unit, size field included, of all its parts together; 0
            in a unit that was built rather than parsed.
        offset: Bytes from the start of the bitstream to the unit.
        parts: Headers of the units over which the data was spread; empty if it was one.

    Spec: ISO/IEC 15938-17, nnr_unit(), nnr_unit_header().
    """

    nnr_unit_type: int
    independently_decodable_flag: bool = True
    partial_data_counter: int | None = None
    nnr_unit_size_flag: bool = False
    nnr_unit_size: int = 0
    offset: int = 0
    parts: tuple[UnitHeader, ...] = ()

    @property
    def header_bytes(self) -> int:
        """Bytes of the size field and of these elements."""
        counter = 0 if self.partial_data_counter is None else 1
        return (4 if self.nnr_unit_size_flag else 2) + 1 + counter

    @property
    def type_name(self) -> str:
        """Name of the unit type in the standard, or its number."""
        try:
            return UnitType(self.nnr_unit_type).name
        except ValueError:
            return f"unit type {self.nnr_unit_type}"


@final
@dataclass(frozen=True, slots=True)
class StartUnit:
    """NNR_STR.  general_profile_idc 0 is the first edition's syntax, 1 the second's."""

    general_profile_idc: int = 1
    header: UnitHeader = UnitHeader(UnitType.NNR_STR)


@final
@dataclass(frozen=True, slots=True)
class Quantization:
    """Density and base QP of a parameter set.

    Args:
        qp_density: 0 to 7; the step doubles every ``2 ** qp_density`` QP.
        quantization_parameter: QP that is added to each qp_delta, -4096 to 4095.
    """

    qp_density: int = 2
    quantization_parameter: int = 0


@final
@dataclass(frozen=True, slots=True)
class ModelParameterSet:
    """NNR_MPS.  Spec: ISO/IEC 15938-17, nnr_model_parameter_set_unit_payload()."""

    topology_carriage_flag: bool = True
    mps_quantization_method_flags: int = 1
    mps_topology_indexed_reference_flag: bool = False
    metric_type_performance_map_valid_flag: bool = False
    mps_parent_signalling_enabled_flag: bool = False
    nnr_pre_flag: bool = False
    base_model_id: str | None = None
    performance_metric_type: str | None = None
    quantization: Quantization | None = Quantization()
    maps: PerformanceMaps = field(default_factory=PerformanceMaps)
    validation_set_performance: float | None = None
    reserved_zero: int = 0  # 7 bits in the first edition, 2 or 3 in the second; kept as found
    header: UnitHeader = UnitHeader(UnitType.NNR_MPS)


@final
@dataclass(frozen=True, slots=True)
class LayerParameterSet:
    """NNR_LPS.  Its quantisation replaces that of the MPS for the data units after it."""

    lps_self_contained_flag: bool = True
    lps_quantization_method_flags: int = 1
    quantization: Quantization | None = Quantization()
    maps: PerformanceMaps = field(default_factory=PerformanceMaps)
    header: UnitHeader = UnitHeader(UnitType.NNR_LPS)


@final
@dataclass(frozen=True, slots=True)
class TopologyUnit:
    """NNR_TPL.

    Args:
        topology_storage_format: ``StorageFormat`` or a number that this package does not know.
        topology_compression_format: ``CompressionFormat``.
        topology_data: Payload as carried: compressed if the format says so, with the terminator
            of a text.  Empty for a reference list.
        topology_elem_ids: Element ids of a reference list (format 6), else empty.
    """

    topology_storage_format: int = 0
    topology_compression_format: int = 0
    topology_data: bytes = b"\0"
    topology_elem_ids: tuple[str, ...] = ()
    header: UnitHeader = UnitHeader(UnitType.NNR_TPL)


@final
@dataclass(frozen=True, slots=True)
class QuantizationUnit:
    """NNR_QNT: side data that nothing here interprets."""

    quantization_storage_format: int = 0
    quantization_compression_format: int = 0
    quantization_data: bytes = b"\0"
    header: UnitHeader = UnitHeader(UnitType.NNR_QNT)


@final
@dataclass(frozen=True, slots=True)
class OpaqueUnit:
    """NNR_AGG or a type this package does not know: bytes after the unit header, untouched."""

    data: bytes
    header: UnitHeader


@final
@dataclass(frozen=True, slots=True)
class NodeId:
    """Place of a data unit in the parameter update tree."""

    device_id: int = 0
    parameter_id: int = 0
    put_node_depth: int = 0


@final
@dataclass(frozen=True, slots=True)
class ParentNode:
    """What a data unit is relative to.

    Args:
        parent_node_id_type: How the parent is named.
        temporal_context_modeling_flag: Contexts look at the parent's levels (TCA).
        parent_device_id: Sender of the parent, for ICNN_NDU_ID.
        parameter_id: Sent here, with the depth, where the unit has no node id of its own.
        put_node_depth: As ``parameter_id``.
        parent_node_payload_sha: 32 or 64 bytes for the hash types, else empty.
    """

    parent_node_id_type: int = ParentNodeIdType.ICNN_NDU_ID
    temporal_context_modeling_flag: bool = False
    parent_device_id: int = 0
    parameter_id: int | None = None
    put_node_depth: int | None = None
    parent_node_payload_sha: bytes = b""


@final
@dataclass(frozen=True, slots=True)
class Codebook:
    """Reconstruction levels that are not evenly spaced.

    Args:
        codebook_egk: Order of the Exp-Golomb code of the differences, 0 to 15.
        zero_offset: Index Z of the entry that level 0 selects.
        entries: Strictly increasing integers, to be multiplied by the step size.
    """

    codebook_egk: int
    zero_offset: int
    entries: tuple[int, ...]


@final
@dataclass(frozen=True, slots=True)
class DataUnit:
    """NNR_NDU: one tensor, or one block of a weight tensor and its companions.

    Args:
        nnr_compressed_data_unit_payload_type: ``PayloadType``.
        topology_elem_ids: Element ids, resolved where the stream sends indices.
        payload: Bytes after the header: one codeword, or raw little-endian binary32.
        topology_elem_id_indices: Indices into the reference list; empty if ids are sent.
        multiple: nnr_multiple_topology_elements_present_flag.
        input_parameters_present_flag: As signalled; without it the elements from
            ``tensor_dimensions`` to ``cabac_unary_length_minus1`` have their inferred values.
        nnr_decompressed_data_format: Type that the sender wants the receiver to use.
        node_id: Absent in the first edition.
        parent: Present only if the MPS enables parent signalling.
        codebook: For the weight, or factor G.
        codebook_h: For factor H.
        dq_flag: Dependent quantisation; sent as 0 and meaningless for integers.
        tensor_dimensions_flag: False if the receiver must know the shape already.
        tensor_dimensions: Shape of the tensor or of the block's weight.
        compressed_parameter_types: ``ParameterTypes``.
        decomposition_rank: Columns of G and rows of H.
        g_number_of_rows: Rows of G.
        cabac_unary_length_minus1: None if the default is inferred.
        first_tensor_dimension_shift: Second edition, carried only.
        scan_order: 0 row by row, 1 to 4 square blocks of 8 to 64.
        entry_points: One for each block row but the first; those of G, then those of H.
        payload_offset: Bytes from the start of the unit to the payload; 0 if not parsed.

    Spec: ISO/IEC 15938-17, nnr_compressed_data_unit_header().
    """

    nnr_compressed_data_unit_payload_type: int
    topology_elem_ids: tuple[str, ...]
    tensor_dimensions: tuple[int, ...]
    payload: bytes = field(default=b"", repr=False)
    topology_elem_id_indices: tuple[int, ...] = ()
    multiple: bool = False
    input_parameters_present_flag: bool = True
    nnr_decompressed_data_format: int | None = None
    node_id: NodeId | None = None
    parent: ParentNode | None = None
    codebook: Codebook | None = None
    codebook_h: Codebook | None = None
    dq_flag: bool = False
    tensor_dimensions_flag: bool = True
    compressed_parameter_types: ParameterTypes = NO_COMPANIONS
    decomposition_rank: int = 0
    g_number_of_rows: int = 0
    cabac_unary_length_minus1: int | None = None
    first_tensor_dimension_shift: int = 0
    scan_order: int = 0
    entry_points: tuple[EntryPoint, ...] = ()
    payload_offset: int = field(default=0, compare=False)
    header: UnitHeader = UnitHeader(UnitType.NNR_NDU)

    @property
    def is_block(self) -> bool:
        """True if the unit carries a weight together with its companions."""
        return self.nnr_compressed_data_unit_payload_type == PayloadType.NNR_PT_BLOCK

    @property
    def cabac_unary_length(self) -> int:
        """Greater-than flags of a value, 1 to 256."""
        minus1 = self.cabac_unary_length_minus1
        return 1 + (DEFAULT_CABAC_UNARY_LENGTH_MINUS1 if minus1 is None else minus1)


Unit = (
    StartUnit
    | ModelParameterSet
    | LayerParameterSet
    | TopologyUnit
    | QuantizationUnit
    | DataUnit
    | OpaqueUnit
)
