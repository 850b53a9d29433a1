# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes coarse descriptor models, so that they stay comparable with the original.

Scales and biases are corrected first.  Then they and all weights are trained on crops of
pictures, with every step run on exactly the weights a decoder will have, towards what the original
makes of the same crops.  The projection stays that of the original: descriptors live in the same
space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, final

import numpy as np

from nnrvideo.descriptors.coding import corrected, pack_backbone
from nnrvideo.descriptors.extractor import network_input
from nnrvideo.descriptors.frames import Rgb
from nnrvideo.descriptors.package import Array, DescriptorModel
from nnrvideo.entropy import step_size
from nnrvideo.model import Scaled
from nnrvideo.model.scaling import SUFFIX
from nnrvideo.nnc.quantisation import quantisation_parameter
from nnrvideo.tensors import TensorSet
from nnrvideo.training._torch import functional, torch
from nnrvideo.training.onnx_graph import require_trainable, run_graph
from nnrvideo.training.quantised import QuantPlan, quantise_tensor
from nnrvideo.training.steps import scheduled_rate

_MEASURED: Final = 24  # pictures, at least, that a correction is measured on
_HELD: Final = 4  # batches on which both ends of a run are measured
_WARM_UP: Final = 0.05
_LARGEST_MOVE: Final = 0.3  # of a bias or a factor, where a weight moves by a step
_NOTHING: Final = 1e-12  # below it a root has no slope worth following


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TuneSettings:
    """How to fine-tune.

    Args:
        steps: Of training.
        bit_depth: Of the backbone's weights.
        seed: Of the crops; the same on the same machine gives the same bytes.
        batch: Crops in a step.
        crop: Width and height of a crop; less where a picture has less.
        rate: How far a weight moves in a step at most, in steps of its quantiser.

    Raises:
        ValueError: A field is outside its range.
    """

    steps: int = 250
    bit_depth: int = 8
    seed: int = 1
    batch: int = 8
    crop: int = 128
    rate: float = 0.006

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.crop < 32 or not 0 < self.rate < 1:
            msg = "fine-tuning takes steps and batch of 1 or more, a crop of 32, a rate in (0, 1)"
            raise ValueError(msg)


@final
@dataclass(frozen=True, slots=True)
class Tuned:
    """A fine-tuned model.

    Args:
        bitstream: The coded model.
        before: 1 - cosine of descriptors with the original's, on crops of the same pictures that
            are drawn apart from those of training; with the correction alone.
        after: The same, fine-tuned; equal to ``before`` where training made nothing better.
        tensors: Weights and biases of the backbone by name, as a receiver will have them.
    """

    bitstream: bytes = field(repr=False)
    before: float
    after: float
    tensors: Mapping[str, Array] = field(repr=False)


def fine_tune(
    model: DescriptorModel,
    pictures: Sequence[Rgb],
    settings: TuneSettings,
    progress: Callable[[int, int], None] | None = None,
) -> Tuned:
    """Corrects, fine-tunes and codes a model.

    Args:
        model: The original.
        pictures: What to train on; none that the model is tested on.
        settings: How.
        progress: Told how many steps are done, and of how many.

    Returns:
        The model in NNC, and how near it has come.

    Raises:
        UnsupportedFeatureError: The backbone has operators that cannot be trained; names them.
        ValueError: No pictures.
    """
    require_trainable(model.plain.graph)
    if not pictures:
        msg = "fine-tuning needs pictures"
        raise ValueError(msg)
    torch.set_num_threads(1)  # sums in one order: the same bytes from the same seed
    run = _Run(model, pictures, settings)
    before = run.distance()
    start = run.weights()
    run.train(progress)
    after = run.distance()
    if after > before:  # too fast for so coarse a grid: the correction alone is better
        run.restore(start)
        after = before
    return Tuned(run.bitstream(), before, after, run.tensors())


class _Run:
    def __init__(
        self, model: DescriptorModel, pictures: Sequence[Rgb], settings: TuneSettings
    ) -> None:
        self._model, self._pictures, self._settings = model, pictures, settings
        self._original = model.plain
        self._wanted = _as_torch(self._original.tensors)
        some = pictures[:: max(1, len(pictures) // _MEASURED)]
        start, encoding = corrected(model, settings.bit_depth, some, trained=True)
        every = {**start.network.tensors}
        every |= {name + SUFFIX: factors for name, factors in start.scaling.items()}
        free = {name: value for name, value in every.items() if value.dtype == np.float32}
        qps = {name: quantisation_parameter(name, each, encoding) for name, each in free.items()}
        # The steps stay, however the values change that they were chosen by.
        self._encoding = replace(encoding, qp_per_tensor={**encoding.qp_per_tensor, **qps})
        self._plan = QuantPlan(qps, encoding.qp_density, encoding.dependent_quantisation)
        self._start = start
        self._free = {name: each.requires_grad_() for name, each in _as_torch(free).items()}
        self._mean = torch.from_numpy(np.array(model.projection.mean[0]))
        self._whitening = torch.from_numpy(np.array(model.projection.whitening))
        self._side = min(settings.crop, *(min(rgb.shape[:2]) for rgb in pictures))

    def train(self, progress: Callable[[int, int], None] | None) -> None:
        steps = self._settings.steps
        moves = {name: self._largest_move(name) for name in self._free}
        groups = [{"params": [self._free[name]], "move": move} for name, move in moves.items()]
        optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))
        for step in range(steps):
            rate = scheduled_rate(step, steps, self._settings.rate, _WARM_UP)
            for group in optimiser.param_groups:
                group["lr"] = rate * group["move"]
            optimiser.zero_grad()
            descriptors, maps = self._distances(self._batch(0, step))
            (descriptors + maps).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if progress is not None:
                progress(step + 1, steps)

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of what is trained."""
        return {name: each.detach().clone() for name, each in self._free.items()}

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Takes such a copy back."""
        with torch.no_grad():
            for name, each in weights.items():
                self._free[name].copy_(each)

    def distance(self) -> float:
        """Of descriptors, on batches that are not trained on."""
        with torch.no_grad():
            found = [self._distances(self._batch(1, number))[0] for number in range(_HELD)]
        return sum(map(float, found)) / _HELD

    def tensors(self) -> dict[str, Array]:
        """As a receiver will have them."""
        with torch.no_grad():
            return {name: each.numpy() for name, each in self._received().items()}

    def bitstream(self) -> bytes:
        with torch.no_grad():
            sent = {name: each.numpy() for name, each in self._quantised().items()}
        network = self._start.network
        scaling = {name: sent[name + SUFFIX] for name in self._start.scaling}
        tensors = {name: sent.get(name, each) for name, each in network.tensors.items()}
        backbone = Scaled(network.with_tensors(TensorSet(tensors)), scaling)
        return pack_backbone(self._model, backbone, self._encoding)

    def _largest_move(self, name: str) -> float:
        """How far a tensor moves in a step at a rate of 1."""
        value = self._free[name].detach()
        if value.ndim > 1:
            return float(step_size(self._plan.qp[name], self._plan.qp_density))
        return _LARGEST_MOVE * float(value.square().mean().sqrt())

    def _quantised(self) -> dict[str, torch.Tensor]:
        return {name: quantise_tensor(self._plan, name, each) for name, each in self._free.items()}

    def _received(self) -> dict[str, torch.Tensor]:
        tensors = self._quantised()
        for name in self._start.scaling:
            factors = tensors.pop(name + SUFFIX)
            tensors[name] = tensors[name] * factors.reshape(-1, *[1] * (tensors[name].ndim - 1))
        return tensors

    def _distances(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """1 - cosine with the original, of descriptors and of feature maps."""
        found = run_graph(self._start.network.graph, self._received(), crops)
        with torch.no_grad():
            wanted = run_graph(self._original.graph, self._wanted, crops)
        pairs = (
            (self._descriptors(found), self._descriptors(wanted)),
            (found.flatten(1), wanted.flatten(1)),
        )
        descriptors, maps = (1 - functional.cosine_similarity(*pair).mean() for pair in pairs)
        return descriptors, maps

    def _descriptors(self, features: torch.Tensor) -> torch.Tensor:
        """(N, D), as ``nnrvideo.descriptors.pooling`` has them of one rotation; of any norm."""
        rows, columns = features.shape[2:]
        pooled = []
        for side in self._model.manifest.windows:
            window = (min(side, rows), min(side, columns))
            largest = functional.avg_pool2d(features.square(), window, stride=1).amax(dim=(2, 3))
            pooled.append((largest / (window[0] * window[1])).clamp(min=_NOTHING).sqrt())
        vectors = functional.normalize(torch.stack(pooled).mean(dim=0))
        return (vectors - self._mean) @ self._whitening.T

    def _batch(self, stream: int, step: int) -> torch.Tensor:
        """Crops, turned; they depend on the seed and these numbers only."""
        random = np.random.default_rng([self._settings.seed, stream, step])
        crops = []
        for _ in range(self._settings.batch):
            rgb = self._pictures[int(random.integers(len(self._pictures)))]
            y, x = (int(random.integers(size - self._side + 1)) for size in rgb.shape[:2])
            crop = np.rot90(rgb[y : y + self._side, x : x + self._side], int(random.integers(4)))
            crops.append(network_input(self._model.manifest, crop))
        return torch.from_numpy(np.stack(crops))


def _as_torch(tensors: Mapping[str, Array]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
