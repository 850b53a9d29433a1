# SPDX-License-Identifier: Apache-2.0
"""Which access unit carries which message, judged by what a receiver makes of them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrvideo.authoring import FilterPlan, UnitTiming, schedule
from nnrvideo.sei import FilterState, Nnpfc

BASE = Nnpfc(
    nnpfc_purpose=0x01,
    nnpfc_id=7,
    nnpfc_component_last_flag=False,
    nnpfc_inp_order_idc=0,
    nnpfc_patch_width_minus1=15,
    nnpfc_patch_height_minus1=15,
    nnpfc_payload_byte=b"base",
)


def update(number):
    return Nnpfc(
        nnpfc_purpose=0x01,
        nnpfc_id=7,
        nnpfc_base_flag=False,
        nnpfc_property_present_flag=False,
        nnpfc_payload_byte=b"update %d" % number,
    )


def film(groups):
    """Timings in decoding order; a group is its kind of start and its times in decoding order."""
    return [
        UnitTiming(Fraction(time), kind == "idr" and not at, not at)
        for kind, times in groups
        for at, time in enumerate(times)
    ]


def heard(units, messages, skip=0):
    """Payload active at each time, for a receiver that joins at unit ``skip``."""
    state = FilterState()
    for index, unit in enumerate(units):
        if index >= skip:
            start = unit.clvs_start or index == skip
            events = state.access_unit(unit.time, messages.get(index, ()), start)
            # Pictures that lead a join are dropped by the decoder, whatever they would need.
            if unit.time >= units[skip].time:
                assert not [e for e in events if hasattr(e, "reason")], events
    result = {}
    for unit in sorted(units[skip:], key=lambda u: u.time):
        found = state.active(unit.time)
        assert len(found) <= 1
        result[unit.time] = (found[0].update or found[0].base).nnpfc_payload_byte if found else None
    return result


def wanted(units, plan):
    return {
        unit.time: (
            (plan.update_at(unit.time) or plan.base).nnpfc_payload_byte
            if plan.is_active(unit.time)
            else None
        )
        for unit in units
    }


REORDERED = film([("idr", [0, 3, 1, 2]), ("cra", [8, 5, 4, 6, 7]), ("idr", [12, 10, 9, 11, 13])])


@st.composite
def plans(draw):
    times = st.fractions(0, 14, max_denominator=2)
    bounds = sorted(draw(st.sets(times, max_size=6)))
    if len(bounds) % 2:
        bounds.append(None)
    if draw(st.booleans()):
        bounds = [None, *bounds[1:]] if bounds else [None, None]
    spans = tuple(zip(bounds[::2], bounds[1::2], strict=True))
    updates = sorted(draw(st.sets(times, max_size=3)))
    return FilterPlan(
        BASE,
        tuple(
            (time, None if draw(st.booleans()) else update(number))
            for number, time in enumerate(updates)
        ),
        spans=spans,
        persistent=draw(st.booleans()),
    )


REPEATS = st.sampled_from([Fraction(0), Fraction(6), Fraction(100)])


@settings(max_examples=300, deadline=None)
@given(plans(), st.sampled_from(["random-access", "clvs-start"]), REPEATS)
def test_receiver_from_the_start_filters_exactly_what_is_planned(plan, positions, repeat):
    messages = schedule(REORDERED, plan, positions, repeat=repeat)
    assert heard(REORDERED, messages) == wanted(REORDERED, plan)


@settings(max_examples=200, deadline=None)
@given(plans())
def test_receiver_that_joins_later(plan):
    """From the first picture that it can decode; leading pictures are dropped by its decoder."""
    messages = schedule(REORDERED, plan, "random-access")
    for skip in (4, 9):
        first = REORDERED[skip].time
        got = heard(REORDERED, messages, skip)
        expected = wanted(REORDERED, plan)
        assert {t: p for t, p in got.items() if t >= first} == {
            time: payload for time, payload in expected.items() if time >= first
        }


def bases(messages):
    return sorted(index for index, items in messages.items() if b"base" in items[0].payload)


def test_a_network_that_was_sent_lately_is_not_repeated():
    plan = FilterPlan(BASE)
    assert bases(schedule(REORDERED, plan)) == [0, 4, 9, 11]
    assert bases(schedule(REORDERED, plan, repeat=Fraction(8))) == [0, 4, 9, 11]
    # A new CLVS knows nothing of the one before, however lately that was.
    assert bases(schedule(REORDERED, plan, repeat=Fraction(9))) == [0, 9, 11]
    # What was not needed then is sent now.
    late = FilterPlan(BASE, spans=((Fraction(9), None),))
    assert bases(schedule(REORDERED, late, repeat=Fraction(9))) == [9, 11]


def test_no_activation_but_on_board():
    messages = schedule(REORDERED, FilterPlan(BASE, activate=False))
    assert sorted(messages) == [0, 4, 9, 11]  # 11: shown first of those that lead the second IDR
    assert set(heard(REORDERED, messages).values()) == {None}


def test_nothing_is_sent_where_nothing_is_filtered():
    plan = FilterPlan(BASE, spans=((Fraction(13), Fraction(14)),))
    assert min(schedule(REORDERED, plan)) == 9
    assert not schedule(REORDERED, FilterPlan(BASE, spans=((Fraction(90), None),)))


def test_impossible_plans():
    with pytest.raises(ValueError, match="ends before"):
        FilterPlan(BASE, spans=((Fraction(2), Fraction(2)),))
    with pytest.raises(ValueError, match="overlap"):
        FilterPlan(BASE, spans=((Fraction(2), Fraction(4)), (Fraction(3), None)))
    with pytest.raises(ValueError, match="increase"):
        FilterPlan(BASE, ((Fraction(2), update(0)), (Fraction(1), update(1))))
