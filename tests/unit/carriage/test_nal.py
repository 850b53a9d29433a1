# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrvideo.bits import rbsp
from nnrvideo.carriage import NalFraming
from nnrvideo.carriage.nal import is_annexb, split_annexb, split_length_prefixed
from nnrvideo.errors import CarriageError, TruncatedError

# NAL units as they can exist: header not 0, escaped, not ending in 00.
nal_units = st.binary(min_size=1, max_size=40).map(lambda b: b"\x65" + rbsp.escape(b + b"\x80"))


def _units(data: bytes, spans: list) -> list[bytes]:
    return [data[span.start : span.end] for span in spans]


@given(st.lists(nal_units, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_annexb_finds_every_unit_behind_either_start_code(units: list[bytes], long: list[bool]):
    codes = [b"\0\0\0\1" if flag else b"\0\0\1" for flag in long]
    data = b"".join(code + unit for code, unit in zip(codes, units, strict=False))
    spans = split_annexb(data)
    assert _units(data, spans) == units
    # The spans, start codes included, tile the data.
    assert b"".join(data[s.begin : s.end] for s in spans) == data


def test_zeros_behind_a_unit_belong_to_none():
    data = b"\0\0\0\1\x65\xaa\0\0\0\0\0\1\x06\xbb\0\0\0"
    assert _units(data, split_annexb(data)) == [b"\x65\xaa", b"\x06\xbb"]


def test_annexb_without_start_code_is_empty():
    assert split_annexb(b"\x65\xaa\xbb") == []
    assert split_annexb(b"") == []


@given(st.lists(nal_units, max_size=8), st.integers(1, 4))
def test_length_prefixed_round_trip(units: list[bytes], length_size: int):
    framing = NalFraming(length_size)
    data = b"".join(framing.frame(unit) for unit in units)
    assert _units(data, framing.split(data)) == units


@pytest.mark.parametrize("length_size", [1, 2, 3, 4])
def test_cut_anywhere_is_truncated_or_shorter(length_size: int):
    framing = NalFraming(length_size)
    data = framing.frame(b"\x65abc") + framing.frame(b"\x06de")
    boundary = length_size + 4
    for end in range(1, len(data)):
        if end == boundary:
            assert len(framing.split(data[:end])) == 1
            continue
        with pytest.raises(TruncatedError) as caught:
            framing.split(data[:end])
        assert caught.value.element == "nalUnitLength"
        assert caught.value.bit == (0 if end < boundary else 8 * boundary)


def test_length_beyond_the_data_names_both_sizes():
    with pytest.raises(TruncatedError, match=r"4294967295 bytes is announced, 2 are left"):
        split_length_prefixed(b"\xff\xff\xff\xff\x65\x00", 4)


def test_unit_too_long_for_the_length_field():
    with pytest.raises(CarriageError, match="2-byte length"):
        NalFraming(2).frame(bytes(65_536))
    assert NalFraming(2).frame(bytes(65_535))[:2] == b"\xff\xff"


def test_annexb_extradata_is_recognised():
    assert is_annexb(b"")
    assert is_annexb(b"\0\0\1\x67")
    assert is_annexb(b"\0\0\0\1\x67")
    assert not is_annexb(b"\1\x64\0\x1f\xff")
