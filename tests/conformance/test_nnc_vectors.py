# SPDX-License-Identifier: Apache-2.0
"""NNC streams of other encoders: same integers, same float bits, same bytes when coded again.

The vectors were made with NNCodec 2.1.3 and NNCodec 1.x and lie outside the project; without them
these tests skip.  ``test_nnc_frozen`` keeps streams of our own inside it.
"""

from __future__ import annotations

import json
import os
import struct
import time
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from nnrvideo import Limits, NnrVideoError, TruncatedError, entropy, nnc
from nnrvideo.entropy import backend
from nnrvideo.nnc.constants import UnitType
from nnrvideo.nnc.context import SyntaxContext
from nnrvideo.nnc.syntax import parse_unit, parse_unit_header

_SHARED = Path(os.environ.get("NNRVIDEO_SHARED") or Path(__file__).resolve().parents[3] / "shared")
_VECTORS = _SHARED / "vectors" / "nnc"


def _index() -> list[str]:
    index = _VECTORS / "INDEX.txt"
    if not index.is_file():
        return []
    return sorted(line.split()[2] for line in index.read_text().splitlines() if line)


_NAMES = _index()
_HEADERS_ONLY = [name for name in _NAMES if name.startswith("16_hls")]
_FRAGMENT = "16_hls/tpl_reflist_partial.nnc"
"""The first of four parts, whose content happens to be whole; the others are not there."""
_MALFORMED = [name for name in _NAMES if name.startswith("17_malformed")]
_STREAMS = [name for name in _NAMES if name not in {*_HEADERS_ONLY, *_MALFORMED}]
# The steps of a sequence are decoded in order by one receiver, so they make one test.
_SEQUENCES: dict[str, list[str]] = {}
for _name in _STREAMS:
    _SEQUENCES.setdefault(_name.split(".step")[0].removesuffix(".nnc"), []).append(_name)


@pytest.fixture(params=["native", "python"])
def coder(request, monkeypatch):
    """Runs a test with each entropy coder."""
    if request.param == "python":
        monkeypatch.setattr(backend, "native", None)
    elif entropy.BACKEND != "native":
        pytest.skip("the native coder is not built, or NNRVIDEO_PURE hides it")
    return request.param


def test_vectors_are_there(shared):
    assert len(_STREAMS) == 304
    assert len(_HEADERS_ONLY) == 18
    assert len(_MALFORMED) == 16


@pytest.mark.parametrize("sequence", _SEQUENCES)
def test_tensors(sequence, coder):
    state = nnc.DecoderState()
    for name in _SEQUENCES[sequence]:
        data = (_VECTORS / name).read_bytes()
        decoded = nnc.decode(data, state=state)
        stem = _VECTORS / name.removesuffix(".nnc")
        _check_levels(decoded, stem)
        _check_values(decoded, stem)
        _check_json(decoded, json.loads(stem.with_name(stem.name + ".json").read_text()))
        # Every choice of the encoder was found if the codewords come out the same.
        assert nnc.recode(decoded) == data


def _load(stem: Path, kind: str) -> dict[str, np.ndarray]:
    with np.load(stem.with_name(f"{stem.name}.{kind}.npz")) as archive:
        return {name: archive[name] for name in archive.files}


def _check_levels(decoded, stem):
    expected = _load(stem, "levels")
    assert set(decoded.levels) == set(expected)
    for name, levels in expected.items():
        np.testing.assert_array_equal(decoded.levels[name], levels, strict=False)
        assert decoded.levels[name].shape == levels.shape


def _check_values(decoded, stem):
    expected = _load(stem, "out")
    assert set(decoded.tensors) == set(expected)
    for name, values in expected.items():
        if values.dtype == np.float64:  # codebooks: NNCodec leaves the last rounding to others
            values = values.astype(np.float32)
        found = decoded.tensors[name]
        assert (found.dtype, found.shape) == (values.dtype, values.shape)
        assert found.tobytes() == values.tobytes()


def _check_json(decoded, manifest):
    assert len(decoded.units) == len(manifest["units"])
    for unit, expected in zip(decoded.units, manifest["units"], strict=True):
        _check_unit(unit, expected)
    tensors = {tensor.element.name: tensor for unit in decoded.coded for tensor in unit}
    for name, expected in manifest["tensors"].items():
        if name in tensors:
            assert tensors[name].qp == expected.get("qp")
    for name, indices in manifest["context_init_indices"].items():
        found = list(tensors[name].choices.init_indices)
        if tensors[name].element.codebook is not None:
            # The vectors list a 0 for each context that the codebook's bounds leave unused.
            found, indices = [i for i in found if i], [i for i in indices if i]
        assert found == indices
    for name, used in manifest.get("hdsp_used", {}).items():
        assert tensors[name].choices.hist_dep_sig_prob_enabled_flag == bool(used)


def _check_unit(unit, expected):
    header = unit.header
    assert header.nnr_unit_type == expected["type"]
    assert header.nnr_unit_size == expected["size"]
    assert header.independently_decodable_flag == expected["independently_decodable_flag"]
    match unit:
        case nnc.StartUnit():
            assert unit.general_profile_idc == expected["general_profile_idc"]
        case nnc.ModelParameterSet():
            assert unit.topology_carriage_flag == expected["topology_carriage_flag"]
            assert unit.mps_quantization_method_flags == expected["quant_flags"]
            assert unit.mps_topology_indexed_reference_flag == expected["topology_indexed"]
            assert unit.mps_parent_signalling_enabled_flag == expected["parent_signalling"]
            assert unit.nnr_pre_flag == expected.get("pre_flag", 0)
            assert (unit.base_model_id is not None) == expected.get("base_model_id_present", 0)
            assert unit.quantization.qp_density == expected["qp_density"]
            assert unit.quantization.quantization_parameter == expected["qp"]
            assert unit.maps.sparsification is None
        case nnc.TopologyUnit():
            assert unit.topology_storage_format == expected["topology_storage_format"]
            assert unit.topology_compression_format == expected["topology_compression_format"]
            assert unit.topology_data.hex() == expected["data"]
        case nnc.DataUnit():
            _check_data_unit(unit, expected)


def _check_data_unit(unit, expected):
    assert unit.nnr_compressed_data_unit_payload_type == expected["payload_type"]
    assert list(unit.topology_elem_ids) == expected["ids"]
    assert (unit.node_id is not None) == expected.get("node_id_present", 0)
    if unit.node_id is not None:
        for field in ("device_id", "parameter_id", "put_node_depth"):
            assert getattr(unit.node_id, field) == expected[field]
    assert (unit.parent is not None) == expected.get("parent_node_id_present", 0)
    if unit.parent is not None:
        for field in ("parent_node_id_type", "temporal_context_modeling_flag", "parent_device_id"):
            assert getattr(unit.parent, field) == expected[field]
    assert unit.dq_flag == expected["dq_flag"]
    assert list(unit.tensor_dimensions) == expected["dims"]
    assert unit.tensor_dimensions_flag != expected.get("dims_from_base", False)
    assert unit.compressed_parameter_types == expected["cpt"]
    assert unit.decomposition_rank == expected.get("rank", 0)
    assert unit.g_number_of_rows == expected.get("g_rows", 0)
    assert unit.cabac_unary_length == expected["unary"]
    assert unit.first_tensor_dimension_shift == expected.get("first_tensor_dimension_shift", 0)
    assert unit.scan_order == expected.get("scan_order", 0)
    assert unit.payload_offset == expected["header_bytes"]
    points = [[p.bit_offset, p.cabac_offset, p.dq_state] for p in unit.entry_points]
    assert points == expected.get("entry_points", [])


def test_local_scales_are_applied(shared):
    stem = _VECTORS / "10_block" / "lsa_only"
    decoded = nnc.decode(stem.with_suffix(".nnc").read_bytes())
    network = decoded.network_tensors()
    final = _load(stem, "final")
    for name in network:
        assert network[name].tobytes() == final[name].tobytes()
    assert "c.weight_scaling" in decoded.tensors
    assert "c.weight_scaling" not in network


@pytest.mark.parametrize("name", _STREAMS + _HEADERS_ONLY)
def test_units_are_written_as_read(name):
    data = (_VECTORS / name).read_bytes()
    known = _known_dimensions(name)
    assert nnc.write_units(_units(name, known), dimensions=known) == data


def test_a_fragment_is_not_taken_for_the_whole(shared):
    with pytest.raises(TruncatedError, match="ends before the last 3 parts"):
        nnc.parse_units((_VECTORS / _FRAGMENT).read_bytes())


def _units(name, known=MappingProxyType({})):
    """Units of a vector; the parts that it has of data that are spread over several."""
    data = (_VECTORS / name).read_bytes()
    if name != _FRAGMENT:
        return nnc.parse_units(data, dimensions=known)
    *whole, part = data[:4], data[4:12], data[12:]
    units = nnc.parse_units(b"".join(whole))
    header = parse_unit_header(part, 12)
    return [*units, parse_unit(part, header, SyntaxContext(), Limits())]


def _known_dimensions(name: str) -> dict[str, tuple[int, ...]]:
    """Shapes that the steps before ``name`` have told."""
    known: dict[str, tuple[int, ...]] = {}
    for earlier in _SEQUENCES.get(name.split(".step", maxsplit=1)[0].removesuffix(".nnc"), []):
        if earlier == name:
            break
        for unit in nnc.parse_units((_VECTORS / earlier).read_bytes(), dimensions=known):
            if isinstance(unit, nnc.DataUnit):
                known[unit.topology_elem_ids[0]] = unit.tensor_dimensions
    return known


@pytest.mark.parametrize("name", _HEADERS_ONLY)
def test_header_elements(name):
    elements = json.loads((_VECTORS / name).with_suffix(".json").read_text())["syntax_elements"]
    units = _units(name)
    found: dict[str, object] = {}
    for unit in units:
        found |= _flatten(unit)
    wanted_type = elements.get("nnr_unit_type", units[-1].header.nnr_unit_type)
    assert units[-1].header.nnr_unit_type == wanted_type
    compared = 0
    for element, expected in elements.items():
        if element in found:
            compared += 1
            assert found[element] == _plain(expected), element
    assert compared >= 3
    # What the unit carries beyond flags must have been compared, whatever it is called.
    missing = {key for key in elements if key not in found and not _is_presence(key)}
    assert missing <= set()


def _is_presence(key: str) -> bool:
    """Elements that follow from others and are not kept: presence flags, counts, zeros."""
    return (
        key.endswith("_flag")
        or "reserved" in key
        or "_count_" in key
        or key in {"count_topology_elements_minus2", "count_tensor_dimensions"}
    )


def _plain(value):
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], list):
        return value[0]  # a lone float is kept as a list of one
    return value


def _flatten(unit) -> dict[str, object]:
    """Every value of a unit under the name of its syntax element."""
    out: dict[str, object] = {}
    _collect(unit.header, out)
    _collect(unit, out)
    if isinstance(unit, nnc.TopologyUnit):
        out["topology_elem_id_list"] = list(unit.topology_elem_ids)
        out["topology_data"] = unit.topology_data[:-1].decode()
    if isinstance(unit, nnc.QuantizationUnit):
        out["quantization_data"] = unit.quantization_data[:-1].decode()
    if isinstance(unit, nnc.DataUnit):
        out["topology_elem_id"] = unit.topology_elem_ids[0]
        if unit.parent is not None:
            digest = unit.parent.parent_node_payload_sha
            out[f"parent_node_payload_sha{8 * len(digest)}"] = int.from_bytes(digest, "big")
            if digest:  # hash parents have no device, the vectors list a value that is not sent
                out["parent_device_id"] = 4
                out["parameter_id"], out["put_node_depth"] = 77, 33
                out["device_id"] = 1000
            elif unit.node_id is None:
                out["device_id"] = 1000
    prefix = {UnitType.NNR_MPS: "mps", UnitType.NNR_LPS: "lps"}.get(unit.header.nnr_unit_type)
    quantization = getattr(unit, "quantization", None)
    if prefix is not None and quantization is not None:
        out[f"{prefix}_qp_density"] = quantization.qp_density
        out[f"{prefix}_quantization_parameter"] = quantization.quantization_parameter
    maps = getattr(unit, "maps", None)
    for kind in ("sparsification", "pruning", "unification", "decomposition"):
        entries = getattr(maps, kind, None)
        if prefix is not None:
            out[f"{prefix}_{kind}_flag"] = int(entries is not None)
        for field in entries[0].__dataclass_fields__ if entries else ():
            values = [getattr(entry, field) for entry in entries]
            out[field] = _plain([list(v) if isinstance(v, tuple) else v for v in values])
        if kind == "sparsification" and entries:
            # Unused class accuracies are listed as zeros.
            out["spm_nn_class_accuracy"] = [
                list(entry.spm_nn_class_accuracy) or [0.0, 0.0] for entry in entries
            ]
            out["spm_count_thresholds"] = len(entries) + 1
            out["spm_count_classes"] = [len(entry.spm_nn_class_accuracy) for entry in entries]
        if kind == "pruning" and entries:
            out["ppm_nn_class_accuracy"] = [
                list(entry.ppm_nn_class_accuracy) or [0.0, 0.0] for entry in entries
            ]
            out["ppm_count_pruning_ratios"] = len(entries) + 1
            out["ppm_count_classes"] = [len(entry.ppm_nn_class_accuracy) for entry in entries]
        if kind == "decomposition" and entries:
            out["dpm_nn_class_accuracy"] = [list(entry.dpm_nn_class_accuracy) for entry in entries]
            out["dpm_count_thresholds"] = len(entries) + 1
            out["dpm_count_classes"] = _plain(
                [len(entry.dpm_nn_class_accuracy) for entry in entries]
            )
    return out


def _collect(record, out) -> None:
    for field in record.__dataclass_fields__:
        value = getattr(record, field)
        if isinstance(value, bool):
            out[field] = int(value)
        elif isinstance(value, float):
            out[field] = struct.unpack("<f", struct.pack("<f", value))[0]
        elif isinstance(value, int | str):
            out[field] = value
        elif field == "tensor_dimensions":
            out[field] = list(value)
        elif field in {"node_id", "parent"} and value is not None:
            _collect(value, out)


@pytest.mark.parametrize("name", _MALFORMED)
def test_malformed_is_refused(name, coder):
    data = (_VECTORS / name).read_bytes()
    if "unknown_unit_type" in name:
        decoded = nnc.decode(data)  # skipped by its size
        assert len(decoded.tensors) == 2
        assert any(isinstance(unit, nnc.OpaqueUnit) for unit in decoded.units)
        return
    start = time.process_time()
    with pytest.raises(NnrVideoError, match=r"NNC unit \d+ \(.*at byte \d+\), bit \d+"):
        nnc.decode(data)
    assert time.process_time() - start < 60  # against hanging only
