# SPDX-License-Identifier: Apache-2.0
"""Weights in files named by their content: found again, checked, bounded, and the same network."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nnrvideo import nnc
from nnrvideo.errors import LimitExceededError, TensorMismatchError
from nnrvideo.limits import Limits
from nnrvideo.model import WeightStore, keep, load_onnx, pack, unpack, unpack_stored
from nnrvideo.model.prepare import for_runtime
from nnrvideo.model.store import default_folder, name_of
from nnrvideo.nnc import EncodeSettings
from nnrvideo.runtime import OnnxRuntimeBackend
from nnrvideo.tensors import TensorSet

LOSSLESS = EncodeSettings(lossless=True, preset="fast")
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions, locks and limits")


def store_of_all(folder, **settings):
    return WeightStore(folder, min_network_bytes=0, min_tensor_bytes=1, **settings)


def put(store, content, size=None):
    with store.opened(1) as opened:
        return opened.put(
            len(content) if size is None else size, lambda: [content[:5], content[5:]]
        )


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "lock")


def digest(content):
    return hashlib.sha256(content).hexdigest()


def test_same_content_is_one_file(tmp_path):
    store = store_of_all(tmp_path / "deep" / "folder")
    first = put(store, b"weights of a network")
    before = (store.folder / first).stat().st_ino
    assert put(store, b"weights of a network") == first == digest(b"weights of a network")
    assert (store.folder / first).stat().st_ino == before  # not written again
    assert names(store.folder) == [first]
    with store.opened(1) as opened:
        mapped = opened.map(first, np.dtype(np.uint8), (4, 5))
    assert mapped.tobytes() == b"weights of a network"
    assert not mapped.flags.writeable


@pytest.mark.parametrize("damage", ["bit", "short", "long", "empty", "link"])
def test_what_is_damaged_is_written_anew(tmp_path, damage, caplog):
    store = store_of_all(tmp_path / "store")
    content = bytes(range(200))
    path = store.folder / put(store, content)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(content)
    path.unlink()
    if damage == "link":
        path.symlink_to(elsewhere)
    else:
        path.write_bytes(
            {
                "bit": bytes([1]) + content[1:],
                "short": content[:-1],
                "long": content + b"x",
                "empty": b"",
            }[damage]
        )
    assert put(store, content) == path.name
    assert path.read_bytes() == content
    assert not path.is_symlink()
    assert elsewhere.read_bytes() == content
    assert "damaged" in caplog.text


def test_mapped_values_outlive_their_file(tmp_path):
    store = store_of_all(tmp_path, max_bytes=1000)
    with store.opened(1) as opened:
        name = opened.put(500, lambda: [bytes(500)])
        mapped = opened.map(name, np.dtype(np.uint8), (500,))
    put(store, b"x" * 900)
    assert names(tmp_path) == [digest(b"x" * 900)]
    assert not mapped.any()


def test_oldest_used_is_removed(tmp_path):
    store = store_of_all(tmp_path, max_bytes=1000)
    contents = [bytes([n]) * 400 for n in range(3)]
    for age, content in zip((300, 200), contents[:2], strict=True):
        path = tmp_path / put(store, content)
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    put(store, contents[0])  # used again, so the second is the oldest now
    put(store, contents[2])
    assert names(tmp_path) == sorted([digest(contents[0]), digest(contents[2])])


@posix
def test_nothing_is_removed_while_somebody_loads(tmp_path):
    store = store_of_all(tmp_path, max_bytes=1000)
    with store.opened(1) as opened:
        first = opened.put(600, lambda: [bytes(600)])
        # Another process, or another thread with a store of its own.
        second = put(store_of_all(tmp_path, max_bytes=1000), b"x" * 900)
        assert names(tmp_path) == sorted([first, second])
    assert len(names(tmp_path)) == 1


def test_what_a_killed_process_left_is_removed(tmp_path):
    left = tmp_path / f".{'a' * 64}.12345678.part"
    left.write_bytes(b"half")
    other = tmp_path / "notes.txt"
    other.write_bytes(b"not ours")
    store = store_of_all(tmp_path, max_bytes=100)
    name = put(store, b"x" * 90)
    assert names(tmp_path) == sorted([name, "notes.txt"])


WRITER = """
import random, sys
from nnrvideo.model import WeightStore

store = WeightStore(sys.argv[1], max_bytes=600_000, min_network_bytes=0, min_tensor_bytes=1)
done = 0
while done < 15:
    content = bytes([random.randrange(10)]) * 100_000
    with store.opened(1) as opened:
        if opened is None:
            continue  # whoever makes room got no processor for seconds
        done += 1
        name = opened.put(len(content), lambda: [content])
        assert (store.folder / name).read_bytes() == content
"""


def test_several_processes_at_once(tmp_path):
    """Ten tensors where six have room: everybody finds what he has put, until he lets it go."""
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path]) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    put(store_of_all(tmp_path, max_bytes=600_000), b"last")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 600_000
    for name in names(tmp_path):
        assert digest((tmp_path / name).read_bytes()) == name


@posix
@pytest.mark.parametrize("obstacle", ["a file", "read-only", "others"])
def test_folder_that_cannot_be_used(tmp_path, obstacle, caplog, valid_sr, monkeypatch):
    folder = tmp_path / "store"
    if obstacle == "a file":
        folder.write_bytes(b"")
    elif obstacle == "others":
        folder.mkdir()
        folder.chmod(0o777)
    else:

        def refuse(*_, **__):  # permissions do not bind the superuser, who may run this
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
    store = store_of_all(folder)
    network = load_onnx(valid_sr)
    for _ in range(3):
        assert keep(network, store) is network
        assert unpack_stored(pack(network), store) is None
    assert caplog.text.count("stay in memory") == 1
    assert str(folder) in caplog.text


@posix
def test_full_disk(tmp_path, caplog):
    import resource

    store = store_of_all(tmp_path)
    small = put(store, b"small")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with store.opened(1) as opened:
            assert opened.put(5000, lambda: [bytes(5000)]) is None
            assert opened.put(5, lambda: [b"other"]) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == [small]
    assert caplog.text.count("stay in memory") == 1
    assert put(store, bytes(5000))  # there is room again


def test_small_and_huge_networks_stay_off_the_disk(tmp_path):
    store = WeightStore(tmp_path / "store", max_bytes=32 << 20)
    for size in (0, (8 << 20) - 1, (32 << 20) + 1):
        with store.opened(size) as opened:
            assert opened is None
    assert not store.folder.exists()
    with store.opened(8 << 20) as opened:
        assert opened.put(1000, lambda: [bytes(1000)]) is None
        assert opened.put(1 << 16, lambda: [bytes(1 << 16)]) is not None


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("NNRVIDEO_WEIGHTS", str(tmp_path / "mine"))
    assert WeightStore().folder == tmp_path / "mine"
    assert WeightStore(tmp_path).folder == tmp_path
    for off in ("", "0"):
        monkeypatch.setenv("NNRVIDEO_WEIGHTS", off)
        assert WeightStore().folder is None
        assert not WeightStore().takes(64 << 20)
    assert WeightStore("").folder is None
    monkeypatch.delenv("NNRVIDEO_WEIGHTS")
    if sys.platform not in {"win32", "darwin"}:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert default_folder() == tmp_path / "nnrvideo" / "weights"
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert default_folder() == tmp_path / "home" / ".cache" / "nnrvideo" / "weights"


@pytest.mark.parametrize("ids", ["names", "short"])
@pytest.mark.parametrize("settings", [LOSSLESS, EncodeSettings(preset="fast", max_unit_bytes=500)])
def test_decoded_into_the_store_is_the_same_network(tmp_path, every_type, settings, ids):
    data = pack(load_onnx(every_type), settings, ids=ids)
    expected = unpack(data).require_network()
    store = store_of_all(tmp_path)
    found = unpack_stored(data, store)
    assert found.topology == expected.topology
    assert found.tensors.fingerprint() == expected.tensors.fingerprint()
    assert {name for name, value in found.tensors.items() if name_of(value) is None} == {
        "int4",  # NumPy has a byte for each of them, files have half
        "uint4",
    }
    before = names(tmp_path)
    kept = keep(expected, store)
    assert kept.tensors.fingerprint() == expected.tensors.fingerprint()
    assert names(tmp_path) == before  # other ways to the same tensors


@pytest.mark.parametrize("kind", ["float32", "every type"])
def test_session_gives_the_same_bits(tmp_path, builder, every_type, kind):
    if kind == "float32":
        b = builder()
        b.conv(64, 1)
        b.node("Relu", b.last)
        b.conv(64, 64)
        b.conv(1, 64)
        network = load_onnx(b.bytes())
    else:
        network = load_onnx(every_type)
    x = np.random.default_rng(1).normal(0, 1, (1, 1, 24, 32)).astype(np.float32)
    backend = OnnxRuntimeBackend(providers=["CPUExecutionProvider"], threads=1)
    model, arrays = for_runtime(network.graph, network.tensors)
    (expected,) = backend.load(model.SerializeToString(), arrays).run({"x": x})
    store = WeightStore(tmp_path, min_network_bytes=0, min_tensor_bytes=1000)
    with store.opened(1) as opened:
        model, arrays = for_runtime(network.graph, network.tensors, opened)
        assert names(tmp_path)
        assert set(arrays) < set(network.tensors)
        session = backend.load_mapped(model.SerializeToString(), arrays, opened.folder)
    for name in names(tmp_path):
        (tmp_path / name).unlink()
    np.testing.assert_array_equal(session.run({"x": x})[0], expected)


def test_no_name_of_a_stream_reaches_a_path(tmp_path, builder):
    b = builder()
    for index, name in enumerate(("../../outside", "/absolute", "lock", "..", "C:\\x")):
        b.constant(name, np.float32([index]))
        b.node("Add", b.last, name)
    network = load_onnx(b.bytes())
    inner = tmp_path / "a" / "b" / "store"
    store = store_of_all(inner)
    found = unpack_stored(pack(network, LOSSLESS), store)
    assert found.tensors.fingerprint() == network.tensors.fingerprint()
    with store.opened(1) as opened:
        model, _ = for_runtime(network.graph, network.tensors, opened)
    locations = {each.external_data[0].value for each in model.graph.initializer}
    expected = {digest(value.tobytes()) for value in network.tensors.values()}
    assert set(names(inner)) == locations == expected
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != inner] == []


def test_hostile_bitstreams_fail_as_in_memory(tmp_path, valid_sr):
    network = load_onnx(valid_sr)
    store = store_of_all(tmp_path)
    units = nnc.parse_units(pack(network, LOSSLESS, blocks=False))
    data = [unit for unit in units if isinstance(unit, nnc.DataUnit)]
    twice = nnc.write_units([*units, data[-1]])
    assert unpack_stored(twice, store) is None
    with pytest.raises(TensorMismatchError, match="missing"):
        unpack_stored(nnc.write_units([unit for unit in units if unit is not data[0]]), store)
    strangers = [replace(data[0], topology_elem_ids=(f"stranger {n}",)) for n in range(9)]
    limits = replace(Limits.desktop(), max_total_elements=2 * network.tensors.parameters)
    with pytest.raises(LimitExceededError, match="max_total_elements"):
        unpack_stored(nnc.write_units([*units, *strangers * 100]), store, limits=limits)
    with pytest.raises(TensorMismatchError, match="stranger 8"):
        unpack_stored(nnc.write_units([*units, *strangers]), store)
    assert unpack_stored(pack(network, layers=(4, 2)), store) is None
    assert unpack_stored(pack(network, topology="none"), store) is None
    assert not list(Path(tmp_path).glob(".*"))


def test_what_is_mapped_already_is_not_looked_at_again(tmp_path):
    def refuse():
        raise AssertionError("looked at")

    store = store_of_all(tmp_path)
    name = put(store, b"some weights")
    with store.opened(1) as opened:
        mapped = opened.map(name, np.dtype(np.uint8), (12,))
        assert name_of(mapped.reshape(3, 4)) == name
        assert opened.put(12, refuse, name) == name
        for other in (mapped[:6], mapped.reshape(3, 4).T, mapped.copy()):
            assert name_of(other) is None
        (tmp_path / name).unlink()
        assert opened.put(12, lambda: [mapped.tobytes()], name) == name
    assert (tmp_path / name).read_bytes() == b"some weights"


def test_update_shares_the_files_of_its_base(tmp_path, valid_sr):
    network = load_onnx(valid_sr)
    store = store_of_all(tmp_path)
    keep(network, store)
    before = set(names(tmp_path))
    name = next(iter(network.tensors))
    keep(
        network.with_tensors(TensorSet({**network.tensors, name: network.tensors[name] + 1})), store
    )
    assert before < set(names(tmp_path))
    assert len(names(tmp_path)) == len(before) + 1
