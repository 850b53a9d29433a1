# SPDX-License-Identifier: Apache-2.0
"""Descriptors against bits written by hand, and what happens at the edges."""

from __future__ import annotations

import math

import pytest

from nnrvideo.bits import BitReader, BitWriter, read_leb128, write_leb128
from nnrvideo.errors import BitstreamError, TruncatedError


def bits(text: str) -> bytes:
    digits = text.replace(" ", "")
    digits += "0" * (-len(digits) % 8)
    return int(digits, 2).to_bytes(len(digits) // 8, "big")


# Table 9-2 of H.266: code, ue(v), se(v).
EXP_GOLOMB = [
    ("1", 0, 0),
    ("010", 1, 1),
    ("011", 2, -1),
    ("00100", 3, 2),
    ("00101", 4, -2),
    ("00110", 5, 3),
    ("00111", 6, -3),
    ("0001000", 7, 4),
    ("0001001", 8, -4),
]


@pytest.mark.parametrize(("code", "unsigned", "signed"), EXP_GOLOMB)
def test_exp_golomb_table(code, unsigned, signed):
    reader = BitReader(bits(code))
    assert reader.ue("x") == unsigned
    assert reader.position == len(code)
    assert BitReader(bits(code)).se("x") == signed
    for write, value in ((BitWriter.ue, unsigned), (BitWriter.se, signed)):
        writer = BitWriter()
        write(writer, value)
        assert writer.position == len(code)
        writer.align_zero()
        assert writer.to_bytes() == bits(code)


@pytest.mark.parametrize(
    ("code", "k", "value"),
    [("1 00", 2, 0), ("1 11", 2, 3), ("01 000", 2, 4), ("01 111", 2, 11), ("001 0000", 2, 12)],
)
def test_exp_golomb_of_higher_order(code, k, value):
    length = len(code.replace(" ", ""))
    reader = BitReader(bits(code))
    assert reader.uek("x", k) == value
    assert reader.position == length
    writer = BitWriter()
    writer.uek(value, k)
    assert writer.position == length
    writer.align_zero()
    assert writer.to_bytes() == bits(code)


def test_largest_exp_golomb_codes():
    # 31 zeros hold the largest ue(v) of H.26x, 32 zeros are still read, 33 are not.
    assert BitReader(bits("0" * 31 + "1" * 32)).ue("x") == (1 << 32) - 2
    assert BitReader(bits("0" * 32 + "1" * 33)).ue("x") == (1 << 33) - 2
    with pytest.raises(BitstreamError, match="32 bits") as caught:
        BitReader(bits("0" * 33 + "1" * 34)).ue("x")
    assert not isinstance(caught.value, TruncatedError)


def test_fields_cross_bytes():
    reader = BitReader(bytes.fromhex("123456789a"))
    assert [reader.u("x", n) for n in (4, 12, 1, 7, 16)] == [1, 0x234, 0, 0x56, 0x789A]
    assert reader.bits_left == 0
    assert reader.u("x", 0) == 0


def test_signed_fields():
    reader = BitReader(bits("1000 0111 1111"))
    assert [reader.i("x", 4) for _ in range(3)] == [-8, 7, -1]
    assert reader.i("x", 0) == 0


def test_float_is_little_endian_at_any_bit():
    writer = BitWriter()
    writer.u(1, 3)
    writer.flt(1.5)
    writer.align_zero()
    reader = BitReader(writer.to_bytes())
    assert reader.u("x", 3) == 1
    assert reader.flt("x") == 1.5
    aligned = BitWriter()
    aligned.flt(1.0)
    assert aligned.to_bytes() == bytes.fromhex("0000803f")
    infinite = BitWriter()
    infinite.flt(math.inf)
    assert BitReader(infinite.to_bytes()).flt("x") == math.inf


def test_text():
    reader = BitReader("né\0rest".encode())
    assert reader.st("x", 3) == "né"
    assert reader.rest() == b"rest"
    assert BitReader(b"\0").st("x", 0) == ""


@pytest.mark.parametrize(
    ("data", "limit", "error"),
    [
        (b"abc", 3, TruncatedError),
        (b"", 3, TruncatedError),
        (b"abcd\0", 3, BitstreamError),
        (b"abcdefgh", 3, BitstreamError),
        (b"\xc3\0", 3, BitstreamError),
    ],
)
def test_text_that_is_none(data, limit, error):
    reader = BitReader(data)
    with pytest.raises(error) as caught:
        reader.st("the_name", limit)
    assert caught.value.element == "the_name"
    assert reader.position == 0


@pytest.mark.parametrize(
    "read",
    [
        lambda reader: reader.u("x", 25),
        lambda reader: reader.i("x", 25),
        lambda reader: reader.ue("x"),
        lambda reader: reader.se("x"),
        lambda reader: reader.uek("x", 20),
        lambda reader: reader.flt("x"),
        lambda reader: reader.bytes("x", 4),
    ],
)
def test_a_failed_read_consumes_nothing_and_says_where(read):
    # Behind the first byte stand 7 zeros and a one, a code of 15 bits; 13 are there.
    reader = BitReader(bytes([0xFF, 0x01, 0x00, 0x00]), end=21, unit="somewhere")
    reader.u("x", 8)
    with pytest.raises(TruncatedError) as caught:
        read(reader)
    assert reader.position == 8
    assert caught.value.element == "x"
    assert caught.value.unit == "somewhere"
    assert caught.value.bit is not None


def test_end_hides_the_rest_of_the_buffer():
    reader = BitReader(b"\xff\xff", start=4, end=12)
    assert reader.bits_left == 8
    assert reader.u("x", 8) == 0xFF
    with pytest.raises(TruncatedError):
        reader.u("x", 1)
    with pytest.raises(TruncatedError):
        BitReader(b"abc\0", end=24).st("x", 10)


@pytest.mark.parametrize(("start", "end"), [(0, 17), (9, 8), (-1, 8), (17, None)])
def test_bounds_outside_the_buffer_are_the_callers_mistake(start, end):
    with pytest.raises(ValueError):
        BitReader(b"\xff\xff", start=start, end=end)


def test_alignment_with_zeros():
    reader = BitReader(bits("1010 0000 11111111"))
    reader.align_zero("x")
    assert reader.position == 0
    reader.u("x", 3)
    reader.align_zero("x")
    assert reader.position == 8
    reader.u("x", 1)
    with pytest.raises(BitstreamError, match="not zero"):
        reader.align_zero("x")


def test_alignment_with_a_one():
    reader = BitReader(bits("101 10000 10000000 11000000"))
    reader.u("x", 3)
    reader.align_one()
    assert reader.position == 8
    reader.align_one()
    assert reader.position == 16
    with pytest.raises(BitstreamError):
        reader.align_one()
    with pytest.raises(TruncatedError):
        BitReader(b"").align_one()


def test_trailing_bits():
    reader = BitReader(bits("101 10000"))
    reader.u("x", 3)
    reader.expect_trailing_bits()
    assert reader.bits_left == 0
    for data, start in ((b"\x80\x80", 0), (b"\x81", 0), (b"\x80", 8), (b"\x00", 0)):
        with pytest.raises(BitstreamError):
            BitReader(data, start=start).expect_trailing_bits()


def test_bytes_and_text_need_alignment():
    reader = BitReader(b"abcd")
    reader.u("x", 1)
    for read in (lambda: reader.bytes("x", 1), lambda: reader.st("x", 9), reader.rest):
        with pytest.raises(BitstreamError):
            read()
    writer = BitWriter()
    writer.u(1, 1)
    for write in (lambda: writer.bytes(b"a"), lambda: writer.st("a"), writer.to_bytes):
        with pytest.raises(ValueError):
            write()


@pytest.mark.parametrize(
    "write",
    [
        lambda writer: writer.u(4, 2),
        lambda writer: writer.u(-1, 8),
        lambda writer: writer.i(128, 8),
        lambda writer: writer.i(-129, 8),
        lambda writer: writer.i(0, 0),
        lambda writer: writer.ue(-1),
        lambda writer: writer.flt(1e40),
        lambda writer: writer.st("a\0b"),
        lambda writer: writer.st("\ud800"),
    ],
)
def test_values_that_do_not_fit(write):
    with pytest.raises(ValueError):
        write(BitWriter())


@pytest.mark.parametrize(
    ("value", "code"),
    [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), ((1 << 32) - 1, "ffffffff0f")],
)
def test_leb128(value, code):
    assert write_leb128(value).hex() == code
    assert read_leb128(bytes.fromhex("aa" + code), 1) == (value, 1 + len(code) // 2)


def test_leb128_may_be_padded():
    assert read_leb128(bytes.fromhex("8580808080808000"), 0) == (5, 8)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("", TruncatedError),
        ("80", TruncatedError),
        ("808080808080808000", BitstreamError),
        ("8080808010", BitstreamError),
    ],
)
def test_leb128_that_is_none(code, error):
    with pytest.raises(error):
        read_leb128(bytes.fromhex(code), 0)


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_leb128_that_cannot_be_written(value):
    with pytest.raises(ValueError):
        write_leb128(value)
