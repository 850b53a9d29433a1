# SPDX-License-Identifier: Apache-2.0
"""Data spread over several units: the same network, the same bytes again, and no part unnoticed."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from nnrvideo import (
    BitstreamError,
    LimitExceededError,
    Limits,
    TruncatedError,
    UnsupportedFeatureError,
    nnc,
)
from nnrvideo.nnc.constants import UnitType

RANDOM = np.random.default_rng(4)
TENSORS = {
    "w": RANDOM.laplace(0, 0.1, (24, 8, 3, 3)).astype(np.float32),
    "b": RANDOM.normal(0, 0.1, 24).astype(np.float32),
    "i": RANDOM.integers(-99, 99, (70, 3), np.int32),
}
BLOCK = {nnc.Role.WEIGHT: "w", nnc.Role.BIAS: "b"}
GRAPH = nnc.TopologyPayload(data=RANDOM.bytes(300))


def spread(size=100, **kwargs):
    return nnc.encode(TENSORS, nnc.EncodeSettings(max_unit_bytes=size, **kwargs), topology=GRAPH)


def raw_units(stream):
    """Bytes of each unit as it lies in a stream of short units, parts of data apart."""
    units = []
    while stream:
        size = int.from_bytes(stream[:2], "big")
        units.append(stream[:size])
        stream = stream[size:]
    return units


def counters(stream):
    return [unit[3] if unit[2] & 1 else None for unit in raw_units(stream)]


@pytest.mark.parametrize("size", [36, 64, 100, 1400])
@pytest.mark.parametrize("blocks", [[], [BLOCK]])
@pytest.mark.parametrize("settings", [{}, {"lossless": True}, {"scan_order": 1}])
def test_the_same_network_in_small_units(size, blocks, settings):
    plain = nnc.encode(TENSORS, nnc.EncodeSettings(**settings), topology=GRAPH, blocks=blocks)
    chosen = nnc.EncodeSettings(max_unit_bytes=size, **settings)
    stream = nnc.encode(TENSORS, chosen, topology=GRAPH, blocks=blocks)
    assert max(map(len, raw_units(stream))) <= size
    whole, found = nnc.decode(plain), nnc.decode(stream)
    assert found.tensors.fingerprint() == whole.tensors.fingerprint()
    assert found.topology == whole.topology
    assert nnc.recode(found) == stream
    assert nnc.write_units(nnc.parse_units(stream)) == stream
    one_by_one = dict(nnc.iter_tensors(io.BytesIO(stream)))
    assert all(np.array_equal(one_by_one[name], whole.tensors[name]) for name in whole.tensors)


def test_spread_and_joined_again():
    plain = nnc.encode(TENSORS, topology=GRAPH)
    stream = nnc.write_units(nnc.parse_units(plain), max_unit_bytes=100)
    assert stream == spread()
    assert nnc.write_units(nnc.parse_units(stream), max_unit_bytes=1 << 20) == plain


def test_what_the_parts_look_like():
    stream = spread()
    units = nnc.parse_units(stream)
    weight = next(unit for unit in units if isinstance(unit, nnc.DataUnit))
    parts = weight.header.parts
    assert [part.partial_data_counter for part in parts] == list(range(len(parts)))[::-1]
    assert [part.independently_decodable_flag for part in parts] == [True] + [False] * (
        len(parts) - 1
    )
    assert {part.nnr_unit_type for part in parts} == {UnitType.NNR_NDU}
    assert [part.nnr_unit_size for part in parts[:-1]] == [100] * (len(parts) - 1)
    assert weight.header.nnr_unit_size == sum(part.nnr_unit_size for part in parts)
    assert weight.header.offset == parts[0].offset
    # Each part is a unit header and the next bytes of one large unit.
    bodies = b"".join(stream[part.offset + 4 : part.offset + part.nnr_unit_size] for part in parts)
    plain = nnc.encode(TENSORS, topology=GRAPH)
    whole = nnc.parse_units(plain)[3].header
    assert bodies == plain[whole.offset + 3 : whole.offset + whole.nnr_unit_size]


def test_long_units_are_spread_too():
    tensors = {"w": RANDOM.normal(0, 1, (512, 512)).astype(np.float32)}
    stream = nnc.encode(tensors, nnc.EncodeSettings(lossless=True, max_unit_bytes=40_000))
    (weight,) = (unit for unit in nnc.parse_units(stream) if isinstance(unit, nnc.DataUnit))
    assert {part.nnr_unit_size for part in weight.header.parts[:-1]} == {40_000}
    decoded = nnc.decode(stream)
    assert np.array_equal(decoded.tensors["w"], tensors["w"])
    assert nnc.recode(decoded) == stream


@pytest.mark.parametrize("portion", [1, 7, 99])
def test_a_reader_waits_for_the_last_part(portion):
    stream = spread()
    reader = nnc.NncReader()
    units = []
    for begin in range(0, len(stream), portion):
        reader.feed(stream[begin : begin + portion])
        while (unit := reader.next_unit()) is not nnc.NEED_DATA:
            assert unit.header.offset + unit.header.nnr_unit_size <= begin + portion
            units.append(unit)
    reader.close()
    assert units == nnc.parse_units(stream)


def test_updates_are_spread_too():
    state = nnc.DecoderState()
    nnc.decode(spread(), state=state)
    settings = nnc.EncodeSettings(max_unit_bytes=64)
    difference = {"w": TENSORS["w"] / 8}
    update = nnc.encode_update(difference, state, settings)
    plain = nnc.encode_update(difference, state)
    assert max(map(len, raw_units(update))) <= 64
    found = nnc.decode(update, state=state.fork())
    assert found.tensors.fingerprint() == nnc.decode(plain, state=state).tensors.fingerprint()
    assert nnc.recode(found) == update


def test_a_part_that_says_none_follow_is_whole():
    units = nnc.parse_units(nnc.encode(TENSORS))
    units = [
        replace(unit, header=replace(unit.header, partial_data_counter=0))
        if isinstance(unit, nnc.DataUnit)
        else unit
        for unit in units
    ]
    stream = nnc.write_units(units)
    assert nnc.write_units(nnc.parse_units(stream)) == stream
    assert set(nnc.decode(stream).tensors) == set(TENSORS)


def weight_parts(stream):
    """Indices, among the raw units, of the parts of the weight."""
    found = [i for i, unit in enumerate(raw_units(stream)) if unit[2] >> 2 == UnitType.NNR_NDU]
    count = raw_units(stream)[found[0]][3] + 1
    assert count > 4
    return found[:count]


def damaged(change):
    stream = spread()
    units = raw_units(stream)
    change(units, weight_parts(stream))
    return b"".join(units)


def swap(units, parts):
    units[parts[1]], units[parts[2]] = units[parts[2]], units[parts[1]]


BROKEN = {
    "lost within": (lambda units, parts: units.pop(parts[2]), "1 parts are missing before this"),
    "twice": (lambda units, parts: units.insert(parts[1], units[parts[1]]), "comes twice"),
    "swapped": (swap, "1 parts are missing before"),
    "last lost": (lambda units, parts: units.pop(parts[-1]), "the last 1 parts of the NNR_NDU"),
    "first lost": (lambda units, parts: units.pop(parts[0]), "the first part of the data may be"),
    "restarted": (
        lambda units, parts: units.insert(parts[2], units[parts[0]]),
        "to follow comes after",
    ),
    "another unit between": (
        lambda units, parts: units.insert(parts[1], bytes.fromhex("0003fe")),
        "of the NNR_NDU at byte",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_parts_are_named(case):
    change, message = BROKEN[case]
    data = damaged(change)
    for read in (nnc.decode, lambda bytes_: list(nnc.iter_tensors(io.BytesIO(bytes_)))):
        with pytest.raises(BitstreamError, match=rf"NNC unit 3 .*bit \d+.*{message}"):
            read(data)


def test_an_end_between_parts_is_truncation():
    stream = spread()
    cut = b"".join(raw_units(stream)[: weight_parts(stream)[2]])
    with pytest.raises(TruncatedError, match="ends before the last"):
        nnc.decode(cut)
    with pytest.raises(TruncatedError, match=r"NNC unit 3 \(NNR_NDU at byte"):
        list(nnc.iter_tensors(io.BytesIO(cut)))


def test_all_parts_count_towards_the_limits():
    stream = spread()
    with pytest.raises(LimitExceededError, match=r"NNC unit 2 \(NNR_TPL .*max_unit_bytes"):
        nnc.decode(stream, limits=Limits(max_unit_bytes=250))
    with pytest.raises(LimitExceededError, match="max_units"):
        nnc.decode(stream, limits=Limits(max_units=6))


def test_a_parameter_set_is_never_spread():
    start, mps, *_ = raw_units(nnc.encode(TENSORS))
    part = bytes([0, len(mps) + 1, mps[2] | 1, 1]) + mps[3:]
    with pytest.raises(UnsupportedFeatureError, match="NNR_MPS spread over several units"):
        nnc.decode(start + part)


def test_what_cannot_be_written():
    units = nnc.parse_units(nnc.encode(TENSORS))
    with pytest.raises(ValueError, match=r"NNR_NDU of \d+ bytes needs units of at least \d+ bytes"):
        nnc.write_units(units, max_unit_bytes=8)
    with pytest.raises(ValueError, match=r"NNR_MPS of 8 bytes cannot be spread over units of 6"):
        nnc.write_units(units, max_unit_bytes=6)
    with pytest.raises(ValueError, match="max_unit_bytes 15 is not 16 to"):
        nnc.EncodeSettings(max_unit_bytes=15)
    parsed = nnc.parse_units(spread())
    changed = [
        replace(unit, payload=unit.payload[1:]) if isinstance(unit, nnc.DataUnit) else unit
        for unit in parsed
    ]
    with pytest.raises(ValueError, match="was spread when it had"):
        nnc.write_units(changed)
