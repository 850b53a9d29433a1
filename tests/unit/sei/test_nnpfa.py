# SPDX-License-Identifier: Apache-2.0
"""NNPFA: both editions, the tail between them, and the forms that we write."""

from __future__ import annotations

import pytest

from nnrvideo.errors import BitstreamError, TruncatedError, UnsupportedFeatureError
from nnrvideo.limits import Limits
from nnrvideo.sei import (
    PREFERRED_FILTER_IDS,
    Nnpfa,
    parse_nnpfa,
    validate_nnpfa,
    write_nnpfa,
)

BASE_7 = Nnpfa(7, nnpfa_persistence_flag=True, nnpfa_target_base_flag=True)


def test_third_edition_form_has_no_tail():
    assert parse_nnpfa(bytes.fromhex("10cc")) == BASE_7


def test_fourth_edition_form_with_empty_tail():
    assert parse_nnpfa(bytes.fromhex("10c8")) == BASE_7


def test_bare_third_edition_form_is_never_written():
    assert write_nnpfa(BASE_7) == bytes.fromhex("10c8")


@pytest.mark.parametrize(
    ("nnpfc_id", "expected"),
    [(7, "10c5"), (14, "1ec5"), (127, "0100c5"), (254, "01fec5")],
)
def test_aligned_activation(nnpfc_id, expected):
    assert Nnpfa.activate(nnpfc_id).to_payload().hex() == expected


@pytest.mark.parametrize(("nnpfc_id", "expected"), [(7, "11"), (14, "1f"), (127, "0101")])
def test_aligned_cancel(nnpfc_id, expected):
    assert Nnpfa.cancel(nnpfc_id).to_payload().hex() == expected


def test_preferred_ids_need_neither_tail_nor_padding():
    for nnpfc_id in PREFERRED_FILTER_IDS:
        activation = Nnpfa.activate(nnpfc_id)
        assert len(activation.to_payload()) == (2 if nnpfc_id < 127 else 3)
        assert activation.to_payload()[-1] & 7 == 0b101  # one entry, output
        assert parse_nnpfa(activation.to_payload()) == activation


def test_tail_with_prompt_seed_and_shift():
    full = Nnpfa(
        7,
        nnpfa_persistence_flag=True,
        nnpfa_prompt_update_flag=True,
        nnpfa_prompt="sharper",
        nnpfa_seed_update_flag=True,
        nnpfa_seed=4097,
        nnpfa_selected_input_flag=True,
        nnpfa_num_input_pic_shift=2,
    )
    assert parse_nnpfa(full.to_payload()) == full


@pytest.mark.parametrize("tail", ["ffff", "8000", "800000", "80ff00", "80616263", "c0"])
def test_broken_tail_keeps_the_common_part(tail):
    # 10c5 ends at a byte boundary.
    assert parse_nnpfa(bytes.fromhex("10c5" + tail)) == Nnpfa.activate(7)


def test_a_prompt_over_the_limit_is_dropped():
    long = Nnpfa(7, nnpfa_prompt_update_flag=True, nnpfa_prompt="x" * 100).to_payload()
    assert parse_nnpfa(long).nnpfa_prompt == "x" * 100
    assert parse_nnpfa(long, Limits(max_string_bytes=99)) == Nnpfa(7)


def test_cancel_stops_the_syntax():
    assert parse_nnpfa(bytes.fromhex("11ffff")) == Nnpfa.cancel(7)


def test_common_part_is_not_guessed():
    for payload in (b"", b"\x00", b"\x10", bytes.fromhex("10c0")):
        with pytest.raises(TruncatedError):
            parse_nnpfa(payload)


def test_too_many_entries_are_refused_before_they_are_read():
    # ue(64) = 0000001000001
    payload = int("1000000000001000001" + "1" * 13, 2).to_bytes(4, "big")
    with pytest.raises(BitstreamError, match="nnpfa_num_output_entries"):
        parse_nnpfa(payload)


def test_values_that_cannot_be_written():
    for wrong in (
        Nnpfa(7, nnpfa_cancel_flag=True, nnpfa_persistence_flag=True),
        Nnpfa(7, nnpfa_num_output_entries=2, nnpfa_output_flag=(True,)),
        Nnpfa(7, nnpfa_no_foll_clvs_flag=True),
        Nnpfa(7, nnpfa_prompt="no flag"),
        Nnpfa(7, nnpfa_prompt_update_flag=True),
        Nnpfa(7, nnpfa_num_output_entries=65, nnpfa_output_flag=(True,) * 65),
        Nnpfa(-1),
    ):
        with pytest.raises(ValueError):
            write_nnpfa(wrong)


def test_validation():
    validate_nnpfa(Nnpfa.activate(7))
    with pytest.raises(UnsupportedFeatureError):
        validate_nnpfa(Nnpfa.activate(300))
    with pytest.raises(BitstreamError):
        validate_nnpfa(Nnpfa(7, nnpfa_selected_input_flag=True))
