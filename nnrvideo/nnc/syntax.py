# SPDX-License-Identifier: Apache-2.0
"""Bits of NNR units: a ``parse_`` and a ``write_`` for each, in the order of the clauses.

Nothing but syntax.  The compressed data unit has a file of its own, ``ndu_syntax``.
Spec: ISO/IEC 15938-17, nnr_unit() and the unit headers and payloads.
"""

from __future__ import annotations

from nnrvideo.bits import BitReader, BitWriter
from nnrvideo.errors import (
    BitstreamError,
    LimitExceededError,
    TruncatedError,
    UnsupportedFeatureError,
)
from nnrvideo.limits import Limits
from nnrvideo.nnc import maps
from nnrvideo.nnc.constants import (
    LONG_UNIT_MAX_BYTES,
    SHORT_UNIT_MAX_BYTES,
    StorageFormat,
    UnitType,
)
from nnrvideo.nnc.context import SyntaxContext
from nnrvideo.nnc.maps import PerformanceMaps
from nnrvideo.nnc.ndu_syntax import (
    parse_data_unit,
    parse_topology_elements_ids_list,
    write_data_unit,
    write_topology_elements_ids_list,
)
from nnrvideo.nnc.parts import parts_again, split_parts, written_bytes
from nnrvideo.nnc.units import (
    DataUnit,
    LayerParameterSet,
    ModelParameterSet,
    OpaqueUnit,
    Quantization,
    QuantizationUnit,
    StartUnit,
    TopologyUnit,
    Unit,
    UnitHeader,
)

_USES_QP = 3  # either quantisation method needs a density and a base QP


# --- nnr_unit() ---------------------------------------------------------------------------------


def parse_unit_size(data: bytes | bytearray | memoryview) -> tuple[bool, int] | None:
    """nnr_unit_size_flag and nnr_unit_size.

    Args:
        data: Bytes from the start of a unit; more may follow.

    Returns:
        Flag and size in bytes, or ``None`` if the size field is not complete yet.

    Raises:
        BitstreamError: The size is smaller than the unit's own header.
    """
    if not data:
        return None
    long_form = data[0] >= 0x80
    field_bytes = 4 if long_form else 2
    if len(data) < field_bytes:
        return None
    size = int.from_bytes(data[:field_bytes], "big") & (
        LONG_UNIT_MAX_BYTES if long_form else SHORT_UNIT_MAX_BYTES
    )
    if size < field_bytes + 1:
        raise BitstreamError(
            f"unit of {size} bytes is smaller than its own header", element="nnr_unit_size", bit=0
        )
    return long_form, size


def parse_unit_header(data: bytes, offset: int) -> UnitHeader:
    """nnr_unit_size and nnr_unit_header(), without the elements of the type.

    Args:
        data: Exactly the bytes of the unit, as :func:`parse_unit_size` told.
        offset: Bytes from the start of the bitstream to the unit.

    Raises:
        TruncatedError: The unit ends before its partial_data_counter.
    """
    long_form = data[0] >= 0x80
    at = 4 if long_form else 2
    # nnr_unit_type u(6), independently_decodable_flag, partial_data_counter_present_flag
    flags = data[at]
    counter = None
    if flags & 1:
        if len(data) == at + 1:
            raise TruncatedError(
                "the unit ends before it", element="partial_data_counter", bit=8 * len(data)
            )
        counter = data[at + 1]
    return UnitHeader(flags >> 2, bool(flags & 2), counter, long_form, len(data), offset)


def parse_unit(data: bytes, header: UnitHeader, context: SyntaxContext, limits: Limits) -> Unit:
    """nnr_unit(): one whole unit.

    Args:
        data: The bytes of the unit; where it was spread over several, those of the first and then
            what the others have after their headers.
        header: Of the unit.
        context: What came before; not changed.
        limits: Bounds on what the unit may ask for.

    Returns:
        The unit; types that are reserved or not interpreted come as :class:`OpaqueUnit`.

    Raises:
        BitstreamError: The syntax is broken or the unit is not exactly filled.
        UnsupportedFeatureError: Legal but not implemented.
        LimitExceededError: A limit is exceeded.
    """
    r = BitReader(data, start=8 * header.header_bytes)
    try:
        unit = _parse_any(r, header, context, limits)
    except (UnsupportedFeatureError, LimitExceededError) as error:
        error.args = (f"bit {r.position}: {error.args[0]}",)
        raise
    if r.bits_left:
        raise r.error("nnr_unit_payload", f"{r.bits_left} bits are left in the unit")
    return unit


def _parse_any(r: BitReader, header: UnitHeader, context: SyntaxContext, limits: Limits) -> Unit:
    unit: Unit
    match header.nnr_unit_type:
        case UnitType.NNR_STR:
            unit = _parse_start(r, header)
        case UnitType.NNR_MPS:
            unit = _parse_model_parameter_set(r, header, context, limits)
        case UnitType.NNR_LPS:
            unit = _parse_layer_parameter_set(r, header)
        case UnitType.NNR_TPL:
            unit = _parse_topology(r, header, limits)
        case UnitType.NNR_QNT:
            storage = r.u("quantization_storage_format", 8)
            compression = r.u("quantization_compression_format", 8)
            unit = QuantizationUnit(storage, compression, r.rest(), header)
        case UnitType.NNR_NDU:
            unit = parse_data_unit(r, header, context, limits)
        case _:
            unit = OpaqueUnit(r.rest(), header)
    return unit


def write_unit(unit: Unit, context: SyntaxContext, max_bytes: int | None = None) -> bytes:
    """Inverse of :func:`parse_unit`; the size follows from the content.

    Args:
        unit: The unit.
        context: What came before; not changed.
        max_bytes: Spreads a unit that is larger over several; None: spread as it was parsed.

    Raises:
        ValueError: A field does not fit its syntax element, or the unit cannot be spread so.
    """
    w = BitWriter()
    match unit:
        case StartUnit():
            w.u(unit.general_profile_idc, 8)
        case ModelParameterSet():
            _write_model_parameter_set(w, unit, context)
        case LayerParameterSet():
            _write_layer_parameter_set(w, unit)
        case TopologyUnit():
            _write_topology(w, unit)
        case QuantizationUnit():
            w.u(unit.quantization_storage_format, 8)
            w.u(unit.quantization_compression_format, 8)
            w.bytes(unit.quantization_data)
        case DataUnit():
            write_data_unit(w, unit, context)
        case OpaqueUnit():
            w.bytes(unit.data)
    body = w.to_bytes()
    if max_bytes is None:
        pieces = parts_again(unit.header, body)
    else:
        pieces = split_parts(unit.header, body, max_bytes)
    return b"".join(_write_header(header, piece) for header, piece in pieces)


def _write_header(header: UnitHeader, body: bytes) -> bytes:
    w = BitWriter()
    size = written_bytes(header, len(body))
    long_form = header.nnr_unit_size_flag or size > SHORT_UNIT_MAX_BYTES
    w.flag(long_form)
    w.u(size, 31 if long_form else 15)
    w.u(header.nnr_unit_type, 6)
    w.flag(header.independently_decodable_flag)
    w.flag(header.partial_data_counter is not None)
    if header.partial_data_counter is not None:
        w.u(header.partial_data_counter, 8)
    return w.to_bytes() + body


# --- NNR_STR ------------------------------------------------------------------------------------


def _parse_start(r: BitReader, header: UnitHeader) -> StartUnit:
    profile = r.u("general_profile_idc", 8)
    if profile > 1:
        msg = f"general_profile_idc {profile} is unknown"
        raise UnsupportedFeatureError(msg)
    return StartUnit(profile, header)


# --- NNR_MPS ------------------------------------------------------------------------------------


def _parse_model_parameter_set(
    r: BitReader, header: UnitHeader, context: SyntaxContext, limits: Limits
) -> ModelParameterSet:
    carriage = r.flag("topology_carriage_flag")
    has_spm = r.flag("mps_sparsification_flag")
    has_ppm = r.flag("mps_pruning_flag")
    has_upm = r.flag("mps_unification_flag")
    has_dpm = r.flag("mps_decomposition_performance_map_flag")
    methods = r.u("mps_quantization_method_flags", 3)
    indexed = r.flag("mps_topology_indexed_reference_flag")
    parents = pre = has_performance = valid = False
    base_model_id = metric = performance = None
    if context.general_profile_idc == 1:
        has_base = r.flag("base_model_id_present_flag")
        has_performance = r.flag("validation_set_performance_present_flag")
        valid = r.flag("metric_type_performance_map_valid_flag")
        parents = r.flag("mps_parent_signalling_enabled_flag")
        pre = parents and r.flag("nnr_pre_flag")
        reserved = r.u("nnr_reserved_zero_bits", 2 if parents else 3)
        if has_base:
            base_model_id = r.st("base_model_id", limits.max_string_bytes)
        if has_performance or valid:
            metric = r.st("performance_metric_type", limits.max_string_bytes)
    else:
        reserved = r.u("nnr_reserved_zero_7bits", 7)
    quantization = _parse_quantization(r, "mps", methods)
    performance_maps = _parse_maps(r, has_spm, has_ppm, has_upm, has_dpm)
    if has_performance:
        performance = r.flt("validation_set_performance")
    r.align_one()
    return ModelParameterSet(
        carriage,
        methods,
        indexed,
        valid,
        parents,
        pre,
        base_model_id,
        metric,
        quantization,
        performance_maps,
        performance,
        reserved,
        header,
    )


def _write_model_parameter_set(
    w: BitWriter, unit: ModelParameterSet, context: SyntaxContext
) -> None:
    w.flag(unit.topology_carriage_flag)
    w.flag(unit.maps.sparsification is not None)
    w.flag(unit.maps.pruning is not None)
    w.flag(unit.maps.unification is not None)
    w.flag(unit.maps.decomposition is not None)
    w.u(unit.mps_quantization_method_flags, 3)
    w.flag(unit.mps_topology_indexed_reference_flag)
    performance = unit.validation_set_performance
    if context.general_profile_idc == 1:
        w.flag(unit.base_model_id is not None)
        w.flag(performance is not None)
        w.flag(unit.metric_type_performance_map_valid_flag)
        w.flag(unit.mps_parent_signalling_enabled_flag)
        if unit.mps_parent_signalling_enabled_flag:
            w.flag(unit.nnr_pre_flag)
            w.u(unit.reserved_zero, 2)
        else:
            w.u(unit.reserved_zero, 3)
        if unit.base_model_id is not None:
            w.st(unit.base_model_id)
        if performance is not None or unit.metric_type_performance_map_valid_flag:
            w.st(unit.performance_metric_type or "")
    else:
        w.u(unit.reserved_zero, 7)
    _write_quantization(w, unit.mps_quantization_method_flags, unit.quantization)
    _write_maps(w, unit.maps)
    if performance is not None and context.general_profile_idc == 1:
        w.flt(performance)
    w.align_one()


# --- NNR_LPS ------------------------------------------------------------------------------------


def _parse_layer_parameter_set(r: BitReader, header: UnitHeader) -> LayerParameterSet:
    self_contained = r.flag("lps_self_contained_flag")
    _reserved_zero(r, "nnr_reserved_zero_7bits", 7)
    _reserved_zero(r, "nnr_reserved_zero_1bit", 1)
    has_spm = r.flag("lps_sparsification_flag")
    has_ppm = r.flag("lps_pruning_flag")
    has_upm = r.flag("lps_unification_flag")
    methods = r.u("lps_quantization_method_flags", 3)
    _reserved_zero(r, "nnr_reserved_zero_1bit", 1)
    quantization = _parse_quantization(r, "lps", methods)
    performance_maps = _parse_maps(r, has_spm, has_ppm, has_upm, has_dpm=False)
    r.align_one()
    return LayerParameterSet(self_contained, methods, quantization, performance_maps, header)


def _write_layer_parameter_set(w: BitWriter, unit: LayerParameterSet) -> None:
    if unit.maps.decomposition is not None:
        msg = "a layer parameter set has no decomposition map"
        raise ValueError(msg)
    w.flag(unit.lps_self_contained_flag)
    w.u(0, 8)
    w.flag(unit.maps.sparsification is not None)
    w.flag(unit.maps.pruning is not None)
    w.flag(unit.maps.unification is not None)
    w.u(unit.lps_quantization_method_flags, 3)
    w.u(0, 1)
    _write_quantization(w, unit.lps_quantization_method_flags, unit.quantization)
    _write_maps(w, unit.maps)
    w.align_one()


# --- NNR_TPL ------------------------------------------------------------------------------------


def _parse_topology(r: BitReader, header: UnitHeader, limits: Limits) -> TopologyUnit:
    storage = r.u("topology_storage_format", 8)
    compression = r.u("topology_compression_format", 8)
    if storage == StorageFormat.NNR_TPL_REFLIST:
        ids = parse_topology_elements_ids_list(r, limits)
        return TopologyUnit(storage, compression, b"", ids, header)
    limits.require("max_topology_bytes", r.bits_left // 8, "topology payload in bytes")
    return TopologyUnit(storage, compression, r.rest(), (), header)


def _write_topology(w: BitWriter, unit: TopologyUnit) -> None:
    w.u(unit.topology_storage_format, 8)
    w.u(unit.topology_compression_format, 8)
    if unit.topology_storage_format == StorageFormat.NNR_TPL_REFLIST:
        write_topology_elements_ids_list(w, unit.topology_elem_ids)
    else:
        w.bytes(unit.topology_data)


# --- parts that the parameter sets share --------------------------------------------------------


def _parse_quantization(r: BitReader, prefix: str, methods: int) -> Quantization | None:
    if not methods & _USES_QP:
        return None
    density = r.u(f"{prefix}_qp_density", 3)
    return Quantization(density, r.i(f"{prefix}_quantization_parameter", 13))


def _write_quantization(w: BitWriter, methods: int, quantization: Quantization | None) -> None:
    if bool(methods & _USES_QP) != (quantization is not None):
        msg = "quantisation parameters must be present exactly if a method flag is set"
        raise ValueError(msg)
    if quantization is not None:
        w.u(quantization.qp_density, 3)
        w.i(quantization.quantization_parameter, 13)


def _parse_maps(
    r: BitReader,
    has_spm: bool,
    has_ppm: bool,
    has_upm: bool,
    has_dpm: bool,
) -> PerformanceMaps:
    return PerformanceMaps(
        maps.parse_sparsification(r) if has_spm else None,
        maps.parse_pruning(r) if has_ppm else None,
        maps.parse_unification(r) if has_upm else None,
        maps.parse_decomposition(r) if has_dpm else None,
    )


def _write_maps(w: BitWriter, performance: PerformanceMaps) -> None:
    if performance.sparsification is not None:
        maps.write_sparsification(w, performance.sparsification)
    if performance.pruning is not None:
        maps.write_pruning(w, performance.pruning)
    if performance.unification is not None:
        maps.write_unification(w, performance.unification)
    if performance.decomposition is not None:
        maps.write_decomposition(w, performance.decomposition)


def _reserved_zero(r: BitReader, element: str, bits: int) -> None:
    if r.u(element, bits):
        raise r.error(element, "reserved bits are not zero")
