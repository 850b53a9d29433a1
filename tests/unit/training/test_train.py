# SPDX-License-Identifier: Apache-2.0
"""Training learns, repeats itself, and survives an interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.training import NetShape, PairSet, Progress, Trained, TrainSettings
from nnrvideo.training.train import train

TINY = TrainSettings(
    shape=NetShape(channels=8, convolutions=3),
    float_steps=60,
    quantised_steps=10,
    batch=4,
    patch=16,
    learning_rate=5e-3,
    seed=7,
)


class InterruptionError(Exception):
    """Stands for whatever ends a process in the middle of its work."""


def same(one: Trained, other: Trained) -> bool:
    return one.plan == other.plan and all(
        np.array_equal(one.master[name], other.master[name]) for name in one.master
    )


def test_training_beats_interpolation(pairs: PairSet) -> None:
    reports: list[Progress] = []
    train(pairs, TINY, checkpoint_every=10, progress=reports.append)
    first, last = reports[0], reports[-1]
    assert [report.phase for report in reports] == ["float"] * 6 + ["quantised"]
    assert last.loss < 0.9 * first.loss
    assert last.loss < 0.8 * last.interpolation_loss


def test_same_seed_gives_the_same_network(pairs: PairSet) -> None:
    settings = replace(TINY, float_steps=4, quantised_steps=2)
    assert same(train(pairs, settings), train(pairs, settings))
    assert not same(train(pairs, settings), train(pairs, replace(settings, seed=8)))


@pytest.mark.parametrize("phase", ["float", "quantised"])
def test_resumed_run_equals_an_uninterrupted_one(
    pairs: PairSet, tmp_path: Path, phase: str
) -> None:
    settings = replace(TINY, float_steps=6, quantised_steps=4)

    def interrupt(progress: Progress) -> None:
        if progress.phase == phase and progress.step == 2:
            raise InterruptionError

    checkpoint = tmp_path / "run.ck"
    with pytest.raises(InterruptionError):
        train(pairs, settings, checkpoint=checkpoint, checkpoint_every=2, progress=interrupt)
    resumed = train(pairs, settings, checkpoint=checkpoint, checkpoint_every=2)
    assert same(resumed, train(pairs, settings))


def test_checkpoint_of_another_run_is_refused(pairs: PairSet, tmp_path: Path) -> None:
    settings = replace(TINY, float_steps=1, quantised_steps=1)
    checkpoint = tmp_path / "run.ck"
    train(pairs, settings, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="other settings"):
        train(pairs, replace(settings, seed=9), checkpoint=checkpoint)


def test_pictures_smaller_than_a_crop_are_refused(pairs: PairSet) -> None:
    with pytest.raises(ValueError, match="crop"):
        train(pairs, replace(TINY, patch=48))
