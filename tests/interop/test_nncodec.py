# SPDX-License-Identifier: Apache-2.0
"""What we write, NNCodec 2.1.3 reads to the same bits; what it writes, we read likewise.

Needs the environment that ``setup_nncodec.sh`` builds; skips where there is none.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nnrvideo import model, nnc

pytestmark = pytest.mark.interop

_MODELS = ("FSRCNN_x2", "resnet20_cifar10", "squeezenet10_fire9")


def _generated() -> dict[str, np.ndarray]:
    """Shapes and values of every kind that NNC distinguishes, from a fixed seed."""
    random = np.random.default_rng(15938)
    rows_of_zeros = random.laplace(0, 0.1, (24, 40)).astype(np.float32)
    rows_of_zeros[[0, 3, 4, 5, 23]] = 0
    return {
        "conv/weight": random.laplace(0, 0.05, (16, 8, 3, 3)).astype(np.float32),
        "conv/bias": random.standard_normal(16).astype(np.float32),
        "rows": rows_of_zeros,
        "zeros": np.zeros((6, 7), np.float32),
        "scalar": np.float32(3.75),
        "column": random.standard_normal((33, 1)).astype(np.float32),
        "row": random.standard_normal((1, 33)).astype(np.float32),
        "six dimensions": random.standard_normal((2, 3, 1, 2, 2, 3)).astype(np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "integers": random.integers(-(2**31) + 1, 2**31 - 1, 50).astype(np.int32),
        "long": np.array([[1, -1], [64, 0]], np.int64),
        "half": random.standard_normal((9, 9)).astype(np.float16),
        "": np.ones((2, 2), np.float32),
        "name in ελληνικά": np.full(3, -1e-3, np.float32),
    }


_SETTINGS = {
    "default": nnc.EncodeSettings(),
    "uniform": nnc.EncodeSettings(dependent_quantisation=False, qp=-30),
    "coarse": nnc.EncodeSettings(qp=-8, nonweight_qp=-20),
    "base QP": nnc.EncodeSettings(qp_density=0, qp=-30, nonweight_qp=-36),
    "density 4": nnc.EncodeSettings(qp_density=4, qp=-150, nonweight_qp=-300),
    "no search": nnc.EncodeSettings(search=False),
    "no row skipping": nnc.EncodeSettings(row_skipping=False),
    "no node ids": nnc.EncodeSettings(node_ids=False),
    "short unary": nnc.EncodeSettings(cabac_unary_length_minus1=0),
    "long unary": nnc.EncodeSettings(cabac_unary_length_minus1=40),
    "blocks of 8": nnc.EncodeSettings(scan_order=1),
    "blocks of 16, uniform": nnc.EncodeSettings(scan_order=2, dependent_quantisation=False),
    "rate": nnc.EncodeSettings(rate_weight=2.0),
    "first edition": nnc.EncodeSettings(profile=0),
}
_GRAPH = bytes(range(256)) * 40
_TOPOLOGIES = {
    "none": None,
    "text": nnc.TopologyPayload(storage_format=0, compression_format=1, data=_GRAPH),
    "plain text": nnc.TopologyPayload(storage_format=0, compression_format=0, data=b"net"),
}


@pytest.mark.parametrize("topology", _TOPOLOGIES)
def test_nncodec_reads_generated_tensors(exchange, topology):
    tensors = _generated()
    streams = [
        nnc.encode(tensors, settings, topology=_TOPOLOGIES[topology])
        for settings in _SETTINGS.values()
    ]
    exchange(streams)


def test_nncodec_reads_the_vectors_inputs(exchange, shared):
    inputs = sorted((shared / "vectors" / "nnc").glob("*/*.in.npz"))
    streams = []
    for archive in inputs[::6]:
        with np.load(archive) as tensors:
            arrays = {name: tensors[name] for name in tensors.files}
        # NNCodec takes a name that ends so for a factor, and fails where the type bits deny it.
        factors = any(name.endswith(("_G", "_H")) for name in arrays)
        if not factors and all(np.isfinite(array).all() for array in arrays.values()):
            streams.append(nnc.encode(arrays, nnc.EncodeSettings(qp=-20, nonweight_qp=-40)))
    assert len(streams) > 30
    exchange(streams)


@pytest.mark.parametrize("model", _MODELS)
@pytest.mark.parametrize("topology", ["none", "text"])
def test_nncodec_reads_models(exchange, shared, model, topology):
    tensors = _initialisers(shared / "data" / "models" / f"{model}.onnx")
    settings = nnc.EncodeSettings(qp=-24)
    exchange([nnc.encode(tensors, settings, topology=_TOPOLOGIES[topology])])


@pytest.mark.parametrize("model", _MODELS)
def test_not_larger_than_nncodec(nncodec, tmp_path, shared, model):
    tensors = _initialisers(shared / "data" / "models" / f"{model}.onnx")
    np.savez(tmp_path / "in.npz", **tensors)
    options = tmp_path / "options.json"
    options.write_text(json.dumps({"qp": -32, "row_skipping": True}))
    theirs = nncodec("encode", tmp_path / "in.npz", tmp_path / "out.nnc", options, 1)
    stream = (tmp_path / "out.nnc").read_bytes()
    assert theirs["bytes"] == len(stream)
    same_tools = nnc.EncodeSettings(
        preset="slow",
        qp=-32,
        nonweight_qp=-75,
        rate_weight=0,
        cabac_unary_length_minus1=10,
        codebook="never",
    )
    ours = nnc.encode(tensors, same_tools)
    assert len(ours) <= len(stream)
    # The shorter stream must not be the worse one.  Levels differ where two paths of the trellis
    # cost the same but for rounding; the error decides.
    mine, other = nnc.decode(ours), nnc.decode(stream)
    for name, wanted in tensors.items():
        assert _error(wanted, mine.tensors[name]) <= 1.0001 * _error(wanted, other.tensors[name])


def _error(wanted, got):
    """Sum of squared differences."""
    return float(np.square(wanted.astype(np.float64) - got).sum())


def test_binary_topology_is_beyond_nncodec(nncodec, tmp_path):
    """Why the text form exists; should a later NNCodec read binary, this test will tell."""
    stream = nnc.encode(_generated(), topology=nnc.TopologyPayload(data=_GRAPH))
    (tmp_path / "0.nnc").write_bytes(stream)
    (answer,) = nncodec("decode", 1, tmp_path / "0.nnc", tmp_path / "0.npz")
    assert "error" in answer
    assert nnc.decode(stream).topology.data == _GRAPH


def test_spread_data_is_beyond_nncodec(nncodec, tmp_path):
    """Why it is no default."""
    stream = nnc.encode({"w": np.ones((9, 9), np.float32)}, nnc.EncodeSettings(max_unit_bytes=40))
    (tmp_path / "0.nnc").write_bytes(stream)
    (answer,) = nncodec("decode", 1, tmp_path / "0.nnc", tmp_path / "0.npz")
    assert "error" in answer


@pytest.mark.parametrize("network", _MODELS)
def test_nncodec_reads_short_ids(exchange, shared, network):
    """They are ids like any other; only what they mean is ours."""
    loaded = model.load_onnx(shared / "data" / "models" / f"{network}.onnx")
    settings = nnc.EncodeSettings(qp=-24)
    exchange([model.pack(loaded, settings, topology="text", ids="short")])


def test_nncodec_reads_performance_maps(exchange):
    facts = {
        "performance_metric_type": "PSNR",
        "validation_set_performance": 37.5,
        "sparsification_performance_map": [
            {"sparsification_threshold": 0.5, "non_zero_ratio": 0.5, "spm_nn_accuracy": 36.5}
        ],
        "pruning_performance_map": [{"pruning_ratio": 0.25, "ppm_nn_accuracy": 35.5}],
        "decomposition_performance_map": [
            {"mse_threshold": 0.5, "dpm_nn_accuracy": 36.0, "nn_reduction_ratio": 0.5}
        ],
    }
    parameters = nnc.performance_from_json(facts)
    exchange([nnc.encode(_generated(), parameters=parameters)])


def _initialisers(path: Path) -> dict[str, np.ndarray]:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(path).graph
    return {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
