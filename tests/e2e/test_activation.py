# SPDX-License-Identifier: Apache-2.0
"""Networks in films act on exactly the pictures that the messages name, in output order.

Each network of these films leaves a mark in the samples by which it can be told, so the test
looks at the pictures and not at what the enhancer says of them.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnrvideo.authoring import embed
from nnrvideo.container import DecodedPicture, open_media, remux
from nnrvideo.model import diff, infer_contract, load_onnx, pack, receive, to_nnpfc, unpack
from nnrvideo.nnc import EncodeSettings, encode, split_layers
from nnrvideo.player import Enhancer, Feeder, enhanced_pictures
from nnrvideo.runtime import Upscaler, resize_picture
from nnrvideo.sei import FilterState, Nnpfc, parse_records
from nnrvideo.tensors import TensorSet

LOSSLESS = EncodeSettings(lossless=True)
FRAMES = 40
RATE = 24
GOP = 12
DATA = Path(__file__).parents[1] / "conformance/data"
VVC = DATA / "vvc"
# What no encoder at hand writes: VVC, and VP9 with hidden frames.
MADE = {"vvc": VVC / "open.266", "vp9 with hidden frames": DATA / "vp9/altref.webm"}
CONTAINERS = {
    "libx264": ["mp4", "frag.mp4", "mkv", "ts", "h264"],
    "libx265": ["mp4", "frag.mp4", "mkv", "ts", "h265"],
    "libsvtav1": ["mp4", "frag.mp4", "mkv", "webm", "ivf", "obu"],
    "vvc": ["mp4", "frag.mp4", "mkv", "ts", "266"],
    "libvpx-vp9": ["mp4", "frag.mp4", "mkv", "webm"],
    "libvpx": ["mkv", "webm"],
}
CODECS = list(CONTAINERS)
# Leading pictures: shown before the key frame that they follow in the file.
LEADING = {
    "closed": {},
    "open": {"x265-params": "log-level=none:keyint=12:min-keyint=12:bframes=3:open-gop=1"},
    "radl": {"x265-params": "log-level=none:keyint=12:min-keyint=12:bframes=3:open-gop=0:radl=2"},
}


def base(mark: int) -> Nnpfc:
    """A network that doubles the picture and paints luma with ``mark``."""
    weights = {
        "weight": np.zeros((4, 1, 1, 1), np.float32),
        "bias": np.full(4, mark / 255, np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "weight", "bias"], ["many"]),
            helper.make_node("DepthToSpace", ["many"], ["output"], blocksize=2),
        ],
        "painter",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, "h", "w"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, "H", "W"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    network = load_onnx(model.SerializeToString())
    return to_nnpfc(infer_contract(network), None, nnpfc_id=7, payload=pack(network, LOSSLESS))


def update(mark: int) -> Nnpfc:
    bias = TensorSet({"bias": np.full(4, mark / 255, np.float32)})
    return Nnpfc(
        nnpfc_purpose=base(0).nnpfc_purpose,
        nnpfc_id=7,
        nnpfc_base_flag=False,
        nnpfc_property_present_flag=False,
        nnpfc_payload_byte=encode(bias, LOSSLESS),
    )


def marks(path):
    """Mark of each picture in output order, None where it is the plain upscale, and its time."""
    seen = []
    with open_media(path) as media:
        for item in enhanced_pictures(media, threads=1):
            luma = item.picture.planes[0]
            plain = resize_picture(item.decoded, item.picture.format, Upscaler.BICUBIC)
            if np.array_equal(luma, plain.planes[0]):
                seen.append((item.pts, None))
            else:
                assert luma.min() == luma.max()
                seen.append((item.pts, int(luma[0, 0])))
    assert [time for time, _ in seen] == sorted({time for time, _ in seen})
    return [mark for _, mark in seen]


def at(frame: int) -> Fraction:
    return Fraction(frame, RATE)


def clip(make_clip, path, codec="libx264", gop="closed"):
    if codec == "vvc":  # there is no encoder at hand
        remux(VVC / f"{gop}.266", path)
        return path
    return make_clip(path, codec=codec, frames=FRAMES, gop=GOP, options=LEADING[gop])


@pytest.mark.parametrize(("codec", "suffix"), [(c, s) for c in CODECS for s in CONTAINERS[c]])
@pytest.mark.parametrize("persistent", [True, False])
def test_from_one_picture_to_another(make_clip, tmp_path, codec, suffix, persistent):
    kind = "mkv" if codec == "libvpx" else "mp4"
    film, whole = clip(make_clip, tmp_path / f"clip.{kind}", codec), tmp_path / f"net.{kind}"
    with open_media(film) as media:
        times = sorted(unit.time for unit in media.access_units())
    embed(film, whole, base(40), start=times[5], end=times[31], persistent=persistent)
    path = tmp_path / f"copy.{suffix}"
    remux(whole, path, fragmented=suffix == "frag.mp4")
    assert marks(path) == [None] * 5 + [40] * 26 + [None] * 9


@pytest.mark.parametrize("codec", CODECS)
def test_every_update_holds_until_the_next(make_clip, tmp_path, codec):
    film = clip(make_clip, tmp_path / "clip.mkv", codec)
    embed(
        film, tmp_path / "net.mkv", base(40),
        updates={at(7): update(80), at(24): update(120), at(33): update(160)},
    )  # fmt: skip
    assert marks(tmp_path / "net.mkv") == [40] * 7 + [80] * 17 + [120] * 9 + [160] * 7


def test_updates_of_differences_each_relative_to_the_base(make_clip, tmp_path):
    """What ``diff`` makes: TCA, the base named by its weights, and no memory of other updates."""
    film = clip(make_clip, tmp_path / "clip.mp4", "libx265")
    message = base(40)
    received = receive(message.nnpfc_payload_byte)

    def moved(mark: int) -> bytes:
        bias = np.full(4, mark / 255, np.float32)
        return diff(received, {"bias": bias}, EncodeSettings(nonweight_qp=-60))

    embed(film, tmp_path / "net.mp4", message, updates={at(7): moved(80), at(24): moved(120)})
    assert marks(tmp_path / "net.mp4") == [40] * 7 + [80] * 17 + [120] * 16


def test_an_update_of_another_network_costs_the_enhancement(make_clip, tmp_path):
    film = clip(make_clip, tmp_path / "clip.mp4")
    other = receive(base(99).nnpfc_payload_byte)
    wrong = diff(other, {"bias": np.full(4, 0.5, np.float32)})
    embed(film, tmp_path / "net.mp4", base(40), updates={at(7): wrong})
    assert marks(tmp_path / "net.mp4") == [40] * 7 + [None] * 33


def test_a_layered_network(make_clip, tmp_path):
    film = clip(make_clip, tmp_path / "clip.mp4")
    message = base(40)
    network = unpack(message.nnpfc_payload_byte).require_network()
    layered = pack(network, EncodeSettings(nonweight_qp=-60), layers=(4, 2, 2))
    assert len(split_layers(layered)) == 3
    embed(film, tmp_path / "net.mp4", replace(message, nnpfc_payload_byte=layered))
    assert marks(tmp_path / "net.mp4") == [40] * FRAMES


@pytest.mark.parametrize("gop", LEADING)
def test_without_times_every_picture(make_clip, tmp_path, gop):
    film = clip(make_clip, tmp_path / "clip.mp4", "libx265", gop)
    embed(film, tmp_path / "net.mp4", base(40))
    assert marks(tmp_path / "net.mp4") == [40] * FRAMES


@pytest.mark.parametrize("suffix", CONTAINERS["vvc"])
@pytest.mark.parametrize("gop", ["open", "closed"])
def test_every_picture_of_vvc(tmp_path, gop, suffix):
    """Here pictures lead even the first random access point of the file."""
    embed(VVC / f"{gop}.266", tmp_path / f"net.{suffix}", base(40), updates={at(20): update(80)})
    assert marks(tmp_path / f"net.{suffix}") == [40] * 20 + [80] * 20


@pytest.mark.parametrize("gop", ["open", "radl"])
def test_leading_pictures(make_clip, tmp_path, gop):
    """A random access point and its leading pictures, where a filter starts with the point."""
    film = clip(make_clip, tmp_path / "clip.mp4", "libx265", gop)
    with open_media(film) as media:
        units = list(media.access_units())
    times = [unit.time for unit in units]
    first = min(times)
    joins = [u.time for u in units if u.is_keyframe]
    leads = [time < max(times[: i + 1]) for i, time in enumerate(times)]
    assert len(joins) >= 3
    assert any(leads)
    embed(film, tmp_path / "net.mp4", base(40), start=joins[1], end=joins[2])
    before = round((joins[1] - first) * RATE)
    during = round((joins[2] - joins[1]) * RATE)
    expected = [None] * before + [40] * during
    assert marks(tmp_path / "net.mp4") == expected + [None] * (FRAMES - len(expected))


def test_sequence_that_does_not_repeat_the_network_has_none(make_clip, tmp_path):
    film = clip(make_clip, tmp_path / "clip.mp4")
    embed(film, tmp_path / "net.mp4", base(40), end=at(GOP))
    assert marks(tmp_path / "net.mp4") == [40] * GOP + [None] * (FRAMES - GOP)


def test_network_on_board_and_never_activated(make_clip, tmp_path):
    film = clip(make_clip, tmp_path / "clip.mp4")
    embed(film, tmp_path / "net.mp4", base(40), activate=False)
    assert marks(tmp_path / "net.mp4") == [None] * FRAMES


def test_a_second_filter_takes_over(make_clip, tmp_path):
    film = clip(make_clip, tmp_path / "clip.mp4")
    second = replace(base(80), nnpfc_id=8)
    embed(film, tmp_path / "one.mp4", base(40), end=at(17))
    embed(tmp_path / "one.mp4", tmp_path / "two.mp4", second, start=at(17), keep_existing=True)
    assert marks(tmp_path / "two.mp4") == [40] * 17 + [80] * (FRAMES - 17)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("codec", [*MADE, *(codec for codec in CODECS if codec not in MADE)])
def test_pictures_and_messages_meet_whatever_the_threads(
    make_clip, number_of, tmp_path, codec, threads
):
    """The number in the picture is that of the access unit whose messages have its time."""
    film = tmp_path / "clip.mkv"
    if codec in MADE:
        remux(MADE[codec], film)
    else:
        make_clip(film, codec=codec, frames=FRAMES, gop=GOP, numbers=True)
    with open_media(film) as media:
        times = sorted(unit.time for unit in media.access_units())
    embed(
        film, tmp_path / "net.mkv", base(40), start=times[5], end=times[31], persistent=False
    )  # fmt: skip
    active, shown = set(), {}
    with open_media(tmp_path / "net.mkv") as media:
        for item in media.events(threads=threads):
            if isinstance(item, DecodedPicture):
                shown[item.pts] = number_of(item.picture.planes[0])
                assert number_of(item.picture.planes[0]) == item.index
            elif any(m.payload_type == 211 for m in parse_records(item.records)):
                active.add(item.pts)
    assert len(shown) == FRAMES
    assert sorted(shown[pts] for pts in active) == list(range(5, 31))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("codec", [*MADE, *(codec for codec in CODECS if codec not in MADE)])
def test_joining_in_the_middle(make_clip, number_of, tmp_path, codec, suffix):
    """A seek finds base, update and activation again, without anything before."""
    film = tmp_path / "clip.mkv"
    if codec in MADE:
        remux(MADE[codec], film)
    else:
        make_clip(film, codec=codec, frames=FRAMES, gop=GOP, numbers=True)
    if (codec, suffix) == ("libvpx", "mp4"):
        suffix = "webm"  # MP4 holds no VP8
    with open_media(film) as media:
        times = sorted(unit.time for unit in media.access_units())
    net = tmp_path / f"net.{suffix}"
    embed(film, net, base(40), updates={times[9]: update(80), times[37]: update(120)})
    state = FilterState()
    seen = []

    def hear(item) -> None:
        state.access_unit(item.pts, parse_records(item.records), item.clvs_start)

    with open_media(net) as media:
        start = sorted(unit.time for unit in media.access_units())[34]
        for item in media.pictures(hear, start=start):
            (active,) = state.active(item.pts)
            assert not active.activation.nnpfa_target_base_flag
            seen.append((number_of(item.picture.planes[0]), active.update))
    assert seen == [(n, update(80) if n < 37 else update(120)) for n in range(34, FRAMES)]


@pytest.mark.parametrize("codec", CODECS)
def test_random_seeks_find_the_network_of_each_picture(make_clip, tmp_path, codec):
    """A player that jumps about: every picture has its network, and nothing is built twice."""
    film = clip(make_clip, tmp_path / "clip.mkv", codec)
    with open_media(film) as media:
        times = sorted(unit.time for unit in media.access_units())
    embed(
        film, tmp_path / "net.mkv", base(40),
        updates={times[7]: update(80), times[24]: update(120), times[33]: update(160)},
    )  # fmt: skip
    wanted = [40] * 7 + [80] * 17 + [120] * 9 + [160] * 7
    random = np.random.default_rng(5)
    with (
        open_media(tmp_path / "net.mkv") as media,
        Enhancer(threads=2, workers=2, source=media.video.format) as enhancer,
    ):
        times = sorted(unit.time for unit in media.access_units())
        for _ in range(100):
            start = int(random.integers(0, FRAMES))
            length = int(random.integers(1, 6))
            feeder = Feeder(media, enhancer, start=times[start])
            shown = []
            for decoded in feeder:
                result = enhancer.receive(None)
                assert result.pts == decoded.pts
                shown.append(int(result.picture.planes[0][0, 0]))
                if len(shown) == length:
                    break
            feeder.stop()
            assert shown == wanted[start : start + length]
        assert enhancer.stats().networks_built == 4
