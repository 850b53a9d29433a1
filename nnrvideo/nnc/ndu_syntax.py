# SPDX-License-Identifier: Apache-2.0
"""Bits of the compressed data unit: header, element ids, codebook, entry points.

Spec: ISO/IEC 15938-17, nnr_compressed_data_unit_header().
"""

from __future__ import annotations

import math
from typing import NamedTuple

from nnrvideo.bits import BitReader, BitWriter
from nnrvideo.entropy import EntryPoint
from nnrvideo.errors import UnsupportedFeatureError
from nnrvideo.limits import Limits
from nnrvideo.nnc.constants import ParameterTypes, ParentNodeIdType, PayloadType
from nnrvideo.nnc.context import SyntaxContext
from nnrvideo.nnc.units import Codebook, DataUnit, NodeId, ParentNode, UnitHeader

_INT32_MAX = (1 << 31) - 1
_SHA_BYTES = {
    ParentNodeIdType.ICNN_NDU_PL_SHA256: 32,
    ParentNodeIdType.ICNN_NDU_PL_SHA512: 64,
}
_QUANTISED = frozenset({PayloadType.NNR_PT_FLOAT, PayloadType.NNR_PT_BLOCK})


def parse_data_unit(
    r: BitReader, header: UnitHeader, context: SyntaxContext, limits: Limits
) -> DataUnit:
    """NNR_NDU after its unit header; the payload is kept as bytes.

    Raises:
        BitstreamError: The syntax is broken, or the shape is neither sent nor known.
        UnsupportedFeatureError: Unknown payload type or tensor dimension mapping.
        LimitExceededError: More ids, dimensions, elements or entries than allowed.
    """
    if context.mps is None:
        raise r.error("nnr_unit_type", "data unit comes before the model parameter set")
    payload_type = r.u("nnr_compressed_data_unit_payload_type", 5)
    if payload_type > PayloadType.NNR_PT_BLOCK:
        msg = f"nnr_compressed_data_unit_payload_type {payload_type} is unknown"
        raise UnsupportedFeatureError(msg)
    multiple = r.flag("nnr_multiple_topology_elements_present_flag")
    has_format = r.flag("nnr_decompressed_data_format_present_flag")
    has_input = r.flag("input_parameters_present_flag")
    ids, indices = _parse_ids(r, context, limits, multiple=multiple)
    node_id, parent = _parse_nodes(r, context)
    codebook = codebook_h = None
    if payload_type in _QUANTISED and r.flag("codebook_present_flag"):
        codebook = _parse_codebook(r, limits)
    dq_flag = payload_type != PayloadType.NNR_PT_RAW_FLOAT and r.flag("dq_flag")
    data_format = r.u("nnr_decompressed_data_format", 7) if has_format else None
    given = _parse_input_parameters(r, limits, payload_type, multiple=multiple, present=has_input)
    dimensions = given.dimensions
    if dimensions is None:
        dimensions = context.dimensions.get(ids[0])
    if dimensions is None:
        raise r.error("tensor_dimensions", f"shape of {ids[0]!r} is neither sent nor known")
    is_block = payload_type == PayloadType.NNR_PT_BLOCK
    if is_block and given.types & ParameterTypes.NNR_CPT_DC and codebook is not None:
        codebook_h = _parse_codebook(r, limits)
    shift = scan_order = 0
    if len(dimensions) > 1:
        if context.general_profile_idc == 1:
            shift = r.uek("first_tensor_dimension_shift", 1)
        scan_order = r.u("scan_order", 4)
        if scan_order > 4:
            raise r.error("scan_order", f"scan order {scan_order} is not 0 to 4")

    def unit(
        entry_points: tuple[EntryPoint, ...] = (), payload: bytes = b"", offset: int = 0
    ) -> DataUnit:
        return DataUnit(
            payload_type,
            ids,
            dimensions,
            payload=payload,
            topology_elem_id_indices=indices,
            multiple=multiple,
            input_parameters_present_flag=has_input,
            nnr_decompressed_data_format=data_format,
            node_id=node_id,
            parent=parent,
            codebook=codebook,
            codebook_h=codebook_h,
            dq_flag=dq_flag,
            tensor_dimensions_flag=given.dimensions is not None,
            compressed_parameter_types=given.types,
            decomposition_rank=given.rank,
            g_number_of_rows=given.g_rows,
            cabac_unary_length_minus1=given.unary_minus1,
            first_tensor_dimension_shift=shift,
            scan_order=scan_order,
            entry_points=entry_points,
            payload_offset=offset,
            header=header,
        )

    # How many entry points there are depends on the unit itself.
    entry_points = _parse_entry_points(r, unit(), scan_order) if scan_order else ()
    r.align_one()
    offset = r.position // 8
    return unit(entry_points, r.rest(), offset)


def write_data_unit(w: BitWriter, unit: DataUnit, context: SyntaxContext) -> None:
    """Inverse of :func:`parse_data_unit`."""
    payload_type = unit.nnr_compressed_data_unit_payload_type
    w.u(payload_type, 5)
    w.flag(unit.multiple)
    w.flag(unit.nnr_decompressed_data_format is not None)
    w.flag(unit.input_parameters_present_flag)
    _write_ids(w, unit, context)
    _write_nodes(w, unit, context)
    if payload_type in _QUANTISED:
        w.flag(unit.codebook is not None)
        if unit.codebook is not None:
            _write_codebook(w, unit.codebook)
    if payload_type != PayloadType.NNR_PT_RAW_FLOAT:
        w.flag(unit.dq_flag)
    if unit.nnr_decompressed_data_format is not None:
        w.u(unit.nnr_decompressed_data_format, 7)
    if unit.input_parameters_present_flag:
        _write_input_parameters(w, unit)
    if unit.codebook_h is not None:
        _write_codebook(w, unit.codebook_h)
    if len(unit.tensor_dimensions) > 1:
        if context.general_profile_idc == 1:
            w.uek(unit.first_tensor_dimension_shift, 1)
        w.u(unit.scan_order, 4)
        _write_entry_points(w, unit)
    w.align_one()
    w.bytes(unit.payload)


def matrix_rows(unit: DataUnit) -> tuple[int, ...]:
    """Rows of each matrix of the unit that is coded in the unit's scan order."""
    if unit.compressed_parameter_types & ParameterTypes.NNR_CPT_DC:
        if unit.is_block:
            return unit.g_number_of_rows, unit.decomposition_rank
        if unit.topology_elem_ids[0].endswith("_G"):
            return (unit.g_number_of_rows,)
        if unit.topology_elem_ids[0].endswith("_H"):
            return (unit.decomposition_rank,)
    return (unit.tensor_dimensions[0],) if unit.tensor_dimensions else ()


def block_size(scan_order: int) -> int:
    """Side of the square blocks of a scan order from 1 to 4."""
    return 4 << scan_order


def entry_point_counts(unit: DataUnit, scan_order: int) -> tuple[int, ...]:
    """Entry points that each matrix of the unit has in its header list."""
    if scan_order == 0:
        return ()
    size = block_size(scan_order)
    return tuple(max(0, -(-rows // size) - 1) for rows in matrix_rows(unit))


# --- topology element ids -----------------------------------------------------------------------


def parse_topology_elements_ids_list(r: BitReader, limits: Limits) -> tuple[str, ...]:
    """topology_elements_ids_list( 0 ): at least two ids as text."""
    count = _parse_count(r, limits)
    r.align_one()
    return tuple(r.st("topology_elem_id_list", limits.max_string_bytes) for _ in range(count))


def write_topology_elements_ids_list(w: BitWriter, ids: tuple[str, ...]) -> None:
    """Inverse of :func:`parse_topology_elements_ids_list`."""
    w.uek(len(ids) - 2, 7)
    w.align_one()
    for text in ids:
        w.st(text)


def _parse_count(r: BitReader, limits: Limits) -> int:
    count = r.uek("count_topology_elements_minus2", 7) + 2
    if count * 8 > r.bits_left:
        raise r.error("count_topology_elements_minus2", f"{count} ids do not fit the unit")
    limits.require("max_tensors", count, "element ids of one unit")
    return count


def _parse_ids(
    r: BitReader, context: SyntaxContext, limits: Limits, *, multiple: bool
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    indexed = context.mps is not None and context.mps.mps_topology_indexed_reference_flag
    if not indexed:
        if multiple:
            return parse_topology_elements_ids_list(r, limits), ()
        return (r.st("topology_elem_id", limits.max_string_bytes),), ()
    if multiple:
        count = _parse_count(r, limits)
        indices = tuple(r.uek("topology_elem_id_index_list", 7) for _ in range(count))
        r.align_one()
    else:
        indices = (r.uek("topology_elem_id_index", 7),)
    known = context.reference_list
    for index in indices:
        if index >= len(known):
            raise r.error(
                "topology_elem_id_index", f"index {index} into a list of {len(known)} ids"
            )
    return tuple(known[index] for index in indices), indices


def _write_ids(w: BitWriter, unit: DataUnit, context: SyntaxContext) -> None:
    indexed = context.mps is not None and context.mps.mps_topology_indexed_reference_flag
    if not indexed:
        if unit.multiple:
            write_topology_elements_ids_list(w, unit.topology_elem_ids)
        else:
            w.st(unit.topology_elem_ids[0])
        return
    if unit.multiple:
        w.uek(len(unit.topology_elem_id_indices) - 2, 7)
    for index in unit.topology_elem_id_indices:
        w.uek(index, 7)
    if unit.multiple:
        w.align_one()


# --- node ids -----------------------------------------------------------------------------------


def _parse_nodes(r: BitReader, context: SyntaxContext) -> tuple[NodeId | None, ParentNode | None]:
    if context.general_profile_idc == 0:
        return None, None
    node_id = None
    if r.flag("node_id_present_flag"):
        device = r.uek("device_id", 1)
        parameter = r.uek("parameter_id", 5)
        node_id = NodeId(device, parameter, r.uek("put_node_depth", 4))
    enabled = context.mps is not None and context.mps.mps_parent_signalling_enabled_flag
    if not enabled or not r.flag("parent_node_id_present_flag"):
        return node_id, None
    id_type = r.u("parent_node_id_type", 2)
    temporal = r.flag("temporal_context_modeling_flag")
    if id_type == ParentNodeIdType.ICNN_NDU_ID:
        parent_device = r.uek("parent_device_id", 1)
        if node_id is not None:
            return node_id, ParentNode(id_type, temporal, parent_device)
        moved_id = r.uek("parameter_id", 5)
        depth = r.uek("put_node_depth", 4)
        return None, ParentNode(id_type, temporal, parent_device, moved_id, depth)
    if id_type not in _SHA_BYTES:
        raise r.error("parent_node_id_type", f"type {id_type} is reserved")
    length = _SHA_BYTES[ParentNodeIdType(id_type)]
    digest = r.u("parent_node_payload_sha", 8 * length).to_bytes(length, "big")
    return node_id, ParentNode(id_type, temporal, parent_node_payload_sha=digest)


def _write_nodes(w: BitWriter, unit: DataUnit, context: SyntaxContext) -> None:
    enabled = context.mps is not None and context.mps.mps_parent_signalling_enabled_flag
    if context.general_profile_idc == 0 or (unit.parent is not None and not enabled):
        if unit.node_id is not None or unit.parent is not None:
            msg = "node ids need general_profile_idc 1, parents an MPS that enables them"
            raise ValueError(msg)
        return
    w.flag(unit.node_id is not None)
    if unit.node_id is not None:
        w.uek(unit.node_id.device_id, 1)
        w.uek(unit.node_id.parameter_id, 5)
        w.uek(unit.node_id.put_node_depth, 4)
    if not enabled:
        return
    w.flag(unit.parent is not None)
    if unit.parent is None:
        return
    w.u(unit.parent.parent_node_id_type, 2)
    w.flag(unit.parent.temporal_context_modeling_flag)
    if unit.parent.parent_node_id_type != ParentNodeIdType.ICNN_NDU_ID:
        digest = unit.parent.parent_node_payload_sha
        if len(digest) != _SHA_BYTES[ParentNodeIdType(unit.parent.parent_node_id_type)]:
            msg = f"a parent hash of {len(digest)} bytes does not fit its type"
            raise ValueError(msg)
        w.u(int.from_bytes(digest, "big"), 8 * len(digest))
        return
    w.uek(unit.parent.parent_device_id, 1)
    if unit.node_id is None:
        w.uek(unit.parent.parameter_id or 0, 5)
        w.uek(unit.parent.put_node_depth or 0, 4)


# --- input parameters ---------------------------------------------------------------------------


class _InputParameters(NamedTuple):
    dimensions: tuple[int, ...] | None = None
    types: ParameterTypes = ParameterTypes(0)
    rank: int = 0
    g_rows: int = 0
    unary_minus1: int | None = None


def _parse_input_parameters(
    r: BitReader, limits: Limits, payload_type: int, *, multiple: bool, present: bool
) -> _InputParameters:
    if not present:
        return _InputParameters()
    has_dimensions = r.flag("tensor_dimensions_flag")
    has_unary = r.flag("cabac_unary_length_flag")
    types = ParameterTypes(r.u("compressed_parameter_types", 4))
    rank = g_rows = 0
    if types & ParameterTypes.NNR_CPT_DC:
        rank = r.uek("decomposition_rank", 3)
        g_rows = r.uek("g_number_of_rows", 3)
        if not rank or not g_rows:
            raise r.error("decomposition_rank", f"factors with {g_rows} rows and rank {rank}")
        limits.require("max_elements", rank * g_rows, "elements of factor G")
    dimensions = _parse_dimensions(r, limits) if has_dimensions else None
    if multiple and payload_type != PayloadType.NNR_PT_BLOCK:
        msg = "topology_tensor_dimension_mapping() is not implemented"
        raise UnsupportedFeatureError(msg)
    unary = r.u("cabac_unary_length_minus1", 8) if has_unary else None
    return _InputParameters(dimensions, types, rank, g_rows, unary)


def _parse_dimensions(r: BitReader, limits: Limits) -> tuple[int, ...]:
    count = r.uek("count_tensor_dimensions", 1)
    limits.require("max_dimensions", count, "dimensions of a tensor")
    if count == 0:
        raise r.error("count_tensor_dimensions", "a tensor has at least one dimension")
    dimensions = tuple(r.uek("tensor_dimensions", 7) for _ in range(count))
    # A dimension of 0 must not hide the others from the limit: loops run over each of them.
    limits.require("max_elements", math.prod(max(1, d) for d in dimensions), "elements of a tensor")
    return dimensions


def _write_input_parameters(w: BitWriter, unit: DataUnit) -> None:
    w.flag(unit.tensor_dimensions_flag)
    w.flag(unit.cabac_unary_length_minus1 is not None)
    w.u(unit.compressed_parameter_types, 4)
    if unit.compressed_parameter_types & ParameterTypes.NNR_CPT_DC:
        w.uek(unit.decomposition_rank, 3)
        w.uek(unit.g_number_of_rows, 3)
    if unit.tensor_dimensions_flag:
        w.uek(len(unit.tensor_dimensions), 1)
        for size in unit.tensor_dimensions:
            w.uek(size, 7)
    if unit.cabac_unary_length_minus1 is not None:
        w.u(unit.cabac_unary_length_minus1, 8)


# --- codebook() ---------------------------------------------------------------------------------


def _parse_codebook(r: BitReader, limits: Limits) -> Codebook:
    egk = r.u("codebook_egk", 4)
    size = r.uek("codebook_size", 2)
    limits.require("max_codebook_size", size, "codebook entries")
    if (size - 1) * (egk + 1) > r.bits_left:
        raise r.error("codebook_size", f"{size} entries do not fit the unit")
    zero = size // 2 + r.iek("codebook_zero_offset", 2)
    if not 0 <= zero < size:
        raise r.error("codebook_zero_offset", f"zero entry {zero} is outside 0..{size - 1}")
    entries = [0] * size
    entries[zero] = r.iek("codebook_zero_value", 7)
    for j in range(zero - 1, -1, -1):
        entries[j] = entries[j + 1] - r.uek("codebook_delta_left", egk) - 1
    for j in range(zero + 1, size):
        entries[j] = entries[j - 1] + r.uek("codebook_delta_right", egk) + 1
    if entries[0] < -_INT32_MAX or entries[-1] > _INT32_MAX:
        raise r.error("codebook", "entries do not fit 32 bits")
    return Codebook(egk, zero, tuple(entries))


def _write_codebook(w: BitWriter, codebook: Codebook) -> None:
    entries, zero, egk = codebook.entries, codebook.zero_offset, codebook.codebook_egk
    w.u(egk, 4)
    w.uek(len(entries), 2)
    w.iek(zero - len(entries) // 2, 2)
    w.iek(entries[zero], 7)
    for j in range(zero - 1, -1, -1):
        w.uek(entries[j + 1] - entries[j] - 1, egk)
    for j in range(zero + 1, len(entries)):
        w.uek(entries[j] - entries[j - 1] - 1, egk)


# --- entry points -------------------------------------------------------------------------------


def _parse_entry_points(r: BitReader, unit: DataUnit, scan_order: int) -> tuple[EntryPoint, ...]:
    points = []
    for count in entry_point_counts(unit, scan_order):
        if count * 16 > r.bits_left:  # 8 bits of cabac_offset and at least 8 of bit_offset each
            raise r.error("cabac_offset_list", f"{count} entry points do not fit the unit")
        bit_offset = 0
        for j in range(count):
            cabac_offset = r.u("cabac_offset_list", 8)
            dq_state = r.u("dq_state_list", 3) if unit.dq_flag else 0
            if j == 0:
                bit_offset = r.uek("bit_offset_list", 11)
            else:
                bit_offset += r.iek("bit_offset_list", 7)
            points.append(EntryPoint(cabac_offset, dq_state, bit_offset))
    return tuple(points)


def _write_entry_points(w: BitWriter, unit: DataUnit) -> None:
    points = iter(unit.entry_points)
    for count in entry_point_counts(unit, unit.scan_order):
        previous = 0
        for j in range(count):
            point = next(points)
            w.u(point.cabac_offset, 8)
            if unit.dq_flag:
                w.u(point.dq_state, 3)
            if j == 0:
                w.uek(point.bit_offset, 11)
            else:
                w.iek(point.bit_offset - previous, 7)
            previous = point.bit_offset
