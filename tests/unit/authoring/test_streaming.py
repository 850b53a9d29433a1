# SPDX-License-Identifier: Apache-2.0
"""``StreamEmbedder``: without a view of the film, every picture gets what it shall have."""

from dataclasses import replace
from fractions import Fraction

import pytest

from nnrvideo.authoring import StreamEmbedder, update_message
from nnrvideo.carriage import carriage_for
from nnrvideo.sei import FilterState

AUD = b"\x00\x00\x00\x01\x09\xf0"
IDR = b"\x00\x00\x00\x01\x65\x88\x84"
SLICE = b"\x00\x00\x00\x01\x41\x9a\x24"
# Decoding order with presentation times: I P B b b P ..., twice.
ORDER = [0, 4, 2, 1, 3, 8, 6, 5, 7]


@pytest.fixture
def base():
    from nnrvideo.authoring import describe
    from nnrvideo.data import base_network

    return describe(base_network())


def film(groups=2):
    for group in range(groups):
        for index, time in enumerate(ORDER):
            yield AUD + (IDR if index == 0 else SLICE), Fraction(group * 9 + time)


def applied(units, carriage):
    """Which update applies to each picture, by a receiver that reads the stream."""
    state = FilterState()
    times = []
    for au, time in units:
        events = state.access_unit(time, carriage.messages(au), carriage.is_clvs_start(au))
        assert not [e for e in events if type(e).__name__ == "FilterRejected"]
        times.append(time)
    return {
        int(time): active[0].update and active[0].update.nnpfc_payload_byte
        for time in sorted(times)
        if (active := state.active(time))
    }


def test_updates_begin_at_exactly_their_pictures(base):
    carriage = carriage_for("h264")
    updates = {Fraction(3): b"one", Fraction(6): b"two", Fraction(14): b"three"}
    embedder = StreamEmbedder(
        carriage, base, updates={t: update_message(base, p) for t, p in updates.items()}
    )
    units = [(embedder.access_unit(au, time), time) for au, time in film()]
    expected = {
        t: b"three" if t >= 14 else b"two" if t >= 6 else b"one" if t >= 3 else None
        for t in range(18)
    }
    assert applied(units, carriage) == expected
    assert embedder.positions == 2
    assert embedder.message_bytes > 2 * len(base.nnpfc_payload_byte)


def test_an_update_in_passing_replaces_what_was_planned_later(base):
    carriage = carriage_for("h264")
    embedder = StreamEmbedder(carriage, base, updates={Fraction(5): update_message(base, b"no")})
    units = []
    for au, time in film():
        if time == 4:
            embedder.add_update(time, update_message(base, b"now"))
        units.append((embedder.access_unit(au, time), time))
    assert applied(units, carriage) == {t: b"now" if t >= 4 else None for t in range(18)}


def test_networks_on_board_already_are_replaced_unless_kept(base):
    carriage = carriage_for("h264")
    first = [(StreamEmbedder(carriage, base).access_unit(au, t), t) for au, t in film(1)]
    replaced = StreamEmbedder(carriage, base)
    again = [(replaced.access_unit(au, t), t) for au, t in first]
    assert len(carriage.messages(again[0][0])) == 2
    kept = StreamEmbedder(carriage, base, keep_existing=True)
    assert len(carriage.messages(kept.access_unit(*first[0]))) == 4


def test_without_activation_and_without_slices(base):
    carriage = carriage_for("h264")
    embedder = StreamEmbedder(carriage, base, activate=False)
    assert embedder.access_unit(AUD, Fraction(0)) == AUD
    units = [(embedder.access_unit(au, time), time) for au, time in film(1)]
    assert [len(carriage.messages(au)) for au, _ in units] == [1] + [0] * 8
    assert applied(units, carriage) == {}


def test_leading_pictures_of_a_sequence_bring_the_network_along(base):
    carriage = carriage_for("h264")
    embedder = StreamEmbedder(carriage, base)
    units = [
        (embedder.access_unit(AUD + nal, Fraction(time)), Fraction(time))
        for nal, time in ((IDR, 3), (SLICE, 1), (SLICE, 0), (SLICE, 2), (SLICE, 4))
    ]
    assert set(applied(units, carriage)) == {0, 1, 2, 3, 4}


def test_refuses_what_must_not_be_written(base):
    update = update_message(base, b"x")
    with pytest.raises(ValueError, match="nnpfc_base_flag"):
        StreamEmbedder(carriage_for("h264"), update)
    embedder = StreamEmbedder(carriage_for("h264"), base)
    with pytest.raises(ValueError, match="differs from its base"):
        embedder.add_update(Fraction(0), replace(update, nnpfc_id=8))
