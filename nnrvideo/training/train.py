# SPDX-License-Identifier: Apache-2.0
"""Trains a ``BlockNet`` on pairs: first in float32, then on quantised weights.

A run can be interrupted at any time and resumed from its checkpoint, with the same result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrvideo.training._torch import torch
from nnrvideo.training.data import PairSet
from nnrvideo.training.nets import BlockNet, NetShape, run_convolutions, to_arrays
from nnrvideo.training.quantised import QuantPlan, plan_quantisation, quantise_tensor
from nnrvideo.training.steps import Progress, Sampler, batch_error, scheduled_rate

Arrays = dict[str, npt.NDArray[np.float32]]

_TIMED_STEPS: Final = 6  # that the speed is measured on, after one that warms up


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
    """

    tensors: Arrays
    plan: QuantPlan
    master: Arrays
    settings: TrainSettings


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
        progress: Called after that many steps and at the end of each phase.

    Returns:
        The trained tensors with their quantisation.

    Raises:
        ValueError: There are no usable pairs, the base is of another shape, or the checkpoint is
            of another run.
    """
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
    run = _Run(
        net,
        sampler,
        settings=settings,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        progress=progress,
    )
    run.load()
    run.phase("float", settings.float_steps, settings.learning_rate)
    if run.plan is None:
        run.plan = plan_quantisation(
            to_arrays(run.net.weights()), relative_step=settings.relative_step
        )
    run.phase("quantised", settings.quantised_steps, settings.quantised_learning_rate)
    master = to_arrays(run.net.weights())
    tensors = {name: run.plan.quantise(name, values) for name, values in master.items()}
    return Trained(tensors, run.plan, master, settings)


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
    return _seconds(pairs, settings, quantised=False), _seconds(pairs, settings, quantised=True)


def _seconds(pairs: PairSet, settings: TrainSettings, *, quantised: bool) -> float:
    times: list[float] = []
    steps = _TIMED_STEPS + 1
    train(
        pairs,
        replace(
            settings,
            float_steps=0 if quantised else steps,
            quantised_steps=steps if quantised else 0,
        ),
        checkpoint_every=1,
        progress=lambda _progress: times.append(time.process_time()),
    )
    return (times[-1] - times[0]) / _TIMED_STEPS


class _Run:
    """The state of one training run: network, optimiser, position."""

    def __init__(
        self,
        net: BlockNet,
        sampler: Sampler,
        *,
        settings: TrainSettings,
        checkpoint: Path | None,
        checkpoint_every: int,
        progress: Callable[[Progress], None],
    ) -> None:
        self.settings = settings
        self.net = net
        self.plan: QuantPlan | None = None
        self._sampler = sampler
        self._checkpoint = checkpoint
        self._every = max(1, checkpoint_every)
        self._progress = progress
        self._optimiser = torch.optim.Adam(self.net.parameters(), lr=settings.learning_rate)
        self._phase = "float"
        self._step = 0

    def phase(self, name: str, steps: int, learning_rate: float) -> None:
        """Runs the rest of a phase; a phase that the checkpoint has behind it is skipped."""
        if name == "float" and self._phase == "quantised":
            return
        if name != self._phase:
            self._phase, self._step = name, 0
            self._optimiser = torch.optim.Adam(self.net.parameters(), lr=learning_rate)
        recent: list[tuple[float, float]] = []
        while self._step < steps:
            rate = scheduled_rate(self._step, steps, learning_rate, self.settings.warm_up)
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            recent.append(self._one_step())
            self._step += 1
            if self._step % self._every == 0 or self._step == steps:
                self._save()
                loss, interpolation = (float(value) for value in np.mean(recent, axis=0))
                in_float = self.settings.float_steps
                self._progress(
                    Progress(
                        name,
                        self._step,
                        steps,
                        loss,
                        interpolation,
                        self._step + in_float * (name == "quantised"),
                        in_float + self.settings.quantised_steps,
                    )
                )
                recent.clear()

    def _one_step(self) -> tuple[float, float]:
        batch = self._sampler.batch(int(self._phase == "quantised"), self._step)
        if self.plan is None:
            output = self.net(batch.small)
        else:
            exported = self.net.weights()
            weights = {
                name: quantise_tensor(self.plan, name, tensor) for name, tensor in exported.items()
            }
            output = run_convolutions(batch.small, batch.small, weights, weights["skip.weight"])
        error = batch_error(
            output,
            batch,
            self.net.skip,
            overlap=self.settings.shape.overlap,
            exponent=self.settings.error_exponent,
        )
        self._optimiser.zero_grad(set_to_none=True)
        error.weighted.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return error.mean, error.interpolation

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        state = {
            "settings": repr(self.settings),
            "steps": (self.settings.float_steps, self.settings.quantised_steps),
            "net": self.net.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "phase": self._phase,
            "step": self._step,
            "qp": dict(self.plan.qp) if self.plan else None,
        }
        partial = self._checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._checkpoint)  # a crash while writing leaves the older one

    def load(self) -> None:
        """Continues from the checkpoint file if there is one."""
        if self._checkpoint is None or not self._checkpoint.exists():
            return
        state = _read(self._checkpoint)
        if state["settings"] != repr(self.settings):
            raise ValueError(f"{self._checkpoint} was written by a run with other settings")
        self.net.load_state_dict(state["net"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._phase, self._step = state["phase"], state["step"]
        self.plan = QuantPlan(state["qp"]) if state["qp"] is not None else None


def _read(checkpoint: Path) -> dict[str, Any]:
    # weights_only: a checkpoint is data, it must not be able to run code.
    state: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    return state
