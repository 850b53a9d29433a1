# SPDX-License-Identifier: Apache-2.0
"""Films in, descriptor streams out; networks and descriptors that travel in films."""

from fractions import Fraction

import numpy as np
import pytest

import nnrvideo as nv
from nnrvideo.container import VideoWriter, remux
from nnrvideo.container.timed import copy_with_timed, read_timed
from nnrvideo.descriptors import (
    DescribeOptions,
    Form,
    Header,
    Segment,
    code_model,
    describe,
    load,
    load_model,
    parts,
    save,
    write_stream,
)
from nnrvideo.descriptors.files import packets
from nnrvideo.descriptors.keyframes import RATE_POINTS, Decision, KeyFrameSelector
from nnrvideo.descriptors.models import StreamModels, model_message
from nnrvideo.descriptors.package import WHITENING
from nnrvideo.descriptors.stream import MAGIC
from nnrvideo.errors import BitstreamError, ModelError
from nnrvideo.model import Received, diff, receive
from nnrvideo.picture import ChromaFormat, Picture
from nnrvideo.sei import message_of, pack_records

from .conftest import random_rgb

RATE = Fraction(25)


def picture(rgb):
    """4:4:4 by the matrix of BT.601, full range."""
    r, g, b = (rgb[..., i].astype(float) for i in range(3))
    y = 0.299 * r + 0.587 * g + 0.114 * b
    planes = [y, 128 + (b - y) * 0.5 / 0.886, 128 + (r - y) * 0.5 / 0.701]
    samples = tuple(np.clip(np.rint(p), 0, 255).astype(np.uint8) for p in planes)
    from nnrvideo.picture import ColourDescription

    return Picture(samples, ChromaFormat.C444, 8, ColourDescription(full_range_flag=True))


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    """Three scenes of a second, each with a pan; near-lossless H.264."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with VideoWriter(path, codec="libx264", options={"crf": "10", "g": "25"}) as writer:
        for index in range(75):
            wide = random_rgb(500 + index // 25, 72, 160)
            offset = index % 25
            writer.write(picture(wide[:, offset : offset + 128]), index / RATE)
    return path


def segments(items):
    return [item for item in items if isinstance(item, Segment)]


def values(items):
    return np.concatenate([segment.values for segment in segments(items)])


def test_scenes_become_segments(film, model):
    items = list(describe(film, model, DescribeOptions(rate=256)))
    found = segments(items)
    starts = [float(segment.start * items[0].time_base) for segment in found]
    assert len(found) == 3
    assert starts == pytest.approx([0, 1, 2], abs=0.2)
    assert float(found[-1].end * items[0].time_base) == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("form", [Form(0, 4), Form(256, 4), Form(512, 1)])
def test_runs_and_threads_give_the_same_bytes(film, model, form):
    streams = {
        write_stream(describe(film, model, DescribeOptions(form=form, threads=threads)))
        for threads in (1, 2, 1)
    }
    assert len(streams) == 1


def test_a_picture_is_a_second_of_video(tmp_path, model):
    from nnrvideo.container import png_bytes

    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(random_rgb(1)))
    items = list(describe(path, model))
    (only,) = segments(items)
    assert (only.end - only.start) * items[0].time_base == 1
    assert len(only.times) == 1


def test_caps_are_kept_by_leaving_key_frames_out(film, model, monkeypatch):
    from dataclasses import replace

    cap = 400  # bytes a second; far below what key frames at every change take
    dense = replace(RATE_POINTS[256], step=1, change=0.001)
    monkeypatch.setitem(RATE_POINTS, 256, dense)
    free = list(describe(film, model, DescribeOptions(form=Form(1024, 4), rate=256)))
    monkeypatch.setitem(RATE_POINTS, 256, replace(dense, bytes_per_second=cap))
    kept = list(describe(film, model, DescribeOptions(form=Form(1024, 4), rate=256)))
    assert len(values(kept)) < len(values(free))
    for segment in segments(kept):
        size = len(write_stream([kept[0], segment])) - len(write_stream([kept[0]]))
        seconds = (segment.end - segment.start) * kept[0].time_base
        assert size <= cap * seconds or len(segment.times) == 1


def test_the_selector_asks_for_a_match_only_where_it_decides():
    def signature(bin_):
        found = np.zeros((3, 32))
        found[:, bin_] = 1
        return found

    selector = KeyFrameSelector(256)
    refuse = pytest.fail
    assert selector.decide(signature(0), Fraction(0), refuse) is Decision.NEW_SEGMENT
    assert selector.decide(signature(0), Fraction(1, 2), refuse) is Decision.NOTHING
    assert selector.decide(signature(0), Fraction(1), refuse) is Decision.KEY_FRAME
    assert selector.decide(signature(0), Fraction(3, 2), refuse) is Decision.NOTHING
    assert selector.decide(signature(1), Fraction(2), lambda: True) is Decision.KEY_FRAME
    assert selector.decide(signature(2), Fraction(3), lambda: False) is Decision.NEW_SEGMENT
    assert [selector.looks() for _ in range(6)] == [True, False, False, False, False, True]
    with pytest.raises(ValueError, match="rate"):
        KeyFrameSelector(100)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_descriptors_travel_beside_the_film(film, model, tmp_path, suffix):
    items = list(describe(film, model, DescribeOptions(rate=256)))
    path = tmp_path / f"described{suffix}"
    copy_with_timed(film, path, packets(items))
    copied = tmp_path / f"copied{suffix}"
    remux(path, copied)
    for each in (path, copied):
        (found,) = load(each)
        assert np.array_equal(found.values, values(items))
        assert found.header.model_id == model.model_id
    with nv.open_media(path) as media:
        assert sum(1 for _ in media.pictures()) == 75


def test_a_film_without_descriptors_says_so(film, tmp_path):
    with pytest.raises(BitstreamError, match="no descriptors"):
        load(film)
    assert list(read_timed(film, MAGIC)) == []


def test_files_keep_everything(film, model, tmp_path):
    items = list(describe(film, model))
    path = tmp_path / "film.nvd"
    assert save(path, items) == path.stat().st_size
    (found,) = load(path)
    (expected,) = parts(items)
    assert np.array_equal(found.start, expected.start)
    assert np.array_equal(found.end, expected.end)
    assert np.all(found.start[1:] <= found.end[:-1] + 1e-9)


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_the_network_travels_in_the_film(film, model, tmp_path, suffix):
    """Sender and receiver make the same bits, and an update changes the id at its picture."""
    bitstream = code_model(model, bit_depth=8)
    base = receive(bitstream)
    tensors = dict(base.network.tensors)
    tensors["w2"] = tensors["w2"] * np.float32(0.5) + np.float32(0.02)
    update = diff(base, tensors)
    path = tmp_path / f"sent{suffix}"
    message = model_message(bitstream, nnpfc_id=254)
    nv.embed(film, path, message, updates={Fraction(1): update}, activate=False)
    found = list(describe(path))
    headers = [item for item in found if isinstance(item, Header)]
    sender = load_model(bitstream)
    after = receive(update, receive(bitstream))
    from nnrvideo.descriptors import descriptor_model

    assert [h.model_id for h in headers] == [
        sender.model_id,
        descriptor_model(after.network).model_id,
    ]
    switch = found.index(headers[1])
    # An MPEG-TS may start later than the film it was made of.
    own = [segment for segment in segments(describe(film, sender)) if segment.start < 90_000]
    mine = np.concatenate([s.values for s in segments(found[:switch])])
    assert np.array_equal(mine, values(own)[: len(mine)])
    assert len(mine) > 0
    first, second = parts(found)
    assert first.end[-1] == pytest.approx(second.start[0], abs=0.05)
    assert len(second) > 0


def test_players_of_filters_leave_a_descriptor_model_alone(film, model, tmp_path):
    path = tmp_path / "sent.mp4"
    nv.embed(film, path, model_message(code_model(model), nnpfc_id=254), activate=False)
    with nv.open_media(film) as plain, nv.open_media(path) as media, nv.Enhancer() as enhancer:
        originals = plain.pictures()
        for item in media.events():
            if isinstance(item, nv.SideData):
                enhancer.send_side_data(item.pts, item.records, clvs_start=item.clvs_start)
                continue
            enhancer.send_frame(item.picture, item.pts)
            result = enhancer.receive(timeout=None)
            expected = next(originals).picture
            assert all(
                np.array_equal(a, b)
                for a, b in zip(result.picture.planes, expected.planes, strict=True)
            )


def test_a_broken_model_in_the_film_costs_the_descriptors_only(model, caplog):
    bitstream = code_model(model)
    models = StreamModels()
    message = model_message(bitstream, nnpfc_id=254)
    from dataclasses import replace

    damaged = replace(message, nnpfc_payload_byte=bitstream[: len(bitstream) // 2])
    models.take(Fraction(0), pack_records([message_of(damaged)]))
    assert models.due(Fraction(0)) is None
    assert "not used" in caplog.text
    models.take(Fraction(1), b"\xff\xff\xff")
    models.take(Fraction(1), pack_records([message_of(message)]))
    assert models.due(Fraction(1, 2)) is None
    assert models.due(Fraction(1)).model_id == load_model(bitstream).model_id
    models.take(Fraction(2), pack_records([message_of(message)]))
    assert models.due(Fraction(2)) is None


def test_a_filter_is_no_descriptor_model(backbone):
    with pytest.raises(ModelError):
        model_message(nv.pack(backbone), nnpfc_id=254)
    assert Received.of(backbone).network is not None
    assert WHITENING not in backbone.tensors
