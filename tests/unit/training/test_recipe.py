# SPDX-License-Identifier: Apache-2.0
"""One call trains a network of a kind and size and codes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.model import RANGES_TENSOR, infer_contract, unpack
from nnrvideo.training import PairSet, Progress
from nnrvideo.training.kinds import LEAST_STEPS, Mode, mode_scale
from nnrvideo.training.recipe import Budget, train_filter

SHORT = Budget(steps=LEAST_STEPS)


def set_of(mode: Mode) -> PairSet:
    """Pictures with the edges that interpolation blurs, at the sizes of a mode."""
    y, x = np.mgrid[0:60, 0:72]
    large = np.where((x // 12 + y // 10) % 2, 180, 60).astype(np.uint8)
    height, width = (int(size / mode_scale(mode)) for size in large.shape)
    rows, columns = (
        np.linspace(0, size - 1, count).round().astype(int)
        for size, count in zip(large.shape, (height, width), strict=True)
    )
    return PairSet([large[np.ix_(rows, columns)]], [large], [0])


@pytest.mark.parametrize("mode", ["enhance", "sr1.5x", "sr2x"])
def test_what_is_trained_does_what_the_mode_says(mode: Mode) -> None:
    trained = train_filter(set_of(mode), mode, "S", budget=SHORT)
    network = unpack(trained.nnc).require_network()
    assert infer_contract(network).width_ratio == mode_scale(mode)
    for name, wanted in trained.tensors.items():
        np.testing.assert_array_equal(network.tensors[name], wanted)
    assert trained.steps == LEAST_STEPS
    assert trained.cpu_seconds > 0


def test_ranges_for_integers_are_sent_where_they_cost_little() -> None:
    pairs = set_of("sr2x")
    plain = train_filter(pairs, "sr2x", "S", budget=SHORT)
    ranged = train_filter(pairs, "sr2x", "S", budget=SHORT, integers=True)
    assert plain.integer_loss is None
    assert RANGES_TENSOR not in unpack(plain.nnc).tensors
    assert ranged.integer_loss is not None
    assert (RANGES_TENSOR in unpack(ranged.nnc).tensors) == (ranged.integer_loss <= 0.02)


def test_a_base_is_what_training_starts_from() -> None:
    pairs = set_of("sr2x")
    base = train_filter(pairs, "sr2x", "S", budget=Budget(steps=40))
    from_base = train_filter(pairs, "sr2x", "S", budget=SHORT, base=base.nnc)
    assert from_base.gain > train_filter(pairs, "sr2x", "S", budget=SHORT).gain
    with pytest.raises(ValueError, match="base"):
        train_filter(pairs, "sr2x", "M", budget=SHORT, base=base.tensors)


def test_seconds_fix_a_number_of_steps_that_a_resumed_run_keeps(tmp_path: Path) -> None:
    pairs = set_of("enhance")
    checkpoint = tmp_path / "run.ck"

    def interrupt(progress: Progress) -> None:
        if progress.done > 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train_filter(
            pairs,
            "enhance",
            "S",
            budget=Budget(seconds=0.5),
            checkpoint=checkpoint,
            progress=interrupt,
        )
    steps: set[int] = set()
    resumed = train_filter(
        pairs,
        "enhance",
        "S",
        budget=Budget(seconds=0.2),  # not measured again: the run goes on as it was planned
        checkpoint=checkpoint,
        progress=lambda each: steps.add(each.total),
    )
    assert steps == {resumed.steps}
    whole = train_filter(pairs, "enhance", "S", budget=Budget(steps=resumed.steps))
    assert whole.nnc == resumed.nnc


@pytest.mark.parametrize("wrong", [{"steps": 3}, {"seconds": 0.0}, {"seconds": float("inf")}])
def test_impossible_budgets_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="training takes|budget"):
        Budget(**wrong)  # type: ignore[arg-type]


_TRAIN = """
import os, signal, sys, threading
from pathlib import Path
from nnrvideo.training import PairSet
from nnrvideo.training.recipe import Budget, train_filter
pairs, checkpoint, result = (Path(each) for each in sys.argv[1:4])
last = int(sys.argv[4])  # report after which the process dies, wherever it is by then
def report(progress):
    if progress.done == last:
        threading.Timer(0.004, os.kill, (os.getpid(), signal.SIGKILL)).start()
trained = train_filter(
    PairSet.load(pairs),
    "sr2x", "S", budget=Budget(steps=110), checkpoint=checkpoint, progress=report,
)
result.write_bytes(trained.nnc)
"""


@pytest.mark.slow
def test_a_process_killed_twice_ends_with_the_same_bytes(tmp_path: Path) -> None:
    pairs = set_of("sr2x")
    pairs.save(tmp_path / "pairs.npz")
    checkpoint, result = tmp_path / "run.ck", tmp_path / "net.nnc"
    command = [sys.executable, "-c", _TRAIN]
    command += [str(each) for each in (tmp_path / "pairs.npz", checkpoint, result)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for last, status in (("30", -signal.SIGKILL), ("90", -signal.SIGKILL), ("0", 0)):
        done = subprocess.run([*command, last], env=environment, check=False)
        assert done.returncode == status
        assert result.exists() == (status == 0)
    assert result.read_bytes() == train_filter(pairs, "sr2x", "S", budget=Budget(steps=110)).nnc


def test_a_checkpoint_of_other_pictures_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.ck"
    pairs = set_of("sr2x")
    train_filter(pairs, "sr2x", "S", budget=SHORT, checkpoint=checkpoint)
    pairs.large[0] = pairs.large[0][::-1].copy()
    with pytest.raises(ValueError, match="other settings or pictures"):
        train_filter(pairs, "sr2x", "S", budget=SHORT, checkpoint=checkpoint)
    checkpoint.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="no checkpoint"):
        train_filter(pairs, "sr2x", "S", budget=SHORT, checkpoint=checkpoint)


def test_a_plateau_ends_the_training_early() -> None:
    pairs = set_of("enhance")  # equal pictures: there is nothing to learn
    length = 150
    whole = train_filter(pairs, "enhance", "S", budget=Budget(steps=length))
    early = train_filter(pairs, "enhance", "S", budget=Budget(steps=length, plateau=True))
    assert whole.steps == length
    assert early.steps < length / 2
