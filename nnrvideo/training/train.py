# SPDX-License-Identifier: Apache-2.0
"""Trains a ``BlockNet`` on pairs: first in float32, then on quantised weights.

A run can be interrupted at any time and resumed from its checkpoint, with the same result.
"""

from __future__ import annotations

import hashlib
import math
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrvideo.training._torch import torch
from nnrvideo.training.data import PairSet
from nnrvideo.training.nets import BlockNet, NetShape, run_convolutions, to_arrays
from nnrvideo.training.quantised import QuantPlan, plan_quantisation, quantise_tensor
from nnrvideo.training.steps import (
    Batch,
    BatchError,
    GradientLimit,
    Progress,
    Sampler,
    batch_error,
    gain,
    scheduled_rate,
)

Arrays = dict[str, npt.NDArray[np.float32]]

_TIMED_STEPS: Final = 8  # that the speed is measured on, after one that warms up
_TEST_STREAM: Final = 2  # of crops that nothing is trained on; 0 and 1 are those of the phases
_TEST_BATCHES: Final = 2
_PLATEAU_SHARE: Final = 0.25  # of the steps so far that must have gained something
_PLATEAU_GAIN: Final = 0.01  # dB
_PLATEAU_REPORTS: Final = 3  # that tell one, at least
_LAST_SHARE: Final = 0.25  # of the steps so far that follow a plateau, with a falling rate


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How long and how to train.

    Args:
        shape: Size of the network.
        float_steps: Steps in float32.
        quantised_steps: Steps on quantised weights, after the others.
        batch: Crops in each step.
        patch: Width and height of a crop without overlap, in samples of the small picture; even.
        learning_rate: Peak of Adam's learning rate in float32.
        quantised_learning_rate: Peak in the quantised phase.
        warm_up: Share of a phase's steps in which the learning rate rises.
        relative_step: Quantisation step of weights relative to their standard deviation.
        error_exponent: Crops are weighted with (error of plain interpolation) ** -error_exponent;
            0 minimises the mean squared error, 1 gives each crop the same say in decibels.
        plateau: End a phase early where a quarter of its steps gained less than 0.01 dB: the rate
            then falls to its end within another quarter.
        seed: Seed of the initial weights and of the crops.
        threads: Threads that PyTorch may use.
    """

    shape: NetShape = field(default_factory=NetShape)
    float_steps: int = 30000
    quantised_steps: int = 6000
    batch: int = 16
    patch: int = 48
    learning_rate: float = 2.5e-3
    quantised_learning_rate: float = 4e-4
    warm_up: float = 0.03
    relative_step: float = 0.12
    error_exponent: float = 0.5
    plateau: bool = False
    seed: int = 1
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network.

    Args:
        tensors: The quantised tensors as a decoder reconstructs them, by name.
        plan: The quantisation they were trained for; the packer must use the same.
        master: The unquantised tensors behind them.
        settings: How they were trained.
        steps: Steps done in both phases.
        gain: Decibels over plain interpolation, on crops drawn apart from those trained on.
    """

    tensors: Arrays
    plan: QuantPlan
    master: Arrays
    settings: TrainSettings
    steps: int
    gain: float


def train(
    pairs: PairSet,
    settings: TrainSettings,
    *,
    base: Mapping[str, npt.NDArray[np.float32]] | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 1000,
    progress: Callable[[Progress], None] = lambda _progress: None,
) -> Trained:
    """Trains a network, from a checkpoint if there is one.

    Args:
        pairs: Training pairs; small pictures no smaller than the patch with its overlap.
        settings: Network, length, learning rates and seed.
        base: Tensors to start from, by the names of ``BlockNet.weights``; None for random ones.
        checkpoint: File that is written now and then and read at the start if it exists.
        checkpoint_every: Steps between checkpoints and calls of ``progress``.
        progress: Called after that many steps and at the end of each phase, with the error on
            crops that nothing is trained on.

    Returns:
        The trained tensors with their quantisation.

    Raises:
        ValueError: There are no usable pairs, the base is of another shape, or the checkpoint is
            of another run.
    """
    run = _begin(pairs, settings, base, checkpoint_every, progress)
    if checkpoint is not None:
        run.keep_in(checkpoint, _identity(pairs, settings, base))
    run.phase("float", settings.float_steps, settings.learning_rate)
    plan = run.prepare_quantised()
    run.phase("quantised", settings.quantised_steps, settings.quantised_learning_rate)
    master = to_arrays(run.net.weights())
    tensors = {name: plan.quantise(name, values) for name, values in master.items()}
    return Trained(tensors, plan, master, settings, run.done, run.gain())


def _begin(
    pairs: PairSet,
    settings: TrainSettings,
    base: Mapping[str, npt.NDArray[np.float32]] | None,
    every: int,
    progress: Callable[[Progress], None],
) -> _Run:
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    sampler = Sampler(
        pairs,
        batch=settings.batch,
        patch=settings.patch,
        shape=settings.shape,
        seed=settings.seed,
    )
    net = BlockNet(settings.shape) if base is None else BlockNet.from_weights(base)
    if net.shape != settings.shape:
        raise ValueError(f"the base is a network of {net.shape}, not of {settings.shape}")
    return _Run(net, sampler, settings, every, progress)


def planned_steps(checkpoint: Path) -> tuple[int, int] | None:
    """Steps in float32 and on quantised weights of the run that wrote a checkpoint, if it exists.

    Raises:
        ValueError: The file is no checkpoint.
    """
    if not checkpoint.exists():
        return None
    in_float, quantised = _read(checkpoint)["steps"]
    return int(in_float), int(quantised)


def step_seconds(pairs: PairSet, settings: TrainSettings) -> tuple[float, float]:
    """CPU seconds of this process for a step in float32, and for one on quantised weights."""
    run = _begin(pairs, settings, None, 1, lambda _progress: None)
    in_float = run.seconds_of_a_step()
    run.prepare_quantised()
    return in_float, run.seconds_of_a_step()


@dataclass(slots=True)
class _Position:
    """How far a run has come; everything that a checkpoint keeps besides network and optimiser.

    Args:
        phase: ``"float"`` or ``"quantised"``.
        step: Steps done in the phase.
        earlier: Steps done in the phase before.
        gains: Decibels over interpolation at each report of the phase, with the step.
        falling_from: Step at which a plateau was found.
    """

    phase: str = "float"
    step: int = 0
    earlier: int = 0
    gains: list[tuple[int, float]] = field(default_factory=list)
    falling_from: int | None = None

    def end(self, steps: int) -> int:
        """Step at which the phase ends."""
        if self.falling_from is None:
            return steps
        return min(steps, math.ceil(self.falling_from * (1 + _LAST_SHARE)))

    def rate(self, steps: int, peak: float, warm_up: float) -> float:
        """Learning rate of the next step."""
        if self.falling_from is None:
            return scheduled_rate(self.step, steps, peak, warm_up)
        start = scheduled_rate(self.falling_from, steps, peak, warm_up)
        length = self.end(steps) - self.falling_from
        return scheduled_rate(self.step - self.falling_from, length, start, 0.0)

    def on_plateau(self) -> bool:
        """Whether the last steps gained next to nothing."""
        before = [gain for step, gain in self.gains if step <= self.step * (1 - _PLATEAU_SHARE)]
        after = [gain for step, gain in self.gains if step > self.step * (1 - _PLATEAU_SHARE)]
        return len(after) >= _PLATEAU_REPORTS and max(after) <= max(before) + _PLATEAU_GAIN


class _Run:
    """The state of one training run: network, optimiser, position."""

    def __init__(
        self,
        net: BlockNet,
        sampler: Sampler,
        settings: TrainSettings,
        every: int,
        progress: Callable[[Progress], None],
    ) -> None:
        self.net = net
        self._plan: QuantPlan | None = None
        self._settings = settings
        self._sampler = sampler
        self._every = max(1, every)
        self._progress = progress
        self._checkpoint: Path | None = None
        self._identity = ""
        self._optimiser = torch.optim.Adam(net.parameters(), lr=settings.learning_rate)
        self._limit = GradientLimit()
        self._at = _Position()
        self._tests = [sampler.batch(_TEST_STREAM, number) for number in range(_TEST_BATCHES)]

    def phase(self, name: str, steps: int, peak: float) -> None:
        """Runs the rest of a phase; a phase that the checkpoint has behind it is skipped."""
        at = self._at
        if name == "float" and at.phase == "quantised":
            return
        if name != at.phase:
            at = self._at = _Position(phase=name, earlier=at.step)
            self._optimiser = torch.optim.Adam(self.net.parameters(), lr=peak)
        while at.step < at.end(steps):
            for group in self._optimiser.param_groups:
                group["lr"] = at.rate(steps, peak, self._settings.warm_up)
            self._one_step()
            at.step += 1
            if at.step % self._every == 0 or at.step == at.end(steps):
                self._report(steps)

    def _report(self, steps: int) -> None:
        """Tests, decides whether to end the phase early, keeps the state."""
        at = self._at
        loss, interpolation = self._tested()
        later = self._settings.quantised_steps if at.phase == "float" else 0
        report = Progress(
            at.phase,
            at.step,
            at.end(steps),
            loss,
            interpolation,
            at.earlier + at.step,
            at.earlier + at.end(steps) + later,
        )
        at.gains.append((at.step, report.gain))
        if self._settings.plateau and at.falling_from is None and at.on_plateau():
            at.falling_from = at.step
        self._save()
        self._progress(report)

    @property
    def done(self) -> int:
        """Steps done in both phases."""
        return self._at.earlier + self._at.step

    def gain(self) -> float:
        """Decibels over plain interpolation."""
        return gain(*self._tested())

    def prepare_quantised(self) -> QuantPlan:
        """From now on steps run on quantised weights."""
        if self._plan is None:
            self._plan = plan_quantisation(
                to_arrays(self.net.weights()), relative_step=self._settings.relative_step
            )
        return self._plan

    def seconds_of_a_step(self) -> float:
        """CPU seconds of this process, after a step that is not counted."""
        self._one_step()
        begin = time.process_time()
        for _ in range(_TIMED_STEPS):
            self._one_step()
        return (time.process_time() - begin) / _TIMED_STEPS

    def _one_step(self) -> None:
        batch = self._sampler.batch(int(self._at.phase == "quantised"), self._at.step)
        error = self._error(batch)
        self._optimiser.zero_grad(set_to_none=True)
        error.weighted.backward()  # type: ignore[no-untyped-call]
        self._limit.apply(self.net.parameters())
        self._optimiser.step()

    def _tested(self) -> tuple[float, float]:
        with torch.no_grad():
            errors = [self._error(batch) for batch in self._tests]
        loss, interpolation = np.mean([(e.mean, e.interpolation) for e in errors], axis=0)
        return float(loss), float(interpolation)

    def _error(self, batch: Batch) -> BatchError:
        if self._plan is None:
            output = self.net(batch.small)
        else:
            exported = self.net.weights()
            weights = {
                name: quantise_tensor(self._plan, name, tensor) for name, tensor in exported.items()
            }
            output = run_convolutions(batch.small, batch.small, weights, weights["skip.weight"])
        return batch_error(
            output,
            batch,
            self.net.skip,
            overlap=self._settings.shape.overlap,
            exponent=self._settings.error_exponent,
        )

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        state = {
            "identity": self._identity,
            "steps": (self._settings.float_steps, self._settings.quantised_steps),
            "net": self.net.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "norms": self._limit.norms,
            "position": asdict(self._at),
            "qp": dict(self._plan.qp) if self._plan else None,
        }
        partial = self._checkpoint.with_name(f"{self._checkpoint.name}.partial")
        torch.save(state, partial)
        partial.replace(self._checkpoint)  # a crash while writing leaves the older one

    def keep_in(self, checkpoint: Path, identity: str) -> None:
        """Keeps the state in a file from now on; continues from there if it exists."""
        self._checkpoint, self._identity = checkpoint, identity
        if not checkpoint.exists():
            return
        state = _read(checkpoint)
        if state["identity"] != identity:
            raise ValueError(
                f"{checkpoint} was written by a run with other settings or pictures; delete it to "
                "start anew"
            )
        self.net.load_state_dict(state["net"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._limit = GradientLimit(state["norms"])
        self._at = _Position(**state["position"])
        self._plan = QuantPlan(state["qp"]) if state["qp"] is not None else None


def _identity(
    pairs: PairSet,
    settings: TrainSettings,
    base: Mapping[str, npt.NDArray[np.float32]] | None,
) -> str:
    """Digest of everything that a run depends on."""
    digest = hashlib.sha256(repr((settings, pairs.large_index)).encode())
    for plane in (*pairs.small, *pairs.large):
        digest.update(repr(plane.shape).encode())
        digest.update(np.ascontiguousarray(plane).data)
    for name, values in sorted((base or {}).items()):
        digest.update(f"{name} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _read(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's fields.

    Raises:
        ValueError: The file is no checkpoint.
    """
    try:
        # weights_only: a checkpoint is data, it must not be able to run code.
        state = torch.load(checkpoint, weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{checkpoint} is no checkpoint of a training") from error
    if not isinstance(state, dict) or not {"identity", "steps", "position"} <= state.keys():
        raise ValueError(f"{checkpoint} is no checkpoint of a training")
    return state
