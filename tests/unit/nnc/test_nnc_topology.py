# SPDX-License-Identifier: Apache-2.0
"""Topologies: binary and text carriage, foreign deflate, inflation within bounds."""

from __future__ import annotations

import base64
import zlib

import pytest

from nnrvideo import BitstreamError, LimitExceededError, Limits, UnsupportedFeatureError, nnc

GRAPH = bytes(range(256)) * 20


def _stream(unit):
    return nnc.write_units([nnc.StartUnit(), nnc.ModelParameterSet(), unit])


def _decode(unit, **limits):
    return nnc.decode(_stream(unit), limits=Limits(**limits)).topology


@pytest.mark.parametrize(
    "topology",
    [
        nnc.TopologyPayload(2, 1, GRAPH),
        nnc.TopologyPayload(2, 0, GRAPH),
        nnc.TopologyPayload(0, 1, GRAPH),
        nnc.TopologyPayload(0, 0, "a graph é".encode()),
        nnc.TopologyPayload(77, 1, GRAPH),
        nnc.TopologyPayload(2, 1, b""),
    ],
)
def test_round_trip(topology):
    stream = nnc.encode({}, topology=topology)
    assert nnc.decode(stream).topology == topology
    assert nnc.parse_units(stream)[1].topology_carriage_flag


def test_binary_is_zlib_as_the_standard_has_it():
    unit = nnc.parse_units(nnc.encode({}, topology=nnc.TopologyPayload(2, 1, GRAPH)))[2]
    assert zlib.decompress(unit.topology_data) == GRAPH


def test_text_has_no_zero_but_the_last():
    unit = nnc.parse_units(nnc.encode({}, topology=nnc.TopologyPayload(0, 1, GRAPH)))[2]
    assert unit.topology_data.find(b"\0") == len(unit.topology_data) - 1
    assert zlib.decompress(base64.b64decode(unit.topology_data[:-1])) == GRAPH


def test_deflate_without_a_wrapper_is_read():
    deflater = zlib.compressobj(wbits=-15)
    raw = deflater.compress(GRAPH) + deflater.flush()
    assert _decode(nnc.TopologyUnit(2, 1, raw)).data == GRAPH


def test_empty_text_is_no_topology():
    assert _decode(nnc.TopologyUnit(0, 0, b"\0")) is None


@pytest.mark.parametrize(
    ("unit", "error"),
    [
        (nnc.TopologyUnit(2, 1, b"not deflate"), BitstreamError),
        (nnc.TopologyUnit(2, 1, zlib.compress(GRAPH)[:-1]), BitstreamError),
        (nnc.TopologyUnit(2, 1, zlib.compress(GRAPH) + b"x"), BitstreamError),
        (nnc.TopologyUnit(2, 1, b""), BitstreamError),
        (nnc.TopologyUnit(0, 0, b"no end"), BitstreamError),
        (nnc.TopologyUnit(0, 0, b"two\0ends\0"), BitstreamError),
        (nnc.TopologyUnit(0, 1, b"!base64\0"), BitstreamError),
        (nnc.TopologyUnit(0, 1, "é\0".encode()), BitstreamError),
        (nnc.TopologyUnit(2, 9, b""), UnsupportedFeatureError),
    ],
)
def test_broken(unit, error):
    with pytest.raises(error, match=r"NNC unit 2 \(NNR_TPL at byte 12\)"):
        _decode(unit)


def test_a_bomb_stays_small():
    bomb = zlib.compress(bytes(50 << 20), 9)
    assert len(bomb) < 60_000
    with pytest.raises(LimitExceededError) as caught:
        _decode(nnc.TopologyUnit(2, 1, bomb), max_topology_bytes=100_000)
    assert caught.value.limit == "max_topology_bytes"


@pytest.mark.parametrize("topology", [(0, 0, b"a\0b"), (6, 0, b""), (2, 2, b""), (0, 0, b"\xff")])
def test_writer_refuses(topology):
    with pytest.raises(ValueError, match=r"\w"):
        nnc.encode({}, topology=nnc.TopologyPayload(*topology))
