# SPDX-License-Identifier: Apache-2.0
"""AVC, HEVC and VVC access units written by hand, in every framing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrvideo.bits import rbsp
from nnrvideo.carriage import CodecCarriage, NalFraming, carriage_for, supported_codecs
from nnrvideo.errors import BitstreamError, CarriageError, LimitExceededError, TruncatedError
from nnrvideo.limits import Limits
from nnrvideo.sei import SeiMessage, write_sei_rbsp

AUD = {"h264": b"\x09\xf0", "hevc": b"\x46\x01\x50", "vvc": b"\x00\xa1\x28"}
SPS = {
    "h264": b"\x67\x64\x00\x1f\xac",
    "hevc": b"\x42\x01\x01\x60",
    "vvc": b"\x00\x79\x00\x0d\x02",
}
IDR = {"h264": b"\x65\x88\x84", "hevc": b"\x26\x01\xaf\x13", "vvc": b"\x00\x39\xc4\x13"}
CRA = {"hevc": b"\x2a\x01\xaf\x13", "vvc": b"\x00\x49\xc4\x13"}
BLA = {"hevc": b"\x20\x01\xaf\x13"}
GDR = {"vvc": b"\x00\x51\xc4\x13"}
TRAIL = {"h264": b"\x41\x9a\x24", "hevc": b"\x02\x01\xd0\x11", "vvc": b"\x00\x01\xc4\x11"}
EOS = {"h264": b"\x0a", "hevc": b"\x48\x01", "vvc": b"\x00\xa9"}
SEI_HEADER = {"h264": b"\x06", "hevc": b"\x4e\x01", "vvc": b"\x00\xb9"}
CODECS = ["h264", "hevc", "vvc"]
FRAMINGS = [None, 1, 2, 3, 4]

BASE = SeiMessage(210, b"\x00\x01\x11" + bytes(range(200)))
ACTIVATION = SeiMessage(211, b"\x10\xc5")
OTHER = SeiMessage(5, b"u" * 16 + b"hello")
RECOVERY = SeiMessage(6, b"\xc4")


def avcc(length_size: int) -> bytes:
    return bytes([1, 0x64, 0, 0x1F, 0xFC | length_size - 1, 0xE0, 0])


def hvcc(length_size: int, *units: bytes) -> bytes:
    fixed = bytearray(23)
    fixed[0] = 1
    fixed[21] = 0xFC | length_size - 1
    fixed[22] = 1 if units else 0
    if not units:
        return bytes(fixed)
    array = bytes([0x27]) + len(units).to_bytes(2, "big")
    return bytes(fixed) + array + b"".join(len(u).to_bytes(2, "big") + u for u in units)


def vvcc(length_size: int, *units: bytes, ptl: bytes | None = None) -> bytes:
    """``ptl`` is all between the first byte and the arrays."""
    head = bytes([0xF8 | (length_size - 1) << 1 | (ptl is not None)]) + (ptl or b"")
    if not units:
        return head + b"\0"
    # OPI and DCI stand alone, without a count.
    arrays = bytes([2, 0x80 | 12, 0, 3]) + b"\0\x61\x10"
    arrays += bytes([0x80 | 23]) + len(units).to_bytes(2, "big")
    return head + arrays + b"".join(len(u).to_bytes(2, "big") + u for u in units)


def configured(codec: str, length_size: int | None, **kwargs) -> tuple[CodecCarriage, NalFraming]:
    record = b""
    if length_size is not None:
        record = {"h264": avcc, "hevc": hvcc, "vvc": vvcc}[codec](length_size)
    return carriage_for(codec, record, **kwargs), NalFraming(length_size)


def sei(codec: str, *messages: SeiMessage) -> bytes:
    return SEI_HEADER[codec] + rbsp.escape(write_sei_rbsp(messages))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("length_size", [None, 2, 3, 4])
def test_insert_goes_right_before_the_first_slice(codec: str, length_size: int | None):
    carriage, framing = configured(codec, length_size)
    before = [AUD[codec], SPS[codec], sei(codec, OTHER)]
    slices = [IDR[codec], IDR[codec]]
    au = b"".join(map(framing.frame, before + slices))
    result = carriage.insert(au, [BASE, ACTIVATION])
    units = [result[s.start : s.end] for s in framing.split(result)]
    assert units == [*before, sei(codec, BASE), sei(codec, ACTIVATION), *slices]
    assert carriage.messages(result) == [OTHER, BASE, ACTIVATION]
    assert carriage.strip(result) == au
    assert carriage.insert(au, []) == au


@pytest.mark.parametrize("codec", CODECS)
def test_short_start_codes_stay_as_they_are(codec: str):
    carriage = carriage_for(codec)
    au = b"\0\0\0\1" + AUD[codec] + b"\0\0\1" + IDR[codec] + b"\0\0\1" + IDR[codec]
    result = carriage.insert(au, [BASE])
    assert result.endswith(b"\0\0\1" + IDR[codec] + b"\0\0\1" + IDR[codec])
    assert carriage.strip(result) == au


@pytest.mark.parametrize("codec", CODECS)
def test_one_byte_lengths_refuse_what_does_not_fit(codec: str):
    carriage, framing = configured(codec, 1)
    au = framing.frame(IDR[codec])
    assert carriage.messages(carriage.insert(au, [ACTIVATION])) == [ACTIVATION]
    with pytest.raises(CarriageError, match="1-byte length"):
        carriage.insert(au, [SeiMessage(210, bytes(300))])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("length_size", [None, 4])
def test_strip_keeps_other_messages_of_the_same_unit(codec: str, length_size: int | None):
    carriage, framing = configured(codec, length_size)
    mixed = sei(codec, OTHER, BASE, RECOVERY, ACTIVATION)
    au = framing.frame(SPS[codec]) + framing.frame(mixed) + framing.frame(IDR[codec])
    stripped = carriage.strip(au)
    assert carriage.messages(stripped) == [OTHER, RECOVERY]
    units = [stripped[s.start : s.end] for s in framing.split(stripped)]
    assert units == [SPS[codec], sei(codec, OTHER, RECOVERY), IDR[codec]]


@pytest.mark.parametrize("codec", CODECS)
def test_strip_of_the_first_unit_leaves_a_long_start_code(codec: str):
    carriage = carriage_for(codec)
    au = b"\0\0\0\1" + sei(codec, BASE) + b"\0\0\1" + IDR[codec]
    assert carriage.strip(au) == b"\0\0\0\1" + IDR[codec]


@pytest.mark.parametrize("codec", CODECS)
def test_strip_leaves_unreadable_sei_alone(codec: str):
    carriage, framing = configured(codec, 4)
    broken = SEI_HEADER[codec] + b"\xd2\xff\xff\x10short\x80"
    au = framing.frame(broken) + framing.frame(sei(codec, BASE)) + framing.frame(IDR[codec])
    assert carriage.strip(au) == framing.frame(broken) + framing.frame(IDR[codec])
    # It costs its own messages only.
    assert carriage.messages(au) == [BASE]


@pytest.mark.parametrize("codec", CODECS)
@given(payload=st.binary(max_size=3000))
def test_any_payload_survives(codec: str, payload: bytes):
    carriage = carriage_for(codec)
    au = b"\0\0\0\1" + IDR[codec]
    message = SeiMessage(210, payload)
    assert carriage.messages(carriage.insert(au, [message])) == [message]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("length_size", [None, 4])
def test_large_payload_full_of_start_codes(codec: str, length_size: int | None):
    carriage, framing = configured(codec, length_size)
    payload = (b"\0\0\0" * 3 + b"\0\0\1\0\0\2\0\0\3\0\0\0\1") * 5000
    au = framing.frame(IDR[codec])
    result = carriage.insert(au, [SeiMessage(210, payload)])
    assert carriage.messages(result) == [SeiMessage(210, payload)]
    assert len(framing.split(result)) == 2


def test_clvs_starts_of_avc():
    carriage = carriage_for("h264")
    code = b"\0\0\0\1"
    recovery = code + sei("h264", RECOVERY) + code + TRAIL["h264"]
    assert carriage.is_clvs_start(code + IDR["h264"])
    assert not carriage.is_clvs_start(recovery)
    assert carriage.is_random_access(recovery)
    assert carriage.is_clvs_start(recovery, first=True)
    assert not carriage.is_clvs_start(code + TRAIL["h264"], first=True)
    assert not carriage.is_random_access(code + TRAIL["h264"])


def test_clvs_starts_of_hevc():
    carriage = carriage_for("hevc")
    code = b"\0\0\0\1"
    for unit, start, start_if_first, random_access in [
        (IDR["hevc"], True, True, True),
        (BLA["hevc"], True, True, True),
        (CRA["hevc"], False, True, True),
        (TRAIL["hevc"], False, False, False),
    ]:
        assert carriage.is_clvs_start(code + unit) is start
        assert carriage.is_clvs_start(code + unit, first=True) is start_if_first
        assert carriage.is_random_access(code + unit) is random_access


def test_clvs_starts_of_vvc():
    carriage = carriage_for("vvc")
    code = b"\0\0\0\1"
    for unit, start, start_if_first, random_access in [
        (IDR["vvc"], True, True, True),
        (b"\x00\x41\xc4\x13", True, True, True),  # IDR_N_LP
        (CRA["vvc"], False, True, True),
        (GDR["vvc"], False, True, True),
        (TRAIL["vvc"], False, False, False),
        (code + b"\0\x99\x40" + code + IDR["vvc"], True, True, True),  # with a picture header
    ]:
        assert carriage.is_clvs_start(code + unit) is start
        assert carriage.is_clvs_start(code + unit, first=True) is start_if_first
        assert carriage.is_random_access(code + unit) is random_access


def test_vvc_messages_come_before_the_picture_header():
    carriage, framing = configured("vvc", 4)
    before = [AUD["vvc"], b"\0\x61\x10", b"\0\x69\x10", SPS["vvc"], b"\0\x89\x20"]  # OPI, DCI, APS
    after = [b"\x00\x9a\x40", IDR["vvc"], b"\0\x91\x20"]  # TemporalId 1 in PH; suffix APS
    au = b"".join(map(framing.frame, before + after))
    result = carriage.insert(au, [ACTIVATION])
    units = [result[s.start : s.end] for s in framing.split(result)]
    added = b"\x00\xba" + rbsp.escape(write_sei_rbsp([ACTIVATION]))
    assert units == [*before, added, *after]
    assert carriage.strip(result) == au


def test_vvc_ignores_sei_of_other_layers():
    carriage = carriage_for("vvc")
    other = b"\x01\xb9" + rbsp.escape(write_sei_rbsp([BASE]))  # nuh_layer_id 1
    au = b"\0\0\0\1" + other + b"\0\0\0\1" + IDR["vvc"]
    assert carriage.messages(au) == []
    assert carriage.strip(au) == au


@pytest.mark.parametrize(
    "ptl",
    [
        None,
        bytes.fromhex("00151f010200800000b000900000"),  # as libavformat writes it
        # Three sublayers, two of them with a level; two constraint bytes, one sub-profile.
        bytes.fromhex("00351f020233c000c0404101deadbeef00b000900000"),
    ],
)
@pytest.mark.parametrize("length_size", [1, 2, 4])
def test_vvcc_arrays_are_read_and_stripped(ptl, length_size):
    units = [sei("vvc", BASE), sei("vvc", OTHER, ACTIVATION)]
    carriage = carriage_for("vvc", vvcc(length_size, *units, ptl=ptl))
    assert carriage.configuration_messages() == [BASE, OTHER, ACTIVATION]
    left = vvcc(length_size, sei("vvc", OTHER), ptl=ptl)
    assert carriage.strip_configuration() == left
    framing = NalFraming(length_size)
    au = framing.frame(IDR["vvc"])
    assert carriage.messages(carriage.insert(au, [ACTIVATION])) == [ACTIVATION]


@pytest.mark.parametrize("codec", CODECS)
def test_end_of_sequence(codec: str):
    carriage, framing = configured(codec, 4)
    assert carriage.ends_sequence(framing.frame(IDR[codec]) + framing.frame(EOS[codec]))
    assert not carriage.ends_sequence(framing.frame(IDR[codec]))


def test_avc_prefix_unit_stays_glued_to_its_slice():
    carriage = carriage_for("h264")
    code = b"\0\0\0\1"
    au = code + b"\x6e\x40\x80\xff" + code + IDR["h264"]
    assert carriage.insert(au, [BASE]) == code + sei("h264", BASE) + au


def test_hevc_inserts_with_the_temporal_id_of_the_picture():
    carriage = carriage_for("hevc")
    au = b"\0\0\0\1" + b"\x02\x03\xd0\x11"  # TRAIL_R, TemporalId 2
    result = carriage.insert(au, [ACTIVATION])
    assert result[4:6] == b"\x4e\x03"


def test_hevc_ignores_sei_of_other_layers():
    carriage = carriage_for("hevc")
    enhancement = b"\x4e\x09" + rbsp.escape(write_sei_rbsp([BASE]))  # nuh_layer_id 1
    au = b"\0\0\0\1" + enhancement + b"\0\0\0\1" + IDR["hevc"]
    assert carriage.messages(au) == []
    assert carriage.strip(au) == au


def test_suffix_sei_is_read_as_well():
    carriage = carriage_for("hevc")
    suffix = b"\x50\x01" + rbsp.escape(write_sei_rbsp([ACTIVATION]))
    assert carriage.messages(b"\0\0\0\1" + IDR["hevc"] + b"\0\0\0\1" + suffix) == [ACTIVATION]
    suffix = b"\x00\xc1" + suffix[2:]
    au = b"\0\0\0\1" + IDR["vvc"] + b"\0\0\0\1" + suffix
    assert carriage_for("vvc").messages(au) == [ACTIVATION]


def test_hvcc_arrays_are_read_and_stripped():
    record = hvcc(4, sei("hevc", BASE), sei("hevc", OTHER, ACTIVATION))
    carriage = carriage_for("hevc", record)
    assert carriage.configuration_messages() == [BASE, OTHER, ACTIVATION]
    stripped = carriage_for("hevc", carriage.strip_configuration())
    assert stripped.configuration_messages() == [OTHER]
    only = carriage_for("hevc", hvcc(4, sei("hevc", BASE)))
    assert only.strip_configuration() == hvcc(4)


@pytest.mark.parametrize(("codec", "record"), [("hevc", hvcc), ("vvc", vvcc)])
def test_empty_units_in_the_record(codec, record):
    data = record(4, b"", sei(codec, BASE))
    carriage = carriage_for(codec, data)
    assert carriage.configuration_messages() == [BASE]
    assert carriage.strip_configuration() == record(4, b"")


def test_avcc_has_no_messages_and_is_kept():
    carriage = carriage_for("h264", avcc(4))
    assert carriage.configuration_messages() == []
    assert carriage.strip_configuration() == avcc(4)


def test_annexb_extradata_is_read_and_stripped():
    code = b"\0\0\0\1"
    carriage = carriage_for("hevc", code + SPS["hevc"] + code + sei("hevc", BASE))
    assert carriage.configuration_messages() == [BASE]
    assert carriage.strip_configuration() == code + SPS["hevc"]


@pytest.mark.parametrize(
    ("codec", "record"),
    [
        ("h264", avcc(4)),
        ("hevc", hvcc(4, b"\x4e\x01z")),
        (
            "vvc",
            vvcc(4, b"\0\xb9z", ptl=bytes.fromhex("00351f020233c000c0404101deadbeef00b000900000")),
        ),
    ],
)
def test_cut_configuration_record(codec: str, record: bytes):
    for end in range(1, len(record)):
        try:
            carriage_for(codec, record[:end]).configuration_messages()
        except TruncatedError as error:
            assert error.unit in ("avcC", "hvcC", "vvcC")
        else:
            assert codec == "hevc" and end == 23 and record[22] == 0


def test_access_unit_without_slice():
    with pytest.raises(BitstreamError, match="no coded slice"):
        carriage_for("h264").insert(b"\0\0\0\1" + SPS["h264"], [BASE])


def test_message_over_the_limit():
    carriage = carriage_for("h264", limits=Limits(max_payload_bytes=100))
    au = carriage_for("h264").insert(b"\0\0\0\1" + IDR["h264"], [BASE])
    with pytest.raises(LimitExceededError):
        carriage.messages(au)
    flood = SeiMessage(210, bytes(300_000))
    with pytest.raises(LimitExceededError, match="SEI NAL unit"):
        carriage.messages(carriage_for("h264").insert(b"\0\0\0\1" + IDR["h264"], [flood]))


def test_too_many_messages():
    carriage = carriage_for("h264", limits=Limits(max_messages=3))
    au = carriage_for("h264").insert(b"\0\0\0\1" + IDR["h264"], [ACTIVATION] * 4)
    with pytest.raises(LimitExceededError):
        carriage.messages(au)


def test_other_codecs_are_refused_with_the_names_of_those_that_can():
    with pytest.raises(CarriageError, match="ffv1 has no place") as caught:
        carriage_for("ffv1")
    assert "av1, h264, hevc, vp8, vp9, vvc" in str(caught.value)
    assert supported_codecs() == ("av1", "h264", "hevc", "vp8", "vp9", "vvc")


@pytest.mark.parametrize(
    ("codec", "unit", "key"),
    [
        ("vp9", b"\x82", True),
        ("vp9", b"\x86", False),
        ("vp9", b"\x8a", False),  # show_existing_frame
        ("vp9", b"\xa2", True),  # profile 1
        ("vp9", b"\xb1", True),  # profile 3
        ("vp9", b"\xb3", False),
        ("vp9", b"\xb5", False),
        ("vp9", b"\x02", False),  # no frame_marker
        ("vp9", b"", False),
        ("vp8", b"\x10", True),
        ("vp8", b"\x11", False),
        ("vp8", b"", False),
    ],
)
def test_codecs_without_a_place(codec, unit, key):
    carriage = carriage_for(codec, b"record")
    assert not carriage.in_band
    assert carriage.is_clvs_start(unit) is carriage.is_random_access(unit) is key
    assert carriage.messages(unit) == carriage.configuration_messages() == []
    assert carriage.strip(unit) == carriage.insert(unit, []) == unit
    assert carriage.strip_configuration() == b"record"
    with pytest.raises(CarriageError, match="no place"):
        carriage.insert(unit, [BASE])
