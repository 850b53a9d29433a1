# SPDX-License-Identifier: Apache-2.0
"""Updates: both ends keep the same bits, and only the right base takes them."""

import numpy as np
import pytest

from nnrvideo import nnc
from nnrvideo.errors import BitstreamError, TensorMismatchError
from nnrvideo.model import Received, diff, model_id, receive
from nnrvideo.tensors import TensorSet

COARSE = nnc.EncodeSettings(qp=-20)


def network(seed=0):
    random = np.random.default_rng(seed)
    return {
        "conv": random.laplace(0, 0.1, (16, 8, 3, 3)).astype(np.float32),
        "bias": random.normal(0, 0.1, 16).astype(np.float32),
        "head": random.laplace(0, 0.2, (10, 40)).astype(np.float32),
        "half": random.normal(0, 1, (4, 5)).astype(np.float16),
        "table": random.integers(-9, 9, (3, 7), np.int32),
    }


def tuned(tensors, seed, size=0.02):
    """A network that training has moved a little, in places."""
    random = np.random.default_rng(seed)
    moved = {}
    for name, value in tensors.items():
        where = random.random(value.shape) < 0.3
        step = random.normal(0, size, value.shape) if value.dtype.kind == "f" else where
        moved[name] = (value + np.where(where, step, 0)).astype(value.dtype)
    return TensorSet(moved)


def same(a, b):
    return list(a) == list(b) and all(
        a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes() for name in a
    )


@pytest.fixture(scope="module")
def base():
    return receive(nnc.encode(network(), COARSE))


def test_a_chain_of_twenty_is_the_same_at_both_ends(base):
    """The receiver's copy equals the sender's after each update, by whatever way it came."""
    sender = receiver = base
    updates = []
    wanted = base.tensors
    fine = nnc.EncodeSettings(qp=-38)
    for number in range(20):
        wanted = tuned(wanted, number)
        update = diff(sender, wanted, fine)
        updates.append(update)
        sender = receive(update, sender)
        for name, value in wanted.items():
            np.testing.assert_allclose(
                sender.tensors[name].astype(float), value.astype(float), atol=0.03
            )
        receiver = receive(bytes(update), receiver)
        assert same(sender.tensors, receiver.tensors)
    # Adding up what a plain decoder finds in each update gives the very same bits.
    state = nnc.DecoderState()
    direct = dict(nnc.decode(nnc.encode(network(), COARSE), state=state).tensors)
    for update in updates:
        for name, value in nnc.decode(update, state=state).tensors.items():
            old = direct[name]
            wide = np.float32 if old.dtype.kind == "f" else np.int64
            direct[name] = (old.astype(wide) + value.astype(wide)).astype(old.dtype)
    assert same(TensorSet(direct), receiver.tensors)


@pytest.mark.parametrize("predict", ["always", "auto"])
def test_a_predicted_chain_of_twenty_is_the_same_at_both_ends(base, predict):
    """A network that drifts: the receiver adds up what the sender has, for fewer bytes."""
    random = np.random.default_rng(3)
    velocity = {name: random.normal(0, 0.02, value.shape) for name, value in network().items()}
    sender = receiver = base
    plain = base
    wanted = base.tensors
    fine = nnc.EncodeSettings(qp=-38, preset="fast")
    sizes = {"plain": 0, predict: 0}
    for _ in range(20):
        moved = {}
        for name, value in wanted.items():
            speed = 0.98 * velocity[name] + 0.2 * random.normal(0, 0.02, value.shape)
            velocity[name] = speed
            change = speed if value.dtype.kind == "f" else np.rint(100 * speed)
            moved[name] = (value + change).astype(value.dtype)
        wanted = TensorSet(moved)
        update = diff(sender, wanted, fine, predict=predict)
        sender = receive(update, sender)
        receiver = receive(bytes(update), receiver)
        assert same(sender.tensors, receiver.tensors)
        without = diff(plain, wanted, fine)
        plain = receive(without, plain)
        sizes["plain"] += len(without)
        sizes[predict] += len(update)
        for name, value in wanted.items():
            np.testing.assert_allclose(
                sender.tensors[name].astype(float), value.astype(float), atol=0.03
            )
    assert sizes[predict] < 0.9 * sizes["plain"]


def test_a_lost_update_is_noticed_by_what_it_would_predict(base):
    one, two = tuned(base.tensors, 1), tuned(base.tensors, 2)
    first = receive(diff(base, one), base)
    second = diff(first, two, predict="always", name_base=False)
    assert same(receive(second, first).tensors, receive(bytes(second), first).tensors)
    with pytest.raises(BitstreamError, match="does not follow"):
        receive(second, base)


def test_contexts_of_earlier_levels_are_used_where_they_pay(base):
    sender, temporal, history = base, 0, 0
    random = np.random.default_rng(1)
    places = random.random((16, 8, 3, 3)) < 0.15  # the same ones again and again
    for _ in range(4):
        conv = sender.tensors["conv"] + places * random.normal(0, 0.3, places.shape)
        update = diff(sender, {"conv": conv.astype(np.float32)}, COARSE)
        sender = receive(update, sender)
        (unit,) = (u for u in sender.decoded.units if isinstance(u, nnc.DataUnit))
        ((coded,),) = sender.decoded.coded
        temporal += unit.parent.temporal_context_modeling_flag
        history += coded.choices.hist_dep_sig_prob_enabled_flag
    assert temporal + history >= 3


def test_what_did_not_change_is_not_sent(base):
    update = diff(base, base.tensors)
    assert [type(unit).__name__ for unit in nnc.parse_units(update)] == [
        "StartUnit",
        "ModelParameterSet",
    ]
    assert same(receive(update, base).tensors, base.tensors)
    head = base.tensors["head"] + np.float32(0.5)
    received = receive(diff(base, {"head": head}), base)
    assert list(received.decoded.tensors) == ["head"]


def test_a_few_rows_cost_little(base):
    rows = np.array(base.tensors["conv"])
    rows[3] += 0.1
    everything = base.tensors["conv"] + np.random.default_rng(0).normal(0, 0.1, rows.shape)
    few = diff(base, {"conv": rows}, COARSE)
    assert len(few) < 0.25 * len(diff(base, {"conv": everything.astype(np.float32)}, COARSE))


def test_an_update_needs_its_base(base):
    update = diff(base, tuned(base.tensors, 1))
    with pytest.raises(BitstreamError, match="must come first"):
        receive(update)


def test_another_base_is_refused(base):
    update = diff(base, tuned(base.tensors, 1))
    other = receive(nnc.encode(network(5), COARSE))
    with pytest.raises(BitstreamError, match="not for"):
        receive(update, other)
    # Twice is once too often: what it adds to is gone.
    with pytest.raises(BitstreamError, match="not for"):
        receive(update, receive(update, base))


def test_a_lost_update_is_noticed(base):
    first = diff(base, tuned(base.tensors, 1, 0.5), COARSE)
    second = diff(receive(first, base), tuned(base.tensors, 2, 0.5), COARSE)
    with pytest.raises(BitstreamError, match=r"not for|does not follow"):
        receive(second, base)


@pytest.mark.parametrize("parent_ids", ["sha256", "sha512"])
def test_parents_by_hash(base, parent_ids):
    """They protect even where the base's name was left out or forged."""
    new = tuned(base.tensors, 1)
    update = diff(base, new, parent_ids=parent_ids, name_base=False)
    assert same(receive(update, base).tensors, receive(diff(base, new), base).tensors)
    other = receive(nnc.encode(network(5), COARSE))
    with pytest.raises(BitstreamError, match="parent of 'conv' is another one"):
        receive(update, other)
    with pytest.raises(BitstreamError, match="was never received"):
        receive(update, Received.of(base.tensors))
    unit = next(u for u in nnc.parse_units(update) if isinstance(u, nnc.DataUnit))
    digest = unit.parent.parent_node_payload_sha
    bits = f"{int.from_bytes(update, 'big'):0{8 * len(update)}b}"
    place = bits.index(f"{int.from_bytes(digest, 'big'):0{8 * len(digest)}b}") + 5
    flipped = bits[:place] + "10"[int(bits[place])] + bits[place + 1 :]
    forged = int(flipped, 2).to_bytes(len(update), "big")
    with pytest.raises(BitstreamError, match="another one"):
        receive(forged, base)


def test_a_parent_that_was_never_sent_has_no_hash():
    base = Received.of(TensorSet(network()))
    with pytest.raises(ValueError, match="never sent"):
        diff(base, tuned(base.tensors, 1), parent_ids="sha256")


def test_a_base_that_came_some_other_way():
    base = Received.of(TensorSet(network()))
    received = receive(diff(base, tuned(base.tensors, 1)), base)
    assert not same(received.tensors, base.tensors)


def test_one_base_serves_many_updates(base):
    before = {name: value.tobytes() for name, value in base.tensors.items()}
    one, two = (diff(base, tuned(base.tensors, seed, 0.3), COARSE) for seed in (1, 2))
    first = receive(one, base)
    receive(two, base)
    assert same(receive(one, base).tensors, first.tensors)
    assert before == {name: value.tobytes() for name, value in base.tensors.items()}


def test_an_update_of_any_earlier_node(base):
    """Siblings go on from the same node; whoever has another one is told so."""
    first = receive(diff(base, tuned(base.tensors, 1), COARSE), base)
    second = receive(diff(first, tuned(first.tensors, 2), COARSE), first)
    sibling = diff(first, tuned(first.tensors, 3), COARSE)
    assert same(receive(sibling, first).tensors, receive(bytes(sibling), first).tensors)
    for holder in (base, second):
        with pytest.raises(BitstreamError, match="the update is for the network|does not follow"):
            receive(sibling, holder)
    # Named by hash, a parent is found out without the network's name, too.
    hashed = diff(first, tuned(first.tensors, 3), COARSE, parent_ids="sha256", name_base=False)
    receive(hashed, first)
    for holder in (base, second):
        with pytest.raises(BitstreamError, match="the parent of 'conv' is another one"):
            receive(hashed, holder)


def test_sparse_updates(base):
    """Small differences are dropped, and what is left is where they were largest."""
    new = tuned(base.tensors, 3, 0.2)
    sparse = nnc.EncodeSettings(qp=-30, sparsity=0.95)
    update = diff(base, {"conv": new["conv"]}, sparse)
    changed = receive(update, base).tensors["conv"] != base.tensors["conv"]
    assert 0 < changed.mean() < 0.055
    assert len(update) < 0.5 * len(diff(base, {"conv": new["conv"]}, nnc.EncodeSettings(qp=-30)))


def test_a_base_of_factors():
    random = np.random.default_rng(0)
    weight = (random.normal(0, 1, (30, 2)) @ random.normal(0, 0.2, (2, 36))).astype(np.float32)
    base = receive(nnc.encode({"w": weight}, nnc.EncodeSettings(low_rank=0.999)))
    assert list(base.tensors) == ["w"]
    moved = base.tensors["w"] + np.float32(0.125)
    found = receive(diff(base, {"w": moved}), base)
    np.testing.assert_allclose(found.tensors["w"], moved, atol=4e-3)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ({"strange": np.zeros(3, np.float32)}, "not part of the base"),
        ({"bias": np.zeros(3, np.float32)}, "bias"),
        ({"bias": np.zeros(16, np.float64)}, "bias"),
    ],
)
def test_networks_of_another_kind(base, new, message):
    with pytest.raises(TensorMismatchError, match=message):
        diff(base, new)


def test_an_update_must_fit(base):
    data = nnc.encode_update({"strange": np.ones(3, np.float32)}, base.state)
    with pytest.raises(TensorMismatchError, match="strange"):
        receive(data, base)
    data = nnc.encode_update({"half": np.full((4, 5), 65504.0, np.float32)}, base.state)
    huge = receive(nnc.encode({"half": np.full((4, 5), 60000.0, np.float16)}))
    with pytest.raises(TensorMismatchError, match="range of float16"):
        receive(data, huge)


@pytest.mark.parametrize("change", [{"lossless": True}, {"profile": 0}, {"low_rank": 0.9}])
def test_settings_that_no_update_can_have(base, change):
    with pytest.raises(ValueError, match="update"):
        diff(base, base.tensors, nnc.EncodeSettings(**change))


def test_the_name_of_a_network():
    tensors = network()
    name = model_id(tensors)
    assert model_id(dict(reversed(tensors.items()))) == name
    changed = dict(tensors)
    changed["table"] = tensors["table"] + np.eye(3, 7, dtype=np.int32)
    assert model_id(changed) != name
    assert model_id({"x": np.float32(1)}) == model_id({"x": np.float32([1])})
