# SPDX-License-Identifier: Apache-2.0
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nnrvideo.descriptors import Form, Segment
from nnrvideo.descriptors import index as module
from nnrvideo.descriptors.index import Index
from nnrvideo.descriptors.similarity import hamming
from nnrvideo.errors import BitstreamError, ContainerError, ModelError

from .test_matching import HEADER, film


def items(seeds, header=HEADER, noise=0.0):
    frames = film(seeds, noise, header)
    times = np.arange(len(frames), dtype=np.int64) * 1000
    return [header, Segment(0, 1000 * len(frames), times, frames.quality, frames.values)]


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "library.nvx"
    with Index(path) as index:
        for number in range(10):
            index.add(f"film{number}", items(range(100 * number, 100 * number + 20)))
    return path


def without_faiss(monkeypatch):
    monkeypatch.setattr(module, "_engine", lambda *_: None)


@pytest.mark.parametrize("engine", ["faiss", "numpy"])
def test_the_right_film_is_found_with_its_interval(library, monkeypatch, engine):
    if engine == "numpy":
        without_faiss(monkeypatch)
    else:
        pytest.importorskip("faiss")
    index = Index(library)
    assert len(index) == 200
    hits = index.search(film([1, 2, *range(305, 311), 3], noise=0.1))
    assert hits[0].name == "film3"
    assert hits[0].match.reference == pytest.approx((5, 11), abs=0.3)
    assert not index.search(film(range(5000, 5010)))


def test_faiss_and_numpy_agree(library, monkeypatch):
    pytest.importorskip("faiss")
    query = film(range(300, 306), noise=0.2).values
    first, _ = Index(library).nearest(query, 10)
    without_faiss(monkeypatch)
    second, numbers = Index(library).nearest(query, 10)
    assert np.array_equal(first, second)
    every = np.concatenate([film(range(100 * n, 100 * n + 20)).values for n in range(10)])
    assert np.array_equal(np.sort(hamming(query, every), axis=1)[:, :10], second)
    assert np.array_equal(numbers[:, 0], 60 + np.arange(6))


def test_real_descriptors_are_searched(tmp_path):
    header = replace(HEADER, form=Form(0, 4), dimensions=64)
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(30, 64))
    levels = np.rint(1024 * rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.int16)
    grades = np.full(30, 90, np.uint8)
    segment = Segment(0, 30_000, np.arange(30) * 1000, grades, levels)
    with Index(tmp_path / "i.nvx") as index:
        index.add("a", [header, segment])
        distances, numbers = index.nearest(levels[3:5], 2)
    assert np.array_equal(numbers[:, 0], [3, 4])
    assert distances[:, 0] == pytest.approx(-1, abs=1e-3)


def test_other_models_and_repeated_names_are_refused(library):
    other = replace(HEADER, model_id=b"b" * 32)
    with Index(library) as index:
        with pytest.raises(ModelError, match="different models"):
            index.add("new", items([1], other))
        with pytest.raises(ValueError, match="already"):
            index.add("film1", items([1]))
        with pytest.raises(ModelError):
            index.search(film([1], header=other))
        with pytest.raises(ValueError, match="models"):
            index.add("mixed", [*items([1]), *items([1], other)])
    assert len(Index(library).films) == 10


def test_every_unfinished_end_is_left_out_and_cut_off(library, tmp_path):
    data = library.read_bytes()
    for size in [*range(60), *range(60, len(data), 97), len(data) - 1]:
        path = tmp_path / "cut.nvx"
        path.write_bytes(data[:size])
        index = Index(path)
        assert index.films == tuple(f"film{n}" for n in range(len(index.films)))
        assert len(index) == 20 * len(index.films)
        with index:
            for number in range(10):
                if f"film{number}" not in index:
                    seeds = range(100 * number, 100 * number + 20)
                    index.add(f"film{number}", items(seeds))
        assert path.read_bytes() == data


def test_damage_in_the_middle_is_an_error(library):
    data = bytearray(library.read_bytes())
    data[len(data) // 2] ^= 1
    library.write_bytes(data)
    with pytest.raises(BitstreamError, match="damaged"):
        Index(library)
    library.write_bytes(b"something else")
    with pytest.raises(BitstreamError, match="no index"):
        Index(library)


def test_two_writers_exclude_each_other(library):
    with Index(library) as first:
        first.add("x", items([1]))
        with Index(library) as second, pytest.raises(ContainerError, match="another process"):
            second.add("y", items([2]))


def test_a_writer_does_not_write_over_what_came_meanwhile(library):
    with library.open("ab") as file:
        file.write(b"half a block")
    with Index(library) as late:
        with Index(library) as first:
            first.add("x", items([1]))
            first.close()
            first.add("y", items([2]))
        whole = library.read_bytes()
        with pytest.raises(ContainerError, match="read it again"):
            late.add("z", items([3]))
    assert library.read_bytes() == whole
    assert {"x", "y"} <= set(Index(library).films)


_BUILDER = """
import sys
sys.path.insert(0, {root!r})
from tests.unit.descriptors.test_index import Index, items
with Index(sys.argv[1]) as index:
    for number in range(100_000):
        if f"film{{number}}" not in index:
            index.add(f"film{{number}}", items(range(number, number + 5)))
            print(number, flush=True)
"""


@pytest.mark.slow
def test_kill_9_during_a_build_loses_nothing_that_was_added(tmp_path):
    path, root = tmp_path / "killed.nvx", str(Path(__file__).parents[3])
    known = 0
    for turn in range(4):
        build = subprocess.Popen(
            [sys.executable, "-c", _BUILDER.format(root=root), str(path)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        told = [int(build.stdout.readline()) for _ in range(5 + 3 * turn)]
        time.sleep(0.003 * turn)
        os.kill(build.pid, signal.SIGKILL)
        rest = build.communicate()[0].split()
        last = int(rest[-1]) if rest else told[-1]
        index = Index(path)
        assert told[0] == known
        assert len(index.films) in (last + 1, last + 2)  # one may be on disk and not yet told
        assert index.films == tuple(f"film{n}" for n in range(len(index.films)))
        wanted = np.concatenate([film(range(n, n + 5)).values for n in range(len(index.films))])
        found = np.concatenate([each.frames.values for each in index._films])
        assert np.array_equal(found, wanted)
        known = len(index.films)
