# SPDX-License-Identifier: Apache-2.0
"""The enhancer with real networks: which picture gets which network, and what else comes out."""

import logging
from fractions import Fraction

import numpy as np
import pytest

from nnrvideo.limits import Limits
from nnrvideo.picture import ChromaFormat, PictureFormat
from nnrvideo.player import Enhanced, Enhancer, EventKind, Status
from nnrvideo.runtime import resize_picture


class Player:
    """Drives an enhancer as a player would: side data, picture, and all results."""

    def __init__(self, **settings):
        self.events = []
        self.results = []
        self.enhancer = Enhancer(on_event=self.events.append, threads=1, **settings)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.enhancer.close()

    def play(self, picture, pts, records=b"", clvs_start=False):
        self.enhancer.send_side_data(pts, records, clvs_start)
        while self.enhancer.send_frame(picture, pts) is Status.AGAIN:
            self.results.append(self.enhancer.receive(None))

    def finish(self):
        self.enhancer.drain()
        while isinstance(result := self.enhancer.receive(), Enhanced):
            self.results.append(result)
        return self.results

    def kinds(self):
        return [event.kind for event in self.events]

    def marks(self, value=100):
        """What the networks added to flat luma, picture by picture; None where plain."""
        return [
            int(r.picture.planes[0][3, 3]) - value if r.info.enhanced else None
            for r in self.finish()
        ]


def test_from_the_signalled_picture_on(nets):
    base = nets.base(nets.upscaler(mark=9))
    with Player() as player:
        for pts in range(6):
            message = {
                0: nets.records(base),
                2: nets.records(nets.activate(7)),
                5: nets.records(nets.cancel(7)),
            }.get(pts, b"")
            player.play(nets.flat(), pts, message, clvs_start=pts == 0)
        assert player.marks() == [None, None, 9, 9, 9, None]
        assert [r.pts for r in player.results] == list(range(6))
        assert {r.picture.format for r in player.results} == {PictureFormat(32, 24)}
        assert player.kinds() == [
            EventKind.NETWORK_ACTIVATED,
            EventKind.NETWORK_READY,
            EventKind.NETWORK_DEACTIVATED,
        ] or player.kinds() == [
            EventKind.NETWORK_ACTIVATED,
            EventKind.NETWORK_DEACTIVATED,
            EventKind.NETWORK_READY,
        ]


def test_activation_without_persistence_is_for_one_picture(nets):
    base = nets.base(nets.upscaler(mark=9))
    with Player() as player:
        for pts in range(4):
            message = nets.records(base, nets.activate(7, persistent=False)) if pts == 1 else b""
            player.play(nets.flat(), pts, message, clvs_start=pts == 0)
        assert player.marks() == [None, 9, None, None]


def test_decoding_order_is_not_output_order(nets):
    """The activation comes with a picture that is decoded early and shown late."""
    base = nets.base(nets.upscaler(mark=9))
    with Player() as player:
        player.enhancer.send_side_data(0, nets.records(base), clvs_start=True)
        player.enhancer.send_side_data(3, nets.records(nets.activate(7)))
        for pts in (1, 2):
            player.enhancer.send_side_data(pts, b"")
        for pts in range(4):
            assert player.enhancer.send_frame(nets.flat(), pts) is Status.OK
        assert player.marks() == [None, None, None, 9]


def test_new_sequence_ends_networks_until_they_are_repeated(nets):
    base = nets.records(nets.base(nets.upscaler(mark=9)), nets.activate(7))
    with Player() as player:
        for pts in range(6):
            message = base if pts in (0, 4) else b""
            player.play(nets.flat(), pts, message, clvs_start=pts in (0, 2, 4))
        assert player.marks() == [9, 9, None, None, 9, 9]
        assert player.enhancer.stats().networks_built == 1  # the repetition cost nothing


def test_update_is_relative_to_the_base_and_not_cumulative(nets):
    base = nets.base(nets.upscaler(mark=9))
    brighter = nets.update(base, {"bias": np.full(4, 20 / 255, np.float32)})
    double = nets.update(base, {"weight": np.full((4, 1, 1, 1), 1.5, np.float32)})
    with Player() as player:
        script = {
            0: nets.records(base, nets.activate(7)),
            1: nets.records(brighter, nets.activate(7, base=False)),
            2: nets.records(double),
            4: nets.records(nets.activate(7)),
        }
        for pts in range(5):
            player.play(nets.flat(), pts, script.get(pts, b""), clvs_start=pts == 0)
        # The second update leaves the bias of the base, not that of the first update.
        assert player.marks() == [9, 20, 50 + 9, 50 + 9, 9]


def test_update_that_does_not_fit_leaves_plain_pictures(nets):
    base = nets.base(nets.upscaler(mark=9))
    wrong = nets.update(base, {"bias": np.zeros(5, np.float32)})
    with Player() as player:
        player.play(nets.flat(), 0, nets.records(base, nets.activate(7)), True)
        player.play(nets.flat(), 1, nets.records(wrong, nets.activate(7, base=False)))
        player.play(nets.flat(), 2, nets.records(nets.activate(7)))
        assert player.marks() == [9, None, 9]
        rejected = [e for e in player.events if e.kind is EventKind.NETWORK_REJECTED]
        assert len(rejected) == 1
        assert "bias" in rejected[0].reason


def test_corrupt_network_costs_the_enhancement_not_the_picture(nets, caplog):
    base = nets.base(nets.upscaler(mark=9))
    payload = bytearray(base.nnpfc_payload_byte)
    payload[len(payload) // 2] ^= 0xFF
    corrupt = nets.base(nets.upscaler(), nnpfc_payload_byte=bytes(payload[:-9]))
    source = nets.noise()
    with caplog.at_level(logging.WARNING), Player() as player:
        for pts in range(5):
            message = nets.records(corrupt, nets.activate(7)) if pts in (0, 3) else b""
            player.play(source, pts, message, clvs_start=pts in (0, 3))
        results = player.finish()
    plain = resize_picture(source, PictureFormat(32, 24))
    for result in results:
        assert not result.info.enhanced
        assert result.info.reason
        assert result.info.nnpfc_id == 7
        for got, wanted in zip(result.picture.planes, plain.planes, strict=True):
            assert np.array_equal(got, wanted)
    assert player.kinds().count(EventKind.NETWORK_REJECTED) == 1
    assert len(caplog.records) == 1
    assert player.enhancer.stats().networks_rejected == 1


def test_unreadable_side_data_is_said_once_and_harmless(nets, caplog):
    with caplog.at_level(logging.WARNING), Player() as player:
        for pts in range(3):
            player.play(nets.flat(), pts, b"\xd2\xff\x00", clvs_start=pts == 0)
        assert player.marks() == [None] * 3
    assert player.kinds() == [EventKind.SIDE_DATA_REJECTED]
    assert len(caplog.records) == 1


def test_too_large_for_the_limits(nets):
    base = nets.base(nets.upscaler())
    with Player(limits=Limits(max_picture_samples=16 * 12)) as player:
        player.play(nets.flat(), 0, nets.records(base, nets.activate(7)), True)
        assert player.marks() == [None]
        assert player.results[0].picture.format == PictureFormat(16, 12)
        assert "max_picture_samples" in player.results[0].info.reason


def test_filter_of_a_kind_that_is_not_implemented_is_named(nets):
    uri = nets.base(
        nets.upscaler(),
        nnpfc_mode_idc=1,
        nnpfc_payload_byte=b"",
        nnpfc_tag_uri="tag:iso.org,2023:15938-17",
        nnpfc_uri="https://example.org/net.nnc",
    )
    with Player() as player:
        player.play(nets.flat(), 0, nets.records(uri, nets.activate(7)), True)
        assert player.marks() == [None]
        assert "example.org" in player.results[0].info.reason


def test_network_by_uri_through_a_resolver(nets):
    base = nets.base(nets.upscaler(mark=9))
    uri = nets.base(
        nets.upscaler(),
        nnpfc_mode_idc=1,
        nnpfc_payload_byte=b"",
        nnpfc_tag_uri="tag:iso.org,2023:15938-17",
        nnpfc_uri="urn:net:1",
    )
    asked = []

    def resolver(tag, name):
        asked.append(name)
        return base.nnpfc_payload_byte

    with Player(resolver=resolver) as player:
        player.play(nets.flat(), 0, nets.records(uri, nets.activate(7)), True)
        assert player.marks() == [9]
    assert asked == ["urn:net:1"]


# -- geometry ----------------------------------------------------------------------------------


def test_fixed_geometry_is_that_of_the_first_network_announced(nets):
    twice, thrice = nets.base(nets.upscaler(9, 2), 7), nets.base(nets.upscaler(5, 3), 8)
    with Player() as player:
        player.play(nets.flat(), 0, nets.records(twice), True)
        assert player.enhancer.output_size == (32, 24)
        player.play(nets.flat(), 1, nets.records(nets.activate(7)))
        player.play(nets.flat(), 2, nets.records(nets.cancel(7), thrice, nets.activate(8)))
        assert player.marks() == [None, 9, 5]
        assert {r.picture.format for r in player.results} == {PictureFormat(32, 24)}


def test_fixed_geometry_by_the_callers_choice(nets):
    base = nets.base(nets.upscaler(9))
    with Player(output_size=(50, 40)) as player:
        assert player.enhancer.output_size == (50, 40)
        player.play(nets.flat(), 0, b"", True)
        player.play(nets.flat(), 1, nets.records(base, nets.activate(7)))
        assert player.marks() == [None, 9]
        assert {r.picture.format for r in player.results} == {PictureFormat(50, 40)}


def test_fixed_geometry_outlives_a_change_of_the_input(nets):
    base = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
    with Player() as player:
        player.play(nets.flat(), 0, base, True)
        player.play(nets.flat(width=20, height=10), 1, base, True)
        assert player.marks() == [9, 9]
        assert {r.picture.format for r in player.results} == {PictureFormat(32, 24)}


def test_dynamic_geometry_follows_the_networks(nets):
    base = nets.base(nets.upscaler(9))
    source = nets.flat()
    with Player(geometry="dynamic") as player:
        player.play(source, 0, nets.records(base), True)
        player.play(source, 1, nets.records(nets.activate(7)))
        assert player.marks() == [None, 9]
        assert player.results[0].picture is source  # nothing to do, nothing copied
        assert player.results[1].picture.format == PictureFormat(32, 24)
        assert player.enhancer.output_size is None


def test_peek_tells_the_size_before_the_picture(nets):
    base = nets.base(nets.upscaler(9))
    for geometry in ("fixed", "dynamic"):
        with Player(geometry=geometry) as player:
            assert player.enhancer.peek(0) is None
            player.enhancer.send_side_data(0, nets.records(base, nets.activate(7)), True)
            assert player.enhancer.peek(0, PictureFormat(16, 12)) == PictureFormat(32, 24)


@pytest.mark.parametrize("size", [(15, 11), (16, 11), (1, 1), (3, 2)])
@pytest.mark.parametrize("chroma", list(ChromaFormat))
def test_odd_sizes(nets, size, chroma):
    base = nets.base(nets.upscaler(9))
    source = nets.flat(width=size[0], height=size[1], chroma=chroma)
    with Player() as player:
        player.play(source, 0, nets.records(base, nets.activate(7)), True)
        player.finish()
        result = player.results[0]
        assert result.info.enhanced, result.info.reason
        assert result.picture.format == PictureFormat(2 * size[0], 2 * size[1], chroma)
        assert (result.picture.planes[0] == 109).all()
        for component, plane in enumerate(result.picture.planes[1:], 1):
            assert (plane == 60 * component).all()


@pytest.mark.parametrize("depth", [10, 12])
def test_deeper_pictures(nets, depth):
    base = nets.base(nets.upscaler(mark=0))
    source = nets.noise(depth=depth)
    with Player() as player:
        player.play(source, 0, nets.records(base, nets.activate(7)), True)
        result = player.finish()[0]
    assert result.info.enhanced, result.info.reason
    assert result.picture.bit_depth == depth
    wanted = source.planes[0].repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(result.picture.planes[0], wanted)


# -- flow --------------------------------------------------------------------------------------


def test_again_when_full_and_when_empty(nets):
    with Player(queue_size=2) as player:
        enhancer = player.enhancer
        assert enhancer.receive() is Status.AGAIN
        assert enhancer.receive(None) is Status.AGAIN  # nothing in work: no use in waiting
        assert enhancer.send_frame(nets.flat(), 0) is Status.OK
        assert enhancer.send_frame(nets.flat(), 1) is Status.OK
        assert enhancer.send_frame(nets.flat(), 2) is Status.AGAIN
        assert enhancer.receive(None).pts == 0
        assert enhancer.send_frame(nets.flat(), 2) is Status.OK
        assert [r.pts for r in player.finish()] == [1, 2]


def test_flush_forgets_pictures_and_networks(nets):
    start = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
    with Player() as player:
        for pts in range(4):
            player.play(nets.flat(), pts, start if pts == 0 else b"", clvs_start=pts == 0)
        player.enhancer.flush()
        assert player.enhancer.receive() is Status.AGAIN
        player.results.clear()
        # Somewhere else, without side data: plain.
        player.play(nets.flat(), 1000, b"", False)
        assert player.marks() == [None]
        player.enhancer.flush()
        player.results.clear()
        # Back at the random access point.
        player.play(nets.flat(), 0, start, True)
        player.play(nets.flat(), 1)
        assert player.marks() == [9, 9]
        assert player.enhancer.stats().networks_built == 1
        counts = player.enhancer.stats()
        assert counts.frames_in == counts.frames_out + counts.flushed


def test_same_stream_same_pictures(nets):
    def run():
        start = nets.records(nets.base(nets.blur(3)), nets.activate(7))
        with Player() as player:
            for pts in range(8):
                player.play(nets.noise(seed=pts), pts, start if pts == 2 else b"", pts == 0)
            return [b"".join(p.tobytes() for p in r.picture.planes) for r in player.finish()]

    assert run() == run()


def test_skipped_picture_comes_out_plain(nets):
    start = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
    with Player() as player:
        # The first picture keeps the worker busy with building the network.
        player.play(nets.flat(), 0, start, True)
        player.play(nets.flat(), 1)
        player.play(nets.flat(), 2)
        assert player.enhancer.skip(2)
        assert not player.enhancer.skip(99)
        assert player.marks() == [9, 9, None]


def test_picture_that_is_late_already_comes_out_plain(nets):
    start = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
    with Player() as player:
        player.play(nets.flat(), 0, start, True)
        assert player.enhancer.send_frame(nets.flat(), 1, plain=True) is Status.OK
        player.play(nets.flat(), 2)
        assert player.marks() == [9, None, 9]


def test_realtime_does_not_wait_for_networks(nets):
    start = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
    with Player(realtime=True, deadline=1000) as player:
        player.play(nets.flat(), Fraction(0), start, True)
        pts = 0
        while EventKind.NETWORK_READY not in player.kinds():
            pts += 1
            player.play(nets.flat(), Fraction(pts, 25))
        player.play(nets.flat(), Fraction(pts + 1, 25))
        marks = player.marks()
        assert marks[-1] == 9
        assert len(marks) == pts + 2
        plain = [r for r in player.results if not r.info.enhanced]
        assert all(r.info.reason == "the network is being prepared" for r in plain)


def test_realtime_rests_a_network_that_is_too_slow(nets):
    start = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
    # No network can be that fast, so every picture by the network is late.
    with Player(realtime=True, deadline=1e-9) as player:
        player.play(nets.flat(), Fraction(0), start, True)
        player.finish()
        while EventKind.NETWORK_READY not in player.kinds():
            player.enhancer.receive(0.01)
        for index in range(1, 400):
            player.play(nets.flat(), Fraction(index, 25))
        results = player.finish()
    kinds = player.kinds()
    assert kinds.count(EventKind.FALLBACK_ON) >= 1
    assert {r.info.reason for r in results} >= {"", "the network is too slow"}
    assert len(results) == 400


def test_a_broken_callback_does_not_stop_the_player(nets, caplog):
    def fail(event):
        raise RuntimeError("display code")

    with Enhancer(on_event=fail, threads=1) as enhancer:
        enhancer.send_side_data(
            0, nets.records(nets.base(nets.upscaler(9)), nets.activate(7)), True
        )
        assert enhancer.send_frame(nets.flat(), 0) is Status.OK
        assert enhancer.receive(None).info.enhanced
    assert "on_event failed" in caplog.text


def test_network_that_fails_while_running_is_reported_once(nets):
    from nnrvideo.errors import InferenceError
    from nnrvideo.runtime import OnnxRuntimeBackend

    class Failing:
        """A backend whose sessions work twice, for the warm-up, and never again."""

        def __init__(self):
            self._inner = OnnxRuntimeBackend(threads=1)

        def capabilities(self):
            return self._inner.capabilities()

        def load(self, graph, initializers):
            session, runs = self._inner.load(graph, initializers), []

            class Session:
                inputs, outputs = session.inputs, session.outputs
                provider, fallbacks = session.provider, ()

                def run(self, feeds):
                    runs.append(1)
                    if len(runs) > 2:
                        raise InferenceError("out of memory", provider="test")
                    return session.run(feeds)

            return Session()

    events = []
    with Enhancer(backend=Failing(), on_event=events.append) as enhancer:
        enhancer.send_side_data(
            0, nets.records(nets.base(nets.upscaler(9)), nets.activate(7)), True
        )
        for pts in range(3):
            assert enhancer.send_frame(nets.flat(), pts) is Status.OK
        results = [enhancer.receive(None) for _ in range(3)]
    assert [r.info.reason for r in results] == ["test: out of memory"] * 3
    assert [e.kind for e in events].count(EventKind.ERROR) == 1
    assert all(r.picture.format == PictureFormat(32, 24) for r in results)


def test_closing_in_the_middle_and_twice(nets):
    enhancer = Enhancer(threads=1)
    enhancer.send_side_data(0, nets.records(nets.base(nets.upscaler(9)), nets.activate(7)), True)
    for pts in range(4):
        enhancer.send_frame(nets.flat(), pts)
    enhancer.close()
    enhancer.close()
    with pytest.raises(ValueError, match="closed"):
        enhancer.send_frame(nets.flat(), 9)
    with pytest.raises(ValueError, match="closed"):
        enhancer.send_side_data(9, b"")


@pytest.mark.parametrize(
    "settings",
    [
        {"geometry": "other"},
        {"output_size": (0, 4)},
        {"queue_size": 0},
        {"max_memory_mib": 0},
        {"fallback": "nearest"},
        {"deadline": 0},
        {"threads": 0},
    ],
)
def test_impossible_settings(settings):
    with pytest.raises(ValueError):
        Enhancer(**settings)
