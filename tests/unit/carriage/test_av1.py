# SPDX-License-Identifier: Apache-2.0
"""AV1 temporal units written by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrvideo.carriage import carriage_for
from nnrvideo.errors import BitstreamError, LimitExceededError, TruncatedError
from nnrvideo.limits import Limits
from nnrvideo.sei import SeiMessage, pack_records

UUID = b"nnrvideo\0\0\0\0\0\0\0\1"
T35 = b"\x04\xff\x01" + UUID  # metadata_type, country code, whose

BASE = SeiMessage(210, b"\x00\x01\x11" + bytes(range(200)))
ACTIVATION = SeiMessage(211, b"\x10\xc5")
OTHER = SeiMessage(5, b"u" * 16 + b"hello")


def obu(kind: int, payload: bytes, *, size: bool = True, extension: bytes = b"") -> bytes:
    head = bytes([kind << 3 | (4 if extension else 0) | (2 if size else 0)]) + extension
    number, length = b"", len(payload)
    while size:
        number += bytes([length & 0x7F | (0x80 if length > 0x7F else 0)])
        length >>= 7
        if not length:
            break
    return head + number + payload


def frame(bits: str, kind: int = 6, **kwargs) -> bytes:
    return obu(kind, bytes([int(bits.ljust(8, "0"), 2)]) + b"tiles", **kwargs)


def ours(*messages: SeiMessage) -> bytes:
    return obu(5, T35 + pack_records(messages) + b"\x80")


DELIMITER = obu(2, b"")
SEQUENCE = obu(1, b"\x00\x00\x00\x03\x2d\xff")
STILL = obu(1, b"\x18\x15")  # reduced_still_picture_header
HDR = obu(5, b"\x02" + bytes(24) + b"\x80")  # mastering display
KEY = frame("0 00 1".replace(" ", ""))
HIDDEN_KEY = frame("0000")
INTER = frame("0011")
HIDDEN = frame("0010")
INTRA_ONLY = frame("0101")
EXISTING = obu(3, b"\x98")  # show_existing_frame
AV1C = bytes([0x81, 0, 0x0C, 0])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([DELIMITER, SEQUENCE, HDR], [KEY]),
        ([SEQUENCE], [KEY]),
        ([], [INTER]),
        ([DELIMITER, HIDDEN, HIDDEN], [INTER]),
        ([SEQUENCE, HIDDEN_KEY, HIDDEN], [INTER]),
        ([DELIMITER], [EXISTING]),
        ([HIDDEN], [EXISTING]),
        ([DELIMITER], [obu(3, b"\x30"), obu(4, b"tiles"), obu(4, b"tiles")]),
        ([], [frame("0011", size=False)]),
        (
            [obu(15, b"padding")],
            [frame("0011", extension=b"\x20"), frame("0011", extension=b"\x28")],
        ),
        ([], [HIDDEN]),  # no temporal unit, but what some writers make
    ],
)
def test_insert_goes_right_before_the_shown_frame(before, after):
    carriage = carriage_for("av1")
    unit = b"".join(before + after)
    result = carriage.insert(unit, [BASE, ACTIVATION])
    assert result == b"".join([*before, ours(BASE), ours(ACTIVATION), *after])
    assert carriage.messages(result) == [BASE, ACTIVATION]
    assert carriage.strip(result) == unit
    assert carriage.insert(unit, []) == unit


@pytest.mark.parametrize(
    ("unit", "start", "start_if_first", "random_access"),
    [
        (SEQUENCE + KEY, True, True, True),
        (DELIMITER + SEQUENCE + HDR + KEY, True, True, True),
        (SEQUENCE + obu(3, b"\x10") + obu(4, b"tiles"), True, True, True),
        (STILL + frame("1111"), True, True, True),
        (KEY, True, True, False),  # nobody can begin without a sequence header
        (SEQUENCE + HIDDEN_KEY + INTER, False, True, True),  # delayed random access point
        (SEQUENCE + INTER, False, False, False),
        (SEQUENCE + INTRA_ONLY, False, False, False),
        (HIDDEN + INTER, False, False, False),
        (EXISTING, False, False, False),
        (DELIMITER, False, False, False),
        (SEQUENCE + obu(6, b""), False, False, False),
    ],
)
def test_where_decoding_can_begin(unit, start, start_if_first, random_access):
    carriage = carriage_for("av1")
    assert carriage.is_clvs_start(unit) is start
    assert carriage.is_clvs_start(unit, first=True) is start_if_first
    assert carriage.is_random_access(unit) is random_access
    assert not carriage.ends_sequence(unit)


def test_sequence_header_beside_the_stream():
    carriage = carriage_for("av1", AV1C + SEQUENCE)
    assert carriage.is_random_access(KEY)
    assert carriage_for("av1", AV1C + STILL).is_clvs_start(frame("1111"))


def test_several_messages_in_one_unit_and_several_units():
    carriage = carriage_for("av1")
    unit = DELIMITER + ours(BASE, OTHER, ACTIVATION) + HDR + ours(ACTIVATION) + KEY + ours(OTHER)
    assert carriage.messages(unit) == [BASE, OTHER, ACTIVATION, ACTIVATION, OTHER]
    assert carriage.strip(unit) == DELIMITER + ours(OTHER) + HDR + KEY + ours(OTHER)


def test_padding_behind_the_trailing_bits():
    unit = obu(5, T35 + pack_records([ACTIVATION]) + b"\x80\0\0\0") + KEY
    assert carriage_for("av1").messages(unit) == [ACTIVATION]
    zeros = SeiMessage(210, bytes(9))
    assert carriage_for("av1").messages(ours(zeros) + KEY) == [zeros]


@pytest.mark.parametrize(
    "other",
    [
        obu(5, b""),
        obu(5, b"\x80"),
        obu(5, b"\xff" * 9 + b"\x80"),
        obu(5, b"\x04\xb5\x00\x3c\x00\x01\x04\x80"),  # HDR10+
        obu(5, b"\x04\xff\x02" + UUID + pack_records([BASE]) + b"\x80"),
        obu(5, b"\x04\xff\x01" + b"x" * 16 + pack_records([BASE]) + b"\x80"),
        obu(5, b"\x04\xff\x01nnrvid\x80"),
        obu(5, b"\x06\xff\x01" + UUID + pack_records([BASE]) + b"\x80"),
        obu(15, T35 + pack_records([BASE]) + b"\x80"),
    ],
)
def test_what_is_not_ours_is_left_alone(other):
    carriage = carriage_for("av1")
    assert carriage.messages(other + KEY) == []
    assert carriage.strip(other + KEY) == other + KEY


@pytest.mark.parametrize(
    "broken",
    [
        obu(5, T35),  # no trailing bits
        obu(5, T35 + b"\0\0"),
        obu(5, T35 + b"\xd2\xff\xff\x10short\x80"),
        obu(5, T35 + b"\xd2\x80"),
    ],
)
def test_a_broken_unit_costs_its_own_messages(broken):
    carriage = carriage_for("av1")
    with pytest.raises(BitstreamError, match="metadata OBU at byte 2|SEI, bit"):
        carriage.messages(DELIMITER + broken + KEY)
    assert carriage.messages(broken + ours(BASE) + KEY) == [BASE]
    assert carriage.strip(broken + ours(BASE) + KEY) == broken + KEY


@pytest.mark.parametrize(
    ("unit", "error"),
    [
        (b"\x92\0", "obu_forbidden_bit"),
        (b"\x32\x05abc", "5 bytes is announced, 3 are left"),
        (b"\x32\xff\xff\xff\xff\x0f", "4294967295 bytes is announced"),
        (b"\x32\xff\xff\xff\xff\x7f", "over 32 bits"),
        (b"\x32" + b"\x80" * 9, "longer than 8 bytes"),
        (b"\x32\x80", "no last byte"),
        (b"\x32", "no last byte"),
        (b"\x36", "no last byte"),
    ],
)
def test_units_that_cannot_be_split(unit, error):
    carriage = carriage_for("av1")
    for action in (
        carriage.messages,
        carriage.strip,
        carriage.is_clvs_start,
        lambda unit: carriage.insert(unit, [BASE]),
    ):
        with pytest.raises(BitstreamError, match=error):
            action(ours(BASE) + unit)


def test_nothing_to_join():
    with pytest.raises(BitstreamError, match="no frame"):
        carriage_for("av1").insert(DELIMITER + SEQUENCE, [BASE])


def test_configuration_record():
    for record in (AV1C, b""):
        carriage = carriage_for("av1", record + SEQUENCE + ours(BASE, OTHER) + HDR)
        assert carriage.configuration_messages() == [BASE, OTHER]
        assert carriage.strip_configuration() == record + SEQUENCE + ours(OTHER) + HDR
    assert carriage_for("av1", AV1C).configuration_messages() == []
    with pytest.raises(TruncatedError, match="av1C of 3 bytes"):
        carriage_for("av1", AV1C[:3])
    with pytest.raises(BitstreamError, match="av1C"):
        carriage_for("av1", AV1C + SEQUENCE[:-1])


def test_limits():
    carriage = carriage_for("av1", limits=Limits(max_payload_bytes=100, max_messages=3))
    with pytest.raises(LimitExceededError, match="max_payload_bytes"):
        carriage.messages(ours(BASE) + KEY)
    with pytest.raises(LimitExceededError, match="max_messages"):
        carriage.messages(ours(ACTIVATION, ACTIVATION) * 2 + KEY)


@given(payloads=st.lists(st.binary(max_size=400), max_size=4), hidden=st.integers(0, 3))
def test_any_payload_survives(payloads, hidden):
    carriage = carriage_for("av1")
    messages = [SeiMessage(210, payload) for payload in payloads]
    unit = DELIMITER + HIDDEN * hidden + INTER
    result = carriage.insert(unit, messages)
    assert carriage.messages(result) == messages
    assert carriage.strip(result) == unit
