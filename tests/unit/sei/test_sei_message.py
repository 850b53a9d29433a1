# SPDX-License-Identifier: Apache-2.0
"""Envelopes: RBSP form, record form, and what is kept of unknown payloads."""

from __future__ import annotations

from uuid import UUID

import pytest

from nnrvideo.errors import BitstreamError, LimitExceededError, TruncatedError
from nnrvideo.limits import Limits
from nnrvideo.sei import (
    Nnpfa,
    SeiMessage,
    UnknownSei,
    UserDataRegisteredT35,
    UserDataUnregistered,
    interpret,
    message_of,
    pack_records,
    parse_records,
    parse_sei_rbsp,
    payload_parser,
    write_sei_rbsp,
)


def test_frozen_rbsp():
    messages = [SeiMessage(211, bytes.fromhex("10c5")), SeiMessage(5, b"")]
    assert write_sei_rbsp(messages).hex() == "d30210c5050080"
    assert parse_sei_rbsp(bytes.fromhex("d30210c5050080")) == messages


def test_size_of_3023_bytes_takes_eleven_ff():
    rbsp = write_sei_rbsp([SeiMessage(210, bytes(3023))])
    assert rbsp[:13] == b"\xd2" + b"\xff" * 11 + b"\xda"
    assert parse_sei_rbsp(rbsp) == [SeiMessage(210, bytes(3023))]


@pytest.mark.parametrize("size", [0, 1, 254, 255, 256, 509, 510, 511])
def test_sizes_around_the_steps_of_the_code(size):
    for payload_type in (0, 254, 255, 256, 510):
        message = SeiMessage(payload_type, bytes(size))
        assert parse_records(pack_records([message, message])) == [message, message]


def test_payload_that_ends_like_trailing_bits():
    messages = [SeiMessage(4, b"\x80\x00\x80\x00\x00")]
    assert parse_sei_rbsp(write_sei_rbsp(messages)) == messages


def test_zero_bytes_of_the_byte_stream_are_ignored():
    assert parse_sei_rbsp(bytes.fromhex("050101 80 0000")) == [SeiMessage(5, b"\x01")]


def test_records_need_no_trailing_bits_and_may_be_none():
    assert parse_records(b"") == []
    assert pack_records([]) == b""


def test_rbsp_without_message_is_refused_both_ways():
    with pytest.raises(ValueError):
        write_sei_rbsp([])
    with pytest.raises(BitstreamError):
        parse_sei_rbsp(b"\x80")


def test_missing_trailing_bits():
    for data in (b"", b"\x00\x00", bytes.fromhex("050101")):
        with pytest.raises(BitstreamError):
            parse_sei_rbsp(data)


def test_error_says_where():
    with pytest.raises(TruncatedError) as caught:
        parse_records(bytes.fromhex("05010a 0509aa"))
    assert caught.value.element == "sei_payload"
    assert caught.value.bit == 40


def test_limits():
    records = pack_records([SeiMessage(1, bytes(4))] * 3)
    assert len(parse_records(records, Limits(max_messages=3, max_payload_bytes=4))) == 3
    with pytest.raises(LimitExceededError) as caught:
        parse_records(records, Limits(max_messages=2))
    assert caught.value.limit == "max_messages"
    with pytest.raises(LimitExceededError) as caught:
        parse_records(records, Limits(max_payload_bytes=3))
    assert caught.value.limit == "max_payload_bytes"


def test_unknown_payload_is_kept():
    message = SeiMessage(19999, b"anything")
    payload = interpret(message)
    assert payload == UnknownSei(19999, b"anything")
    assert message_of(payload) == message


def test_known_payload_is_typed():
    assert interpret(SeiMessage(211, b"\x11")) == Nnpfa.cancel(7)
    assert message_of(Nnpfa.cancel(7)) == SeiMessage(211, b"\x11")


def test_a_type_has_one_parser():
    with pytest.raises(ValueError):
        payload_parser(211, lambda payload, limits: UnknownSei(211, payload))


def test_negative_type():
    with pytest.raises(ValueError):
        SeiMessage(-1, b"")


def test_unregistered_user_data():
    payload = bytes(range(16)) + b"data"
    parsed = interpret(SeiMessage(5, payload))
    assert parsed == UserDataUnregistered(UUID(bytes=bytes(range(16))), b"data")
    assert parsed.to_payload() == payload
    with pytest.raises(TruncatedError):
        interpret(SeiMessage(5, bytes(15)))


def test_t35_user_data():
    short = interpret(SeiMessage(4, bytes.fromhex("b5003c01")))
    assert short == UserDataRegisteredT35(0xB5, bytes.fromhex("003c01"))
    extended = interpret(SeiMessage(4, bytes.fromhex("ff016e6e")))
    assert extended == UserDataRegisteredT35(0xFF, b"nn", 1)
    assert extended.to_payload() == bytes.fromhex("ff016e6e")
    for broken in (b"", b"\xff"):
        with pytest.raises(TruncatedError):
            interpret(SeiMessage(4, broken))
    for code, extension in ((0xFF, None), (0xB5, 1)):
        with pytest.raises(ValueError):
            UserDataRegisteredT35(code, b"", extension)
