# SPDX-License-Identifier: Apache-2.0
"""SEI payloads: writing and parsing are inverse, and no bytes raise anything but our errors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nnrvideo.bits import escape, unescape
from nnrvideo.errors import (
    BitstreamError,
    LimitExceededError,
    UnsupportedFeatureError,
)
from nnrvideo.limits import Limits
from nnrvideo.picture import ChromaFormat, PictureFormat
from nnrvideo.sei import (
    FilterState,
    Nnpfa,
    Nnpfc,
    SeiMessage,
    check_picture,
    interpret,
    metadata_extension_bits,
    pack_records,
    parse_nnpfa,
    parse_nnpfc,
    parse_records,
    parse_sei_rbsp,
    validate_nnpfc,
    write_sei_rbsp,
)

flags = st.booleans()
small = st.integers(0, 70)
ue = st.one_of(small, st.integers(0, (1 << 32) - 2))
se = st.integers(-(1 << 31) + 1, (1 << 31) - 1)
byte = st.integers(0, 255)
text = st.text("aZ:/,0 é語😀", max_size=12)
prompt = text.filter(bool)


def flag_tuples(count: int):
    """Tuples of ``count`` flags, drawn as one number: much quicker than one by one."""
    return st.integers(0, (1 << count) - 1).map(
        lambda number: tuple(bool(number >> place & 1) for place in range(count))
    )


@st.composite
def nnpfc_messages(draw) -> Nnpfc:
    """Any message of the fourth edition's syntax, with every condition taken both ways."""
    purpose = draw(st.integers(0, 255))
    m: dict[str, Any] = {
        "nnpfc_purpose": purpose,
        "nnpfc_id": draw(ue),
        "nnpfc_base_flag": draw(flags),
        "nnpfc_mode_idc": draw(st.integers(0, 1)),
        "nnpfc_property_present_flag": draw(flags),
    }
    if m["nnpfc_mode_idc"] == 1:
        m["nnpfc_tag_uri"] = draw(text)
        m["nnpfc_uri"] = draw(text)
    else:
        m["nnpfc_payload_byte"] = draw(st.binary(max_size=40))
    if m["nnpfc_property_present_flag"]:
        draw_properties(draw, m, purpose)
    message = Nnpfc(**m)
    if message.nnpfc_num_metadata_extension_bits:
        assert metadata_extension_bits(message) == message.nnpfc_num_metadata_extension_bits
    return message


def draw_properties(draw, m: dict[str, Any], purpose: int) -> None:
    def put(strategy, *names: str) -> None:
        for name in names:
            m[f"nnpfc_{name}"] = draw(strategy)

    others = draw(st.sampled_from([0, 0, 1, 2, 5, 63]))
    m["nnpfc_num_input_pics_minus1"] = others
    if others:
        put(flag_tuples(others + 1), "input_pic_filtering_flag")
        put(flags, "absent_input_pic_zero_flag")
    if purpose & 0x02:
        put(flags, "out_sub_c_flag")
    if purpose & 0x20:
        put(st.integers(0, 3), "out_colour_format_idc")
    if purpose & 0x04:
        put(ue, "pic_width_num_minus1", "pic_width_denom_minus1")
        put(ue, "pic_height_num_minus1", "pic_height_denom_minus1")
    if purpose & 0x08:
        put(st.lists(ue, min_size=others, max_size=others).map(tuple), "interpolated_pics")
    if purpose & 0x40:
        put(ue, "extrapolated_pics_minus1")
    if purpose & 0x80:
        put(se, *(f"spatial_extrapolation_{side}_offset" for side in ("left", "right")))
        put(se, *(f"spatial_extrapolation_{side}_offset" for side in ("top", "bottom")))
    put(flags, "component_last_flag", "separate_colour_description_present_flag")
    put(st.integers(0, 7), "auxiliary_inp_idc")
    if m["nnpfc_auxiliary_inp_idc"] & 2:
        put(flags, "inband_prompt_flag")
        if m["nnpfc_inband_prompt_flag"]:
            put(text, "prompt")
    if m["nnpfc_auxiliary_inp_idc"] & 4:
        put(flags, "inband_seed_flag")
        if m["nnpfc_inband_seed_flag"]:
            put(st.integers(0, 65535), "seed")
    for side in ("inp", "out"):
        put(st.integers(0, 2), f"{side}_format_idc")
        put(st.integers(0, 4), f"{side}_order_idc")
        if m[f"nnpfc_{side}_format_idc"] == 1:
            if m[f"nnpfc_{side}_order_idc"] != 1:
                put(ue, f"{side}_tensor_luma_bitdepth_minus8")
            if m[f"nnpfc_{side}_order_idc"] != 0:
                put(ue, f"{side}_tensor_chroma_bitdepth_minus8")
    if m["nnpfc_separate_colour_description_present_flag"]:
        put(byte, "colour_primaries", "transfer_characteristics")
        if m["nnpfc_out_format_idc"] == 1:
            put(byte, "matrix_coeffs")
            put(flags, "full_range_flag")
    if m["nnpfc_out_order_idc"] != 0:
        put(flags, "chroma_loc_info_present_flag")
        if m["nnpfc_chroma_loc_info_present_flag"]:
            put(ue, "chroma_sample_loc_type_frame")
    constant = True
    if not purpose & 0x80:
        put(ue, "overlap")
        put(flags, "constant_patch_size_flag")
        constant = m["nnpfc_constant_patch_size_flag"]
    if constant:
        put(ue, "patch_width_minus1", "patch_height_minus1")
    else:
        put(ue, "extended_patch_width_cd_delta_minus1", "extended_patch_height_cd_delta_minus1")
    put(st.integers(0, 6), "padding_type")
    if m["nnpfc_padding_type"] == 4:
        if m["nnpfc_inp_order_idc"] != 1:
            put(ue, "luma_padding_val")
        if m["nnpfc_inp_order_idc"] != 0:
            put(ue, "cb_padding_val", "cr_padding_val")
    put(flags, "complexity_info_present_flag")
    if m["nnpfc_complexity_info_present_flag"]:
        put(st.integers(0, 3), "parameter_type_idc")
        if m["nnpfc_parameter_type_idc"] != 2:
            put(st.integers(0, 3), "log2_parameter_bit_length_minus3")
        put(st.integers(0, 63), "num_parameters_idc")
        put(ue, "num_kmac_operations_idc", "total_kilobyte_size")
    if draw(flags):
        draw_metadata(draw, m, purpose, put)


def draw_metadata(draw, m: dict[str, Any], purpose: int, put) -> None:
    if purpose == 0:
        put(flags, "application_purpose_tag_uri_present_flag")
        if m["nnpfc_application_purpose_tag_uri_present_flag"]:
            put(text, "application_purpose_tag_uri")
    if purpose & 0x84:
        put(st.integers(0, 3), "scan_type_idc")
    put(st.integers(0, 3), "for_human_viewing_idc", "for_machine_analysis_idc")
    put(st.lists(flags, max_size=20).map(tuple), "reserved_metadata_extension_bit")
    bits = 4 + len(m["nnpfc_reserved_metadata_extension_bit"]) + (2 if purpose & 0x84 else 0)
    if purpose == 0:
        bits += 1
        if m["nnpfc_application_purpose_tag_uri_present_flag"]:
            bits += 8 * (len(m["nnpfc_application_purpose_tag_uri"].encode()) + 1)
    m["nnpfc_num_metadata_extension_bits"] = bits


@st.composite
def nnpfa_messages(draw) -> Nnpfa:
    if draw(flags):
        return Nnpfa.cancel(draw(ue))
    persistent = draw(flags)
    output = draw(flag_tuples(draw(st.sampled_from([0, 1, 2, 7, 64]))))
    said, seeded, shifted = draw(flags), draw(flags), draw(flags)
    return Nnpfa(
        nnpfa_target_id=draw(ue),
        nnpfa_persistence_flag=persistent,
        nnpfa_target_base_flag=draw(flags),
        nnpfa_no_prev_clvs_flag=draw(flags),
        nnpfa_no_foll_clvs_flag=persistent and draw(flags),
        nnpfa_num_output_entries=len(output),
        nnpfa_output_flag=output,
        nnpfa_prompt_update_flag=said,
        nnpfa_prompt=draw(prompt) if said else "",
        nnpfa_seed_update_flag=seeded,
        nnpfa_seed=draw(st.integers(0, 65535)) if seeded else 0,
        nnpfa_selected_input_flag=shifted,
        nnpfa_num_input_pic_shift=draw(ue) if shifted else 0,
    )


def parse_or_none(parse, data: bytes):
    try:
        return parse(data)
    except (BitstreamError, UnsupportedFeatureError, LimitExceededError):
        return None


@settings(max_examples=400)
@given(nnpfc_messages())
def test_nnpfc_round_trip(message):
    payload = message.to_payload()
    assert parse_nnpfc(payload) == message
    assert parse_nnpfc(payload).to_payload() == payload
    try:
        validate_nnpfc(message)
        check_picture(message, PictureFormat(64, 48, ChromaFormat.C420))
    except (BitstreamError, UnsupportedFeatureError, LimitExceededError):
        pass


@settings(max_examples=300)
@given(nnpfa_messages())
def test_nnpfa_round_trip(message):
    payload = message.to_payload()
    assert parse_nnpfa(payload) == message
    assert parse_nnpfa(payload).to_payload() == payload


@settings(max_examples=200)
@given(nnpfc_messages(), st.data())
def test_damaged_nnpfc_raises_only_our_errors(message, data):
    payload = bytearray(message.to_payload())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(payload) - 1))
        payload[position] = data.draw(byte)
    cut = bytes(payload[: data.draw(st.integers(0, len(payload)))])
    for candidate in (bytes(payload), cut):
        parsed = parse_or_none(parse_nnpfc, candidate)
        if parsed is not None:
            # What was read can be written, and reads the same.
            assert parse_nnpfc(parsed.to_payload()) == parsed


@settings(max_examples=400)
@given(st.binary(max_size=60))
def test_any_bytes_raise_only_our_errors(data):
    for parse in (parse_sei_rbsp, parse_records, parse_nnpfc, parse_nnpfa):
        parse_or_none(parse, data)
    for payload_type in (4, 5, 210, 211, 212):
        parsed = parse_or_none(interpret, SeiMessage(payload_type, data))
        if isinstance(parsed, Nnpfa):
            assert parse_nnpfa(parsed.to_payload()) == parsed


@given(st.lists(st.tuples(st.integers(0, 600), st.binary(max_size=600)), min_size=1, max_size=5))
def test_envelopes_round_trip(parts):
    messages = [SeiMessage(*part) for part in parts]
    rbsp = write_sei_rbsp(messages)
    assert parse_sei_rbsp(rbsp) == messages
    assert parse_sei_rbsp(unescape(escape(rbsp))) == messages
    assert parse_records(pack_records(messages)) == messages


BASES = [
    Nnpfc(1, number, nnpfc_payload_byte=bytes([number, version]))
    for number in (7, 8)
    for version in (0, 1)
]
PAYLOADS = [
    *BASES,
    *(replace(base, nnpfc_base_flag=False, nnpfc_property_present_flag=False) for base in BASES),
    *(
        Nnpfa.activate(number, base=base, persistent=persistent)
        for number in (7, 8)
        for base in (True, False)
        for persistent in (True, False)
    ),
    Nnpfa.cancel(7),
    Nnpfa.cancel(8),
]
MESSAGES = st.one_of(
    st.sampled_from(PAYLOADS).map(
        lambda payload: SeiMessage(payload.payload_type, payload.to_payload())
    ),
    st.builds(SeiMessage, st.sampled_from([210, 211]), st.binary(max_size=8)),
)
CLVS = st.lists(st.lists(MESSAGES, max_size=4), min_size=1, max_size=6)


@settings(max_examples=200)
@given(st.lists(CLVS, min_size=1, max_size=4), st.data())
def test_asking_early_or_late_gives_the_same_answers(sequences, data):
    """A picture's filters depend neither on how far ahead was heard nor on what was asked."""
    limits = Limits(max_filters=4)
    coding: list[tuple[int, list[SeiMessage], bool]] = []
    pts = 0
    for clvs in sequences:
        order = data.draw(st.permutations(range(1, len(clvs))))
        for place, number in enumerate((0, *order)):
            coding.append((pts + number, clvs[place], place == 0))
        pts += len(clvs)
    late = FilterState(limits)
    for unit in coding:
        late.access_unit(*unit)
    answers = [late.active(shown) for shown in range(pts)]

    early = FilterState(limits)
    shown = 0
    heard: set[int] = set()
    for unit in coding:
        early.access_unit(*unit)
        heard.add(unit[0])
        while shown in heard:
            assert early.active(shown) == answers[shown]
            shown += 1
    assert shown == pts


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(-5, 20), st.lists(MESSAGES, max_size=3), flags), max_size=12))
def test_state_never_raises(units):
    state = FilterState(Limits.set_top_box())
    for pts, messages, start in units:
        state.access_unit(pts, messages, start)
        for found in state.active(pts):
            assert found.base.nnpfc_id == found.nnpfc_id == found.activation.nnpfa_target_id
            assert (found.update is None) == found.activation.nnpfa_target_base_flag
