# SPDX-License-Identifier: Apache-2.0
"""SEI attacks: each promises much and holds little, and must be refused before memory is spent."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from nnrvideo.bits import BitWriter
from nnrvideo.errors import (
    BitstreamError,
    LimitExceededError,
    TruncatedError,
    UnsupportedFeatureError,
)
from nnrvideo.limits import Limits
from nnrvideo.sei import (
    FilterRejected,
    FilterState,
    Nnpfa,
    Nnpfc,
    SeiMessage,
    message_of,
    parse_nnpfa,
    parse_nnpfc,
    parse_records,
    parse_sei_rbsp,
    write_sei_rbsp,
)

BASE = Nnpfc(1, 7, nnpfc_payload_byte=b"network")


def peak_bytes(action) -> int:
    tracemalloc.start()
    try:
        action()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def head(*, mode: int = 0) -> BitWriter:
    bits = BitWriter()
    bits.u(1, 16)
    bits.ue(7)
    bits.flag(True)
    bits.ue(mode)
    if mode == 0:
        bits.flag(True)  # nnpfc_property_present_flag
    return bits


def closed(bits: BitWriter) -> bytes:
    bits.align_one()
    return bits.to_bytes()


@pytest.mark.parametrize("parse", [parse_records, parse_sei_rbsp])
def test_run_of_ff_to_the_end(parse):
    with pytest.raises(BitstreamError):
        parse(b"\xff" * 1_000_000)
    with pytest.raises(TruncatedError):
        parse(b"\xd2" + b"\xff" * 1_000_000 + b"\x80")  # RBSP: the 80 is the trailing bits


def test_huge_size_of_a_short_message():
    data = b"\xd2" + b"\xff" * 4_000_000 + b"\x00" + b"x" + b"\x80"

    def attack() -> None:
        with pytest.raises(TruncatedError):
            parse_sei_rbsp(data)

    assert peak_bytes(attack) < 100_000


def test_huge_payload_type_is_only_a_number():
    (message,) = parse_records(b"\xff" * 1_000_000 + b"\x00\x00")
    assert message == SeiMessage(255_000_000, b"")


def test_empty_messages_without_end():
    with pytest.raises(LimitExceededError):
        parse_records(b"\x05\x00" * 1_000_000)


def test_payload_over_the_limit_is_not_copied():
    data = write_sei_rbsp([SeiMessage(210, bytes(3_000_000))])

    def attack() -> None:
        with pytest.raises(LimitExceededError):
            parse_sei_rbsp(data, Limits(max_payload_bytes=2_000_000))

    # rstrip of the trailing zeros may copy the RBSP once; the payload must not be copied as well.
    assert peak_bytes(attack) < 4_000_000


def test_text_without_terminator():
    bits = head(mode=1)
    bits.align_zero()
    with pytest.raises(TruncatedError, match="nnpfc_tag_uri"):
        parse_nnpfc(bits.to_bytes() + b"tag:without end")
    with pytest.raises(BitstreamError, match="longer than 4096"):
        parse_nnpfc(bits.to_bytes() + b"x" * 100_000)
    with pytest.raises(BitstreamError, match="UTF-8"):
        parse_nnpfc(bits.to_bytes() + b"\xff\xfe\0uri\0\x80")
    with pytest.raises(TruncatedError, match="nnpfc_uri"):
        parse_nnpfc(bits.to_bytes() + b"tag\0uri")


def test_text_alignment_bits_must_be_zero():
    payload = bytearray(
        replace(BASE, nnpfc_mode_idc=1, nnpfc_uri="u", nnpfc_payload_byte=b"").to_payload()
    )
    payload[3] |= 1  # last alignment bit before the tag
    with pytest.raises(BitstreamError, match="nnpfc_alignment_zero_bit_a"):
        parse_nnpfc(bytes(payload))


@pytest.mark.parametrize("count", [64, 1 << 16, (1 << 32) - 2])
def test_count_of_input_pictures(count):
    bits = head()
    bits.ue(count)
    with pytest.raises(BitstreamError, match="nnpfc_num_input_pics_minus1"):
        parse_nnpfc(closed(bits) + bytes(1000))


@pytest.mark.parametrize("count", [4097, 1 << 20, (1 << 32) - 2])
def test_count_of_metadata_bits(count):
    payload = BASE.to_payload()[: -len(b"network")]
    # The property block ends with nnpfc_num_metadata_extension_bits = 0, a single one.
    whole = int.from_bytes(payload, "big")
    zeros = (whole & -whole).bit_length() - 1
    kept = len(payload) * 8 - zeros - 1
    bits = BitWriter()
    bits.u(whole >> (zeros + 1), kept)
    bits.ue(count)
    with pytest.raises(BitstreamError, match="nnpfc_num_metadata_extension_bits"):
        parse_nnpfc(closed(bits) + bytes(1000))


def test_metadata_bits_that_are_not_there():
    message = replace(BASE, nnpfc_reserved_metadata_extension_bit=(False,) * 4092)
    message = replace(message, nnpfc_num_metadata_extension_bits=4096)
    payload = message.to_payload()
    assert parse_nnpfc(payload) == message
    with pytest.raises(TruncatedError, match="nnpfc_reserved_metadata_extension_bit"):
        parse_nnpfc(payload[:100])


def test_exp_golomb_prefix_without_end():
    for parse in (parse_nnpfc, parse_nnpfa):
        with pytest.raises(BitstreamError):
            parse(bytes(1_000_000))


def test_value_over_32_bits():
    # 32 zeros, a one, 32 bits: legal for no element.
    bits = BitWriter()
    bits.u(1, 16)
    bits.u(0, 32)
    bits.u(1, 1)
    bits.u(5, 32)
    with pytest.raises(BitstreamError, match="out of the range"):
        parse_nnpfc(closed(bits) + bytes(16))


@pytest.mark.parametrize("purpose", [0x100, 0x400, 0xFFFF])
def test_purpose_of_a_later_edition_is_never_parsed_on(purpose):
    with pytest.raises(UnsupportedFeatureError):
        parse_nnpfc(purpose.to_bytes(2, "big") + bytes(100))


def test_output_entries_without_end():
    bits = BitWriter()
    bits.ue(7)
    bits.u(0, 4)
    bits.ue((1 << 32) - 2)
    with pytest.raises(BitstreamError, match="nnpfa_num_output_entries"):
        parse_nnpfa(closed(bits))


def test_storm_of_different_complaints_is_bounded():
    state = FilterState()
    events = []
    for number in range(5000):
        events += state.access_unit(number, [message_of(Nnpfa.activate(1000 + number))])
    assert 0 < len(events) <= 256
    assert all(isinstance(event, FilterRejected) for event in events)


def test_storm_of_activations_in_one_clvs_is_bounded():
    state = FilterState()
    state.access_unit(0, [message_of(BASE)], clvs_start=True)
    messages = [message_of(Nnpfa.activate(7))]
    for number in range(1, 20_000):
        state.access_unit(number, messages)
    (entry,) = state._line[0].filters.values()
    assert len(list(entry.activations)) <= 4096
    assert len(state.active(19_999)) == 1


def test_storm_of_filters():
    state = FilterState()
    messages = [message_of(replace(BASE, nnpfc_id=number)) for number in range(200)]
    events = state.access_unit(0, messages, clvs_start=True)
    assert sum(isinstance(event, FilterRejected) for event in events) == 200 - 16
    assert len(state._line[0].filters) == Limits().max_filters
