# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

import nnrvideo as nv
from nnrvideo.descriptors import (
    Extractor,
    Form,
    Interoperable,
    Manifest,
    code_model,
    descriptor_model,
    in_integers,
    learn,
    load_model,
    with_manifest,
    with_measured_ranges,
)
from nnrvideo.descriptors.package import MANIFEST, ROTATION, WHITENING
from nnrvideo.descriptors.pooling import pool, project, to_bits, to_levels
from nnrvideo.descriptors.similarity import hamming, similarities
from nnrvideo.errors import (
    InferenceError,
    LimitExceededError,
    ModelError,
    UnsupportedFeatureError,
)
from nnrvideo.tensors import TensorSet

from .conftest import random_rgb


def described(model, rgb, form=Form(), threads=1):
    extractor = Extractor(model, form, threads=threads)
    return extractor.code(extractor.describe(rgb))


def test_manifest_survives_its_json():
    manifest = Manifest(
        name="n", thresholds={"real": 0.5}, interoperable=(Interoperable(b"x" * 32, 0.9, 1, 0.91),)
    )
    assert Manifest.from_json(manifest.to_json() + b"   ") == manifest


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"nonsense",
        b'{"path": "/etc/passwd"}',
        b'{"long_side": 1e9}',
        b'{"long_side": 100000}',
        b'{"long_side": true}',
        b'{"mean": [1, 2]}',
        b'{"mean": [1, 2, NaN]}',
        b'{"windows": []}',
        b'{"thresholds": {"real": 3}}',
        b'{"interoperable": [{"model_id": "00", "cross_map": 1, "cross_tpr": 1, "own_map": 1}]}',
        b'{"interoperable": [5]}',
        b"[" * 100_000,
        b'{"name": "' + b"x" * 70_000 + b'"}',
        b"\xff\xfe",
    ],
)
def test_hostile_manifests_are_refused_with_our_error(text):
    with pytest.raises(ModelError):
        Manifest.from_json(text)


def test_lossless_coding_keeps_id_and_descriptors(model):
    back = load_model(code_model(model, bit_depth=None))
    assert back.model_id == model.model_id
    assert back.manifest == model.manifest
    rgb = random_rgb(1)
    assert np.array_equal(described(back, rgb), described(model, rgb))


def test_coarse_coding_changes_the_id_and_the_receiver_agrees_with_the_sender(model):
    coded = code_model(model, bit_depth=6)
    once, twice = load_model(coded), load_model(coded)
    assert once.model_id == twice.model_id != model.model_id
    rgb = random_rgb(2)
    assert np.array_equal(described(once, rgb), described(twice, rgb))


def test_correction_brings_descriptors_back(model):
    pictures = [random_rgb(seed) for seed in range(300, 312)]
    real = Form(bits=0)

    def likeness(bitstream):
        coded = load_model(bitstream)
        rows = range(400, 420)
        wanted = np.stack([described(model, random_rgb(s), real) for s in rows])
        found = np.stack([described(coded, random_rgb(s), real) for s in rows])
        return float(np.diag(similarities(wanted, found, 0)).mean())

    plain = likeness(code_model(model, bit_depth=3))
    assert likeness(code_model(model, bit_depth=3, correct_on=pictures)) > plain


@pytest.mark.parametrize("form", [Form(0, 1), Form(0, 4), Form(256, 4), Form(1024, 4)])
def test_descriptors_do_not_depend_on_threads_or_runs(model, form):
    rgb = random_rgb(3)
    first = described(model, rgb, form)
    assert np.array_equal(first, described(model, rgb, form))
    assert np.array_equal(first, described(model, rgb, form, threads=2))
    assert first.shape == ((form.bits // 8,) if form.bits else (model.dimensions,))


@pytest.mark.parametrize("shape", [(72, 128), (128, 128), (128, 64)])
def test_four_rotations_are_blind_to_turned_pictures(model, shape):
    rgb = random_rgb(4, *shape)
    turned = np.ascontiguousarray(np.rot90(rgb))
    one, four = (
        similarities(
            described(model, rgb, form)[None], described(model, turned, form)[None], 0
        ).item()
        for form in (Form(0, 1), Form(0, 4))
    )
    assert four > 0.999
    assert one < four


def test_different_pictures_are_told_apart(model):
    codes = np.stack([described(model, random_rgb(seed)) for seed in range(20)])
    scores = similarities(codes, codes, 256)
    assert np.all(np.diag(scores) == 1)
    assert np.median(scores[np.triu_indices(20, 1)]) < 0.3


def test_pooling_is_the_published_formula():
    features = np.random.default_rng(0).normal(size=(3, 6, 9)).astype(np.float32)
    expected = []
    for channel in features.astype(np.float64):
        per_window = []
        for side in (2, 7):
            down, across = min(side, 6), min(side, 9)
            norms = [
                np.sqrt((channel[y : y + down, x : x + across] ** 2).sum()) / (down * across)
                for y in range(6 - down + 1)
                for x in range(9 - across + 1)
            ]
            per_window.append(max(norms))
        expected.append(np.mean(per_window))
    expected = np.array(expected) / np.linalg.norm(expected)
    assert pool([features], (2, 7)) == pytest.approx(expected)


def test_rotations_keep_angles(model):
    """Bits come from an orthogonal transform: the share that agrees follows the angle."""
    generator = np.random.default_rng(5)
    a = generator.normal(size=model.dimensions)
    b = a + 0.5 * generator.normal(size=model.dimensions)
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    codes = [to_bits(v, model.projection, 1024)[None] for v in (a, b)]
    share = hamming(*codes).item() / 1024
    assert share == pytest.approx(np.arccos(a @ b) / np.pi, abs=0.06)


def test_levels_are_close_to_the_real_descriptor(model):
    vector = Extractor(model, Form(0, 4)).describe(random_rgb(6))
    levels = to_levels(vector).astype(float)
    assert levels @ vector / np.linalg.norm(levels) > 0.9999


def test_an_empty_picture_has_a_descriptor(model):
    assert described(model, np.zeros((72, 128, 3), np.uint8)).shape == (32,)


def test_a_network_of_nan_is_an_error_not_a_descriptor(model):
    tensors = dict(model.network.tensors)
    tensors["w2"] = np.full_like(tensors["w2"], 3e38)
    tensors["w1"] = np.full_like(tensors["w1"], 3e38)
    broken = descriptor_model(model.network.with_tensors(TensorSet(tensors)))
    with pytest.raises(InferenceError, match="not a number"):
        described(broken, random_rgb(7))


def test_the_manifest_is_part_of_the_identity(model):
    other = with_manifest(model, replace(model.manifest, min_quality=50))
    assert other.model_id != model.model_id


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (WHITENING, lambda v: np.full_like(v, np.nan)),
        (ROTATION, lambda v: np.zeros_like(v)),
        (MANIFEST, lambda v: np.zeros_like(v)),
    ],
)
def test_broken_packages_are_refused(model, name, change):
    tensors = {**model.network.tensors, name: change(model.network.tensors[name])}
    with pytest.raises(ModelError):
        descriptor_model(model.network.with_tensors(TensorSet(tensors)))


def test_a_network_that_costs_too_much_is_refused(model):
    with pytest.raises(LimitExceededError, match="max_macs_per_sample"):
        descriptor_model(model.network, limits=nv.Limits(max_macs_per_sample=100))


def test_a_plain_network_is_no_descriptor_model(backbone):
    with pytest.raises(ModelError, match="no descriptor model"):
        load_model(nv.pack(backbone))


def test_what_a_model_does_not_make_is_refused(backbone):
    manifest = Manifest(long_side=128, windows=(2, 3), rotations=1)
    pictures = [random_rgb(seed) for seed in range(20)]
    single = learn(backbone, manifest, pictures, dimensions=32)
    with pytest.raises(UnsupportedFeatureError, match="rotations"):
        Extractor(single, Form(256, 4))
    with pytest.raises(ValueError, match="power of two"):
        learn(backbone, manifest, pictures, dimensions=48)
    with pytest.raises(ModelError, match="at least"):
        learn(backbone, manifest, pictures[:3], dimensions=32)


def test_project_takes_the_mean_of_its_rotations(model):
    vector = np.ones(model.projection.whitening.shape[1])
    assert not np.allclose(
        project(vector, model.projection, 1), project(vector, model.projection, 4)
    )


def test_integers_have_an_id_of_their_own_and_nearly_the_same_descriptors(model):
    with pytest.raises(ModelError, match="no ranges"):
        in_integers(model)
    measured = with_measured_ranges(model, [random_rgb(seed) for seed in range(20)])
    back = load_model(code_model(measured, bit_depth=None))
    integers = in_integers(back)
    assert integers.model_id != back.model_id
    assert any(node.op_type == "QuantizeLinear" for node in integers.backbone.graph.nodes)
    try:
        rows = [
            [described(each, random_rgb(seed), Form(0, 4)) for seed in range(30, 40)]
            for each in (back, integers, integers)
        ]
    except InferenceError as error:
        pytest.skip(str(error))
    assert np.array_equal(rows[1], rows[2])
    assert not np.array_equal(rows[0], rows[1])
    alike = np.diag(similarities(np.stack(rows[0]), np.stack(rows[1]), 0))
    assert alike.mean() > 0.9
