# SPDX-License-Identifier: Apache-2.0
"""Large networks are played from files; pictures do not show it, and no folder costs one."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from onnx import helper

from nnrvideo.errors import InferenceError
from nnrvideo.limits import Limits
from nnrvideo.model import load_onnx
from nnrvideo.player import Enhancer
from nnrvideo.runtime import OnnxRuntimeBackend

CHANNELS = 512  # a layer of 9.4 MiB, beyond what stays in memory


@pytest.fixture(scope="module")
def large(nets):
    """Luma, same size, with two small layers around a large one."""
    rng = np.random.default_rng(5)
    shapes = (CHANNELS, 1, 1, 1), (CHANNELS, CHANNELS, 3, 3), (1, CHANNELS, 1, 1)
    values = {
        f"w{n}": rng.normal(0, 1 / np.sqrt(np.prod(s[1:])), s).astype(np.float32)
        for n, s in enumerate(shapes)
    }
    nodes = [
        helper.make_node("Conv", ["input", "w0"], ["a"]),
        helper.make_node("Conv", ["a", "w1"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["output"]),
    ]
    return nets.base(load_onnx(nets.onnx_model(nodes, values)))


def play(nets, *messages, base=True, **settings):
    limits = replace(Limits.desktop(), max_macs_per_sample=10**7)
    with Enhancer(threads=1, limits=limits, **settings) as enhancer:
        enhancer.send_side_data(0, nets.records(*messages, nets.activate(7, base=base)), True)
        enhancer.send_frame(nets.noise(), 0)
        result = enhancer.receive(None)
    assert result.info.enhanced, result.info.reason
    return result.picture.planes[0]


def stored(folder):
    return [path for path in folder.iterdir() if path.name != "lock"]


def test_same_picture_from_the_store(nets, large, tmp_path):
    expected = play(nets, large, weight_folder="")
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(play(nets, large, weight_folder=tmp_path), expected)
    (file,) = stored(tmp_path)
    assert file.stat().st_size == 4 * CHANNELS**2 * 9
    written = file.stat().st_ino
    np.testing.assert_array_equal(play(nets, large, weight_folder=tmp_path), expected)
    assert stored(tmp_path)[0].stat().st_ino == written


def test_update_of_a_large_network(nets, large, tmp_path):
    update = nets.update(large, {"w2": np.full((1, CHANNELS, 1, 1), 1 / CHANNELS, np.float32)})
    expected = play(nets, large, update, base=False, weight_folder="")
    found = play(nets, large, update, base=False, weight_folder=tmp_path)
    np.testing.assert_array_equal(found, expected)
    assert len(stored(tmp_path)) == 1  # the large layer is that of the base
    assert (expected != play(nets, large, weight_folder="")).any()


def test_small_network_leaves_no_folder(nets, tmp_path):
    play(nets, nets.base(nets.blur()), weight_folder=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_without_a_folder_it_plays_from_memory(nets, large, tmp_path, caplog):
    (tmp_path / "store").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        play(nets, large, weight_folder=tmp_path / "store")
    assert caplog.text.count("stay in memory") == 1


def test_files_that_cannot_be_mapped(nets, large, tmp_path, caplog, monkeypatch):
    def fail(*_):
        raise InferenceError("no such file")

    monkeypatch.setattr(OnnxRuntimeBackend, "load_mapped", fail)
    play(nets, large, weight_folder=tmp_path)
    assert "cannot be mapped: " in caplog.text


def test_backend_that_cannot_map(nets, large, tmp_path):
    class Plain:
        """Knows arrays only."""

        def __init__(self):
            self._backend = OnnxRuntimeBackend(threads=1)
            self.capabilities, self.load = self._backend.capabilities, self._backend.load

    np.testing.assert_array_equal(
        play(nets, large, backend=Plain(), weight_folder=tmp_path),
        play(nets, large, weight_folder=""),
    )
