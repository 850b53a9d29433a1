# SPDX-License-Identifier: Apache-2.0
"""Descriptors on real clips with a real network: from the command line, and why they match."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import nnrvideo as nv
from nnrvideo.cli.main import main
from nnrvideo.container import picture_to_rgb, png_bytes
from nnrvideo.descriptors import Extractor, Form, Manifest, code_model, learn, load_model
from nnrvideo.descriptors.bench.transforms import transformed
from nnrvideo.descriptors.coding import replace_manifest
from nnrvideo.descriptors.files import load
from nnrvideo.descriptors.frames import small_rgb
from nnrvideo.descriptors.manifest import Interoperable
from nnrvideo.descriptors.occlusion import occlusion_map

pytestmark = pytest.mark.slow

NETWORK = "data/models/squeezenet10_fire9.onnx"
SAMPLE = "samples/bbb_sample.mp4"


def frames(path, every, count):
    with nv.open_media(path) as media:
        found = [d.picture for d in media.pictures() if d.index % every == 0]
    return found[:count]


@pytest.fixture(scope="module")
def clips(shared):
    folder = shared / "data/clips"
    if not (shared / NETWORK).exists():
        pytest.skip(f"no {NETWORK} in the shared data")
    return folder


@pytest.fixture(scope="module")
def bitstream(shared, clips, tmp_path_factory):
    pictures = []
    for name in ("bedroom_540p.mp4", "flower_540p.mp4", "blocks_720p.mp4"):
        pictures += [small_rgb(p, 256) for p in frames(clips / name, 12, 10)]
    model = learn(nv.load_onnx(shared / NETWORK), Manifest(), pictures)
    return code_model(model)


@pytest.fixture(scope="module")
def model_file(bitstream, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.nnc"
    path.write_bytes(bitstream)
    return path


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_bits_are_those_of_the_sender_when_the_network_came_in_the_film(
    clips, model_file, tmp_path, suffix
):
    film = clips / "bbb_bunny_1080p60.mp4"
    sent, ours, theirs = tmp_path / f"s.{suffix}", tmp_path / "a.nvd", tmp_path / "b.nvd"
    assert main(["describe-model", str(model_file), "--into", str(film), "-o", str(sent)]) == 0
    assert main(["describe", str(film), "-m", str(model_file), "-o", str(ours)]) == 0
    assert main(["describe", str(sent), "--threads", "2", "-o", str(theirs)]) == 0
    (a,), (b,) = load(ours), load(theirs)
    assert a.header.model_id == b.header.model_id == load_model(model_file.read_bytes()).model_id
    assert np.array_equal(a.values, b.values)
    assert np.array_equal(a.quality, b.quality)


def test_match_search_and_index_by_command(clips, model_file, tmp_path, capsys):
    model, index = ["-m", str(model_file)], str(tmp_path / "library.nvx")
    small, large = clips / "cups_640x360_30.mkv", clips / "cups_720p.mp4"
    drawing = tmp_path / "why.png"
    dense = [*model, "--rate", "256", "--threshold", "0.3"]
    assert main(["match", str(small), str(large), *dense, "--map", str(drawing), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["matches"]
    assert found["query"] == pytest.approx([0, 3], abs=0.3)
    assert drawing.stat().st_size > 1000
    others = [str(clips / "bedroom_540p.mp4"), str(large)]
    assert main(["index", index, *others, *model, "-q"]) == 0
    assert main(["index", index, *others, *model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 0
    page = tmp_path / "hits.html"
    assert main(["search", index, str(small), *model, "--html", str(page), "--json"]) == 0
    assert page.read_text().count("data:image/png") == 2
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert [hit["film"] for hit in hits] == [str(large)]


def test_models_are_mixed_only_when_one_lists_the_other(bitstream, tmp_path, capsys):
    picture = tmp_path / "a.png"
    picture.write_bytes(png_bytes(picture_to_rgb(frames(SAMPLE, 1, 1)[0])))
    first, coarse, listed = (tmp_path / f"{name}.nnc" for name in ("first", "coarse", "listed"))
    first.write_bytes(bitstream)
    model = load_model(bitstream)
    coarse.write_bytes(code_model(model, bit_depth=6))
    entry = Interoperable(model.model_id, 0.9, 0.9, 0.91)
    manifest = replace(model.manifest, interoperable=(entry,))
    listed.write_bytes(replace_manifest(coarse.read_bytes(), manifest))
    streams = {}
    for path in (first, coarse, listed):
        streams[path] = str(path.with_suffix(".nvd"))
        assert main(["describe", str(picture), "-m", str(path), "-o", streams[path], "-q"]) == 0
    assert main(["match", streams[first], streams[coarse]]) == 1
    assert "neither model lists the other" in capsys.readouterr().err
    assert main(["match", streams[first], streams[listed], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["interoperable_models"]
    assert found["score"] > 0.5


def test_the_occlusion_map_points_at_what_is_shared(clips, bitstream):
    """Hiding the block ranked first costs more than hiding 95 % of random regions of its size."""
    extractor = Extractor(load_model(bitstream), Form(0, 1), threads=1)
    original = frames(clips / "cups_720p.mp4", 60, 1)[0]
    (overlaid,) = transformed([original], "logo", lambda: original)
    rgb = small_rgb(overlaid, 256)
    reference = extractor.describe(small_rgb(original, 256))
    found = occlusion_map(extractor, rgb, reference)
    rows, columns = found.shape
    foreign = np.zeros(found.shape, bool)
    foreign[0:2, 6] = True  # inside the box; 0.68 to 0.94 across, 0.06 to 0.26 down
    # Below is the caption bar, but half of the lowest blocks is still the picture.
    assert found[:-1][~foreign[:-1]].mean() > found[foreign].mean() + 0.01
    best = np.unravel_index(np.argmax(found), found.shape)
    assert not foreign[best]
    whole = float(extractor.describe(rgb) @ reference)
    generator = np.random.default_rng(0)
    height, width = rgb.shape[0] // rows, rgb.shape[1] // columns
    losses = []
    for _ in range(60):
        hidden = rgb.copy()
        y = generator.integers(0, rgb.shape[0] - height)
        x = generator.integers(0, rgb.shape[1] - width)
        hidden[y : y + height, x : x + width] = (123, 117, 104)
        losses.append(whole - float(extractor.describe(hidden) @ reference))
    assert (found[best] > np.array(losses)).mean() >= 0.95
