# SPDX-License-Identifier: Apache-2.0
"""Order, clock and choice of networks: the arithmetic of playing, on made-up times."""

import threading
from dataclasses import replace

import pytest

from nnrvideo.picture import PictureFormat
from nnrvideo.player.clock import MediaClock
from nnrvideo.player.events import Enhanced, FrameInfo
from nnrvideo.player.line import Job, Line
from nnrvideo.player.tiers import TierChooser

HD = PictureFormat(1280, 720)


# -- the line ----------------------------------------------------------------------------------


def result(nets, pts):
    return Enhanced(nets.flat(), FrameInfo(pts, enhanced=False))


def test_results_come_in_order_whoever_is_done_first(nets):
    line = Line(4)
    for pts in range(3):
        assert line.wait_for_room(0)
        line.put(Job(nets.flat(), pts, (), None))
    jobs = [line.take() for _ in range(3)]
    assert line.busy == 3
    for job in reversed(jobs):
        assert line.next(0) is None
        assert line.ready == 0
        assert line.finish(job, result(nets, job.pts))
    assert line.ready == 3
    assert [line.next(0).pts for _ in range(3)] == [0, 1, 2]
    assert line.next(None) is None  # nothing inside: no use in waiting


def test_full_until_a_result_is_taken(nets):
    line = Line(2)
    for pts in range(2):
        line.put(Job(nets.flat(), pts, (), None))
    assert not line.wait_for_room(0)
    line.finish(line.take(), result(nets, 0))
    assert not line.wait_for_room(0)
    line.next(0)
    assert line.wait_for_room(0)


def test_what_was_cleared_is_not_wanted_any_more(nets):
    line = Line(4)
    for pts in range(3):
        line.put(Job(nets.flat(), pts, (), None))
    begun = line.take()
    assert line.clear() == 3
    assert not line.finish(begun, result(nets, 0))
    assert line.next(0) is None
    assert not line.skip(1)


def test_closing_wakes_everybody(nets):
    line = Line(1)
    line.put(Job(nets.flat(), 0, (), None))
    line.take()
    seen = []
    waiters = [
        threading.Thread(target=lambda: seen.append(line.take())),
        threading.Thread(target=lambda: seen.append(line.next(None))),
        threading.Thread(target=lambda: seen.append(line.wait_for_room(None))),
        threading.Thread(target=lambda: seen.append(line.drain())),
    ]
    for waiter in waiters:
        waiter.start()
    line.close()
    for waiter in waiters:
        waiter.join(10)
    assert not any(waiter.is_alive() for waiter in waiters)
    assert not any(seen)


# -- the clock ---------------------------------------------------------------------------------


def test_clock_stops_goes_on_and_is_set():
    now = [100.0]
    clock = MediaClock(lambda: now[0])
    clock.set(5)
    now[0] += 3
    assert clock.time() == 5
    clock.run(running=True)
    now[0] += 2
    assert clock.time() == pytest.approx(7)
    clock.run(running=False)
    now[0] += 10
    assert clock.time() == pytest.approx(7)


def test_clock_follows_the_sound_gently_but_jumps_when_far_off():
    now = [0.0]
    clock = MediaClock(lambda: now[0])
    clock.run(running=True)
    now[0] = 10.0
    assert clock.follow(9.95) == pytest.approx(0.05)
    assert 9.95 < clock.time() < 10
    for _ in range(100):
        clock.follow(9.95)
    assert clock.time() == pytest.approx(9.95, abs=1e-3)
    assert clock.follow(12) == pytest.approx(-2.05, abs=1e-3)
    assert clock.time() == pytest.approx(12)


# -- the choice --------------------------------------------------------------------------------


@pytest.fixture
def tiers(nets):
    """Light, middle and heavy: 1, 4 and 16 kMAC for a sample."""
    base = nets.base(nets.upscaler())
    return [
        (replace(base, nnpfc_id=7 + i, nnpfc_num_kmac_operations_idc=cost), None)
        for i, cost in enumerate((1, 4, 16))
    ]


def seconds(kmac, speed):
    return kmac * 1e3 * HD.width * HD.height / speed


def test_without_a_deadline_the_heaviest_is_the_best(tiers):
    assert TierChooser().choose(tiers, HD, None) is tiers[2]


def test_only_one(tiers):
    assert TierChooser().choose(tiers[:1], HD, 1e-9) is tiers[0]


def test_before_anything_ran_the_messages_decide(tiers):
    chooser = TierChooser()
    assert chooser.choose(tiers, HD, 100.0) is tiers[2]
    assert chooser.choose(tiers, HD, 1e-9) is tiers[0]


def test_ten_pictures_tell_what_fits(tiers):
    """On a machine much faster than was guessed, up; on a slow one, down."""
    for speed, wanted in ((1e12, 2), (20e9, 0)):
        chooser = TierChooser()
        budget = 1 / 30
        for _ in range(40):
            content = chooser.choose(tiers, HD, budget)
            chooser.ran(content, HD, seconds((1, 4, 16)[tiers.index(content)], speed))
        last = chooser.choose(tiers, HD, budget)
        assert last is tiers[wanted], speed
        kmac = (1, 4, 16)[wanted]
        assert chooser.expected(last) == pytest.approx(seconds(kmac, speed))


def test_a_network_that_was_too_late_too_often_is_out(tiers):
    chooser = TierChooser()
    assert chooser.has_lighter(tiers[2], tiers)
    chooser.demote(tiers[2])
    assert chooser.choose(tiers, HD, 100.0) is tiers[1]
    chooser.demote(tiers[1])
    assert chooser.choose(tiers, HD, 100.0) is tiers[0]
    assert not chooser.has_lighter(tiers[0], tiers)


def test_one_slow_picture_in_ten_does_not_count(tiers):
    chooser = TierChooser()
    for index in range(10):
        chooser.ran(tiers[0], HD, 1.0 if index == 4 else 0.01)
    assert chooser.expected(tiers[0]) == 0.01
    chooser.rest(tiers[0])
    assert chooser.expected(tiers[0]) == 0.01


def test_an_update_takes_as_long_as_its_base(nets, tiers):
    chooser = TierChooser()
    base = tiers[0][0]
    chooser.ran(tiers[0], HD, 0.02)
    assert chooser.expected((base, replace(base, nnpfc_base_flag=False))) == 0.02
    for index in range(1000):
        chooser.ran((replace(base, nnpfc_id=7, nnpfc_uri=str(index)), None), HD, 0.5)
    assert chooser.expected(tiers[0]) == 0  # forgotten, as all that is old must be
