# SPDX-License-Identifier: Apache-2.0
"""What every kind of training does in a step: crops, their error, the learning rate.

Batches are drawn from a generator seeded with (seed, phase, step), so a run that was interrupted
and resumed sees the same data as one that was not.  Errors are squared on the scale of 0 to 255:
on a scale of 0 to 1 the gradients come near Adam's epsilon and nothing is learnt.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from nnrvideo.training._torch import torch
from nnrvideo.training.data import PairSet
from nnrvideo.training.nets import NetShape, interpolate

PEAK: Final = 255.0

_REMEMBERED: Final = 50  # norms of gradients


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands; given to the progress callback.

    Args:
        phase: ``"float"`` or ``"quantised"`` of a training, or ``"adapt"``.
        step: Steps done in this phase.
        steps: Steps of this phase.
        loss: Mean squared error (scale 0 to 255) of recent steps, or on crops that stay the same.
        interpolation_loss: The same of plain bicubic interpolation on the same crops.
        done: Steps done in all phases.
        total: Steps of all phases.
    """

    phase: str
    step: int
    steps: int
    loss: float
    interpolation_loss: float
    done: int
    total: int

    @property
    def gain(self) -> float:
        """Decibels over plain interpolation."""
        return gain(self.loss, self.interpolation_loss)


def gain(loss: float, interpolation_loss: float) -> float:
    """Decibels by which an error is smaller than that of plain interpolation."""
    if not loss or not interpolation_loss:
        return (
            0.0
            if loss == interpolation_loss
            else math.copysign(math.inf, interpolation_loss - loss)
        )
    return 10 * math.log10(interpolation_loss / loss)


class Batch(NamedTuple):
    """Crops as ``(N, 1, window, window)`` and ``(N, 1, scale * patch, ...)`` in [0, 1]."""

    small: torch.Tensor
    large: torch.Tensor


class Sampler:
    """Draws batches of crops; a batch depends only on the seed, the stream and the step.

    Args:
        pairs: Where the crops are taken from.
        batch: Crops in each batch.
        patch: Width and height of a crop without overlap, in samples of the small picture; even.
        shape: Of the network: what it needs around a patch, and what it makes of it.
        seed: Seed of the crops.

    Raises:
        ValueError: The patch is odd, no small picture holds a crop, or the large pictures are not
            as much larger as the network makes them.
    """

    def __init__(
        self, pairs: PairSet, *, batch: int, patch: int, shape: NetShape, seed: int
    ) -> None:
        self._pairs = pairs
        self._batch, self._patch, self._margin, self._seed = batch, patch, shape.overlap, seed
        self._window = patch + 2 * shape.overlap
        self._scale = shape.scale
        # Where the ratio is no whole number only every second sample has a counterpart.
        self._grid = shape.scale.denominator
        if patch < 2 or patch % 2:
            raise ValueError(f"a patch is even and at least 2, not {patch}")
        self._usable = [
            index for index, plane in enumerate(pairs.small) if min(plane.shape) >= self._window
        ]
        if not self._usable:
            raise ValueError(f"no small picture holds a crop of {self._window} samples squared")
        for index in self._usable:
            low, high = pairs.small[index].shape, pairs.large[pairs.large_index[index]].shape
            if any(size * self._scale != other for size, other in zip(low, high, strict=True)):
                raise ValueError(
                    f"pictures of {low} and {high} are no pair for a network that enlarges by "
                    f"{self._scale}"
                )

    def batch(self, stream: int, step: int) -> Batch:
        """The crops of a step.

        Args:
            stream: Phases with different numbers draw different crops.
            step: Number of the step.
        """
        random = np.random.default_rng([self._seed, stream, step])
        small = np.empty((self._batch, 1, self._window, self._window), np.float32)
        side = int(self._scale * self._patch)
        large = np.empty((self._batch, 1, side, side), np.float32)
        for item in range(self._batch):
            pair = self._usable[random.integers(len(self._usable))]
            low = self._pairs.small[pair]
            high = self._pairs.large[self._pairs.large_index[pair]]
            y, x = (
                self._grid * int(random.integers((size - self._window) // self._grid + 1))
                for size in low.shape
            )
            top, left = (int(self._scale * (start + self._margin)) for start in (y, x))
            turn = int(random.integers(8))
            small[item, 0] = _turned(low[y : y + self._window, x : x + self._window], turn)
            large[item, 0] = _turned(high[top : top + side, left : left + side], turn)
        return Batch(torch.from_numpy(small / PEAK), torch.from_numpy(large / PEAK))


class BatchError(NamedTuple):
    """Errors of a batch, squared, on the scale of 0 to 255.

    Args:
        weighted: What is minimised.
        mean: Of the network.
        interpolation: Of plain interpolation.
    """

    weighted: torch.Tensor
    mean: float
    interpolation: float


def batch_error(
    output: torch.Tensor, batch: Batch, skip: torch.Tensor, *, overlap: int, exponent: float
) -> BatchError:
    """Compares what the network made of a batch with what it should be.

    Args:
        output: ``(N, 1, scale * patch, scale * patch) float32``.
        batch: The crops.
        skip: Interpolation taps.
        overlap: Samples around each patch.
        exponent: Crops are weighted with (error of plain interpolation) ** -exponent; 0 minimises
            the mean squared error, 1 gives each crop the same say in decibels.
    """
    with torch.no_grad():
        plain = interpolate(batch.small, skip, overlap)
        plain_error = ((plain - batch.large) ** 2).mean(dim=(1, 2, 3)) * PEAK**2
        weight = (plain_error + 1.0) ** -exponent
        weight = weight / weight.mean()
    error = ((output - batch.large) ** 2).mean(dim=(1, 2, 3)) * PEAK**2
    return BatchError(
        (error * weight).mean(), float(error.detach().mean()), float(plain_error.mean())
    )


class GradientLimit:
    """Holds gradients down to the usual length of recent ones.

    A few crops far worse than the rest, as at a scene cut, otherwise push a small network so far
    that its units die and nothing but the interpolation is left.

    Args:
        norms: Lengths of the last gradients, as :attr:`norms` was when a run was interrupted.
    """

    def __init__(self, norms: Iterable[float] = ()) -> None:
        self.norms = list(norms)

    def apply(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Shortens the gradients, all by the same factor, if together they are longer."""
        gradients = [each.grad for each in parameters if each.grad is not None]
        norm = math.sqrt(sum(float((each.double() ** 2).sum()) for each in gradients))
        self.norms = [*self.norms[1 - _REMEMBERED :], norm]
        usual = statistics.median(self.norms)
        if norm > usual:
            for each in gradients:
                each.mul_(usual / norm)


def scheduled_rate(step: int, steps: int, peak: float, warm_up: float) -> float:
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
