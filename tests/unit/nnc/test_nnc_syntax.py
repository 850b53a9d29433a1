# SPDX-License-Identifier: Apache-2.0
"""Every unit and every optional element: written, read back equal, written again to equal bytes."""

from __future__ import annotations

import numpy as np
import pytest

from nnrvideo import BitstreamError, LimitExceededError, Limits, UnsupportedFeatureError, nnc
from nnrvideo.entropy import EntryPoint
from nnrvideo.nnc.constants import ParameterTypes
from nnrvideo.nnc.maps import (
    Decomposition,
    PerformanceMaps,
    Pruning,
    Sparsification,
    Unification,
)
from nnrvideo.nnc.units import ParentNode

MAPS = PerformanceMaps(
    sparsification=(Sparsification(0.5, 0.25, 0.75, 700, (1.0, 2.0)),),
    pruning=(Pruning(0.5, 0.25, 5, ()), Pruning(1.5, 0.5, 0, (3.0,))),
    unification=(Unification((3, 200), (2,), (), 0.5, 0.25, 9, 2, (1.0, -1.0)),),
)
FULL_MAPS = PerformanceMaps(
    MAPS.sparsification, MAPS.pruning, MAPS.unification, (Decomposition(0.5, 1.0, 2.0, (4.0,)),)
)


def _same(*units, **kwargs):
    """Writes, reads and writes again; returns the units that were read."""
    stream = nnc.write_units(units, **kwargs)
    read = nnc.parse_units(stream, **kwargs)
    assert nnc.write_units(read, **kwargs) == stream
    for given, found in zip(units, read, strict=True):
        for field in given.__dataclass_fields__:
            if field not in {"header", "payload_offset"}:
                assert getattr(found, field) == getattr(given, field), field
    return read


@pytest.mark.parametrize("profile", [0, 1])
@pytest.mark.parametrize("quantization", [None, nnc.Quantization(7, -4096)])
def test_model_parameter_set(profile, quantization):
    methods = 0 if quantization is None else 3
    mps = nnc.ModelParameterSet(
        topology_carriage_flag=False,
        mps_quantization_method_flags=methods,
        quantization=quantization,
        maps=FULL_MAPS,
    )
    _same(nnc.StartUnit(profile), mps)


def test_model_parameter_set_of_the_second_edition():
    _same(
        nnc.StartUnit(),
        nnc.ModelParameterSet(
            metric_type_performance_map_valid_flag=True,
            mps_parent_signalling_enabled_flag=True,
            nnr_pre_flag=True,
            base_model_id="urn:net/é",
            performance_metric_type="PSNR",
            validation_set_performance=32.5,
        ),
    )


def test_layer_parameter_set():
    _same(
        nnc.StartUnit(),
        nnc.ModelParameterSet(),
        nnc.LayerParameterSet(quantization=nnc.Quantization(3, -20), maps=MAPS),
        nnc.LayerParameterSet(False, 0, None),
    )
    with pytest.raises(ValueError, match="decomposition"):
        nnc.write_units([nnc.StartUnit(), nnc.LayerParameterSet(maps=FULL_MAPS)])


def test_topology_and_quantization_units():
    _same(
        nnc.StartUnit(),
        nnc.ModelParameterSet(),
        nnc.TopologyUnit(2, 1, b"\0\1binary"),
        nnc.TopologyUnit(6, 0, b"", ("a", "bb", "")),
        nnc.QuantizationUnit(1, 0, b"text\0"),
    )


def _data(**changes):
    return nnc.DataUnit(2, ("w",), (1,), payload=b"\0\0\0\0", **changes)


@pytest.mark.parametrize(
    "unit",
    [
        _data(),
        _data(node_id=nnc.NodeId(9, 1000, 33)),
        _data(nnr_decompressed_data_format=8, cabac_unary_length_minus1=255),
        _data(parent=ParentNode(parent_device_id=4, parameter_id=5, put_node_depth=6)),
        _data(node_id=nnc.NodeId(1, 2, 3), parent=ParentNode(0, True, 7)),
        _data(parent=ParentNode(1, parent_node_payload_sha=bytes(range(32)))),
        _data(parent=ParentNode(2, parent_node_payload_sha=bytes(range(64)))),
    ],
)
def test_data_unit_header(unit):
    mps = nnc.ModelParameterSet(mps_parent_signalling_enabled_flag=True)
    _same(nnc.StartUnit(), mps, unit)


def test_codebooks():
    book = nnc.Codebook(3, 2, (-100, -7, 0, 1, 50))
    block = nnc.DataUnit(
        3,
        ("w_G", "w_H", "b"),
        (6, 4),
        multiple=True,
        compressed_parameter_types=ParameterTypes.NNR_CPT_DC | ParameterTypes.NNR_CPT_BI,
        decomposition_rank=2,
        g_number_of_rows=6,
        codebook=book,
        codebook_h=nnc.Codebook(0, 0, (7,)),
        dq_flag=True,
        payload=b"x",
    )
    _same(nnc.StartUnit(), nnc.ModelParameterSet(), block)


@pytest.mark.parametrize("dq_flag", [False, True])
def test_entry_points(dq_flag):
    points = tuple(EntryPoint(200 + j, j if dq_flag else 0, 500 - j * 77) for j in range(3))
    unit = nnc.DataUnit(
        1, ("w",), (31, 5), dq_flag=dq_flag, scan_order=1, entry_points=points, payload=b"x"
    )
    _same(nnc.StartUnit(), nnc.ModelParameterSet(), unit)
    _same(nnc.StartUnit(0), nnc.ModelParameterSet(), unit)


def test_indices_into_a_reference_list():
    mps = nnc.ModelParameterSet(mps_topology_indexed_reference_flag=True)
    ids = nnc.TopologyUnit(6, 0, b"", ("a", "b", "c"))
    single = nnc.DataUnit(2, ("c",), (1,), payload=b"\0\0\x80?", topology_elem_id_indices=(2,))
    block = nnc.DataUnit(
        3,
        ("b", "a"),
        (2, 2),
        multiple=True,
        topology_elem_id_indices=(1, 0),
        compressed_parameter_types=ParameterTypes.NNR_CPT_BI,
        payload=b"x",
    )
    stream = nnc.write_units(_same(nnc.StartUnit(), mps, ids, single, block)[:4])
    assert nnc.decode(stream).tensors["c"].tolist() == [1.0]
    with pytest.raises(BitstreamError, match="index 2 into a list of 0 ids"):
        nnc.parse_units(nnc.write_units([nnc.StartUnit(), mps, single]))


def test_shape_from_an_earlier_stream():
    block = nnc.DataUnit(
        3,
        ("w", "b"),
        (4, 2, 3),
        multiple=True,
        tensor_dimensions_flag=False,
        compressed_parameter_types=ParameterTypes.NNR_CPT_BI,
        payload=b"x",
    )
    units = (nnc.StartUnit(), nnc.ModelParameterSet(), block)
    _same(*units, dimensions={"w": (4, 2, 3)})
    stream = nnc.write_units(units, dimensions={"w": (4, 2, 3)})
    with pytest.raises(BitstreamError, match="neither sent nor known"):
        nnc.parse_units(stream)


def test_tensor_dimension_mapping_is_unsupported():
    unit = nnc.DataUnit(1, ("a", "b"), (4, 2), multiple=True, payload=b"x")
    with pytest.raises(UnsupportedFeatureError, match="mapping"):
        nnc.parse_units(nnc.write_units([nnc.StartUnit(), nnc.ModelParameterSet(), unit]))


def test_unknown_profile_is_unsupported():
    with pytest.raises(UnsupportedFeatureError, match="general_profile_idc 2"):
        nnc.parse_units(bytes.fromhex("00040202"))


@pytest.mark.parametrize(
    ("book", "message"),
    [
        (nnc.Codebook(0, 0, (2**31 - 2, 2**31)), "32 bits"),
        (nnc.Codebook(0, 1, (-(2**31), 0)), "32 bits"),
    ],
)
def test_codebook_entries_beyond_int32(book, message):
    unit = nnc.DataUnit(1, ("w",), (2, 2), codebook=book, payload=b"x")
    stream = nnc.write_units([nnc.StartUnit(), nnc.ModelParameterSet(), unit])
    with pytest.raises(BitstreamError, match=message):
        nnc.parse_units(stream)


def test_codebook_limit():
    unit = nnc.DataUnit(1, ("w",), (2, 2), codebook=nnc.Codebook(0, 0, (1, 2, 3)), payload=b"x")
    stream = nnc.write_units([nnc.StartUnit(), nnc.ModelParameterSet(), unit])
    with pytest.raises(LimitExceededError, match="max_codebook_size"):
        nnc.parse_units(stream, Limits(max_codebook_size=2))


def test_writers_refuse_what_does_not_fit():
    for units in (
        [nnc.StartUnit(256)],
        [nnc.StartUnit(), nnc.ModelParameterSet(quantization=nnc.Quantization(2, 4096))],
        [nnc.StartUnit(), nnc.ModelParameterSet(quantization=None)],
        [nnc.StartUnit(), nnc.ModelParameterSet(), _data(parent=ParentNode())],
        [nnc.StartUnit(0), nnc.ModelParameterSet(), _data(node_id=nnc.NodeId())],
        [nnc.StartUnit(), _data()],
    ):
        with pytest.raises(ValueError, match=r"\w"):
            nnc.write_units(units)


def test_lps_replaces_density_and_base():
    values = np.array([1.0, -2.0, 0.5], np.float32)
    settings = nnc.EncodeSettings(nonweight_qp=-8, dependent_quantisation=False)
    start, mps, data = nnc.parse_units(nnc.encode({"b": values}, settings))
    lps = nnc.LayerParameterSet(quantization=nnc.Quantization(2, 4))
    stream = nnc.write_units([start, mps, lps, data])
    np.testing.assert_array_equal(nnc.decode(stream).tensors["b"], 2 * values)
