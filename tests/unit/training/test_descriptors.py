# SPDX-License-Identifier: Apache-2.0
"""Fine-tuned models are what was trained, nearer to the original, and the same from a seed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

import torch

import nnrvideo as nv
from nnrvideo.cli.main import main
from nnrvideo.container import png_bytes
from nnrvideo.descriptors import Extractor, Form, Manifest, code_model, learn, load_model
from nnrvideo.errors import UnsupportedFeatureError
from nnrvideo.model.graph import serialize
from nnrvideo.model.prepare import for_runtime
from nnrvideo.runtime import OnnxRuntimeBackend
from nnrvideo.training.descriptors import TuneSettings, fine_tune
from nnrvideo.training.onnx_graph import require_trainable, run_graph

DEPTH = 5
SETTINGS = TuneSettings(steps=100, bit_depth=DEPTH, rate=0.003, crop=64)


def picture(seed: int) -> np.ndarray:
    """Stripes of many directions and colours."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:64, 0:96]
    found = np.zeros((64, 96, 3))
    for _ in range(8):
        a, b, c = random.normal(size=3)
        mask = np.sin(a * x / 7 + b * y / 7 + 3 * c) > random.uniform(-0.5, 0.8)
        found[mask] = random.integers(0, 256, 3)
    return found.astype(np.uint8)


def backbone(tmp_path_factory, *, last: str = "Relu") -> nv.Network:
    """A convolution, pooling, and a fire module as SqueezeNet has them."""
    random = np.random.default_rng(0)
    weights = []

    def conv(name: str, source: str, rows: int, columns: int, side: int, **attributes) -> list:
        scale = (2 / (columns * side * side)) ** 0.5 / (60 if source == "x" else 1)
        values = random.normal(0, scale, (rows, columns, side, side)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, name + "w"))
        weights.append(numpy_helper.from_array(np.full(rows, 0.01, np.float32), name + "b"))
        return [
            helper.make_node("Conv", [source, name + "w", name + "b"], [name], **attributes),
            helper.make_node("Relu", [name], [name + "r"]),
        ]

    nodes = [
        *conv("c", "x", 16, 3, 5, strides=[2, 2], pads=[2, 1, 1, 2]),
        helper.make_node(
            "MaxPool", ["cr"], ["p"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1
        ),
        *conv("s", "p", 8, 16, 1),
        *conv("e1", "sr", 16, 8, 1),
        *conv("e3", "sr", 16, 8, 3, pads=[1, 1, 1, 1]),
        helper.make_node("Concat", ["e1r", "e3r"], ["m"], axis=1),
        helper.make_node(last, ["m"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "backbone",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 32, "fh", "fw"])],
        weights,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    onnx.save(proto, path)
    return nv.load_onnx(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    manifest = Manifest(long_side=96, windows=(2, 3), min_quality=0)
    rows = [picture(seed) for seed in range(100, 160)]
    return learn(backbone(tmp_path_factory), manifest, rows, dimensions=32)


@pytest.fixture(scope="module")
def pictures():
    return [picture(seed) for seed in range(200, 248)]


@pytest.fixture(scope="module")
def tuned(model, pictures):
    return fine_tune(model, pictures, SETTINGS)


def likeness(model, bitstream):
    """Mean cosine of descriptors with the original's, of pictures not trained on."""
    form = Form(bits=0)
    both = [Extractor(each, form) for each in (model, load_model(bitstream))]
    rows = [picture(seed) for seed in range(300, 320)]
    return np.mean([both[0].describe(rgb) @ both[1].describe(rgb) for rgb in rows])


def test_torch_computes_what_the_runtime_computes(model):
    network = model.backbone
    graph, arrays = for_runtime(network.graph, dict(network.tensors))
    feed = np.random.default_rng(1).normal(0, 50, (2, 3, 51, 64)).astype(np.float32)
    (wanted,) = OnnxRuntimeBackend().load(serialize(graph), arrays).run({"x": feed})
    tensors = {name: torch.from_numpy(np.array(each)) for name, each in network.tensors.items()}
    found = run_graph(network.graph, tensors, torch.from_numpy(feed)).numpy()
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_other_operators_are_refused_by_name(tmp_path_factory):
    graph = backbone(tmp_path_factory, last="Sigmoid").graph
    with pytest.raises(UnsupportedFeatureError, match="cannot run Sigmoid; it knows Concat, Conv"):
        require_trainable(graph)


def test_fine_tuning_brings_descriptors_nearer_than_correction(model, pictures, tuned):
    assert tuned.after < tuned.before
    corrected = code_model(model, bit_depth=DEPTH, correct_on=pictures[:24])
    assert likeness(model, tuned.bitstream) > likeness(model, corrected)
    assert len(tuned.bitstream) < 1.1 * len(corrected)


def test_what_was_trained_is_what_is_received(tuned):
    received = load_model(tuned.bitstream)
    for name in ("cw", "sw", "e1w", "e3w", "cb", "sb"):
        assert np.array_equal(received.network.tensors[name], tuned.tensors[name])


def test_space_of_the_original_is_kept(model, tuned):
    wanted, found = model.projection, load_model(tuned.bitstream).projection
    assert np.abs(wanted.mean - found.mean).max() <= 2**-11
    assert np.abs(wanted.whitening - found.whitening).max() <= 0.5
    assert np.array_equal(wanted.rotation, found.rotation)


def test_a_seed_gives_the_same_bytes_and_another_seed_others(model, pictures):
    def run(seed):
        settings = TuneSettings(steps=3, bit_depth=DEPTH, crop=48, batch=2, seed=seed)
        return fine_tune(model, pictures, settings).bitstream

    assert run(1) == run(1) != run(2)


def test_verb_fine_tunes_a_model(model, pictures, tmp_path, capsys):
    source, out = tmp_path / "model.nnc", tmp_path / "tuned.nnc"
    source.write_bytes(code_model(model, bit_depth=None))
    for number, rgb in enumerate(pictures[:4]):
        (tmp_path / f"{number}.png").write_bytes(png_bytes(rgb))
    verb = ["describe-model", str(source), "-o", str(out), "--bit-depth", "3"]
    assert main([*verb, "--fine-tune", "2"]) == 2
    assert "--pictures" in capsys.readouterr().err
    assert main([*verb, "--fine-tune", "2", "--pictures", str(tmp_path)]) == 0
    assert "cosine" in capsys.readouterr().out
    assert load_model(out.read_bytes()).model_id != model.model_id


def test_training_that_makes_nothing_better_is_undone(model, pictures):
    wild = TuneSettings(steps=4, bit_depth=DEPTH, rate=0.99, crop=48, batch=2)
    found = fine_tune(model, pictures, wild)
    assert found.after == found.before
    assert load_model(found.bitstream).dimensions == model.dimensions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--into", "film.mp4", "--fine-tune", "5"], "--fine-tune makes a model"),
        (["--into", "film.mp4", "--bit-depth", "5"], "--bit-depth makes a model"),
        (["--dimensions", "64"], "--dimensions is for ONNX backbones"),
        (["--lossless", "--correct"], "--correct makes up for coarse weights"),
        (["--correct"], "--correct needs --pictures"),
        (["--fine-tune", "5"], "--fine-tune needs --pictures"),
        (["--update", "1=u.nnc"], "--update belongs to --into"),
    ],
)
def test_no_option_is_passed_over(model, tmp_path, capsys, options, message):
    path = tmp_path / "model.nnc"
    path.write_bytes(code_model(model))
    assert main(["describe-model", str(path), "-o", str(tmp_path / "out.nnc"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.nnc").exists()
