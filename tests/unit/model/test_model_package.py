# SPDX-License-Identifier: Apache-2.0
"""Networks in NNC bitstreams and NumPy archives."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from nnrvideo.errors import LimitExceededError, ModelError, TensorMismatchError
from nnrvideo.limits import Limits
from nnrvideo.model import load_npz, load_onnx, pack, save_npz, unpack
from nnrvideo.nnc import EncodeSettings, TopologyPayload, encode
from nnrvideo.tensors import TensorSet

LOSSLESS = EncodeSettings(lossless=True, search=False)


@pytest.mark.parametrize("topology", ["onnx", "text"])
def test_lossless_round_trip(valid_sr, topology):
    network = load_onnx(valid_sr)
    back = unpack(pack(network, LOSSLESS, topology=topology)).require_network()
    assert back.topology == network.topology
    assert back.tensors.fingerprint() == network.tensors.fingerprint()
    assert back.to_onnx() == network.to_onnx()


def test_lossy_round_trip_is_close(valid_sr):
    network = load_onnx(valid_sr)
    back = unpack(pack(network)).require_network()
    for name, value in network.tensors.items():
        # QP -38 at density 2 is a step of 1.46e-3; each trellis state knows every second multiple,
        # and a path may pass the nearest one by.
        np.testing.assert_allclose(back.tensors[name], value, atol=2 * 1.46e-3)


def test_every_type_comes_back(builder):
    b = builder()
    for dtype in (np.float32, np.float16, np.float64, np.int32, np.int16, np.int8):
        name = np.dtype(dtype).name
        b.constant(name, np.arange(24).reshape(2, 3, 4).astype(dtype))
        b.constant(f"{name}_scalar", np.array(3, dtype))
        b.node("Identity", name)
        b.node("Identity", f"{name}_scalar")
    b.constant("int64", np.arange(2000))
    b.node("Identity", "int64")
    b.node("Identity", "x")
    network = load_onnx(b.bytes())
    assert len(network.tensors) == 13
    back = unpack(pack(network, LOSSLESS)).require_network()
    assert back.tensors.fingerprint() == network.tensors.fingerprint()


def test_without_topology_there_are_tensors_only(valid_sr):
    network = load_onnx(valid_sr)
    unpacked = unpack(pack(network, LOSSLESS, topology="none"))
    assert unpacked.network is None
    assert unpacked.tensors.fingerprint() == network.tensors.fingerprint()
    with pytest.raises(ModelError, match="no topology"):
        unpacked.require_network()
    assert network.with_tensors(unpacked.tensors).to_onnx() == network.to_onnx()


def test_unknown_form(valid_sr):
    with pytest.raises(ValueError, match="topology must be"):
        pack(load_onnx(valid_sr), topology="pickle")


def test_a_classifier_can_be_packed(shared):
    network = load_onnx(shared / "data/models/resnet20_cifar10.onnx")
    data = pack(network, EncodeSettings(search=False))
    assert len(data) < network.tensors.parameters * 4 / 4
    back = unpack(data).require_network()
    assert [(n, t.shape) for n, t in back.tensors.items()] == [
        (n, t.shape) for n, t in network.tensors.items()
    ]


def test_tensors_of_another_graph(valid_sr, same_enhance):
    skeleton = load_onnx(valid_sr).topology.skeleton
    tensors = load_onnx(same_enhance).tensors
    data = encode(tensors, LOSSLESS, topology=TopologyPayload(2, 1, skeleton))
    with pytest.raises(TensorMismatchError):
        unpack(data)


def test_foreign_topology_is_not_taken_for_a_graph(valid_sr):
    tensors = load_onnx(valid_sr).tensors
    data = encode(tensors, LOSSLESS, topology=TopologyPayload(0, 0, b"see the paper"))
    assert unpack(data).network is None


def test_topology_limit(valid_sr):
    network = load_onnx(valid_sr)
    with pytest.raises(LimitExceededError, match="max_topology_bytes"):
        unpack(pack(network, LOSSLESS), limits=Limits(max_topology_bytes=100))


def test_npz_round_trip(tmp_path):
    tensors = TensorSet(
        {
            "layer/0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
            "file": np.array(3, np.int64),
            "empty": np.zeros((0, 4), np.int8),
            "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        }
    )
    path = tmp_path / "tensors.npz"
    save_npz(tensors, path)
    assert load_npz(path).fingerprint() == tensors.fingerprint()
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive) == set(tensors)
        np.testing.assert_array_equal(archive["layer/0.weight"], tensors["layer/0.weight"])


def test_npz_of_numpy_itself(tmp_path):
    path = tmp_path / "numpy.npz"
    np.savez_compressed(path, a=np.arange(5), b=np.asfortranarray(np.ones((3, 2))))
    tensors = load_npz(path)
    np.testing.assert_array_equal(tensors["a"], np.arange(5))
    assert tensors["b"].shape == (3, 2)


def npy(header, data=b""):
    text = repr(header).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (npy({"descr": "<f4", "fortran_order": False, "shape": (10,)}, b"short"), ModelError),
        (npy({"descr": "|O", "fortran_order": False, "shape": (1,)}, b"x" * 8), ModelError),
        (
            npy({"descr": "<f4", "fortran_order": False, "shape": (2**40,)}),
            LimitExceededError,
        ),
        (b"not numpy", ModelError),
        (b"", ModelError),
    ],
)
def test_npz_that_lies(tmp_path, content, error):
    path = tmp_path / "bad.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(error):
        load_npz(path)


def test_npz_with_pickle_is_refused(tmp_path):
    path = tmp_path / "pickle.npz"
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.array([{"a": 1}], object), allow_pickle=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", stream.getvalue())
    with pytest.raises(ModelError, match="no archive of arrays"):
        load_npz(path)


def test_no_archive_at_all(tmp_path):
    path = tmp_path / "text.npz"
    path.write_text("hello")
    with pytest.raises(ModelError):
        load_npz(path)
