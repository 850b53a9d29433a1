# SPDX-License-Identifier: Apache-2.0
"""MPEG-TS that lost packets: the film plays on, and the next random access point restores all."""

from __future__ import annotations

import random

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnrvideo.authoring import embed
from nnrvideo.container import open_media
from nnrvideo.errors import NnrVideoError
from nnrvideo.model import infer_contract, load_onnx, pack, to_nnpfc
from nnrvideo.nnc import EncodeSettings
from nnrvideo.player import enhanced_pictures
from nnrvideo.player.events import EventKind
from nnrvideo.runtime import Upscaler, resize_picture

PACKET = 188
MARK = 40
BALLAST = 3000  # weights that do nothing but make the network some packets long
CODECS = ["libx264", "libx265"]


def painter() -> bytes:
    """A network that doubles the picture and paints luma with the mark."""
    rng = np.random.default_rng(1)
    weights = {
        "weight": np.zeros((4, 1, 1, 1), np.float32),
        "bias": np.full(4, MARK / 255, np.float32),
        "ballast": rng.normal(size=(BALLAST // 30, 30)).astype(np.float32),
        "zero": np.zeros((), np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "weight", "bias"], ["many"]),
            helper.make_node("ReduceMean", ["ballast"], ["mean"], axes=[0, 1], keepdims=0),
            helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
            helper.make_node("Add", ["many", "nothing"], ["painted"]),
            helper.make_node("DepthToSpace", ["painted"], ["output"], blocksize=2),
        ],
        "painter",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, "h", "w"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, "H", "W"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def films(make_clip, tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("loss")
    network = load_onnx(painter())
    payload = pack(network, EncodeSettings(lossless=True))
    assert len(payload) > 30 * PACKET
    message = to_nnpfc(infer_contract(network), None, nnpfc_id=7, payload=payload)
    found = {}
    for codec in CODECS:
        clip = folder / f"{codec}.ts"
        make_clip(clip, codec=codec, frames=60)
        embed(clip, folder / f"net-{codec}.ts", message)
        found[codec] = (folder / f"net-{codec}.ts").read_bytes()
    return found


def lossy(film: bytes, seed: int) -> bytes:
    """The film without some of its packets: single ones and bursts."""
    chance = random.Random(seed)
    packets = [film[at : at + PACKET] for at in range(0, len(film), PACKET)]
    share = chance.choice([0.002, 0.01, 0.04])
    kept, index = packets[:8], 8  # with the tables, without which there is no film
    while index < len(packets):
        if chance.random() < share:
            index += chance.choice([1, 1, 2, 8, 60])
        else:
            kept.append(packets[index])
            index += 1
    return b"".join(kept)


def announced(media) -> list[tuple]:
    """(time, whether the filter applies from there on) where that may change, as it arrived."""
    carriage = media.carriage()
    changes, active, first = [], False, True
    for unit in media.access_units():
        try:
            kinds = {message.payload_type for message in carriage.messages(unit.data)}
        except NnrVideoError:
            kinds = set()
        if carriage.is_clvs_start(unit.data, first=first):
            active = False
        active |= {210, 211} <= kinds
        first = False
        changes.append((unit.time, active))
    return changes


def played(path) -> tuple[list[tuple], int]:
    """(time, mark or None where it is the plain upscale) of each picture; networks built."""
    events, marks = [], []
    with open_media(path) as media:
        for item in enhanced_pictures(media, threads=1, on_event=events.append):
            luma = item.picture.planes[0]
            plain = resize_picture(item.decoded, item.picture.format, Upscaler.BICUBIC).planes[0]
            if np.array_equal(luma, plain):
                marks.append((item.pts, None))
            else:
                assert luma.min() == luma.max()
                marks.append((item.pts, int(luma[0, 0])))
    return marks, sum(event.kind is EventKind.NETWORK_READY for event in events)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("seed", range(12))
def test_lost_packets(films, tmp_path, codec, seed):
    path = tmp_path / "film.ts"
    path.write_bytes(lossy(films[codec], seed))
    with open_media(path) as media:
        changes = announced(media)
        pictures = [item.pts for item in media.pictures()]
    marks, built = played(path)
    assert [time for time, _ in marks] == pictures == sorted(set(pictures))
    for time, mark in marks:
        heard = [active for since, active in changes if since <= time]
        assert mark == (MARK if heard and heard[-1] else None), float(time)
    # However often the network came, it was built once.
    assert built <= 1
    assert built == 1 or all(mark is None for _, mark in marks)


@pytest.mark.parametrize("codec", CODECS)
def test_the_next_random_access_point_restores(films, tmp_path, codec):
    """Packets of the second of five networks are lost, and nothing else."""
    film = films[codec]
    packets = [film[at : at + PACKET] for at in range(0, len(film), PACKET)]
    # payload_unit_start_indicator and random_access_indicator
    starts = [i for i, p in enumerate(packets) if p[1] & 0x40 and p[3] & 0x20 and p[5] & 0x40]
    assert len(starts) == 5
    lost = range(starts[1] + 30, starts[1] + 34)  # inside the network's message
    path = tmp_path / "film.ts"
    path.write_bytes(b"".join(p for i, p in enumerate(packets) if i not in lost))
    marks, built = played(path)
    assert [mark for _, mark in marks] == [MARK] * 12 + [None] * 12 + [MARK] * 36
    assert built == 1
