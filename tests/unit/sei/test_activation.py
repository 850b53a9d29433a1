# SPDX-License-Identifier: Apache-2.0
"""Which filter applies to which picture: scopes in output order, from messages in coding order."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from nnrvideo.limits import Limits
from nnrvideo.sei import (
    FilterAdded,
    FilterRejected,
    FilterState,
    FilterUpdated,
    Nnpfa,
    Nnpfc,
    SeiMessage,
    message_of,
    random_access_messages,
)
from nnrvideo.sei.activation import _TABLE, _Known, _Said

BASE = Nnpfc(1, 7, nnpfc_patch_width_minus1=63, nnpfc_payload_byte=b"base")
UPDATE = Nnpfc(
    1, 7, nnpfc_base_flag=False, nnpfc_property_present_flag=False, nnpfc_payload_byte=b"update"
)
UPDATE_2 = replace(UPDATE, nnpfc_payload_byte=b"second update")
ON = Nnpfa.activate(7)
ON_UPDATE = Nnpfa.activate(7, base=False)
ONCE = Nnpfa.activate(7, persistent=False)
OFF = Nnpfa.cancel(7)


def sei(*payloads) -> list[SeiMessage]:
    return [message_of(payload) for payload in payloads]


def networks(state: FilterState, pts) -> list[bytes]:
    """Payload of base or update in force for each active filter."""
    return [(found.update or found.base).nnpfc_payload_byte for found in state.active(pts)]


def test_the_table_has_a_row_for_everything():
    assert set(_TABLE) == {(known, said) for known in _Known for said in _Said}


def test_nothing_is_filtered_unless_activated():
    state = FilterState()
    assert state.access_unit(0, sei(BASE), clvs_start=True) == [FilterAdded(0, 7, BASE)]
    assert state.active(0) == ()


def test_persistent_activation_lasts_to_the_end_of_the_clvs():
    state = FilterState()
    state.access_unit(0, sei(BASE, ON), clvs_start=True)
    for pts in (1, 2, 3):
        state.access_unit(pts, [])
    state.access_unit(4, [], clvs_start=True)
    assert [networks(state, pts) for pts in range(6)] == [[b"base"]] * 4 + [[], []]


def test_single_picture_activation():
    state = FilterState()
    state.access_unit(0, sei(BASE), clvs_start=True)
    state.access_unit(1, sei(ONCE))
    assert [networks(state, pts) for pts in range(3)] == [[], [b"base"], []]


def test_single_picture_activation_ends_an_earlier_persistence():
    state = FilterState()
    state.access_unit(0, sei(BASE, ON), clvs_start=True)
    state.access_unit(2, sei(ONCE))
    assert [networks(state, pts) for pts in range(4)] == [[b"base"]] * 3 + [[]]


def test_cancel():
    state = FilterState()
    state.access_unit(0, sei(BASE, ON), clvs_start=True)
    state.access_unit(2, sei(OFF))
    state.access_unit(4, sei(ON))
    assert [networks(state, pts) for pts in range(5)] == [[b"base"]] * 2 + [[], []] + [[b"base"]]


def test_cancel_of_nothing_is_silent():
    state = FilterState()
    assert state.access_unit(0, sei(OFF), clvs_start=True) == []


def test_updates_replace_each_other():
    state = FilterState()
    state.access_unit(0, sei(BASE, UPDATE, ON_UPDATE), clvs_start=True)
    assert state.access_unit(2, sei(UPDATE_2)) == [FilterUpdated(2, 7, UPDATE_2)]
    state.access_unit(4, sei(ON))
    assert [networks(state, pts) for pts in range(5)] == [
        [b"update"],
        [b"update"],
        [b"second update"],
        [b"second update"],
        [b"base"],
    ]


def test_active_filter_tells_base_update_and_activation():
    state = FilterState()
    activation = replace(ON_UPDATE, nnpfa_no_prev_clvs_flag=True, nnpfa_no_foll_clvs_flag=True)
    state.access_unit(0, sei(BASE, UPDATE, activation), clvs_start=True)
    (found,) = state.active(0)
    assert (found.base, found.update, found.activation) == (BASE, UPDATE, activation)
    assert found.properties == BASE


def test_an_update_may_bring_properties():
    state = FilterState()
    bigger = replace(BASE, nnpfc_base_flag=False, nnpfc_patch_width_minus1=127)
    state.access_unit(0, sei(BASE, bigger, ON_UPDATE), clvs_start=True)
    (found,) = state.active(0)
    assert found.properties == bigger


def test_output_order_with_b_pictures():
    # Coding order I0 P3 B1 B2; activation at P3, cancel at B2.
    state = FilterState()
    state.access_unit(0, sei(BASE), clvs_start=True)
    state.access_unit(3, sei(ON))
    assert networks(state, 0) == []
    state.access_unit(1, [])
    assert networks(state, 1) == []
    state.access_unit(2, sei(ONCE))
    assert networks(state, 2) == [b"base"]
    assert networks(state, 3) == [b"base"]
    assert networks(state, 4) == [b"base"]


def test_activation_coded_later_but_shown_earlier_does_not_undo_the_other():
    state = FilterState()
    state.access_unit(0, sei(BASE, ON), clvs_start=True)
    state.access_unit(4, sei(OFF))
    state.access_unit(2, sei(ON))
    assert [networks(state, pts) for pts in range(6)] == [[b"base"]] * 4 + [[], []]


def test_next_clvs_may_be_announced_long_before_the_old_one_is_shown():
    state = FilterState()
    state.access_unit(0, sei(BASE, ON), clvs_start=True)
    for pts in (3, 1, 2):
        state.access_unit(pts, [])
    other = replace(BASE, nnpfc_payload_byte=b"other")
    state.access_unit(4, sei(other, ON), clvs_start=True)
    state.access_unit(8, sei(BASE, ON), clvs_start=True)
    assert [networks(state, pts) for pts in range(10)] == (
        [[b"base"]] * 4 + [[b"other"]] * 4 + [[b"base"]] * 2
    )


def test_leading_pictures_belong_to_the_new_clvs():
    state = FilterState()
    state.access_unit(0, sei(BASE, ON), clvs_start=True)
    state.access_unit(1, [])
    # IDR at 5 whose leading pictures are shown at 3 and 4.
    state.access_unit(5, sei(BASE, ON), clvs_start=True)
    state.access_unit(3, [])
    state.access_unit(4, [])
    indices = [state.clvs_index(pts) for pts in range(6)]
    assert indices == [0, 0, 0, 1, 1, 1]
    assert [networks(state, pts) for pts in range(6)] == ([[b"base"]] * 3 + [[], []] + [[b"base"]])


def test_two_filters_in_the_order_of_their_bases():
    state = FilterState()
    other = replace(BASE, nnpfc_id=9, nnpfc_payload_byte=b"nine")
    state.access_unit(0, sei(other, BASE, ON, Nnpfa.activate(9)), clvs_start=True)
    assert networks(state, 0) == [b"nine", b"base"]
    state.access_unit(1, sei(Nnpfa.cancel(9)))
    assert networks(state, 1) == [b"base"]


def test_playing_from_the_middle():
    state = FilterState()
    events = state.access_unit(50, sei(BASE, ON))
    assert events == [FilterAdded(50, 7, BASE)]
    assert networks(state, 49) == []
    assert networks(state, 50) == [b"base"]


def test_flush_forgets():
    state = FilterState()
    state.access_unit(100, sei(BASE, ON), clvs_start=True)
    state.flush()
    assert state.active(100) == ()
    assert state.clvs_index(100) is None
    state.access_unit(10, sei(BASE, ON), clvs_start=True)
    assert networks(state, 10) == [b"base"]


def test_time_that_runs_backwards_is_a_splice():
    state = FilterState()
    state.access_unit(100, sei(BASE, ON), clvs_start=True)
    state.access_unit(0, [], clvs_start=True)
    assert networks(state, 100) == []


def test_time_stamps_may_be_fractions():
    state = FilterState()
    state.access_unit(Fraction(0), sei(BASE, ON), clvs_start=True)
    assert networks(state, Fraction(1, 25)) == [b"base"]


def test_repeated_base_is_silent_and_different_base_is_refused():
    state = FilterState()
    state.access_unit(0, sei(BASE, ON), clvs_start=True)
    assert state.access_unit(1, sei(BASE)) == []
    (event,) = state.access_unit(2, sei(replace(BASE, nnpfc_payload_byte=b"other")))
    assert isinstance(event, FilterRejected)
    assert event.nnpfc_id == 7
    assert networks(state, 2) == [b"base"]


def test_a_base_holds_from_its_picture_on():
    state = FilterState()
    state.access_unit(0, [], clvs_start=True)
    state.access_unit(4, sei(BASE, ON))
    state.access_unit(2, sei(ON))
    assert [networks(state, pts) for pts in (0, 2, 4)] == [[], [], [b"base"]]


def test_each_clvs_needs_its_own_messages():
    state = FilterState()
    state.access_unit(0, sei(BASE, UPDATE, ON), clvs_start=True)
    first = state.access_unit(4, sei(ON), clvs_start=True)
    assert [type(event) for event in first] == [FilterRejected]
    assert "no base" in first[0].reason
    second = state.access_unit(5, sei(BASE, ON_UPDATE))
    assert [type(event) for event in second] == [FilterAdded, FilterRejected]
    assert "no update" in second[1].reason
    assert networks(state, 5) == []


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (sei(UPDATE), "without a base"),
        (sei(ON), "no base"),
        (sei(BASE, ON_UPDATE), "no update"),
        (sei(BASE, replace(UPDATE, nnpfc_purpose=4)), "differ in purpose"),
        (sei(BASE, ON, OFF), "two different activations"),
        (
            sei(BASE, replace(ON, nnpfa_num_output_entries=2, nnpfa_output_flag=(True, True))),
            "2 for 1 outputs",
        ),
        (sei(replace(BASE, nnpfc_id=300)), "reserved"),
        (sei(Nnpfa.activate(300)), "reserved"),
        ([SeiMessage(210, b"\x00\x01\x11")], "nnpfc_mode_idc"),
        ([SeiMessage(210, b"\xff")], "nnpfc_purpose"),
        ([SeiMessage(211, b"")], "nnpfa_target_id"),
    ],
)
def test_a_bad_message_is_an_event_and_said_once(messages, reason):
    state = FilterState()
    (event,) = (
        event
        for event in state.access_unit(0, messages, clvs_start=True)
        if isinstance(event, FilterRejected)
    )
    assert reason in str(event.error)
    again = state.access_unit(10, messages, clvs_start=True)
    assert not [event for event in again if isinstance(event, FilterRejected)]
    state.flush()
    again = state.access_unit(0, messages, clvs_start=True)
    assert not [event for event in again if isinstance(event, FilterRejected)]


def test_identical_activations_in_one_access_unit_are_fine():
    state = FilterState()
    assert state.access_unit(0, sei(BASE, ON, ON), clvs_start=True) == [FilterAdded(0, 7, BASE)]


def test_a_refused_filter_is_not_mourned_by_its_activation():
    state = FilterState()
    reserved = replace(BASE, nnpfc_padding_type=5)
    events = state.access_unit(0, sei(reserved, ON), clvs_start=True)
    assert [event.nnpfc_id for event in events] == [7]
    assert state.access_unit(1, sei(ON)) == []
    assert state.access_unit(2, sei(BASE, ON)) == [FilterAdded(2, 7, BASE)]
    assert networks(state, 2) == [b"base"]


def test_other_messages_of_the_access_unit_survive_a_bad_one():
    state = FilterState()
    state.access_unit(0, [SeiMessage(210, b""), *sei(BASE, ON)], clvs_start=True)
    assert networks(state, 0) == [b"base"]


def test_other_payload_types_are_ignored():
    state = FilterState()
    assert state.access_unit(0, [SeiMessage(5, b""), SeiMessage(999, b"x")]) == []


def test_too_many_filters():
    state = FilterState(Limits(max_filters=2))
    events = state.access_unit(
        0, sei(*(replace(BASE, nnpfc_id=number) for number in range(3))), clvs_start=True
    )
    assert [type(event) for event in events] == [FilterAdded, FilterAdded, FilterRejected]
    assert "max_filters" in events[2].reason


def test_a_caller_that_never_asks_does_not_grow_without_bound():
    limits = Limits(max_filters=1, max_payload_bytes=1000)
    state = FilterState(limits)
    for number in range(2000):
        base = replace(BASE, nnpfc_payload_byte=bytes([number % 256, number // 256]) * 100)
        state.access_unit(number, sei(base, ON), clvs_start=True)
    assert len(state._line) <= 5
    assert networks(state, 1999) == [bytes([1999 % 256, 1999 // 256]) * 100]


def test_an_endless_clvs_with_updates_does_not_grow():
    limits = Limits(max_filters=1, max_payload_bytes=1000)
    state = FilterState(limits)
    state.access_unit(0, sei(BASE, UPDATE, ON_UPDATE), clvs_start=True)
    for number in range(1, 500):
        payload = bytes([number % 256, number // 256]) * 100
        events = state.access_unit(
            number, sei(replace(UPDATE, nnpfc_payload_byte=payload), ON_UPDATE)
        )
        assert [type(event) for event in events] == [FilterUpdated]
        assert networks(state, number) == [payload]
    assert state._bytes <= 1000


def test_networks_of_one_clvs_over_the_limit_are_refused():
    state = FilterState(Limits(max_filters=1, max_payload_bytes=100))
    updates = [replace(UPDATE, nnpfc_payload_byte=bytes([number]) * 40) for number in range(4)]
    kinds = []
    state.access_unit(0, sei(BASE), clvs_start=True)
    for number, update in enumerate(updates):
        kinds += [type(event) for event in state.access_unit(number, sei(update))]
    assert kinds == [FilterUpdated, FilterUpdated, FilterRejected]  # and not said twice


def test_the_same_network_in_each_clvs_is_held_once():
    state = FilterState(Limits(max_filters=1, max_payload_bytes=100))
    big = replace(BASE, nnpfc_payload_byte=bytes(60))
    for pts in (0, 10, 20):
        assert [type(e) for e in state.access_unit(pts, sei(big, ON), clvs_start=True)] == [
            FilterAdded
        ]
    assert [networks(state, pts) for pts in (0, 10, 20)] == [[bytes(60)]] * 3


def test_what_every_random_access_point_repeats():
    messages = random_access_messages(BASE, UPDATE)
    assert messages == tuple(sei(BASE, UPDATE, ON_UPDATE))
    state = FilterState()
    state.access_unit(0, messages, clvs_start=True)
    assert networks(state, 0) == [b"update"]
    assert random_access_messages(BASE) == tuple(sei(BASE, ON))
    assert random_access_messages(BASE, activate=False) == tuple(sei(BASE))
