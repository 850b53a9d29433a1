# SPDX-License-Identifier: Apache-2.0
"""Updates as residuals of their prediction: exact sums at both ends, nothing lost unnoticed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nnrvideo import BitstreamError, nnc
from nnrvideo.nnc.prediction import add_prediction, subtract_prediction
from nnrvideo.nnc.reconstruct import reconstruct_tensor

FINE = nnc.EncodeSettings(qp=-38)
START = {
    "w": np.random.default_rng(1).laplace(0, 0.1, (16, 40)).astype(np.float32),
    "b": np.random.default_rng(2).normal(0, 0.1, 16).astype(np.float32),
    "i": np.arange(-30, 30, dtype=np.int32).reshape(6, 10),
    "h": np.random.default_rng(3).normal(0, 1, (4, 6)).astype(np.float16),
}


def drift(seed, velocity):
    """A difference that is nearly the same each time."""
    random = np.random.default_rng(seed)
    return {
        "w": (velocity + random.normal(0, 0.001, velocity.shape)).astype(np.float32),
        "b": random.normal(0.02, 0.001, 16).astype(np.float32),
        "i": (2 + random.integers(0, 2, (6, 10))).astype(np.int32),
        "h": random.normal(0.1, 0.01, (4, 6)).astype(np.float16),
    }


@pytest.fixture
def velocity():
    return np.random.default_rng(5).normal(0, 0.02, (16, 40))


@pytest.fixture
def state():
    state = nnc.DecoderState()
    nnc.decode(nnc.encode(START), state=state)
    return state


def sent(differences, state, predict="always", **kwargs):
    """Encodes an update and lets the receiver have it."""
    data = nnc.encode_update(differences, state, FINE, predict=predict, **kwargs)
    return data, nnc.decode(data, state=state)


def test_differences_come_back_as_near_as_without(state, velocity):
    for seed in range(4):
        wanted = drift(seed, velocity)
        data, found = sent(wanted, state)
        assert found.is_predicted
        assert nnc.recode(found) == data
        assert list(found.tensors) == list(wanted)
        values = found.network_tensors()
        for name, value in wanted.items():
            assert values[name].dtype == value.dtype
            if value.dtype == np.int32:
                np.testing.assert_array_equal(values[name], value)
            else:
                np.testing.assert_allclose(values[name], value, atol=0.004)


def test_what_repeats_itself_costs_less(state, velocity):
    for seed in range(2):
        sent(drift(seed, velocity), state)
    plain = nnc.encode_update(drift(9, velocity), state, FINE)
    predicted = nnc.encode_update(drift(9, velocity), state, FINE, predict="always")
    assert len(predicted) < 0.7 * len(plain)
    assert nnc.encode_update(drift(9, velocity), state, FINE, predict="auto") == predicted


def test_auto_does_without_where_nothing_repeats_itself(state):
    random = np.random.default_rng(7)
    for number in range(3):
        noise = {"w": random.normal(0, 0.02, (16, 40)).astype(np.float32)}
        data = nnc.encode_update(noise, state, FINE, predict="auto")
        assert data == nnc.encode_update(noise, state, FINE)
        predicted = nnc.encode_update(noise, state, FINE, predict="always")
        assert len(data) + bool(number) <= len(predicted)
        nnc.decode(data, state=state)


def test_the_prediction_is_what_was_decoded_last(state, velocity):
    """Also where it came without prediction itself, and an update after it left the tensor out."""
    first = drift(0, velocity)
    _, one = sent(first, state, "never")
    sent({"b": first["b"]}, state)
    _, three = sent({"w": first["w"]}, state)
    assert np.abs(three.levels["w"]).max() < np.abs(one.levels["w"]).max() / 4
    (tensor,) = three.coded[0]
    residual = reconstruct_tensor(tensor, qp_density=2)
    np.testing.assert_array_equal(three.tensors["w"], residual)
    np.testing.assert_array_equal(three.network_tensors()["w"], one.tensors["w"] + residual)


def test_a_tensor_left_out_has_not_changed(state, velocity):
    sent(drift(0, velocity), state)
    nothing = {name: np.zeros_like(value) for name, value in START.items()}
    _, found = sent(nothing, state)
    assert not found.tensors
    # As good as nothing is nothing, too; but what is predicted and comes must be sent.
    small = dict(nothing, w=np.full((16, 40), 1e-6, np.float32))
    _, found = sent(small, state)
    assert not found.tensors
    exactly = {"w": state.difference("w").copy()}
    data, found = sent(exactly, state)
    assert not found.tensors["w"].any()
    np.testing.assert_array_equal(found.network_tensors()["w"], exactly["w"])
    assert len(data) < 60


def test_a_new_base_ends_the_prediction(state, velocity):
    sent(drift(0, velocity), state)
    assert state.difference("w") is not None
    nnc.decode(nnc.encode({"w": START["w"]}), state=state)
    assert state.difference("w") is None
    assert state.difference("b") is not None


def test_a_failed_update_leaves_the_prediction(state, velocity):
    sent(drift(0, velocity), state)
    before = state.difference("w")
    data = nnc.encode_update(drift(1, velocity), state, FINE, predict="always")
    with pytest.raises(BitstreamError):
        nnc.decode(data[:-1], state=state)
    assert state.difference("w") is before


def test_a_lost_update_is_refused(state, velocity):
    late = state.fork()
    sent(drift(0, velocity), state)
    data = nnc.encode_update(drift(1, velocity), state, FINE, predict="always")
    with pytest.raises(
        BitstreamError, match=r"NNC unit 2 .*put_node_depth: update .* does not foll"
    ):
        nnc.decode(data, state=late)
    with pytest.raises(BitstreamError, match="follows others that were not received"):
        nnc.decode(data)


def test_a_prediction_needs_node_ids(state, velocity):
    start, mps, *units = nnc.parse_units(
        nnc.encode_update(drift(0, velocity), state, FINE, predict="always")
    )
    units = [replace(unit, node_id=None, parent=None) for unit in units]
    with pytest.raises(BitstreamError, match="the prediction of 'w' needs node ids"):
        nnc.decode(nnc.write_units([start, mps, *units]), state=state)


def test_a_sum_out_of_range_is_refused(state):
    """Of integers beyond 31 bits, and of floats beyond binary32."""
    large = {"i": np.full((6, 10), 2**31 - 5, np.int32)}
    sent(large, state)
    units = nnc.parse_units(nnc.encode_update({"i": large["i"] // 2}, state))
    flagged = replace(units[1], nnr_pre_flag=True)
    with pytest.raises(BitstreamError, match="nnr_pre_flag: prediction and residual together"):
        nnc.decode(nnc.write_units([units[0], flagged, *units[2:]]), state=state)
    huge = np.array([3e38], np.float32)
    with pytest.raises(BitstreamError, match="together"):
        add_prediction(huge, huge)
    with pytest.raises(ValueError, match="residual of a prediction is out of range"):
        subtract_prediction(huge, -huge)
    with pytest.raises(ValueError, match="residual of a prediction is out of range"):
        nnc.encode_update({"i": -large["i"]}, state, predict="always")
    without = nnc.encode_update({"i": -large["i"]}, state)
    assert nnc.encode_update({"i": -large["i"]}, state, predict="auto") == without


def test_another_shape_or_kind_predicts_nothing():
    values = np.ones((2, 3), np.float32)
    for other in (None, np.ones((3, 2), np.float32), np.ones((2, 3), np.int32)):
        assert add_prediction(values, other) is values
        assert subtract_prediction(values, other) is values


def test_prediction_by_another_name_is_refused(state):
    with pytest.raises(ValueError, match="predict 'maybe' is none of never, auto, always"):
        nnc.encode_update({"w": START["w"]}, state, predict="maybe")
