# SPDX-License-Identifier: Apache-2.0
"""Layered networks: every prefix is one, and nothing else passes for one."""

from dataclasses import replace

import numpy as np
import pytest

from nnrvideo import nnc
from nnrvideo.errors import BitstreamError, LimitExceededError, NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.model import diff, load_onnx, pack, receive, unpack


@pytest.fixture
def layered(valid_sr):
    return pack(load_onnx(valid_sr), layers=(3, 2, 2))


def distance(a, b):
    return sum(float(np.square(a[name].astype(float) - b[name]).sum()) for name in a)


def test_every_prefix_is_a_network(layered, valid_sr):
    wanted = load_onnx(valid_sr)
    parts = nnc.split_layers(layered)
    assert len(parts) == 3
    found = [unpack(b"".join(parts[: n + 1])).require_network() for n in range(3)]
    assert all(network.topology == wanted.topology for network in found)
    errors = [distance(network.tensors, wanted.tensors) for network in found]
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < errors[0] / 100


def test_an_update_goes_on_from_the_last_layer(layered):
    base = receive(layered)
    name = next(name for name, value in base.tensors.items() if value.ndim > 1)
    moved = {name: base.tensors[name] + np.float32(0.25)}
    found = receive(diff(base, moved), base)
    np.testing.assert_allclose(found.tensors[name], moved[name], atol=0.01)


def test_a_cut_inside_a_layer_is_an_error(layered):
    with pytest.raises(BitstreamError):
        unpack(layered[:-3])


def test_a_layer_too_many_or_out_of_place(layered):
    first, second, third = nnc.split_layers(layered)
    for wrong in (first + first, second + third, first + third, first + second + second):
        with pytest.raises(NnrVideoError):
            unpack(wrong)


def test_the_number_of_layers_is_limited(layered):
    with pytest.raises(LimitExceededError, match="layers"):
        unpack(layered, limits=replace(Limits(), max_layers=2))


def test_layers_are_not_lossless(valid_sr):
    with pytest.raises(ValueError, match="lossless"):
        pack(load_onnx(valid_sr), nnc.EncodeSettings(lossless=True), layers=(4, 4))
