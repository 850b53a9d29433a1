# SPDX-License-Identifier: Apache-2.0
"""``nnrdescribe``: the same descriptors as from the command line, while the video passes."""

from __future__ import annotations

import importlib.util
import shlex
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import nnrvideo as nv
from nnrvideo.container import VideoWriter
from nnrvideo.descriptors import (
    DescribeOptions,
    Manifest,
    code_model,
    describe,
    learn,
    load,
    load_model,
    parts,
    read_stream,
)
from nnrvideo.descriptors.models import model_message
from nnrvideo.picture import Picture

SECOND = 1_000_000_000


def _helpers():
    path = Path(__file__).parents[1] / "unit/descriptors/conftest.py"
    spec = importlib.util.spec_from_file_location("descriptor_helpers", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    helpers = _helpers()
    folder = tmp_path_factory.mktemp("model")
    (folder / "net.onnx").write_bytes(helpers.backbone_proto().SerializeToString())
    manifest = Manifest(long_side=128, windows=(2, 3), min_quality=0)
    pictures = [helpers.random_rgb(seed) for seed in range(100, 180)]
    model = learn(nv.load_onnx(folder / "net.onnx"), manifest, pictures, dimensions=64)
    path = folder / "model.nnc"
    path.write_bytes(code_model(model))
    return path


@pytest.fixture(scope="module")
def film(make_clip, tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("film") / "film.mp4", frames=60)


def source(film, extract=""):
    return (
        f"filesrc location={film} ! qtdemux ! h264parse ! "
        f"video/x-h264,stream-format=byte-stream,alignment=au ! {extract} avdec_h264 ! "
    )


def test_descriptors_are_those_of_the_command_and_the_video_passes(
    pipeline, film, model_file, tmp_path
):
    location = tmp_path / "out.nvd"
    running = pipeline(
        source(film) + f"nnrdescribe name=d rate=256 model-file={model_file} location={location} "
        "! appsink name=out sync=false"
    )
    plain = pipeline(source(film) + "appsink name=out sync=false")
    assert [f.samples for f in running.frames()] == [f.samples for f in plain.frames()]
    model = load_model(model_file.read_bytes())
    (expected,) = parts(describe(film, model, DescribeOptions(rate=256)))
    (found,) = load(location)
    assert np.array_equal(found.values, expected.values)
    assert found.start == pytest.approx(expected.start, abs=1e-3)
    said = running.said("nnrvideo-descriptors")
    told = [i for each in said for i in read_stream(bytes_of(each["stream"]))]
    assert np.array_equal(parts(told)[0].values, expected.values)
    stats = running["d"].get_property("stats")
    assert stats.get_value("key-frames") == len(expected)


def bytes_of(buffer):
    return buffer.extract_dup(0, buffer.get_size())


def test_descriptors_travel_in_a_transport_stream(launch, film, model_file, tmp_path):
    target = tmp_path / "out.ts"
    line = (
        source(film) + f"nnrdescribe name=d rate=256 model-file={model_file} ! "
        "x264enc speed-preset=ultrafast tune=zerolatency ! h264parse ! queue ! mux. "
        f"mpegtsmux name=mux ! filesink location={target} d.klv ! queue ! mux."
    )
    launch("gst-launch-1.0", "-q", *shlex.split(line))
    model = load_model(model_file.read_bytes())
    (expected,) = parts(describe(film, model, DescribeOptions(rate=256)))
    (found,) = load(target)
    assert np.array_equal(found.values, expected.values)
    assert found.start == pytest.approx(expected.start, abs=1e-3)
    with nv.open_media(target) as media:
        assert sum(1 for _ in media.pictures()) == 60


def test_the_model_and_its_update_come_in_the_film(pipeline, film, model_file, tmp_path):
    sent = tmp_path / "sent.mp4"
    message = model_message(model_file.read_bytes(), nnpfc_id=254)
    nv.embed(film, sent, message, activate=False)
    running = pipeline(
        source(sent, "nnrextract !") + "nnrdescribe name=d rate=256 ! appsink name=out sync=false"
    )
    running.frames()
    said = running.said("nnrvideo-descriptors")
    told = [i for each in said for i in read_stream(bytes_of(each["stream"]))]
    (expected,) = parts(describe(sent, None, DescribeOptions(rate=256)))
    (found,) = parts(told)
    assert found.header.model_id == expected.header.model_id
    assert np.array_equal(found.values, expected.values)
    assert said[0]["start"] == 0
    assert Fraction(said[-1]["end"], SECOND) > 2


def test_segments_ride_on_buffers_as_metas(pipeline, model_file, tmp_path):
    """The buffer that begins a scene carries the descriptors of the one before."""
    helpers = _helpers()
    film = tmp_path / "scenes.mp4"
    with VideoWriter(film, codec="libx264", options={"crf": "10"}) as writer:
        for index in range(50):
            rgb = helpers.random_rgb(500 + index // 25)
            luma = rgb[..., 1].copy()
            chroma = [rgb[::2, ::2, i].copy() for i in (0, 2)]
            writer.write(Picture((luma, *chroma)), Fraction(index, 25))
    running = pipeline(
        source(film) + f"nnrdescribe rate=256 model-file={model_file} ! appsink name=out sync=false"
    )
    metas = []
    while True:
        sample = running.sink.emit("try-pull-sample", 20 * SECOND)
        running.check()
        if sample is None:
            break
        meta = sample.get_buffer().get_custom_meta("nnrvideo-descriptors")
        if meta is not None:
            metas.append(bytes_of(meta.get_structure().get_value("stream")))
    said = [bytes_of(each["stream"]) for each in running.said("nnrvideo-descriptors")]
    assert len(said) == 2
    assert metas == said[:1]


def test_what_cannot_work_says_why(pipeline, tmp_path):
    missing = pipeline(
        f"videotestsrc ! nnrdescribe model-file={tmp_path}/no.nnc ! fakesink", state=None
    )
    assert "no.nnc" in missing.failure()
    wrong = pipeline("videotestsrc ! nnrdescribe rate=100 ! fakesink", state=None)
    assert "rate 100" in wrong.failure()
