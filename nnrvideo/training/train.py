# SPDX-License-Identifier: Apache-2.0
"""Trains an ``SrNet`` on pairs: first in float32, then on quantised weights.

Every step draws its crops from a generator seeded with (seed, step), so a run that was interrupted
and resumed sees the same data as one that was not.  The loss is the mean squared error on the scale
of 0 to 255: on a scale of 0 to 1 the gradients come near Adam's epsilon and nothing is learnt.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnrvideo.training._torch import torch
from nnrvideo.training.data import PairSet
from nnrvideo.training.nets import (
    SCALE,
    SrNet,
    SrNetShape,
    interpolate,
    run_convolutions,
    to_arrays,
)
from nnrvideo.training.quantised import QuantPlan, plan_quantisation, quantise_tensor

Arrays = dict[str, npt.NDArray[np.float32]]
_PEAK = 255.0


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

    shape: SrNetShape = field(default_factory=SrNetShape)
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
class Progress:
    """Where a run stands; given to the progress callback.

    Args:
        phase: ``"float"`` or ``"quantised"``.
        step: Steps done in this phase.
        steps: Steps of this phase.
        loss: Mean squared error (scale 0 to 255) of recent steps.
        interpolation_loss: The same of plain bicubic interpolation on the same crops.
    """

    phase: str
    step: int
    steps: int
    loss: float
    interpolation_loss: float


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
    checkpoint: Path | None = None,
    checkpoint_every: int = 1000,
    progress: Callable[[Progress], None] = lambda _progress: None,
) -> Trained:
    """Trains a network from the start, or from a checkpoint if there is one.

    Args:
        pairs: Training pairs; small pictures no smaller than the patch with its overlap.
        settings: Network, length, learning rates and seed.
        checkpoint: File that is written now and then and read at the start if it exists.
        checkpoint_every: Steps between checkpoints and calls of ``progress``.
        progress: Called after that many steps and at the end of each phase.

    Returns:
        The trained tensors with their quantisation.

    Raises:
        ValueError: There are no usable pairs, or the checkpoint is of another run.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    run = _Run(_Sampler(pairs, settings), settings, checkpoint, checkpoint_every, progress)
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


class _Sampler:
    """Draws batches of crops; a batch depends only on the seed, the phase and the step."""

    def __init__(self, pairs: PairSet, settings: TrainSettings) -> None:
        self._pairs = pairs
        self._settings = settings
        self._margin = settings.shape.overlap
        self._window = settings.patch + 2 * self._margin
        if settings.patch < 2 or settings.patch % 2:
            raise ValueError(f"a patch is even and at least 2, not {settings.patch}")
        self._usable = [
            index for index, plane in enumerate(pairs.small) if min(plane.shape) >= self._window
        ]
        if not self._usable:
            raise ValueError(f"no small picture holds a crop of {self._window} samples squared")

    def batch(self, phase: str, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Crops as ``(N, 1, window, window)`` and ``(N, 1, 2 * patch, 2 * patch)`` in [0, 1]."""
        settings = self._settings
        random = np.random.default_rng([settings.seed, phase == "quantised", step])
        small = np.empty((settings.batch, 1, self._window, self._window), np.float32)
        side = SCALE * settings.patch
        large = np.empty((settings.batch, 1, side, side), np.float32)
        for item in range(settings.batch):
            pair = self._usable[random.integers(len(self._usable))]
            low = self._pairs.small[pair]
            high = self._pairs.large[self._pairs.large_index[pair]]
            y = int(random.integers(low.shape[0] - self._window + 1))
            x = int(random.integers(low.shape[1] - self._window + 1))
            top, left = SCALE * (y + self._margin), SCALE * (x + self._margin)
            turn = int(random.integers(8))
            small[item, 0] = _turned(low[y : y + self._window, x : x + self._window], turn)
            large[item, 0] = _turned(high[top : top + side, left : left + side], turn)
        return torch.from_numpy(small / _PEAK), torch.from_numpy(large / _PEAK)


class _Run:
    """The state of one training run: network, optimiser, position."""

    def __init__(
        self,
        sampler: _Sampler,
        settings: TrainSettings,
        checkpoint: Path | None,
        checkpoint_every: int,
        progress: Callable[[Progress], None],
    ) -> None:
        self.settings = settings
        self.net = SrNet(settings.shape)
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
            rate = _learning_rate(self._step, steps, learning_rate, self.settings.warm_up)
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            recent.append(self._one_step())
            self._step += 1
            if self._step % self._every == 0 or self._step == steps:
                self._save()
                loss, interpolation = (float(value) for value in np.mean(recent, axis=0))
                self._progress(Progress(name, self._step, steps, loss, interpolation))
                recent.clear()

    def _one_step(self) -> tuple[float, float]:
        small, large = self._sampler.batch(self._phase, self._step)
        if self.plan is None:
            output = self.net(small)
        else:
            exported = self.net.weights()
            weights = {
                name: quantise_tensor(self.plan, name, tensor) for name, tensor in exported.items()
            }
            output = run_convolutions(small, small, weights, weights["skip.weight"])
        with torch.no_grad():
            plain = interpolate(small, self.net.skip, self.settings.shape.overlap)
            plain_error = ((plain - large) ** 2).mean(dim=(1, 2, 3)) * _PEAK**2
            weight = (plain_error + 1.0) ** -self.settings.error_exponent
            weight = weight / weight.mean()
        error = ((output - large) ** 2).mean(dim=(1, 2, 3)) * _PEAK**2
        loss = (error * weight).mean()
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        return float(error.detach().mean()), float(plain_error.mean())

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        state = {
            "settings": repr(self.settings),
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
        # weights_only: a checkpoint is data, it must not be able to run code.
        state = torch.load(self._checkpoint, weights_only=True)
        if state["settings"] != repr(self.settings):
            raise ValueError(f"{self._checkpoint} was written by a run with other settings")
        self.net.load_state_dict(state["net"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._phase, self._step = state["phase"], state["step"]
        self.plan = QuantPlan(state["qp"]) if state["qp"] is not None else None


def _learning_rate(step: int, steps: int, peak: float, warm_up: float) -> float:
    """Rises linearly, then falls along a cosine to 2 % of the peak."""
    rising = max(1, round(steps * warm_up))
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def _turned(crop: npt.NDArray[np.uint8], turn: int) -> npt.NDArray[np.uint8]:
    """One of the eight mirrored and transposed views of a square crop."""
    if turn & 1:
        crop = crop[::-1]
    if turn & 2:
        crop = crop[:, ::-1]
    return crop.T if turn & 4 else crop
