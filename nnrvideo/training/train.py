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
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrvideo.training._torch import torch
from nnrvideo.training.data import PairSet
from nnrvideo.training.nets import BlockNet, NetShape, run_convolutions, to_arrays
from nnrvideo.training.optimiser import Optimiser
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


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How long and how to train.

    Args:
        shape: Size of the network.
        float_steps: Steps in float32.
        quantised_steps: Steps on quantised weights, after the others.
        batch: Crops in each step.
        patch: Width and height of a crop without overlap, in samples of the small picture; even.
        learning_rate: Peak of Adam's learning rate, in proportion to which is that of Muon (see
            :mod:`nnrvideo.training.optimiser`).  It falls along one cosine through both phases:
            what is not settled in float32 settles on quantised weights.
        warm_up: Share of the steps in which the learning rate rises.
        relative_step: Quantisation step of weights relative to their standard deviation.
        dependent: Dependent quantisation instead of uniform.  It is finer at the same bits, but
            moving one weight moves the levels of those that follow, which training cannot settle
            against: after some hundred steps uniform quantisation has lost less.
        error_exponent: Crops are weighted with (error of plain interpolation) ** -error_exponent;
            0 minimises the mean squared error, 1 gives each crop the same say in decibels.
        plateau: Go on to quantised weights as soon as a quarter of the steps so far gained less
            than 0.01 dB, and stay there for as much less.
        seed: Seed of the initial weights and of the crops.
        threads: Threads that PyTorch may use.
    """

    shape: NetShape = field(default_factory=NetShape)
    float_steps: int = 30000
    quantised_steps: int = 6000
    batch: int = 16
    patch: int = 48
    learning_rate: float = 2.5e-3
    warm_up: float = 0.03
    relative_step: float = 0.3
    dependent: bool = False
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
    run.in_float()
    plan = run.prepare_quantised()
    run.on_quantised()
    tensors = to_arrays(run.net.weights(partial(quantise_tensor, plan)))
    master = to_arrays(run.net.weights())
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
        in_float: Steps done in float32.
        quantised: Steps done on quantised weights.
        gains: Decibels over interpolation at each report in float32, with the step.
        plateau: Whether they stopped to rise, which ends the phase.
    """

    in_float: int = 0
    quantised: int = 0
    gains: list[tuple[int, float]] = field(default_factory=list)
    plateau: bool = False

    @property
    def done(self) -> int:
        """Steps done in both phases."""
        return self.in_float + self.quantised

    def on_plateau(self) -> bool:
        """Whether the last steps gained next to nothing."""
        start = self.in_float * (1 - _PLATEAU_SHARE)
        before = [gain for step, gain in self.gains if step <= start]
        after = [gain for step, gain in self.gains if step > start]
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
        self._optimiser = Optimiser(net, settings.learning_rate)
        self._limit = GradientLimit()
        self._at = _Position()
        self._tests = [sampler.batch(_TEST_STREAM, number) for number in range(_TEST_BATCHES)]

    def in_float(self) -> None:
        """Runs the rest of the steps in float32."""
        at, settings = self._at, self._settings
        while at.in_float < settings.float_steps and not at.plateau:
            self._one_step(0, at.in_float, self._float_rate())
            at.in_float += 1
            if at.in_float % self._every == 0 or at.in_float == settings.float_steps:
                report = self._report("float", at.in_float, settings.float_steps)
                at.gains.append((at.in_float, report.gain))
                at.plateau = settings.plateau and at.on_plateau()
                self._keep(report)

    def _float_rate(self) -> float:
        settings = self._settings
        steps = settings.float_steps + settings.quantised_steps
        return scheduled_rate(self._at.in_float, steps, settings.learning_rate, settings.warm_up)

    def on_quantised(self) -> None:
        """Runs the rest of the steps on quantised weights: as many fewer as there were before."""
        at, settings = self._at, self._settings
        steps = settings.quantised_steps
        if at.plateau:
            steps = min(steps, math.ceil(steps * at.in_float / settings.float_steps))
        start = self._float_rate()
        while at.quantised < steps:
            self._one_step(1, at.quantised, scheduled_rate(at.quantised, steps, start, 0.0))
            at.quantised += 1
            if at.quantised % self._every == 0 or at.quantised == steps:
                self._keep(self._report("quantised", at.quantised, steps))

    def _report(self, phase: str, step: int, steps: int) -> Progress:
        later = self._settings.quantised_steps if phase == "float" else 0
        done = self._at.done
        return Progress(phase, step, steps, *self._tested(), done, done + steps - step + later)

    def _keep(self, report: Progress) -> None:
        self._save()
        self._progress(report)

    @property
    def done(self) -> int:
        """Steps done in both phases."""
        return self._at.done

    def gain(self) -> float:
        """Decibels over plain interpolation."""
        return gain(*self._tested())

    def prepare_quantised(self) -> QuantPlan:
        """From now on steps run on quantised weights."""
        if self._plan is None:
            self._plan = plan_quantisation(
                to_arrays(self.net.weights()),
                relative_step=self._settings.relative_step,
                dependent=self._settings.dependent,
            )
        return self._plan

    def seconds_of_a_step(self) -> float:
        """CPU seconds of this process, after a step that is not counted."""
        rate = self._settings.learning_rate
        self._one_step(0, 0, rate)
        begin = time.process_time()
        for step in range(_TIMED_STEPS):
            self._one_step(0, step, rate)
        return (time.process_time() - begin) / _TIMED_STEPS

    def _one_step(self, stream: int, step: int, rate: float) -> None:
        error = self._error(self._sampler.batch(stream, step))
        self._optimiser.clear()
        error.weighted.backward()  # type: ignore[no-untyped-call]
        self._limit.apply(self.net.parameters())
        self._optimiser.step(rate)

    def _tested(self) -> tuple[float, float]:
        with torch.no_grad():
            errors = [self._error(batch) for batch in self._tests]
        loss, interpolation = np.mean([(e.mean, e.interpolation) for e in errors], axis=0)
        return float(loss), float(interpolation)

    def _error(self, batch: Batch) -> BatchError:
        if self._plan is None:
            output = self.net(batch.small)
        else:
            weights = self.net.weights(partial(quantise_tensor, self._plan))
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
        unfinished = self._checkpoint.with_name(f"{self._checkpoint.name}.partial")
        torch.save(state, unfinished)
        unfinished.replace(self._checkpoint)  # a crash while writing leaves the older one

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
        if state["qp"] is not None:
            self._plan = QuantPlan(state["qp"], dependent=self._settings.dependent)


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
