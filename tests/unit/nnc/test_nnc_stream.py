# SPDX-License-Identifier: Apache-2.0
"""The push parser: pieces of any size, whole units or none, errors that say where."""

from __future__ import annotations

import numpy as np
import pytest

from nnrvideo import BitstreamError, LimitExceededError, Limits, TruncatedError, nnc

# spec/nnc.md 14.2: STR, MPS, TPL, one NDU with the 3x3 tensor "w".
WORKED = bytes.fromhex(
    "00040201 0008068100400080 00060e000000001616097700d041c120e0c06080 fbfe200124d28c80"
)


def _pull(reader):
    units = []
    while (unit := reader.next_unit()) is not nnc.NEED_DATA:
        units.append(unit)
    return units


def test_worked_example():
    start, mps, topology, data = nnc.parse_units(WORKED)
    assert start == nnc.StartUnit(1, start.header)
    assert mps.quantization == nnc.Quantization(qp_density=2, quantization_parameter=0)
    assert topology.topology_data == b"\0"
    assert data.topology_elem_ids == ("w",)
    assert data.tensor_dimensions == (3, 3)
    assert data.node_id == nnc.NodeId(0, 0, 0)
    assert data.dq_flag
    assert data.cabac_unary_length == 2
    assert (data.header.offset, data.header.nnr_unit_size, data.payload_offset) == (18, 22, 14)
    assert data.payload.hex() == "fbfe200124d28c80"
    values = nnc.decode(WORKED).tensors["w"]
    np.testing.assert_array_equal(values, [[1, 0, 0], [0, 0, 0], [1.5, 0, -4]])
    assert values.dtype == np.float32


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 39, 40])
def test_any_portions_give_the_same_units(size):
    reader = nnc.NncReader()
    units = []
    for begin in range(0, len(WORKED), size):
        reader.feed(WORKED[begin : begin + size])
        units += _pull(reader)
    reader.close()
    assert units == nnc.parse_units(WORKED)


def test_a_unit_comes_whole_or_not_at_all():
    reader = nnc.NncReader()
    reader.feed(WORKED[:-1])
    assert len(_pull(reader)) == 3
    assert reader.next_unit() is nnc.NEED_DATA
    reader.feed(WORKED[-1:])
    assert len(_pull(reader)) == 1


@pytest.mark.parametrize("size", [n for n in range(40) if n not in {4, 12, 18}])
def test_a_cut_inside_a_unit_is_truncation(size):
    with pytest.raises(TruncatedError, match=r"NNC unit \d"):
        nnc.parse_units(WORKED[:size])


@pytest.mark.parametrize(("size", "count"), [(4, 1), (12, 2), (18, 3)])
def test_a_cut_between_units_is_a_shorter_bitstream(size, count):
    assert len(nnc.parse_units(WORKED[:size])) == count


def test_an_error_stays():
    reader = nnc.NncReader()
    reader.feed(b"\0\0" + WORKED)
    for _ in range(2):
        with pytest.raises(BitstreamError, match="smaller than its own header"):
            reader.next_unit()


def test_errors_name_unit_type_byte_and_bit():
    broken = bytearray(WORKED)
    broken[26] ^= 0x40  # inside the NDU header: now there are many dimensions
    with pytest.raises(
        (BitstreamError, LimitExceededError), match=r"^NNC unit 3 \(NNR_NDU at byte 18\), bit \d+"
    ):
        nnc.decode(bytes(broken))


def test_codeword_errors_count_bits_from_the_unit():
    with pytest.raises(BitstreamError) as caught:
        nnc.decode(WORKED[:-1] + b"\x81")
    assert caught.value.unit == "NNC unit 3 (NNR_NDU at byte 18)"
    assert 14 * 8 <= caught.value.bit <= 22 * 8


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([WORKED[4:12]], "first unit is not NNR_STR"),
        ([WORKED[:4], WORKED[:4]], "second start unit"),
        ([WORKED[:12], WORKED[4:12]], "second model parameter set"),
        ([WORKED[:4], WORKED[18:]], "before the model parameter set"),
    ],
)
def test_order_of_units(units, message):
    with pytest.raises(BitstreamError, match=message):
        nnc.parse_units(b"".join(units))


def test_unknown_units_are_kept_and_skipped():
    unknown = bytes.fromhex("0007fa") + b"test"
    stream = WORKED[:18] + unknown + WORKED[18:]
    units = nnc.parse_units(stream)
    assert units[3] == nnc.OpaqueUnit(b"test", units[3].header)
    assert units[3].header.type_name == "unit type 62"
    assert nnc.write_units(units) == stream
    assert list(nnc.decode(stream).tensors) == ["w"]


def test_long_size_of_a_short_unit_is_accepted_and_kept():
    stream = bytes.fromhex("80000006 0201") + WORKED[4:]
    units = nnc.parse_units(stream)
    assert units[0].header.nnr_unit_size_flag
    assert nnc.write_units(units) == stream


def test_long_units_get_the_long_size():
    values = np.arange(9000, dtype=np.float32)
    stream = nnc.encode({"w": values}, nnc.EncodeSettings(lossless=True))
    unit = nnc.parse_units(stream)[-1]
    assert unit.header.nnr_unit_size_flag
    assert unit.header.nnr_unit_size > 36000
    np.testing.assert_array_equal(nnc.decode(stream).tensors["w"], values)


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (Limits(max_bitstream_bytes=39), "max_bitstream_bytes"),
        (Limits(max_unit_bytes=21), "max_unit_bytes"),
        (Limits(max_units=3), "max_units"),
        (Limits(max_elements=8), "max_elements"),
        (Limits(max_dimensions=1), "max_dimensions"),
        (Limits(max_total_elements=8), "max_total_elements"),
        (Limits(max_tensors=0), "max_tensors"),
    ],
)
def test_limits(limits, name):
    with pytest.raises(LimitExceededError) as caught:
        nnc.decode(WORKED, limits=limits)
    assert caught.value.limit == name


def test_string_limit_is_a_syntax_error_with_a_place():
    stream = nnc.encode({"long name": np.zeros(1, np.float32)})
    with pytest.raises(BitstreamError, match="longer than 4 bytes"):
        nnc.decode(stream, limits=Limits(max_string_bytes=4))
