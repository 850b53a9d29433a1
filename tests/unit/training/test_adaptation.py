# SPDX-License-Identifier: Apache-2.0
"""Adapting moves only what is worth its bits, and the update carries just that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.model import load_onnx, pack, receive
from nnrvideo.nnc import EncodeSettings
from nnrvideo.training import AdaptSettings, NetShape, PairSet, TrainSettings, adapt, to_onnx
from nnrvideo.training.adaptation import adaptation_psnr, to_update
from nnrvideo.training.nets import BlockNet, to_arrays
from nnrvideo.training.steps import Progress
from nnrvideo.training.train import train

QUICK = AdaptSettings(steps=40, refine_steps=20, batch=4, patch=16, pull=0.02, seed=3)

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def base(pairs: PairSet) -> Arrays:
    settings = TrainSettings(
        shape=NetShape(channels=8, convolutions=3),
        float_steps=10,
        quantised_steps=0,
        batch=4,
        patch=16,
        seed=7,
    )
    return train(pairs, settings).tensors


def moved(base: Arrays, adapted: Arrays) -> float:
    """Share of the weights, biases aside, that are not the base's."""
    weights = [name for name, value in base.items() if value.ndim > 1]
    changed = sum(int((adapted[name] != base[name]).sum()) for name in weights)
    return changed / sum(base[name].size for name in weights)


def test_exported_tensors_make_the_same_network_again(base: Arrays) -> None:
    again = to_arrays(BlockNet.from_weights(base).weights())
    assert again.keys() == base.keys()
    for name, value in base.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-6, atol=1e-7)


def test_other_tensors_are_refused() -> None:
    with pytest.raises(ValueError, match="block network"):
        BlockNet.from_weights({"w": np.zeros((2, 2), np.float32)})


def test_a_pull_leaves_most_weights_where_they_were(base: Arrays, pairs: PairSet) -> None:
    free = adapt(base, pairs, replace(QUICK, pull=0.0))
    drawn = adapt(base, pairs, replace(QUICK, pull=5.0))
    # Some units of so small a network never fire: their weights have no gradient.
    assert 0 < moved(base, drawn) < 0.5 * moved(base, free)
    before = adaptation_psnr(base, pairs)
    assert before < adaptation_psnr(drawn, pairs) < adaptation_psnr(free, pairs)


def test_refinement_moves_nothing_new(base: Arrays, pairs: PairSet) -> None:
    rough = adapt(base, pairs, replace(QUICK, refine_steps=0))
    refined = adapt(base, pairs, QUICK)
    assert moved(base, refined) == moved(base, rough)
    assert any(not np.array_equal(rough[name], refined[name]) for name in base)


def test_same_seed_gives_the_same_update(base: Arrays, pairs: PairSet) -> None:
    one, other = adapt(base, pairs, QUICK), adapt(base, pairs, QUICK)
    assert all(np.array_equal(one[name], other[name]) for name in base)
    third = adapt(base, pairs, replace(QUICK, seed=4))
    assert any(not np.array_equal(one[name], third[name]) for name in base)


def test_update_keeps_what_was_gained(base: Arrays, pairs: PairSet) -> None:
    network = load_onnx(to_onnx(base))
    sent = receive(pack(network, EncodeSettings(qp=-40)))
    start = {name: np.asarray(value) for name, value in sent.tensors.items()}
    adapted = adapt(start, pairs, QUICK)
    update = to_update(sent, adapted, pairs, loss=0.05)
    after = receive(update, sent).tensors
    reached = adaptation_psnr({name: np.asarray(value) for name, value in after.items()}, pairs)
    assert reached >= adaptation_psnr(adapted, pairs) - 0.1
    assert len(update) < len(pack(network.with_tensors(adapted), topology="none"))


def test_progress_is_reported_to_the_end(base: Arrays, pairs: PairSet) -> None:
    seen: list[Progress] = []
    adapt(base, pairs, QUICK, progress_every=25, progress=seen.append)
    assert [each.step for each in seen] == [25, 50, 60]
    assert {each.steps for each in seen} == {60}


@pytest.mark.parametrize("wrong", [{"pull": -1.0}, {"pull": float("nan")}, {"batch": 0}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="pull|batch"):
        replace(QUICK, **wrong)
