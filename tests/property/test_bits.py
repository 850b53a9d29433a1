# SPDX-License-Identifier: Apache-2.0
"""Bits: what is written is read; emulation prevention hides start codes and comes off again."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrvideo.bits import (
    BitReader,
    BitWriter,
    escape,
    read_leb128,
    unescape,
    write_leb128,
)
from nnrvideo.errors import BitstreamError

u32 = st.integers(0, (1 << 32) - 2)
s31 = st.integers(-(1 << 31) + 1, (1 << 31) - 1)
orders = st.integers(0, 12)


@st.composite
def fields(draw):
    """A descriptor with its value: method name, arguments after the value, value."""
    kind = draw(st.sampled_from(["u", "i", "ue", "se", "uek", "iek", "flt", "flag"]))
    if kind == "u":
        n = draw(st.integers(0, 70))
        return kind, (n,), draw(st.integers(0, (1 << n) - 1))
    if kind == "i":
        n = draw(st.integers(1, 70))
        return kind, (n,), draw(st.integers(-(1 << (n - 1)), (1 << (n - 1)) - 1))
    if kind in ("uek", "iek"):
        return kind, (draw(orders),), draw(u32 if kind == "uek" else s31)
    if kind == "flt":
        return kind, (), draw(st.floats(width=32, allow_nan=False))
    return kind, (), draw({"ue": u32, "se": s31, "flag": st.booleans()}[kind])


@settings(max_examples=300)
@given(st.lists(fields(), max_size=12), st.integers(0, 7))
def test_fields_round_trip(sequence, shift):
    writer = BitWriter()
    writer.u(0, shift)
    for kind, arguments, value in sequence:
        getattr(writer, kind)(value, *arguments)
    written = writer.position
    writer.align_one()
    reader = BitReader(writer.to_bytes())
    reader.u("shift", shift)
    for kind, arguments, value in sequence:
        assert getattr(reader, kind)(kind, *arguments) == value
    assert reader.position == written
    reader.align_one()
    assert reader.bits_left == 0


@settings(max_examples=300)
@given(st.binary(max_size=24), st.lists(fields(), max_size=8))
def test_any_bytes_give_a_value_or_a_bitstream_error_and_stay_put(data, sequence):
    reader = BitReader(data)
    for kind, arguments, _ in sequence:
        before = reader.position
        try:
            getattr(reader, kind)(kind, *arguments)
        except BitstreamError:
            assert reader.position == before
        assert before <= reader.position <= len(data) * 8


@given(st.binary(max_size=20), st.integers(0, 100), st.integers(0, 70))
def test_a_field_is_the_slice_of_the_bit_string(data, start, n):
    text = "".join(f"{byte:08b}" for byte in data)
    start = min(start, len(text))
    reader = BitReader(data, start=start)
    if n > len(text) - start:
        with pytest.raises(BitstreamError):
            reader.u("x", n)
    else:
        assert reader.u("x", n) == int(text[start : start + n] or "0", 2)


@given(st.binary(min_size=4, max_size=4))
def test_float_bits(raw):
    (value,) = struct.unpack("<f", raw)
    read = BitReader(raw).flt("x")
    assert struct.pack("<d", read) == struct.pack("<d", value)


# Zeros and small numbers are what emulation prevention is about.
risky = st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 255]), max_size=40).map(bytes)


def escape_by_the_book(rbsp: bytes) -> bytes:
    """The byte loop of clause 7.4.1, slow and plain."""
    out = bytearray()
    zeros = 0
    for byte in rbsp:
        if zeros == 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    if zeros == 2:
        out.append(3)
    return bytes(out)


@settings(max_examples=500)
@given(st.one_of(risky, st.binary(max_size=100)))
def test_escape(rbsp):
    escaped = escape(rbsp)
    assert escaped == escape_by_the_book(rbsp)
    assert unescape(escaped) == rbsp
    for forbidden in (b"\0\0\0", b"\0\0\1", b"\0\0\2"):
        assert forbidden not in escaped
    assert not escaped.endswith(b"\0\0")


@given(st.integers(0, (1 << 32) - 1), st.binary(max_size=4), st.binary(max_size=4))
def test_leb128_round_trip(value, before, after):
    coded = write_leb128(value)
    assert read_leb128(before + coded + after, len(before)) == (value, len(before) + len(coded))
    assert len(coded) == max(1, -(-value.bit_length() // 7))


@given(st.binary(max_size=12), st.integers(0, 12))
def test_any_bytes_as_leb128(data, position):
    try:
        value, stop = read_leb128(data, position)
    except BitstreamError:
        return
    assert 0 <= value < 1 << 32
    assert position < stop <= min(len(data), position + 8)
