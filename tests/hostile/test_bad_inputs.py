# SPDX-License-Identifier: Apache-2.0
"""What a player may be given: each time all pictures come out, in time, and a reason is told."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnrvideo.authoring import embed
from nnrvideo.container import open_media
from nnrvideo.errors import InferenceError
from nnrvideo.model import infer_contract, load_onnx, pack, to_nnpfc
from nnrvideo.nnc import EncodeSettings, encode
from nnrvideo.picture import ChromaFormat, Picture, PictureFormat
from nnrvideo.player import Enhanced, Enhancer, EventKind, enhanced_pictures
from nnrvideo.runtime import OnnxRuntimeBackend, resize_picture
from nnrvideo.sei import Nnpfa, Nnpfc, message_of, pack_records
from nnrvideo.tensors import TensorSet

SIZE, FRAMES = (64, 48), 12
LIFT = 20  # levels by which the network brightens


def lifter():
    """A network that doubles the picture and brightens it, so that it is seen to have run."""
    weights = {
        "w": np.ones((4, 1, 1, 1), np.float32),
        "b": np.full(4, LIFT / 255, np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["many"]),
            helper.make_node("DepthToSpace", ["many"], ["y"], blocksize=2),
        ],
        "lifter",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, "H", "W"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return load_onnx(model.SerializeToString())


NETWORK = lifter()
LOSSLESS = EncodeSettings(lossless=True)
PAYLOAD = pack(NETWORK, LOSSLESS)
BASE = to_nnpfc(infer_contract(NETWORK), None, nnpfc_id=7, payload=PAYLOAD)
START = (message_of(BASE), message_of(Nnpfa.activate(7)))


def picture(seed=0, chroma=ChromaFormat.C420, size=SIZE):
    random = np.random.default_rng(seed)
    form = PictureFormat(*size, chroma)
    return Picture(
        tuple(
            random.integers(0, 200, form.plane_shape(c)).astype(np.uint8)
            for c in range(chroma.planes)
        ),
        chroma,
    )


def send(messages, *, pictures=None, later=(), **settings):
    """Plays pictures with messages before the first, and others before the second."""
    events = []
    pictures = pictures or [picture(seed) for seed in range(3)]
    with Enhancer(on_event=events.append, output_size=(128, 96), **settings) as enhancer:
        results = []
        for pts, one in enumerate(pictures):
            records = pack_records({0: messages, 1: later}.get(pts, ()))
            enhancer.send_side_data(pts, records, clvs_start=pts == 0)
            enhancer.send_frame(one, pts)
            results.append(enhancer.receive(None))
    assert all(isinstance(one, Enhanced) for one in results)
    assert [one.pts for one in results] == list(range(len(pictures)))
    return pictures, results, events


def require_plain(pictures, results):
    for one, result in zip(pictures, results, strict=True):
        assert not result.info.enhanced
        assert result.info.reason
        wanted = resize_picture(one, one.format.scaled(128, 96))
        for got, plane in zip(result.picture.planes, wanted.planes, strict=True):
            assert np.array_equal(got, plane)


def reasons(events, kind):
    return [event.reason for event in events if event.kind is kind]


class Provider:
    """ONNX Runtime, but for what a test changes."""

    def __init__(self, *, load=None, run=None):
        self._inner = OnnxRuntimeBackend(threads=1)
        self.capabilities = self._inner.capabilities
        self._load, self._run = load, run

    def load(self, graph, initializers):
        if self._load is not None:
            raise self._load
        session = self._inner.load(graph, initializers)
        failure, runs = self._run, []

        class Session:
            inputs, outputs = session.inputs, session.outputs
            provider, fallbacks = session.provider, ()

            @staticmethod
            def run(feeds):
                runs.append(feeds)
                if failure is not None and len(runs) > 2:  # behind the warm-up
                    raise failure
                return session.run(feeds)

        return Session()


def test_the_network_that_is_spoilt_here_works():
    _, results, events = send(START)
    assert all(one.info.enhanced for one in results)
    assert not reasons(events, EventKind.NETWORK_REJECTED)


def test_wrong_network_for_the_picture_format():
    wrong = replace(BASE, nnpfc_inp_order_idc=1, nnpfc_out_order_idc=1)  # chroma, of grey pictures
    grey = [picture(seed, ChromaFormat.MONO) for seed in range(3)]
    pictures, results, events = send((message_of(wrong), START[1]), pictures=grey)
    require_plain(pictures, results)
    assert len(reasons(events, EventKind.NETWORK_REJECTED)) == 1


@pytest.mark.parametrize("damage", ["cut", "noise", "other tensor"])
def test_corrupt_update(damage):
    payload = {
        "cut": PAYLOAD[: len(PAYLOAD) // 2],
        "noise": bytes(range(256)),
        "other tensor": encode(TensorSet({"c": np.ones(4, np.float32)}), LOSSLESS),
    }[damage]
    update = Nnpfc(
        nnpfc_purpose=BASE.nnpfc_purpose,
        nnpfc_id=7,
        nnpfc_base_flag=False,
        nnpfc_property_present_flag=False,
        nnpfc_payload_byte=payload,
    )
    later = (message_of(update), message_of(Nnpfa.activate(7, base=False)))
    pictures, results, events = send(START, later=later)
    assert results[0].info.enhanced
    require_plain(pictures[1:], results[1:])
    assert len(reasons(events, EventKind.NETWORK_REJECTED)) == 1


@pytest.mark.parametrize(
    "error",
    [
        InferenceError("NOT_IMPLEMENTED: Could not find an implementation for Conv(11)"),
        MemoryError("bad allocation"),
        RuntimeError("the driver crashed"),
        SystemError("<built-in> returned NULL without setting an exception"),
    ],
)
def test_provider_that_fails_to_load(error):
    """An operator it does not know, no memory, a crash: all the same to the picture."""
    pictures, results, events = send(START, backend=Provider(load=error))
    require_plain(pictures, results)
    (reason,) = reasons(events, EventKind.NETWORK_REJECTED)
    assert str(error) in reason


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("error", [MemoryError("bad allocation"), InferenceError("device lost")])
def test_provider_that_fails_at_work(error, workers):
    provider = Provider(run=error)
    pictures, results, events = send(START, backend=provider, workers=workers)
    require_plain(pictures, results)
    (reason,) = reasons(events, EventKind.ERROR)
    assert str(error) in reason


# -- films ---------------------------------------------------------------------------------------


def play(path):
    events = []
    with open_media(path) as media:
        items = list(enhanced_pictures(media, threads=1, on_event=events.append))
    times = [item.pts for item in items]
    assert all(a < b for a, b in zip(times, times[1:], strict=False))
    assert len({item.picture.format for item in items}) == 1
    return items, events


@pytest.fixture
def film(make_clip, tmp_path):
    def make(name="film.mp4", *, size=SIZE, frames=FRAMES, **options):
        plain = make_clip(tmp_path / f"plain-{name}", size=size, frames=frames, gop=6, **options)
        embed(plain, tmp_path / name, PAYLOAD)
        return tmp_path / name

    return make


def lifted(items):
    return [
        float(np.mean(item.picture.planes[0])) - float(np.mean(item.decoded.planes[0])) > LIFT / 2
        for item in items
    ]


def test_stream_that_changes_size_midway(film, tmp_path):
    first, second = film("a.h264"), film("b.h264", size=(96, 80))
    path = tmp_path / "both.h264"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    items, events = play(path)
    assert len(items) == 2 * FRAMES
    assert {item.decoded.format for item in items} == {PictureFormat(*SIZE), PictureFormat(96, 80)}
    assert items[0].picture.format == PictureFormat(128, 96)
    assert all(item.enhanced for item in items)
    assert lifted(items) == [True] * len(items)
    assert not reasons(events, EventKind.NETWORK_REJECTED)


@pytest.mark.parametrize("order", ["repeats", "jumps back", "jumps ahead"])
def test_timestamps_that_jump_or_repeat(film, tmp_path, order):
    """A transport stream that was cut and put together: its clock begins anew."""
    path = tmp_path / "joined.ts"
    first = film("a.ts").read_bytes()
    second = film("b.ts").read_bytes()
    if order == "jumps ahead":
        times = [Fraction(500) + Fraction(n, 24) for n in range(FRAMES)]
        second = film("c.ts", times=times).read_bytes()
    parts = {"repeats": [first, first], "jumps back": [second, first, first]}
    path.write_bytes(b"".join(parts.get(order, [first, second])))
    items, _ = play(path)
    assert len(items) == FRAMES * len(parts.get(order, [first, second]))
    assert all(item.enhanced for item in items)
    assert lifted(items) == [True] * len(items)


def test_packets_without_a_byte(film, tmp_path):
    """Samples of MP4 may be empty; here the picture's bytes are the next sample's."""
    path = film()
    data = bytearray(path.read_bytes())
    table = data.index(b"stsz") + 4
    assert int.from_bytes(data[table + 8 : table + 12], "big") == FRAMES
    for index in (3, 7):
        place = table + 12 + 4 * index
        here, following = data[place : place + 4], data[place + 4 : place + 8]
        both = int.from_bytes(here, "big") + int.from_bytes(following, "big")
        data[place : place + 8] = (0).to_bytes(4, "big") + both.to_bytes(4, "big")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    with av.open(str(broken)) as container:
        assert 0 in [packet.size for packet in container.demux(video=0)][:FRAMES]
    items, _ = play(broken)
    assert len(items) >= FRAMES - 2
    assert all(item.enhanced for item in items)
    with av.open(str(path)) as container:
        times = {p.pts * p.time_base for p in container.demux(video=0) if p.size}
    # Two pictures of one packet share its time, so the second is put just behind.
    assert all(min(abs(item.pts - time) for time in times) < Fraction(1, 24) for item in items)


@pytest.mark.parametrize("name", ["film.mp4", "film.ts", "film.mkv", "film.h264"])
def test_truncated_film(film, tmp_path, name):
    options = {"muxer_options": {"movflags": "+faststart"}} if name.endswith("mp4") else {}
    path = film(name, **options)
    if name.endswith("mp4"):
        # The index must come first, or nothing at all is left to be played.
        from nnrvideo.container import remux

        remux(path, tmp_path / "front.mp4", options={"movflags": "+faststart"})
        path = tmp_path / "front.mp4"
    whole, _ = play(path)
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    items, _ = play(cut)
    assert 0 < len(items) < len(whole)
    assert all(item.enhanced for item in items)
    known = {item.pts: item.picture for item in whole}
    intact = [item for item in items if item.pts in known]
    assert len(intact) >= len(items) - 1
    for item in intact[:-2]:  # the last ones may be half there
        assert np.array_equal(item.picture.planes[0], known[item.pts].planes[0])
