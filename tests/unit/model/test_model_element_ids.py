# SPDX-License-Identifier: Apache-2.0
"""Short element ids: the same networks and updates in fewer bytes, never the wrong tensor."""

from __future__ import annotations

import numpy as np
import pytest

from nnrvideo.errors import BitstreamError, TensorMismatchError
from nnrvideo.model import diff, load_onnx, pack, receive, unpack
from nnrvideo.model.exact import carriers
from nnrvideo.nnc import EncodeSettings, TopologyPayload, encode, parse_units
from nnrvideo.tensors import TensorSet

COARSE = EncodeSettings(qp=-24)


def ids_of(stream):
    return [each for unit in parse_units(stream)[3:] for each in unit.topology_elem_ids]


def moved(tensors, seed):
    random = np.random.default_rng(seed)
    return TensorSet(
        {
            name: (value + random.normal(0, 0.05, value.shape)).astype(value.dtype)
            for name, value in tensors.items()
        }
    )


@pytest.mark.parametrize("topology", ["onnx", "text"])
@pytest.mark.parametrize(
    "change",
    [{}, {"layers": (4, 2)}, {"blocks": False}, {"settings": EncodeSettings(low_rank=0.9)}],
)
def test_the_same_network_in_fewer_bytes(valid_sr, topology, change):
    network = load_onnx(valid_sr)
    change = {"settings": COARSE, "topology": topology, **change}
    plain, short = pack(network, **change), pack(network, ids="short", **change)
    assert len(short) < len(plain)
    there = unpack(short).require_network()
    assert there.topology == network.topology
    assert there.tensors.fingerprint() == unpack(plain).tensors.fingerprint()


def test_ids_are_places_in_the_graph(valid_sr):
    network = load_onnx(valid_sr)
    unpacked = unpack(pack(network, COARSE, ids="short", blocks=False))
    assert unpacked.ids == {name: str(n) for n, name in enumerate(network.graph.externals)}
    assert sorted(ids_of(pack(network, COARSE, ids="short"))) == sorted(unpacked.ids.values())
    assert not unpack(pack(network, COARSE)).ids


def test_settings_by_name_reach_their_tensor(valid_sr):
    network = load_onnx(valid_sr)
    first = next(iter(network.tensors))
    chosen = EncodeSettings(qp=-24, qp_per_tensor={first: 0})
    plain, short = (unpack(pack(network, chosen, ids=ids)).tensors for ids in ("names", "short"))
    assert plain.fingerprint() == short.fingerprint()
    base = receive(pack(network, COARSE, ids="short"))
    update = diff(base, moved(base.tensors, 1), chosen)
    other = diff(base, moved(base.tensors, 1), COARSE)
    assert len(update) < len(other)


def test_updates_follow_the_base(valid_sr):
    """A chain of updates by short ids says what one by names says, with the same contexts."""
    network = load_onnx(valid_sr)
    long, short = (receive(pack(network, COARSE, ids=ids)) for ids in ("names", "short"))
    for seed in range(4):
        wanted = moved(long.tensors, seed)
        predict = "always" if seed % 2 else "never"
        updates = [diff(base, wanted, COARSE, predict=predict) for base in (long, short)]
        assert len(updates[1]) < len(updates[0])
        assert set(ids_of(updates[1])) <= set(short.ids.values())
        long, short = receive(updates[0], long), receive(updates[1], short)
        assert long.tensors.fingerprint() == short.tensors.fingerprint()
        assert short.network.tensors.fingerprint() == short.tensors.fingerprint()


def test_an_update_of_some_tensors(valid_sr):
    base = receive(pack(load_onnx(valid_sr), COARSE, ids="short"))
    name = list(base.tensors)[1]
    update = diff(base, {name: moved(base.tensors, 3)[name]}, COARSE)
    after = receive(update, base)
    changed = [
        each for each in base.tensors if not np.array_equal(base.tensors[each], after.tensors[each])
    ]
    assert changed == [name]


def test_a_replacement_by_short_ids(valid_sr):
    """Tensors that are no differences, without a graph of their own."""
    base = receive(pack(load_onnx(valid_sr), COARSE, ids="short"))
    name, value = list(base.tensors.items())[0]
    after = receive(encode({base.ids[name]: 2 * value}, EncodeSettings(qp=-60)), base)
    np.testing.assert_allclose(after.tensors[name], 2 * value, atol=1e-3)


def named_by_numbers(builder):
    b = builder()
    b.node("Conv", "x", b.weight("1", 4, 1, 3, 3), b.weight("zero", 4), pads=[1, 1, 1, 1])
    b.node("Conv", b.last, b.weight("two", 1, 4, 3, 3), pads=[1, 1, 1, 1])
    return load_onnx(b.bytes())


def test_names_that_look_like_ids(builder):
    network = named_by_numbers(builder)
    with pytest.raises(ValueError, match="tensor '1' of the graph is called like a short id"):
        pack(network, ids="short")
    plain = unpack(pack(network, EncodeSettings(lossless=True)))
    assert not plain.ids
    assert plain.tensors.fingerprint() == network.tensors.fingerprint()
    # Somebody else's mixture is read without doubt: a name is a name.
    arrays, _ = carriers(network.tensors, EncodeSettings())
    assert list(network.graph.externals) == ["1", "zero", "two"]
    mixed = encode(
        {"2" if name == "two" else name: value for name, value in arrays.items()},
        topology=TopologyPayload(data=network.topology.skeleton),
    )
    assert unpack(mixed).ids == {"two": "2"}


def test_a_tensor_under_two_ids_is_refused(valid_sr):
    network = load_onnx(valid_sr)
    arrays, _ = carriers(network.tensors, EncodeSettings())
    first = next(iter(network.graph.externals))
    twice = encode(
        {**arrays, "0": arrays[first]}, topology=TopologyPayload(data=network.topology.skeleton)
    )
    with pytest.raises(BitstreamError, match=f"topology_elem_id: tensor '{first}' comes under two"):
        unpack(twice)


@pytest.mark.parametrize("strange", ["99", "00", "+1", "-1", " 1", "١", "1.0"])
def test_other_ids_are_no_tensors_of_the_graph(valid_sr, strange):
    network = load_onnx(valid_sr)
    arrays, _ = carriers(network.tensors, EncodeSettings())
    stream = encode(
        {**arrays, strange: np.ones(3, np.float32)},
        topology=TopologyPayload(data=network.topology.skeleton),
    )
    with pytest.raises(TensorMismatchError, match="not part of the topology"):
        unpack(stream)


def test_ids_that_cannot_be(valid_sr):
    network = load_onnx(valid_sr)
    for change in ({"ids": "short", "topology": "none"}, {"ids": "tiny"}):
        with pytest.raises(ValueError, match="ids must be 'names', or 'short' with a topology"):
            pack(network, **change)
