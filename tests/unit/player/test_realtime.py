# SPDX-License-Identifier: Apache-2.0
"""Deadlines and alternatives in an enhancer with real networks and a clock made by hand."""

import threading
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from nnrvideo.picture import PictureFormat
from nnrvideo.player import Enhanced, Enhancer, EventKind
from nnrvideo.runtime import OnnxRuntimeBackend


class Slow:
    """A backend on which every run takes a second of a clock made by hand."""

    def __init__(self, clock, cost=1.0):
        self._real = OnnxRuntimeBackend(threads=1)
        self.capabilities = self._real.capabilities
        self._clock, self._cost = clock, cost

    def load(self, graph, initializers):
        session, clock, cost = self._real.load(graph, initializers), self._clock, self._cost

        class Session:
            inputs, outputs = session.inputs, session.outputs
            provider, fallbacks = session.provider, ()

            def run(self, feeds):
                clock[0] += cost
                return session.run(feeds)

        return Session()


def test_a_picture_that_is_due_too_soon_is_plain_and_in_time(nets):
    clock = [0.0]
    start = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
    with Enhancer(
        realtime=True, backend=Slow(clock), clock=lambda: clock[0], source=nets.flat().format
    ) as enhancer:
        enhancer.send_side_data(Fraction(0), start, clvs_start=True)
        assert enhancer.wait_for_networks()
        results = []
        # The enhancer has timed no picture yet when the first comes; the clock stands at 1 after
        # the warm-up, the first run brings it to 2.
        for index, due in enumerate((10.0, 3.5, 3.5, 20.0)):
            enhancer.send_frame(nets.flat(), Fraction(index, 25), due=due)
            results.append(enhancer.receive(None).info)
        counts = enhancer.stats()
    # The network's own clock is the processor's; by the clock of the film it takes a second.
    assert results[0].enhanced
    assert results[1].enhanced
    assert not results[2].enhanced or results[2].late
    assert results[3].enhanced
    assert counts.frames_out == 4
    assert counts.late == sum(one.late for one in results)


def test_realtime_waits_for_a_network_while_the_picture_can(nets):
    """The network takes a moment to build; the picture is due much later."""
    gate = threading.Event()

    class Gated:
        def __init__(self):
            self._real = OnnxRuntimeBackend(threads=1)
            self.capabilities = self._real.capabilities

        def load(self, graph, initializers):
            gate.wait(10)
            return self._real.load(graph, initializers)

    start = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
    with Enhancer(realtime=True, backend=Gated(), clock=lambda: 0.0) as enhancer:
        enhancer.send_side_data(Fraction(0), start, clvs_start=True)
        enhancer.send_frame(nets.flat(), Fraction(0), due=60.0)
        assert not isinstance(enhancer.receive(0.05), Enhanced)
        gate.set()
        assert enhancer.receive(None).info.enhanced


def test_networks_are_built_before_the_first_picture_if_its_format_is_known(nets):
    events = []
    start = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
    with Enhancer(
        realtime=True, threads=1, source=nets.flat().format, on_event=events.append
    ) as enhancer:
        enhancer.send_side_data(Fraction(0), start, clvs_start=True)
        assert enhancer.wait_for_networks(30)
        assert [e.kind for e in events] == [EventKind.NETWORK_READY]
        enhancer.send_frame(nets.flat(), Fraction(0))
        enhancer.drain()
        assert enhancer.stats().networks_built == 1


def alternatives(nets):
    light = nets.base(nets.upscaler(9), nnpfc_id=7)
    heavy = nets.base(nets.upscaler(30), nnpfc_id=8)
    cost = {"nnpfc_complexity_info_present_flag": True}
    light = replace(light, nnpfc_num_kmac_operations_idc=1, **cost)
    heavy = replace(heavy, nnpfc_num_kmac_operations_idc=5, **cost)
    return light, heavy


def test_of_two_that_do_the_same_the_heavier_runs_where_time_does_not_matter(nets):
    light, heavy = alternatives(nets)
    start = nets.records(light, heavy, nets.activate(7), nets.activate(8))
    with Enhancer(threads=1) as enhancer:
        enhancer.send_side_data(0, start, clvs_start=True)
        enhancer.send_frame(nets.flat(), 0)
        result = enhancer.receive(None)
        assert result.info.nnpfc_id == 8
        assert result.picture.planes[0][0, 0] == 130


def test_a_lighter_network_comes_before_a_pause(nets):
    light, heavy = alternatives(nets)
    events = []
    start = nets.records(light, heavy, nets.activate(7), nets.activate(8))
    # No network can be that fast, so the heavy one is dropped, and the light one rested.
    with Enhancer(
        realtime=True,
        threads=1,
        deadline=1e-6,
        source=nets.flat().format,
        on_event=events.append,
    ) as enhancer:
        enhancer.send_side_data(Fraction(0), start, clvs_start=True)
        enhancer.wait_for_networks()
        for index in range(60):
            enhancer.send_frame(nets.flat(), Fraction(index, 25), timeout=None)
            enhancer.receive(None)
        kinds = [event.kind for event in events]
        assert EventKind.FALLBACK_ON in kinds
        assert enhancer.stats().pace in ("paused", "off")
        assert enhancer.stats().too_slow > 0


def test_filters_that_do_different_things_are_no_alternatives(nets, caplog):
    """Only the first is applied, as nothing says how to chain them."""
    double = nets.base(nets.upscaler(9), nnpfc_id=7)
    same_size = nets.base(nets.blur(30), nnpfc_id=8)
    start = nets.records(double, same_size, nets.activate(7), nets.activate(8))
    with Enhancer(threads=1) as enhancer:
        enhancer.send_side_data(0, start, clvs_start=True)
        enhancer.send_frame(nets.flat(), 0)
        assert enhancer.receive(None).info.nnpfc_id == 7
    assert "only the first is applied" in caplog.text


def test_many_pictures_in_work_come_out_as_one_by_one(nets):
    def run(workers):
        start = nets.records(nets.base(nets.blur(3)), nets.activate(7))
        with Enhancer(threads=workers, workers=workers, queue_size=8) as enhancer:
            enhancer.send_side_data(0, start, clvs_start=True)
            results = []
            for pts in range(40):
                picture = nets.noise(64, 48, seed=pts)
                while enhancer.send_frame(picture, pts).name == "AGAIN":
                    results.append(enhancer.receive(None))
            enhancer.drain()
            while isinstance(one := enhancer.receive(), Enhanced):
                results.append(one)
        assert [one.pts for one in results] == list(range(40))
        return [b"".join(p.tobytes() for p in one.picture.planes) for one in results]

    assert run(4) == run(1)


def test_a_stream_that_changes_size_midway_keeps_the_output_size(nets):
    start = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
    with Enhancer(threads=2, workers=2) as enhancer:
        enhancer.send_side_data(0, start, clvs_start=True)
        shapes = [(16, 12), (16, 12), (24, 18), (10, 10), (16, 12)]
        for pts, (width, height) in enumerate(shapes):
            enhancer.send_frame(nets.flat(width=width, height=height), pts)
        results = [enhancer.receive(None) for _ in shapes]
    assert {one.picture.format for one in results} == {PictureFormat(32, 24)}
    assert all(one.info.enhanced for one in results)


def test_timestamps_that_jump_and_repeat_are_kept(nets):
    start = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
    times = [Fraction(t) for t in (0, 1, 1, 500, 3, 4)]
    with Enhancer(threads=2, workers=2, realtime=True, deadline=1000) as enhancer:
        enhancer.send_side_data(Fraction(0), start, clvs_start=True)
        for pts in times:
            enhancer.send_frame(nets.flat(), pts)
        results = [enhancer.receive(None) for _ in times]
    assert [one.pts for one in results] == times
    assert {one.picture.format for one in results} == {PictureFormat(32, 24)}


def test_an_update_is_built_before_its_picture_comes(nets):
    base = nets.base(nets.upscaler(9))
    brighter = nets.update(base, {"bias": np.full(4, 20 / 255, np.float32)})
    events = []
    with Enhancer(threads=1, source=nets.flat().format, on_event=events.append) as enhancer:
        enhancer.send_side_data(0, nets.records(base, nets.activate(7)), clvs_start=True)
        enhancer.send_side_data(1, nets.records(brighter, nets.activate(7, base=False)))
        assert enhancer.wait_for_networks(30)
        assert [event.kind for event in events] == [EventKind.NETWORK_READY] * 2
        for pts in range(2):
            enhancer.send_frame(nets.flat(), pts)
        marks = [int(enhancer.receive(None).picture.planes[0][0, 0]) - 100 for _ in range(2)]
        assert marks == [9, 20]
        assert enhancer.stats().networks_built == 2


@pytest.mark.parametrize("error", [RuntimeError("driver crashed"), MemoryError(), OSError("gone")])
def test_a_provider_that_crashes_while_loading_costs_the_enhancement_only(nets, error):
    class Crashing:
        def __init__(self):
            self.capabilities = OnnxRuntimeBackend(threads=1).capabilities

        def load(self, graph, initializers):
            raise error

    events = []
    with Enhancer(backend=Crashing(), on_event=events.append) as enhancer:
        start = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
        enhancer.send_side_data(0, start, clvs_start=True)
        for pts in range(3):
            enhancer.send_frame(nets.flat(), pts)
        results = [enhancer.receive(None) for _ in range(3)]
    assert [one.pts for one in results] == [0, 1, 2]
    assert all(not one.info.enhanced and one.info.reason for one in results)
    assert all(one.picture.format == PictureFormat(32, 24) for one in results)
    assert [event.kind for event in events].count(EventKind.NETWORK_REJECTED) == 1


def test_an_operator_that_the_provider_lacks_costs_the_enhancement_only(nets):
    """Legal, on the list, and not implemented for its type by onnxruntime on a CPU."""
    from nnrvideo.errors import InferenceError

    class Lacking:
        def __init__(self):
            self.capabilities = OnnxRuntimeBackend(threads=1).capabilities

        def load(self, graph, initializers):
            raise InferenceError("NOT_IMPLEMENTED: DepthToSpace", provider="test")

    with Enhancer(backend=Lacking()) as enhancer:
        start = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
        enhancer.send_side_data(0, start, clvs_start=True)
        enhancer.send_frame(nets.flat(), 0)
        result = enhancer.receive(None)
    assert not result.info.enhanced
    assert "NOT_IMPLEMENTED" in result.info.reason
