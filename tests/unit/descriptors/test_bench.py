# SPDX-License-Identifier: Apache-2.0
"""The benchmark's own rules: what counts, what does not, and that nothing flatters."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from nnrvideo.container import open_media
from nnrvideo.descriptors import Form, Interoperable, code_model, load_model
from nnrvideo.descriptors.bench import Bench, build_corpus, cross, figures, localisation, run
from nnrvideo.descriptors.bench.transforms import TRANSFORMS, fitted, transformed
from nnrvideo.descriptors.coding import replace_manifest
from nnrvideo.descriptors.package import MANIFEST, descriptor_model
from nnrvideo.errors import ContainerError
from nnrvideo.picture import Picture
from nnrvideo.tensors import TensorSet

from .conftest import random_rgb
from .test_describe import picture


def eye(count, names="abcd"):
    right = np.eye(count, dtype=bool)
    return right, ~right, np.array(list(names[:count]))


def test_perfect_scores_are_perfect():
    right, wrong, names = eye(4)
    found = figures(right * 1.0, right, wrong, names)
    assert (found.mean_average_precision, found.tpr_1, found.tpr_01) == (1, 1, 1)
    assert found.by_transform["a"] == (1, 1)


def test_scores_that_are_not_a_number_are_failures():
    right, wrong, names = eye(4)
    found = figures(np.full((4, 4), np.nan), right, wrong, names)
    assert found.mean_average_precision == pytest.approx(1 / 4)
    assert found.tpr_1 == 0
    scores = right * 1.0
    scores[0, 0] = np.nan
    found = figures(scores, right, wrong, names)
    assert found.by_transform["a"] == (0, 1 / 4)
    assert found.by_transform["b"] == (1, 1)


def test_constant_scores_earn_nothing():
    right, wrong, names = eye(4)
    found = figures(np.zeros((4, 4)), right, wrong, names)
    assert found.mean_average_precision == pytest.approx(1 / 4)
    assert found.tpr_1 == 0


def test_what_is_neither_right_nor_wrong_does_not_count():
    right, wrong, names = eye(3, "aaa")
    scores = right * 1.0
    scores[0, 1] = 2.0
    assert figures(scores, right, wrong, names).mean_average_precision < 1
    wrong[0, 1] = False
    assert figures(scores, right, wrong, names).mean_average_precision == 1


def test_one_per_cent_is_one_per_cent():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(50, 400))
    right = np.zeros((50, 400), bool)
    right[:, 0] = True
    found = figures(scores, right, ~right, np.array(["x"] * 50))
    assert (scores[~right] > found.threshold_1).mean() == pytest.approx(0.01, abs=0.001)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_changes_the_picture_and_keeps_the_count(name):
    planes = picture(random_rgb(1, 96, 160)).planes
    source = Picture((planes[0], planes[1][::2, ::2].copy(), planes[2][::2, ::2].copy()))
    edited = list(transformed([source] * 3, name, lambda: source))
    assert len(edited) == 3
    for each in edited:
        assert each.width % 2 == each.height % 2 == 0
    first = edited[0]
    assert first.format != source.format or not np.array_equal(first.planes[0], source.planes[0])
    assert fitted(first, 128, 72).format.width == 128


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    from nnrvideo.container import VideoWriter

    folder = tmp_path_factory.mktemp("clips")
    made = []
    for number in range(4):
        path = folder / f"clip{number}.mp4"
        with VideoWriter(path, codec="libx264", options={"crf": "16"}) as writer:
            for index in range(80):
                wide = random_rgb(700 + number, 72, 160)
                planes = picture(wide[:, index // 4 : index // 4 + 128]).planes
                half = [plane[::2, ::2].copy() for plane in planes[1:]]
                writer.write(Picture((planes[0], *half)), Fraction(index, 20))
        made.append(path)
    return made


@pytest.fixture(scope="module")
def bench(clips, tmp_path_factory):
    pytest.importorskip("pdqhash")
    folder = tmp_path_factory.mktemp("corpus")
    corpus = build_corpus(clips, folder, pieces=1, splices=1)
    again = build_corpus(clips, folder, pieces=1, splices=1)
    assert again == corpus
    return Bench(corpus, 128)


def test_the_corpus_has_what_it_says(bench):
    corpus = bench.corpus
    assert len(corpus.references) == 4
    assert len(corpus.queries) == 4 * len(TRANSFORMS)
    assert {query.transform for query in corpus.queries} == set(TRANSFORMS)
    assert np.array_equal(bench.right.sum(axis=1), np.ones(len(corpus.queries)))
    assert not (bench.right & bench.wrong).any()
    own_cuts = [each.group for each in corpus.distractors]
    assert len(own_cuts) == 24
    with open_media(corpus.folder / corpus.queries[0].file) as media:
        assert sum(1 for _ in media.pictures()) == 40
    with pytest.raises(ContainerError, match="two clips"):
        build_corpus([], corpus.folder)


def test_rows_and_cross_figures(bench, model):
    table = run(bench, model)
    names = [row.name for row in table]
    assert names[:2] == ["NIP-4 64 real", "NIP-4 1024 bit"]
    assert "PDQ" in names
    own, mixed = cross(bench, model, model, rotations=4, bits=256)
    assert own == mixed == next(row for row in table if row.name == "NIP-4 256 bit").figures
    coarse = load_model(code_model(model, bit_depth=3))
    own, mixed = cross(bench, model, coarse, rotations=4, bits=256)
    assert own != mixed


def test_a_network_of_nan_fails_every_query(bench, model):
    tensors = dict(model.network.tensors)
    tensors["w1"] = np.full_like(tensors["w1"], 3e38)
    tensors["w2"] = np.full_like(tensors["w2"], 3e38)
    broken = descriptor_model(model.network.with_tensors(TensorSet(tensors)))
    own, mixed = cross(bench, model, broken, rotations=1, bits=256)
    assert own.tpr_1 == mixed.tpr_1 == 0
    assert own.mean_average_precision < 0.1


def test_copies_are_located_in_real_files(bench, model):
    threshold = model.manifest.thresholds["real"]
    found = localisation(bench.corpus, model, Form(0, 4), threshold)
    assert len(found.films) == 1
    assert 0 <= found.mean_jaccard <= found.found <= 1


def test_figures_go_into_the_manifest_and_the_weights_stay(model):
    bitstream = code_model(model, bit_depth=6)
    before = load_model(bitstream)
    entries = tuple(Interoperable(bytes([n]) * 32, 0.9, 0.9, 0.91) for n in range(20))
    after = load_model(replace_manifest(bitstream, replace(before.manifest, interoperable=entries)))
    assert after.manifest.interoperable == entries
    for name, tensor in before.network.tensors.items():
        if name != MANIFEST:
            assert np.array_equal(tensor, after.network.tensors[name])


def test_all_zero_filters_survive_correction(model):
    tensors = dict(model.network.tensors)
    for name in ("w0", "w1"):
        tensors[name] = tensors[name].copy()
        tensors[name][:4] = 0
    pruned = descriptor_model(model.network.with_tensors(TensorSet(tensors)))
    rows = [random_rgb(seed) for seed in range(4)]
    back = load_model(code_model(pruned, bit_depth=4, correct_on=rows))
    assert all(np.all(np.isfinite(t)) for t in back.network.tensors.values() if t.dtype.kind == "f")
