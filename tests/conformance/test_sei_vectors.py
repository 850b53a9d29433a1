# SPDX-License-Identifier: Apache-2.0
"""SEI vectors: streams of the VVC reference encoder with the values its decoder printed, and
messages in H.264, H.265 and VVC byte streams.

``*.266`` and ``*.sei.txt`` come from VTM 23.13; the messages of messages.json were parsed by it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nnrvideo.bits import escape, unescape
from nnrvideo.sei import (
    FilterAdded,
    FilterState,
    FilterUpdated,
    Nnpfa,
    Nnpfc,
    SeiMessage,
    UnknownSei,
    interpret,
    message_of,
    parse_nnpfa,
    parse_nnpfc,
    parse_sei_rbsp,
    validate_nnpfa,
    validate_nnpfc,
    write_sei_rbsp,
)

NAL = re.compile(rb"\x00\x00\x01(.*?)(?=\x00\x00\x01|\x00\x00\x00\x01|\Z)", re.DOTALL)

# Header length, and the NAL unit types that carry SEI, for each codec.
VVC = (2, lambda head: head[1] >> 3, (23, 24))
HEVC = (2, lambda head: head[0] >> 1 & 0x3F, (39, 40))
AVC = (1, lambda head: head[0] & 0x1F, (6,))

VTM_STREAMS = [
    "v1_base_quality",
    "v2_sr2x_uri_luma_int8",
    "v3_two_filters_interp_qp",
    "v4_chroma444_hdr_meta",
    "v5_app_prompt_seed",
    "v6_temporal_extrap",
]
# What the decoder prints under another name than the standard's.
NAMES = {
    "nnpfc_uri_tag": "nnpfc_tag_uri",
    "nnpfc_number_of_input_pictures_minus1": "nnpfc_num_input_pics_minus1",
    "nnpfc_pic_width_denominator_minus1": "nnpfc_pic_width_denom_minus1",
    "nnpfc_pic_height_denominator_minus1": "nnpfc_pic_height_denom_minus1",
    "nnpfc_interpolated_pictures": "nnpfc_interpolated_pics",
    "nnpfc_sep_col_desc_flag": "nnpfc_separate_colour_description_present_flag",
    "nnpfc_col_primaries": "nnpfc_colour_primaries",
    "nnpfc_trans_characteristics": "nnpfc_transfer_characteristics",
    "nnpfc_metadata_extension_num_bits": "nnpfc_num_metadata_extension_bits",
    "nnpfc_payload_byte[i]": "nnpfc_payload_byte",
}


def sei_rbsps(stream: bytes, codec) -> list[bytes]:
    head, nal_type, wanted = codec
    units = [match.group(1) for match in NAL.finditer(stream)]
    return [unescape(unit[head:]) for unit in units if nal_type(unit) in wanted]


def messages_in(path: Path, codec) -> list[SeiMessage]:
    return [
        message for rbsp in sei_rbsps(path.read_bytes(), codec) for message in parse_sei_rbsp(rbsp)
    ]


def printed_messages(text: str) -> list[tuple[str, int, dict[str, list[str]]]]:
    """Title, size and printed values of each message."""
    found = []
    for line in text.splitlines():
        title = re.match(r"(.+) SEI message \((\d+) bytes\)", line)
        if title:
            found.append((title[1], int(title[2]), {}))
        elif ": " in line:
            name, value = line.strip().split(": ", 1)
            found[-1][2].setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("stream", VTM_STREAMS)
def test_every_value_the_reference_decoder_prints(shared, stream):
    folder = shared / "vectors/sei/vtm"
    ours = messages_in(folder / f"{stream}.266", VVC)
    theirs = printed_messages((folder / f"{stream}.sei.txt").read_text())
    assert len(ours) == len(theirs)
    compared = 0
    for message, (title, size, values) in zip(ours, theirs, strict=True):
        assert len(message.payload) == size
        payload = interpret(message)
        if title.startswith(("Neural-network post-filter", "Neural network")):
            assert isinstance(payload, Nnpfc | Nnpfa)
        else:
            assert isinstance(payload, UnknownSei)
            continue
        for name, printed in values.items():
            if "alignment" in name:
                assert set(printed) == {"0"}
                continue
            if name == "nnpfa_output_flag":
                assert len(printed) == payload.nnpfa_num_output_entries
            value = getattr(payload, NAMES.get(name, name))
            if isinstance(value, str):
                assert [value] == printed, name
            elif isinstance(value, bytes):
                assert list(value) == [int(text) % 256 for text in printed], name
            elif isinstance(value, tuple):
                assert [int(entry) for entry in value] == [int(text) for text in printed], name
            else:
                assert [int(value)] == [int(text) for text in printed], name
            compared += 1
    assert compared > 50


@pytest.mark.parametrize("stream", [*VTM_STREAMS, "upd_base_plus_update_same_au"])
def test_writing_gives_the_bytes_of_the_reference_encoder(shared, stream):
    path = shared / f"vectors/sei/vtm/{stream}.266"
    rbsps = sei_rbsps(path.read_bytes(), VVC)
    assert rbsps
    for rbsp in rbsps:
        messages = parse_sei_rbsp(rbsp)
        assert write_sei_rbsp(messages) == rbsp
        assert unescape(escape(rbsp)) == rbsp
        for message in messages:
            written = message_of(interpret(message))
            if message.payload == bytes.fromhex("1ac510"):
                # Ends at a byte boundary without its empty tail, which we then leave out.
                assert written.payload == bytes.fromhex("1ac5")
            else:
                assert written == message


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ("v1_base_quality", {7: "payload_a.nnr"}),
        ("v3_two_filters_interp_qp", {11: "payload_a.nnr", 12: "payload_b.nnr"}),
        ("v4_chroma444_hdr_meta", {300000: "payload_b.nnr"}),
        ("v5_app_prompt_seed", {5: "payload_b.nnr"}),
        ("v6_temporal_extrap", {9: "payload_b.nnr"}),
    ],
)
def test_payload_bytes(shared, stream, expected):
    folder = shared / "vectors/sei/vtm"
    found = {}
    for message in messages_in(folder / f"{stream}.266", VVC):
        payload = interpret(message)
        if isinstance(payload, Nnpfc):
            validate_nnpfc(payload)
            found[payload.nnpfc_id] = payload.nnpfc_payload_byte
        elif isinstance(payload, Nnpfa):
            validate_nnpfa(payload)
    assert found == {key: (folder / name).read_bytes() for key, name in expected.items()}


def test_plain_stream_has_no_filter(shared):
    types = {
        message.payload_type for message in messages_in(shared / "vectors/sei/vtm/plain.266", VVC)
    }
    assert not types & {210, 211}


@pytest.fixture
def listed(shared) -> dict[str, bytes]:
    text = (shared / "vectors/sei/sei/messages.json").read_text()
    return {name: bytes.fromhex(value) for name, value in json.loads(text).items()}


def test_single_messages(listed):
    for name, payload in listed.items():
        if name.startswith("nnpfc"):
            message = parse_nnpfc(payload)
            validate_nnpfc(message)
            assert message.to_payload() == payload, name
    assert parse_nnpfc(listed["nnpfc_base_id7"]).nnpfc_payload_byte == listed["payload_base"]
    assert parse_nnpfc(listed["nnpfc_update_id7"]).nnpfc_payload_byte == listed["payload_update"]
    sr = parse_nnpfc(listed["nnpfc_uri_sr_id512"])
    assert (sr.nnpfc_id, sr.nnpfc_uri) == (512, "https://example.org/sr2x.nnc")


def test_single_activations(listed):
    fourth = parse_nnpfa(listed["nnpfa_id7_base_v4"])
    assert parse_nnpfa(listed["nnpfa_id7_base_v3"]) == fourth
    assert fourth == Nnpfa(7, nnpfa_persistence_flag=True, nnpfa_target_base_flag=True)
    assert fourth.to_payload() == listed["nnpfa_id7_base_v4"]
    assert parse_nnpfa(listed["nnpfa_id7_update"]) == Nnpfa(7, nnpfa_persistence_flag=True)
    assert parse_nnpfa(listed["nnpfa_id7_cancel"]) == Nnpfa.cancel(7)
    assert Nnpfa.cancel(7).to_payload() == listed["nnpfa_id7_cancel"]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("h264_nnpf.h264", AVC), ("hevc_nnpf.h265", HEVC), ("vvc_nnpf.266", VVC)],
)
def test_messages_of_byte_streams(shared, listed, name, codec):
    messages = messages_in(shared / "vectors/sei/sei" / name, codec)
    ours = [message for message in messages if message.payload_type in (210, 211)]
    assert ours[0] == SeiMessage(210, listed["nnpfc_base_id7"])
    known = {(message.payload_type, message.payload): None for message in ours}
    allowed = {(210, value) for key, value in listed.items() if key.startswith("nnpfc")} | {
        (211, value) for key, value in listed.items() if key.startswith("nnpfa")
    }
    assert set(known) <= allowed


@pytest.mark.parametrize(("name", "codec"), [("h264_nnpf.h264", AVC), ("hevc_nnpf.h265", HEVC)])
def test_activation_over_three_key_frames(shared, listed, name, codec):
    # Key frame 1: base, activation; 2: base, update, activation of it; 3: base, update, cancel.
    rbsps = sei_rbsps((shared / "vectors/sei/sei" / name).read_bytes(), codec)
    units: list[list[SeiMessage]] = []
    for rbsp in rbsps:
        for message in parse_sei_rbsp(rbsp):
            if message == SeiMessage(210, listed["nnpfc_base_id7"]):
                units.append([])
            if units and message.payload_type in (210, 211):
                units[-1].append(message)
    assert len(units) == 3
    state = FilterState()
    seen = []
    for number, unit in enumerate(units):
        pts = 100 * number
        events = state.access_unit(pts, unit, clvs_start=True)
        assert all(isinstance(event, FilterAdded | FilterUpdated) for event in events)
        seen.append([(found.nnpfc_id, found.update is not None) for found in state.active(pts)])
        assert [(found.nnpfc_id, found.update is not None) for found in state.active(pts + 1)] == (
            seen[-1]
        )
    assert seen == [[(7, False)], [(7, True)], []]
