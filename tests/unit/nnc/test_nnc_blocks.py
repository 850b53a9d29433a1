# SPDX-License-Identifier: Apache-2.0
"""Blocks, codebooks and incremental streams, built by hand so that no other encoder is needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nnrvideo import BitstreamError, LimitExceededError, Limits, UnsupportedFeatureError, nnc
from nnrvideo.entropy import EntryPoint, TensorChoices, TensorSpec
from nnrvideo.nnc.constants import ParameterTypes, PayloadType
from nnrvideo.nnc.elements import Role, elements_of
from nnrvideo.nnc.payload import CodedTensor, encode_codeword
from nnrvideo.nnc.reconstruct import apply_blocks, convert
from nnrvideo.nnc.units import ParentNode

LS, BN, BI, DC = (
    ParameterTypes.NNR_CPT_LS,
    ParameterTypes.NNR_CPT_BN,
    ParameterTypes.NNR_CPT_BI,
    ParameterTypes.NNR_CPT_DC,
)
PARENTS = nnc.ModelParameterSet(mps_parent_signalling_enabled_flag=True)


def _stream(unit, levels, *, mps=None, references=None, histories=None, hist=False, profile=1):
    """A bitstream with one data unit whose tensors have the given levels, all at QP 0."""
    tensors = []
    for element in elements_of(unit, Limits()):
        shape = element.rows, element.cols
        book = element.codebook
        spec = TensorSpec(
            *shape,
            general_profile_idc=profile,
            unary_length=unit.cabac_unary_length,
            dq_flag=unit.dq_flag,
            scan_order=element.scan_order,
            codebook_size=len(book.entries) if book else 0,
            codebook_zero_offset=book.zero_offset if book else 0,
            parent_node_id_present_flag=unit.parent is not None,
            reference=references[element.name].reshape(shape) if references else None,
            history=histories[element.name].reshape(shape) if histories else None,
        )
        array = np.asarray(levels[element.name], np.int32).reshape(element.shape)
        delta = None if unit.nnr_compressed_data_unit_payload_type == 0 else 0
        choices = TensorChoices(hist_dep_sig_prob_enabled_flag=hist)
        tensors.append(CodedTensor(element, spec, array, choices, delta))
    payload, points = encode_codeword(tensors, 2)
    unit = replace(unit, payload=payload, entry_points=points)
    known = {unit.topology_elem_ids[0]: unit.tensor_dimensions}
    return nnc.write_units(
        [nnc.StartUnit(profile), mps or nnc.ModelParameterSet(), unit], dimensions=known
    )


def _block(ids, types, shape=(2, 3), **fields):
    return nnc.DataUnit(
        PayloadType.NNR_PT_BLOCK,
        ids,
        shape,
        multiple=True,
        compressed_parameter_types=types,
        **fields,
    )


def test_ids_and_tensors_have_different_orders():
    unit = _block(("w", "s", "beta", "gamma", "mean", "var", "b"), LS | BN | BI)
    assert [element.name for element in elements_of(unit, Limits())] == [
        "s", "b", "beta", "gamma", "mean", "var", "w",
    ]  # fmt: skip
    levels = {name: [k, -k] for k, name in enumerate(unit.topology_elem_ids)}
    levels["w"] = np.arange(6)
    stream = _stream(unit, levels)
    decoded = nnc.decode(stream)
    assert nnc.recode(decoded) == stream
    for name, expected in levels.items():
        np.testing.assert_array_equal(decoded.tensors[name].ravel(), np.ravel(expected))
    assert decoded.blocks[0].names[Role.VARIANCE] == "var"
    network = decoded.network_tensors()
    np.testing.assert_array_equal(network["w"], [[0, 1, 2], [-3, -4, -5]])
    assert set(network) == set(levels) - {"s"}


@pytest.mark.parametrize("scan_order", [0, 1])
def test_low_rank(scan_order):
    random = np.random.default_rng(3)
    g, h = random.integers(-3, 4, (20, 2)), random.integers(-3, 4, (2, 15))
    unit = _block(
        ("w_G", "w_H", "w_scaling"),
        DC | LS,
        (20, 5, 3),
        decomposition_rank=2,
        g_number_of_rows=20,
        scan_order=scan_order,
    )
    scale = np.arange(1, 21)
    stream = _stream(unit, {"w_G": g, "w_H": h, "w_scaling": scale})
    decoded = nnc.decode(stream)
    assert nnc.recode(decoded) == stream
    network = decoded.network_tensors()
    assert list(network) == ["w"]
    np.testing.assert_array_equal(network["w"], (g * scale[:, None] @ h).reshape(20, 5, 3))


def test_separate_units_with_type_bits_make_blocks():
    parts = [
        nnc.DataUnit(1, (name,), shape, compressed_parameter_types=types)
        for name, shape, types in (
            ("a_scaling", (2,), LS),
            ("a", (2, 2), LS),
            ("v_G", (4, 3), DC),
            ("v_H", (4, 3), DC),
        )
    ]
    factors = {"decomposition_rank": 1, "g_number_of_rows": 4}
    parts[2:] = [replace(unit, **factors) for unit in parts[2:]]
    levels = {"a_scaling": [2, 3], "a": [1, 1, 1, 1], "v_G": [1, 2, 3, 4], "v_H": [5, 6, 7]}
    units = [nnc.StartUnit(), nnc.ModelParameterSet()]
    units += [nnc.parse_units(_stream(unit, levels))[-1] for unit in parts]
    network = nnc.decode(nnc.write_units(units)).network_tensors()
    np.testing.assert_array_equal(network["a"], [[2, 2], [3, 3]])
    np.testing.assert_array_equal(network["v"], np.outer([1, 2, 3, 4], [5, 6, 7]))
    assert set(network) == {"a", "v"}


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (_block(("w", "b"), ParameterTypes(0)), "2 ids for the 1 tensors"),
        (_block(("w", "b"), LS | BI), "2 ids for the 3 tensors"),
        (_block(("w", "w"), BI), "twice"),
        (_block(("g", "h"), DC, decomposition_rank=2, g_number_of_rows=4), "do not divide"),
    ],
)
def test_blocks_that_contradict_themselves(unit, message):
    stream = nnc.write_units(
        [nnc.StartUnit(), nnc.ModelParameterSet(), replace(unit, payload=b"\xfe\x80")]
    )
    with pytest.raises(BitstreamError, match=message):
        nnc.decode(stream)


@pytest.mark.parametrize("field", ["decomposition_rank", "g_number_of_rows"])
def test_factors_without_size(field):
    sizes = {"decomposition_rank": 1, "g_number_of_rows": 1} | {field: 0}
    unit = _block(("g", "h"), DC, payload=b"\xfe\x80", **sizes)
    with pytest.raises(BitstreamError, match="factors with"):
        nnc.parse_units(nnc.write_units([nnc.StartUnit(), nnc.ModelParameterSet(), unit]))


def test_a_huge_rank_is_refused_before_anything_is_allocated():
    unit = _block(
        ("g", "h"),
        DC,
        (1, 1 << 20),
        decomposition_rank=1 << 24,
        g_number_of_rows=1,
        payload=b"\xfe\x80",
    )
    stream = nnc.write_units([nnc.StartUnit(), nnc.ModelParameterSet(), unit])
    with pytest.raises(LimitExceededError, match="factor H"):
        nnc.decode(stream)


@pytest.mark.parametrize("profile", [0, 1])
def test_codebook(profile):
    book = nnc.Codebook(1, 1, (-9, 1, 4, 100))
    unit = nnc.DataUnit(1, ("w",), (2, 3), codebook=book)
    stream = _stream(unit, {"w": [-1, 0, 1, 2, 2, 0]}, profile=profile)
    found = nnc.decode(stream)
    np.testing.assert_array_equal(found.tensors["w"], [[-9, 1, 4], [100, 100, 1]])
    assert found.tensors["w"].dtype == np.float32
    assert nnc.recode(found) == stream


def test_first_edition_levels_may_leave_the_codebook():
    book = nnc.Codebook(1, 1, (-9, 1, 4))
    stream = _stream(nnc.DataUnit(1, ("w",), (2, 2), codebook=book), {"w": [0, 1, 1, 1]}, profile=0)
    assert nnc.decode(stream).tensors["w"].max() == 4
    for level in (2, -2):
        levels = {"w": [0, 0, 0, level]}
        unit = nnc.DataUnit(1, ("w",), (2, 2), codebook=book)
        with pytest.raises(BitstreamError, match="outside the codebook"):
            nnc.decode(_stream(unit, levels, profile=0))


def _edited(stream, **fields):
    units = nnc.parse_units(stream)
    return nnc.write_units([*units[:-1], replace(units[-1], **fields)])


def test_wrong_entry_points_are_refused():
    values = np.random.default_rng(5).standard_normal((40, 9)).astype(np.float32)
    stream = nnc.encode({"w": values}, nnc.EncodeSettings(scan_order=1))
    points = nnc.parse_units(stream)[-1].entry_points
    assert len(points) == 4
    nnc.decode(stream)
    for wrong in (
        replace(points[2], cabac_offset=points[2].cabac_offset ^ 1),
        replace(points[2], dq_state=points[2].dq_state ^ 1),
        replace(points[2], bit_offset=points[2].bit_offset + 1),
        EntryPoint(0, 0, 0),
    ):
        with pytest.raises(BitstreamError, match="entry points"):
            nnc.decode(_edited(stream, entry_points=(*points[:2], wrong, points[3])))


def test_dimension_shift_is_unsupported():
    stream = nnc.encode({"w": np.ones((2, 2), np.float32)})
    with pytest.raises(UnsupportedFeatureError, match="first_tensor_dimension_shift"):
        nnc.decode(_edited(stream, first_tensor_dimension_shift=1))


def test_codeword_must_fill_the_unit():
    stream = nnc.encode({"w": np.ones((2, 2), np.float32)})
    payload = nnc.parse_units(stream)[-1].payload
    for wrong in (payload + b"\0", payload[:-1], payload + payload, b""):
        with pytest.raises(BitstreamError):
            nnc.decode(_edited(stream, payload=wrong))


@pytest.mark.parametrize("base", [-4096, 4095])
def test_steps_outside_float32_are_refused(base):
    start, mps, data = nnc.parse_units(nnc.encode({"w": np.ones((2, 2), np.float32)}))
    mps = replace(mps, quantization=nnc.Quantization(2, base))
    with pytest.raises(BitstreamError, match="no step size"):
        nnc.decode(nnc.write_units([start, mps, data]))


def test_weights_outside_float32_are_refused():
    unit = nnc.DataUnit(1, ("w",), (2, 2))
    stream = _stream(unit, {"w": [1 << 30, 0, 0, 0]})
    start, mps, data = nnc.parse_units(stream)
    mps = replace(mps, quantization=nnc.Quantization(2, 480))
    with pytest.raises(BitstreamError, match="range of float32"):
        nnc.decode(nnc.write_units([start, mps, data]))


def test_float_units_need_a_parameter_set_with_a_qp():
    start, mps, data = nnc.parse_units(nnc.encode({"w": np.ones((2, 2), np.float32)}))
    mps = replace(mps, quantization=None, mps_quantization_method_flags=0)
    with pytest.raises(BitstreamError, match="no parameter set gives a QP"):
        nnc.decode(nnc.write_units([start, mps, data]))


@pytest.mark.parametrize("size", [3, 5])
def test_raw_floats_of_the_wrong_size(size):
    unit = nnc.DataUnit(2, ("w",), (1,), payload=bytes(size))
    stream = nnc.write_units([nnc.StartUnit(), nnc.ModelParameterSet(), unit])
    with pytest.raises(BitstreamError, match="for a tensor of 4"):
        nnc.decode(stream)


@pytest.mark.parametrize(
    ("code", "values", "expected"),
    [
        (0, [1.6, -2.5], np.int32([2, -2])),
        (4, [7, -8], np.int8([7, -8])),
        (8, [1.0, 65504], np.float16([1.0, 65504])),
        (9, [0.5], np.float64([0.5])),
        (7, [-3], np.int64([-3])),
    ],
)
def test_data_formats(code, values, expected):
    found = convert(np.float32(values), code)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("code", "value"), [(2, 2), (3, -5), (4, 8), (5, 128), (6, 1e6), (0, 2.0**31), (7, 2.0**63),
                        (8, 1e5), (0, np.nan), (7, np.inf)]
)  # fmt: skip
def test_data_formats_that_do_not_fit(code, value):
    with pytest.raises(BitstreamError, match="nnr_decompressed_data_format"):
        convert(np.float32([value]), code)


def test_unknown_data_format():
    with pytest.raises(UnsupportedFeatureError, match="10"):
        convert(np.float32([0]), 10)


def test_products_that_leave_float32():
    unit = _block(("w", "s"), LS)
    decoded = nnc.decode(_stream(unit, {"w": [1] * 6, "s": [1, 1]}))
    huge = {"w": np.full((2, 3), 1e30, np.float32), "s": np.full(2, 1e30, np.float32)}
    with pytest.raises(BitstreamError, match="range of its type"):
        apply_blocks(huge, decoded.blocks)


# --- sequences ----------------------------------------------------------------------------------


def _unit(depth, *, temporal=False, parent=True, **fields):
    return nnc.DataUnit(
        1,
        ("w",),
        (3, 4),
        node_id=nnc.NodeId(0, 0, depth),
        parent=ParentNode(temporal_context_modeling_flag=temporal) if parent else None,
        **fields,
    )


BASE = {"w": np.array([[3, 0, -2, 0], [0, 0, 0, 0], [1, 1, -1, 5]], np.int32)}
STEP = {"w": np.array([[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, -1, 0]], np.int32)}


def _sequence():
    base = _stream(_unit(1, parent=False), BASE, mps=nnc.ModelParameterSet())
    first = _stream(_unit(2, temporal=True), STEP, mps=PARENTS, references=BASE)
    histories = {"w": (STEP["w"] != 0).astype(np.uint8)}
    second = _stream(
        _unit(3, temporal=True), STEP, mps=PARENTS, references=STEP, histories=histories, hist=True
    )
    return base, first, second


def test_a_sequence_needs_one_state():
    state = nnc.DecoderState()
    for stream, levels in zip(_sequence(), (BASE, STEP, STEP), strict=True):
        decoded = nnc.decode(stream, state=state)
        np.testing.assert_array_equal(decoded.levels["w"], levels["w"])
        assert nnc.recode(decoded) == stream
    assert decoded.is_update
    assert decoded.coded[0][0].choices.hist_dep_sig_prob_enabled_flag
    assert state.node("w").put_node_depth == 3
    assert state.dimensions["w"] == (3, 4)


def test_an_update_without_its_reference_is_refused():
    with pytest.raises(BitstreamError, match="needs a reference tensor, there is none"):
        nnc.decode(_sequence()[1])


def test_a_lost_update_is_noticed_and_leaves_the_state_alone():
    base, first, second = _sequence()
    state = nnc.DecoderState()
    nnc.decode(base, state=state)
    with pytest.raises(BitstreamError, match="does not follow"):
        nnc.decode(second, state=state)
    assert state.node("w").put_node_depth == 1
    nnc.decode(first, state=state)
    nnc.decode(second, state=state)


def test_a_broken_update_leaves_the_state_alone():
    base, first, _ = _sequence()
    state = nnc.DecoderState()
    nnc.decode(base, state=state)
    with pytest.raises(BitstreamError):
        nnc.decode(first[:-1] + b"\xff", state=state)
    assert nnc.decode(first, state=state).levels["w"].tolist() == STEP["w"].tolist()


def test_history_counts_updates_only():
    unit = _unit(2)
    histories = {"w": (BASE["w"] != 0).astype(np.uint8)}
    stream = _stream(unit, STEP, mps=PARENTS, histories=histories, hist=True)
    state = nnc.DecoderState()
    nnc.decode(_sequence()[0], state=state)
    with pytest.raises(BitstreamError):
        nnc.decode(stream, state=state)  # the base model is no history


def test_a_reference_of_another_shape_is_refused():
    state = nnc.DecoderState()
    nnc.decode(
        _stream(replace(_unit(1, parent=False), tensor_dimensions=(4, 3)), BASE), state=state
    )
    with pytest.raises(BitstreamError, match=r"one of shape \(4, 3\)"):
        nnc.decode(_sequence()[1], state=state)


def test_a_block_takes_its_shape_from_the_state():
    levels = {"w": np.arange(12) - 5, "b": [1, 2, 3]}
    full = _block(("w", "b"), BI, (3, 4), node_id=nnc.NodeId(0, 0, 1))
    short = replace(full, tensor_dimensions_flag=False, node_id=nnc.NodeId(0, 0, 2))
    state = nnc.DecoderState()
    nnc.decode(_stream(full, levels), state=state)
    stream = _stream(short, levels)
    decoded = nnc.decode(stream, state=state)
    assert decoded.tensors["w"].shape == (3, 4)
    assert nnc.recode(decoded) == stream
    with pytest.raises(BitstreamError, match="neither sent nor known"):
        nnc.decode(stream)
