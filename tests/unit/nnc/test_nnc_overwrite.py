# SPDX-License-Identifier: Apache-2.0
"""Large tensors, whose values take the place of their levels: the levels come back exactly."""

import numpy as np
import pytest

from nnrvideo import nnc
from nnrvideo.entropy import BACKEND, TensorChoices, TensorSpec, step_size
from nnrvideo.nnc.elements import Element, Role
from nnrvideo.nnc.overwrite import Overwritten, can_recover, overwrite
from nnrvideo.nnc.payload import CodedTensor

# More values than are decoded together; the Python coder decodes each tensor by itself.
SHAPE = (300, 250) if BACKEND == "native" else (15, 12)


def coded(levels, qp):
    element = Element("w", levels.shape, Role.WEIGHT, None, 0)
    return CodedTensor(element, TensorSpec(*levels.shape, 1, 11), levels, TensorChoices(), qp, qp)


@pytest.mark.parametrize("threads", [1, 2])
def test_levels_and_bytes_come_back(threads):
    random = np.random.default_rng(5)
    tensors = {
        "w": random.normal(0, 0.1, SHAPE).astype(np.float32),
        "v": random.laplace(0, 3.0, SHAPE[::-1]).astype(np.float32),
        "i": random.integers(-9, 9, SHAPE).astype(np.int32),
        "b": random.normal(0, 0.1, 7).astype(np.float32),
    }
    stream = nnc.encode(tensors)
    light = nnc.decode(stream, threads=threads)
    full = nnc.decode(stream, state=nnc.DecoderState(), threads=threads)
    kinds = [type(each) for codeword in light._codewords[:2] for each in codeword]
    assert kinds == [Overwritten, Overwritten]
    assert light.tensors.fingerprint() == full.tensors.fingerprint()
    assert list(light.levels) == list(full.levels) == list(tensors)
    for name, levels in full.levels.items():
        np.testing.assert_array_equal(light.levels[name], levels)
        assert light.levels[name].dtype == np.int32
    assert nnc.recode(light) == nnc.recode(full) == stream


@pytest.mark.parametrize("qp", [-480, -157, -38, 0, 3, 250])
def test_every_level_that_fits_is_recovered(qp):
    largest = (1 << 23) - 1
    edge = np.array([[-largest, 1 - largest, -1, 0], [1, 2, largest - 1, largest]], np.int32)
    random = np.random.default_rng(qp + 1000)
    some = random.integers(-largest, largest, (64, 64)).astype(np.int32)
    for levels in (edge, some):
        tensor = coded(levels.copy(), qp)
        assert can_recover(tensor)
        expected = levels.astype(np.float32) * step_size(qp, 2)
        kept = overwrite(tensor, 2)
        np.testing.assert_array_equal(kept.values, expected)
        np.testing.assert_array_equal(kept.levels, levels)


def test_larger_levels_are_kept():
    assert not can_recover(coded(np.array([[1 << 23, 0]], np.int32), 0))
    assert not can_recover(coded(np.array([[-(1 << 23), 0]], np.int32), 0))
    values = np.full(SHAPE, 1.0, np.float32)
    values[0, 0] = 2.0**24 / 1000
    stream = nnc.encode({"w": values}, nnc.EncodeSettings(qp=-80, rate_weight=0))
    decoded = nnc.decode(stream)
    assert nnc.recode(decoded) == stream
