# SPDX-License-Identifier: Apache-2.0
"""The policy for networks that are too slow, on made-up times."""

from fractions import Fraction

import pytest

from nnrvideo.player.pace import Pace

FRAME = Fraction(1, 25)


def play(pace, index, seconds):
    """One picture; returns whether the network ran, and whether that began a pause."""
    pts = index * FRAME
    ran = pace.may_run(pts)
    too_often = ran and pace.note(late=seconds > pace.budget(FRAME))
    if too_often:
        pace.rest(pts)
    return ran, too_often


def test_in_time_never_pauses():
    pace = Pace(0.8)
    assert all(play(pace, i, 0.03) == (True, False) for i in range(1000))


def test_a_few_late_pictures_are_forgiven():
    pace = Pace(0.8)
    for index in range(1000):
        late = index % 16 < 5  # five in a row, then eleven in time
        assert play(pace, index, 0.05 if late else 0.01)[0]
    assert not pace.paused


def test_one_in_two_is_too_slow_as_well():
    """A network that finishes every other picture in time would make the film flicker."""
    pace = Pace(0.8)
    started = [play(pace, index, 0.05 if index % 2 else 0.01)[1] for index in range(12)]
    assert started == [False] * 11 + [True]


def test_pauses_grow_and_the_third_is_for_good():
    pace = Pace(0.8)
    runs = [play(pace, i, 1.0)[0] for i in range(25 * 60)]
    starts = [i for i in range(1, len(runs)) if runs[i] and not runs[i - 1]]
    stops = [i for i in range(1, len(runs)) if runs[i - 1] and not runs[i]]
    rests = [start - stop for start, stop in zip(starts, stops, strict=False)]
    assert len(stops) == 3
    assert len(rests) == 2
    assert rests[0] < rests[1]
    assert pace.off
    assert not pace.may_run(10**6)


def test_long_good_conduct_is_rewarded():
    pace = Pace(0.8)
    index = 0
    for _ in range(5):
        while not pace.paused:
            play(pace, index, 1.0)
            index += 1
        while not pace.may_run(index * FRAME):
            index += 1
        for _ in range(700):
            play(pace, index, 0.01)
            index += 1
    assert not pace.off


def test_seek_ends_a_pause_but_not_the_last():
    pace = Pace(0.8)
    for index in range(6):
        play(pace, index, 1.0)
    assert pace.paused
    pace.restart()
    assert pace.may_run(0)
    for index in range(25 * 60):
        play(pace, index, 1.0)
    pace.restart()
    assert not pace.may_run(0)


def test_deadline_is_positive():
    with pytest.raises(ValueError, match="deadline"):
        Pace(0)
