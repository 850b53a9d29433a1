# SPDX-License-Identifier: Apache-2.0
"""ONNX with its weights in a file beside it: the same network, in the memory of one tensor."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from nnrvideo import nnc
from nnrvideo.entropy import BACKEND
from nnrvideo.errors import BitstreamError, ContainerError, ModelError, TensorMismatchError
from nnrvideo.model import (
    data_path,
    external,
    load_onnx,
    pack,
    read_topology,
    save_external,
    topology,
    unpack,
    unpack_external,
)
from nnrvideo.nnc import EncodeSettings

LOSSLESS = EncodeSettings(lossless=True, preset="fast")
FAST = EncodeSettings(preset="fast")
IN_PARTS = EncodeSettings(preset="fast", max_unit_bytes=500)


def run(path_or_bytes, outputs=None):
    session = onnxruntime.InferenceSession(path_or_bytes, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(0, 1, (1, 1, 24, 32)).astype(np.float32)
    return session.run(outputs, {session.get_inputs()[0].name: x})


@pytest.mark.parametrize("ids", ["names", "short"])
@pytest.mark.parametrize("settings", [FAST, LOSSLESS, IN_PARTS])
def test_same_network_as_in_memory(tmp_path, every_type, settings, ids, monkeypatch):
    monkeypatch.setattr(external, "_PART", 1000)
    coded = tmp_path / "net.nnc"
    coded.write_bytes(pack(load_onnx(every_type), settings, ids=ids))
    expected = unpack(coded.read_bytes()).require_network()
    found = unpack_external(coded, tmp_path / "net.onnx")
    assert found == expected.topology
    again = load_onnx(tmp_path / "net.onnx")
    assert again.topology == expected.topology
    assert again.tensors.fingerprint() == expected.tensors.fingerprint()
    np.testing.assert_array_equal(run(str(tmp_path / "net.onnx")), run(expected.to_onnx()))


def test_onnxruntime_maps_every_type(tmp_path, every_type):
    network = load_onnx(every_type)
    save_external(network, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    readable = []
    for node in list(model.graph.node):
        name = node.input[0]
        if name == "x":
            continue
        cast = onnx.helper.make_node("Cast", [node.output[0]], [f"{name}/out"], to=1)
        model.graph.node.append(cast)
        port = onnx.helper.make_tensor_value_info(f"{name}/out", TensorProto.FLOAT, None)
        model.graph.output.append(port)
        readable.append(f"{name}/out")
    onnx.save(model, tmp_path / "all.onnx")
    for name, values in zip(readable, run(str(tmp_path / "all.onnx"), readable), strict=True):
        expected = network.tensors[name.removesuffix("/out")]
        np.testing.assert_array_equal(values, expected.astype(np.float32))


def test_large_tensors_begin_at_a_page(tmp_path, every_type):
    network = load_onnx(every_type)
    save_external(network, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    end = 0
    for tensor in model.graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        assert entries["location"] == "net.onnx.data"
        offset, length = int(entries["offset"]), int(entries["length"])
        assert offset % (4096 if length >= 4096 else 64) == 0
        assert offset >= end
        end = offset + length
    assert data_path(tmp_path / "net.onnx").stat().st_size == end


@pytest.mark.parametrize("kind", ["layers", "text", "profile 0", "late topology"])
def test_what_takes_more_than_one_pass(tmp_path, valid_sr, kind):
    network = load_onnx(valid_sr)
    if kind == "layers":
        data = pack(network, layers=(4, 2))
    elif kind == "text":
        data = pack(network, topology="text")
    elif kind == "profile 0":
        data = pack(network, EncodeSettings(profile=0))
    else:
        units = nnc.parse_units(pack(network))
        late = [unit for unit in units if isinstance(unit, nnc.TopologyUnit)]
        data = nnc.write_units([unit for unit in units if unit not in late] + late)
    (tmp_path / "net.nnc").write_bytes(data)
    unpack_external(tmp_path / "net.nnc", tmp_path / "net.onnx")
    expected = unpack(data).require_network()
    found = load_onnx(tmp_path / "net.onnx")
    assert found.tensors.fingerprint() == expected.tensors.fingerprint()


def test_failure_leaves_what_was_there(tmp_path, valid_sr, monkeypatch):
    network = load_onnx(valid_sr)
    target, data = tmp_path / "net.onnx", tmp_path / "net.onnx.data"
    target.write_bytes(b"old model")
    data.write_bytes(b"old weights")
    coded = tmp_path / "net.nnc"

    def untouched():
        assert target.read_bytes() == b"old model"
        assert data.read_bytes() == b"old weights"
        assert sorted(tmp_path.iterdir()) == sorted({target, data, coded})

    good = pack(network)
    coded.write_bytes(good)
    with pytest.raises(ContainerError, match="exists already"):
        unpack_external(coded, target)
    untouched()
    coded.write_bytes(good[:-7])
    with pytest.raises(BitstreamError):
        unpack_external(coded, target, overwrite=True)
    untouched()
    coded.write_bytes(good)
    replace = type(target).replace

    def refuse(self, other):
        if other == target and self.suffix == ".onnx":
            raise PermissionError(13, "no")
        return replace(self, other)

    with monkeypatch.context() as patch:
        patch.setattr(type(target), "replace", refuse)
        with pytest.raises(ContainerError):
            unpack_external(coded, target, overwrite=True)
    untouched()
    unpack_external(coded, target, overwrite=True)
    assert sorted(tmp_path.iterdir()) == sorted({target, data, coded})
    assert load_onnx(target).topology == network.topology


def test_tensors_must_fit(tmp_path, valid_sr):
    network = load_onnx(valid_sr)
    graph = nnc.TopologyPayload(data=network.topology.skeleton)
    tensors = dict(network.tensors)
    tensors["b0"] = tensors["b0"][:-1]
    tensors["stranger"] = tensors.pop("w0")
    (tmp_path / "net.nnc").write_bytes(nnc.encode(tensors, topology=graph))
    with pytest.raises(TensorMismatchError) as caught:
        unpack_external(tmp_path / "net.nnc", tmp_path / "net.onnx")
    assert len(caught.value.violations) == 3
    (tmp_path / "net.nnc").write_bytes(nnc.encode(tensors))
    with pytest.raises(ModelError, match="no topology"):
        unpack_external(tmp_path / "net.nnc", tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def test_size_that_protobuf_allows(tmp_path, valid_sr, monkeypatch):
    network = load_onnx(valid_sr)
    (tmp_path / "net.nnc").write_bytes(pack(network))
    with (tmp_path / "net.nnc").open("rb") as file:
        assert read_topology(file) == network.topology
    assert network.topology.fits_in_one_file()
    monkeypatch.setattr(topology, "_PROTOBUF_LIMIT", len(network.to_onnx()) - 1)
    assert not network.topology.fits_in_one_file()
    with pytest.raises(ModelError, match="external data"):
        network.to_onnx()


MEMORY = """
import sys
from nnrvideo import model
from nnrvideo.limits import Limits

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

large, small, folder = sys.argv[1:]
model.unpack_external(small, folder + "/small.onnx")  # whatever is loaded on the first use
open("/proc/self/clear_refs", "w").write("5")
before = peak()
topology = model.unpack_external(large, folder + "/large.onnx", limits=Limits.offline())
largest = max(4 * each.size for each in topology.tensors)
print((peak() - before - largest) / 2**20)
"""


@pytest.mark.skipif(BACKEND != "native", reason="takes long without the native core")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_that_of_the_largest_tensor(tmp_path, builder, valid_sr):
    """Nine million weights in six layers: 8 MiB above the largest of them, not 34."""
    b = builder((1, 512, "h", "w"))
    random = np.random.default_rng(5)
    layer = random.laplace(0, 0.02, (640, 2304)).astype(np.float32)
    for number in range(6):
        name = b.constant(f"w{number}", layer)
        b.node("MatMul", b.last, name)
    network = load_onnx(b.bytes())
    settings = EncodeSettings(preset="fast", qp=-24)
    (tmp_path / "large.nnc").write_bytes(pack(network, settings))
    (tmp_path / "small.nnc").write_bytes(pack(load_onnx(valid_sr)))
    arguments = [tmp_path / "large.nnc", tmp_path / "small.nnc", tmp_path]
    command = [sys.executable, "-c", MEMORY, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 8
    found = load_onnx(tmp_path / "large.onnx")
    expected = unpack((tmp_path / "large.nnc").read_bytes()).require_network()
    assert found.tensors.fingerprint() == expected.tensors.fingerprint()
