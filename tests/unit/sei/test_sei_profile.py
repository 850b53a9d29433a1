# SPDX-License-Identifier: Apache-2.0
"""The writing profile: what nnrvideo sends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nnrvideo.sei import (
    PREFERRED_FILTER_IDS,
    Nnpfc,
    check_writing_profile,
    edition,
    random_access_messages,
)

BASE = Nnpfc(4, 7, nnpfc_pic_width_num_minus1=1, nnpfc_payload_byte=b"network")
UPDATE = Nnpfc(
    4, 7, nnpfc_base_flag=False, nnpfc_property_present_flag=False, nnpfc_payload_byte=b"u"
)


def test_editions():
    assert edition(BASE) == 3
    assert edition(replace(BASE, nnpfc_auxiliary_inp_idc=1)) == 3
    assert edition(replace(BASE, nnpfc_auxiliary_inp_idc=2)) == 4
    assert edition(replace(BASE, nnpfc_purpose=0x40)) == 4
    assert edition(replace(BASE, nnpfc_num_metadata_extension_bits=4)) == 4


def test_preferred_ids():
    assert PREFERRED_FILTER_IDS[:9] == (7, 8, 9, 10, 11, 12, 13, 14, 127)
    assert PREFERRED_FILTER_IDS[-1] == 254


def test_what_the_profile_accepts():
    check_writing_profile(BASE)
    check_writing_profile(UPDATE)


@pytest.mark.parametrize(
    "departure",
    [
        {"nnpfc_id": 15},
        {"nnpfc_purpose": 0x40},
        {"nnpfc_auxiliary_inp_idc": 2},
        {"nnpfc_num_metadata_extension_bits": 4},
        {"nnpfc_chroma_loc_info_present_flag": True},
        {"nnpfc_base_flag": False},
    ],
)
def test_what_it_refuses(departure):
    with pytest.raises(ValueError, match="writing profile"):
        check_writing_profile(replace(BASE, **departure))


def test_base_and_update_must_go_together():
    for base, update in (
        (UPDATE, None),
        (BASE, BASE),
        (BASE, replace(UPDATE, nnpfc_id=8)),
        (BASE, replace(UPDATE, nnpfc_purpose=1)),
    ):
        with pytest.raises(ValueError):
            random_access_messages(base, update)


def test_a_network_that_is_no_filter_may_be_written():
    check_writing_profile(replace(BASE, nnpfc_purpose=0))
