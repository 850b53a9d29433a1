# SPDX-License-Identifier: Apache-2.0
"""Layered streams: every prefix is a network, and each layer brings it nearer."""

import numpy as np
import pytest

from nnrvideo import nnc

RANDOM = np.random.default_rng(11)
TENSORS = {
    "conv": RANDOM.laplace(0, 0.1, (24, 12, 3, 3)).astype(np.float32),
    "bias": RANDOM.normal(0, 0.1, 24).astype(np.float32),
    "head": RANDOM.normal(0, 2, (10, 24)).astype(np.float16),
    "table": np.arange(6, dtype=np.int32).reshape(2, 3),
    "zeros": np.zeros((4, 4), np.float32),
}
GRAPH = nnc.TopologyPayload(data=b"graph")


def decoded(layers):
    """Values after so many layers, as a receiver adds them."""
    state, found = nnc.DecoderState(), {}
    for layer in layers:
        for name, value in nnc.decode(layer, state=state).tensors.items():
            if name in found:
                value = (found[name].astype(np.float32) + value).astype(found[name].dtype)
            found[name] = value
    return found


def error(found):
    return sum(float(np.square(v - found[n].astype(np.float64)).sum()) for n, v in TENSORS.items())


@pytest.mark.parametrize("bits", [(4, 2, 2), (2, 1, 3), (6,), (3, 4)])
def test_every_layer_brings_it_nearer(bits):
    layers = nnc.encode_layers(TENSORS, bits, topology=GRAPH)
    assert len(layers) == len(bits)
    errors = [error(decoded(layers[: n + 1])) for n in range(len(layers))]
    for number, (before, after) in enumerate(zip(errors, errors[1:], strict=False), 1):
        assert after < before / 2 ** bits[number]
    final = decoded(layers)
    assert {n: v.dtype for n, v in final.items()} == {n: v.dtype for n, v in TENSORS.items()}
    np.testing.assert_array_equal(final["table"], TENSORS["table"])
    assert not final["zeros"].any()


def test_joined_and_parted():
    layers = nnc.encode_layers(TENSORS, (4, 2, 2), topology=GRAPH)
    joined = b"".join(layers)
    assert nnc.split_layers(joined) == layers
    assert nnc.split_layers(joined[: len(layers[0])]) == layers[:1]
    assert nnc.split_layers(layers[0] + layers[1]) == layers[:2]


@pytest.mark.parametrize("damage", [b"", b"\0", b"\0\4\2", b"\xff" * 9, b"\0\4\2\1\0\0"])
def test_what_cannot_be_followed_stays_whole(damage):
    layers = nnc.encode_layers(TENSORS, (4, 2))
    for data in (damage, layers[0] + damage, b"\1" + layers[0]):
        assert b"".join(nnc.split_layers(data)) == data
    assert nnc.split_layers(layers[0] + b"\0\3") == [layers[0] + b"\0\3"]


def test_layers_cost_little():
    """Three layers against one, at the same error along the slope of six decibels a bit."""
    random = np.random.default_rng(1)  # no other test shall change it
    weight = {"w": random.laplace(0, 0.05, (128, 400)).astype(np.float32)}

    def cost(bits):
        layers = nnc.encode_layers(weight, bits)
        state, total = nnc.DecoderState(), 0.0
        for layer in layers:
            total = total + nnc.decode(layer, state=state).tensors["w"]
        noise = np.square(total - weight["w"].astype(np.float64)).mean()
        return 8 * sum(map(len, layers)) + weight["w"].size * np.log2(noise) / 2

    single = 8 * len(nnc.encode_layers(weight, (8,))[0])
    assert cost((4, 2, 2)) - cost((8,)) < 0.06 * single


@pytest.mark.parametrize("bits", [(), (0,), (4, 0), (17,), (4, -1)])
def test_layers_of_no_use(bits):
    with pytest.raises(ValueError, match="layers"):
        nnc.encode_layers(TENSORS, bits)


def test_layers_above_factors():
    random = np.random.default_rng(2)
    low = {"w": (random.normal(0, 1, (30, 2)) @ random.normal(0, 0.2, (2, 36))).astype(np.float32)}
    layers = nnc.encode_layers(low, (5, 4), nnc.EncodeSettings(low_rank=0.999))
    state = nnc.DecoderState()
    first, second = (nnc.decode(layer, state=state).network_tensors()["w"] for layer in layers)
    np.testing.assert_allclose(first + second, low["w"], atol=0.02)


def test_settings_of_single_tensors_hold_in_the_base_layer():
    exact = np.array([0.1, 0.2, 1e-20], np.float32)
    weights = np.random.default_rng(0).laplace(0, 0.1, (8, 8)).astype(np.float32)
    own = {"scale": nnc.EncodeSettings(lossless=True)}
    base, refinement = nnc.encode_layers({"w": weights, "scale": exact}, (4, 2), per_tensor=own)
    assert nnc.decode(base).tensors["scale"].tobytes() == exact.tobytes()
    names = [u.topology_elem_ids for u in nnc.parse_units(refinement)[2:]]
    assert names == [("w",)]
