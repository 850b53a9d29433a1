# SPDX-License-Identifier: Apache-2.0
"""Adapts a network to a clip so that the update, not the network, is small.

Plain fine-tuning moves every weight a little, and an update then says something about every one of
them.  Here each weight is drawn back to the base by a pull that only those overcome that are worth
their bits: the L1 norm of the change, by a proximal step after each of Adam's.  What has moved in
the end is refined without the pull, while all other weights stay exactly the base's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrvideo.model import Received, diff
from nnrvideo.nnc import EncodeSettings, allocate_qps
from nnrvideo.training._torch import torch
from nnrvideo.training.data import PairSet
from nnrvideo.training.kinds import LEVELS, Level
from nnrvideo.training.nets import BlockNet, run_convolutions, to_arrays
from nnrvideo.training.steps import PEAK, Progress, Sampler, batch_error, scheduled_rate

Arrays = dict[str, npt.NDArray[np.float32]]

_BETAS: Final = (0.9, 0.99)
_WARM_UP: Final = 0.03
_MAX_PICTURES: Final = 12  # that a measured loss looks at


@dataclass(frozen=True, slots=True)
class AdaptSettings:
    """How to adapt.

    Args:
        steps: Steps under the pull.
        refine_steps: Steps after it, of the weights that moved.
        level: What may change at all: the biases, these and the last layer, or everything.
        pull: What a change of a weight by 1 must gain, as squared error on the scale of 0 to 255,
            to be kept up; 0 lets every weight move.  0.003 keeps about nine tenths of the gain for
            half of the bytes, 0.03 six tenths for a seventh.
        learning_rate: Peak of Adam's learning rate; a third of it in the refinement.
        batch: Crops in each step.
        patch: Width and height of a crop without overlap, in samples of the small picture; even.
        error_exponent: As for training.
        seed: Seed of the crops.
        threads: Threads that PyTorch may use.
    """

    steps: int = 600
    refine_steps: int = 300
    level: Level = "all"
    pull: float = 0.01
    learning_rate: float = 1e-3
    batch: int = 16
    patch: int = 48
    error_exponent: float = 0.5
    seed: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"a level is out of {LEVELS}, not {self.level!r}")
        if not 0 <= self.pull < math.inf:
            raise ValueError(f"pull {self.pull} is not a finite number of 0 or more")
        if min(self.steps, self.refine_steps, self.batch) < 0 or not self.batch:
            raise ValueError("steps are 0 or more, a batch has at least one crop")


def adapt(
    base: Mapping[str, npt.NDArray[np.float32]],
    pairs: PairSet,
    settings: AdaptSettings | None = None,
    *,
    progress_every: int = 100,
    progress: Callable[[Progress], None] = lambda _progress: None,
) -> Arrays:
    """Trains a network further on pairs of a clip, under a pull back to where it came from.

    Args:
        base: Tensors that the receiver has, by the names of ``BlockNet.weights``.
        pairs: Training pairs of the clip.
        settings: How long, and how strong the pull is.
        progress_every: Steps between calls of ``progress``.
        progress: Called after that many steps and at the end.

    Returns:
        Tensors by name; weights that did not move are the base's to the bit.  The same seed and
        pairs give the same result.

    Raises:
        ValueError: The base is no ``BlockNet``, or there are no usable pairs.
    """
    settings = settings or AdaptSettings()
    torch.set_num_threads(settings.threads)
    run = _Run(BlockNet.from_weights(base), pairs, settings, progress_every, progress)
    run.phase(settings.steps, settings.learning_rate, settings.pull)
    if settings.pull:
        run.hold_what_stayed()
    run.phase(settings.refine_steps, settings.learning_rate / 3, 0.0)
    return run.result(base)


class _Run:
    """Network, what it started from, and which of its weights may still move."""

    def __init__(
        self,
        net: BlockNet,
        pairs: PairSet,
        settings: AdaptSettings,
        progress_every: int,
        progress: Callable[[Progress], None],
    ) -> None:
        self._net = net
        self._settings = settings
        self._sampler = Sampler(
            pairs,
            batch=settings.batch,
            patch=settings.patch,
            shape=net.shape,
            seed=settings.seed,
        )
        self._every = max(1, progress_every)
        self._progress = progress
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(_may_move(name, settings.level))
        self._start = {n: p.detach().clone() for n, p in net.named_parameters()}
        self._free: dict[str, torch.Tensor] = {}
        self._done = 0

    def phase(self, steps: int, peak: float, pull: float) -> None:
        """Takes some steps with an optimiser of their own."""
        moving = [each for each in self._net.parameters() if each.requires_grad]
        optimiser = torch.optim.Adam(moving, lr=peak, betas=_BETAS)
        recent: list[tuple[float, float]] = []
        total = self._settings.steps + self._settings.refine_steps
        for step in range(steps):
            rate = scheduled_rate(step, steps, peak, _WARM_UP)
            for group in optimiser.param_groups:
                group["lr"] = rate
            recent.append(self._one_step(optimiser))
            if pull:
                self._draw_back(optimiser, rate * pull)
            self._done += 1
            if self._done % self._every == 0 or self._done == total:
                loss, interpolation = (float(value) for value in np.mean(recent, axis=0))
                self._progress(
                    Progress("adapt", self._done, total, loss, interpolation, self._done, total)
                )
                recent.clear()

    def _one_step(self, optimiser: torch.optim.Optimizer) -> tuple[float, float]:
        batch = self._sampler.batch(0, self._done)
        error = batch_error(
            self._net(batch.small),
            batch,
            self._net.skip,
            overlap=self._net.shape.overlap,
            exponent=self._settings.error_exponent,
        )
        optimiser.zero_grad(set_to_none=True)
        error.weighted.backward()  # type: ignore[no-untyped-call]
        for name, parameter in self._net.named_parameters():
            if name in self._free and parameter.grad is not None:
                parameter.grad.mul_(self._free[name])
        optimiser.step()
        return error.mean, error.interpolation

    def _draw_back(self, optimiser: torch.optim.Optimizer, pull: float) -> None:
        """The proximal step of the L1 norm, in the metric in which Adam takes its own."""
        with torch.no_grad():
            for name, parameter in self._net.named_parameters():
                if parameter.ndim < 2 or not parameter.requires_grad:
                    continue  # biases cost next to nothing
                state: dict[str, Any] = optimiser.state[parameter]
                corrected = state["exp_avg_sq"] / (1 - _BETAS[1] ** float(state["step"]))
                reach = pull / (corrected.sqrt() + 1e-8)
                change = parameter - self._start[name]
                kept = change.sign() * (change.abs() - reach).clamp(min=0)
                parameter.copy_(self._start[name] + kept)

    def hold_what_stayed(self) -> None:
        """From now on only weights move that have moved."""
        self._free = {
            name: (parameter.detach() != self._start[name]).float()
            for name, parameter in self._net.named_parameters()
            if parameter.ndim > 1
        }

    def result(self, base: Mapping[str, npt.NDArray[np.float32]]) -> Arrays:
        """Tensors as exported, with the base's own values where nothing moved."""
        tensors = to_arrays(self._net.weights())
        for name, parameter in self._net.named_parameters():
            stayed = (parameter.detach() == self._start[name]).numpy()
            tensors[name] = np.where(stayed, base[name], tensors[name])
        return tensors


def _may_move(name: str, level: str) -> bool:
    return level == "all" or name.endswith(".bias") or (level == "last" and name == "tail.weight")


def adaptation_psnr(
    tensors: Mapping[str, npt.NDArray[np.float32]],
    pairs: PairSet,
    *,
    max_pictures: int = _MAX_PICTURES,
) -> float:
    """Luma PSNR of a network on the pictures of pairs, in dB.

    Args:
        tensors: By the names of ``BlockNet.weights``.
        pairs: Small and large pictures.
        max_pictures: At most so many of them, spread evenly.

    Returns:
        PSNR of the mean squared error over all pictures, unrounded outputs clipped to 0 to 255.
    """
    weights = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
    overlap = BlockNet.from_weights(tensors).shape.overlap
    chosen = sorted(set(np.linspace(0, len(pairs) - 1, max_pictures).astype(int).tolist()))
    error, samples = 0.0, 0
    with torch.no_grad():
        for index in chosen:
            padded = np.pad(pairs.small[index], overlap, mode="edge").astype(np.float32) / PEAK
            small = torch.from_numpy(padded)[None, None]
            output = run_convolutions(small, small, weights, weights["skip.weight"])
            large = torch.from_numpy(pairs.large[pairs.large_index[index]].astype(np.float32))
            difference = (output[0, 0] * PEAK).clamp(0, PEAK) - large
            error += float((difference.double() ** 2).sum())
            samples += large.numel()
    return 10 * math.log10(PEAK**2 * samples / error) if error else math.inf


def to_update(
    base: Received,
    adapted: Mapping[str, npt.NDArray[np.float32]],
    pairs: PairSet,
    settings: EncodeSettings | None = None,
    *,
    loss: float = 0.02,
    max_pictures: int = _MAX_PICTURES,
) -> bytes:
    """Codes an adapted network as an update that loses no more PSNR on the clip than allowed.

    Args:
        base: What the receiver has.
        adapted: Result of :func:`adapt`.
        pairs: Pictures to measure on.
        settings: Choices of the encoder; QPs are found here.
        loss: Decibels that coding may cost.
        max_pictures: At most so many pictures are measured on, spread evenly.

    Returns:
        The shorter of the updates with dependent and with uniform quantisation, which suits
        changes of few weights better.

    Raises:
        ValueError: ``loss`` is not above 0.
        TensorMismatchError: The networks are not of the same kind.
    """
    settings = settings or EncodeSettings(preset="slow")
    before = {name: np.asarray(value, np.float32) for name, value in base.tensors.items()}
    changes = {
        name: value - before[name]
        for name, value in adapted.items()
        if not np.array_equal(value, before[name])
    }

    def metric(coded: Mapping[str, npt.NDArray[Any]]) -> float:
        moved = {name: before[name] + change for name, change in coded.items()}
        return adaptation_psnr({**before, **moved}, pairs, max_pictures=max_pictures)

    found = []
    for dependent in (True, False):
        each = replace(settings, dependent_quantisation=dependent)
        qps = allocate_qps(changes, metric, loss, each) if changes else {}
        found.append(diff(base, adapted, replace(each, qp_per_tensor=qps)))
    return min(found, key=len)
