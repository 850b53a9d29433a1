# SPDX-License-Identifier: Apache-2.0
"""The network families that can be trained here, as PyTorch modules.

``BlockNet`` enlarges a luma plane, or cleans one at its own size.  Its form follows what CPUs and
GPUs run well: the first convolution has stride 2 (the same function as space-to-depth and a 3x3
convolution), so that every other one works on a quarter of the samples with many channels, and the
last one yields a block of output samples for each position.  A fixed bicubic interpolation, or the
input itself, is added, so that the trained part only has to correct it.

No convolution pads.  The filter therefore needs ``overlap`` samples of the neighbourhood on each
side and produces an exact multiple of the remaining size, as an NNPFC SEI message describes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from nnrvideo.model import RANGES_TENSOR
from nnrvideo.model.blocknet import IN_BLOCK, OUT_BLOCKS, out_block_of, skip_taps
from nnrvideo.training._torch import functional, nn, torch

#: Mean and gain that centre the samples during training; export folds them into the stem.
INPUT_MEAN = 0.45
INPUT_GAIN = 4.0


@dataclass(frozen=True, slots=True)
class NetShape:
    """Size of a ``BlockNet``.

    Args:
        channels: Channels between convolutions; multiples of 16 run best.
        convolutions: Number of trained convolutions, at least 2 (stem and tail).
        out_block: Output samples, in each direction, for 2 input samples: 4 doubles a plane, 3
            makes it half as large again, 2 keeps its size.
    """

    channels: int = 32
    convolutions: int = 4
    out_block: int = 4

    def __post_init__(self) -> None:
        if self.channels < 1 or self.convolutions < 2:
            raise ValueError("a BlockNet has at least one channel and two convolutions")
        if self.out_block not in OUT_BLOCKS:
            raise ValueError(f"an output block of {self.out_block} is none of {OUT_BLOCKS}")

    @property
    def scale(self) -> Fraction:
        """Output size relative to the input's."""
        return Fraction(self.out_block, IN_BLOCK)

    @property
    def overlap(self) -> int:
        """Samples of the input needed around the patch on each side, in luma samples."""
        return 2 * self.convolutions


class BlockNet(nn.Module):
    """Enlarges or cleans a luma plane with valid convolutions only.

    Args:
        shape: Channels and convolutions.

    Calling it maps ``(N, 1, H + 2 * overlap, W + 2 * overlap) float32`` in [0, 1], H and W even, to
    ``(N, 1, scale * H, scale * W) float32``, nominally in [0, 1] and not clipped.
    """

    skip: torch.Tensor

    def __init__(self, shape: NetShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.channels
        self.stem = nn.Conv2d(1, width, 6, stride=2)
        self.body = nn.Sequential(
            *(nn.Conv2d(width, width, 3) for _ in range(shape.convolutions - 2))
        )
        self.tail = nn.Conv2d(width, shape.out_block**2, 3)
        self.register_buffer("skip", torch.from_numpy(skip_taps(shape.out_block)))
        # The correction starts near nothing: a random one would first have to be unlearnt, which
        # short runs have no time for and in which units die.
        with torch.no_grad():
            self.tail.weight.mul_(0.01)
            nn.init.zeros_(dict(self.tail.named_parameters())["bias"])

    @classmethod
    def from_weights(cls, tensors: Mapping[str, npt.NDArray[np.float32]]) -> BlockNet:
        """The network that exports given tensors; inverse of :meth:`weights`.

        Args:
            tensors: As exported, by name; ranges of activations among them are passed over.

        Raises:
            ValueError: They are not those of a ``BlockNet``.
        """
        tensors = {name: value for name, value in tensors.items() if name != RANGES_TENSOR}
        names = [name for name in tensors if name.startswith("body.") and name.endswith(".weight")]
        try:
            channels = tensors["stem.weight"].shape[0]
            net = cls(NetShape(channels, len(names) + 2, out_block_of(tensors)))
            state = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
            stem = state["stem.weight"]
            state["stem.bias"] = state["stem.bias"] + INPUT_MEAN * stem.sum(dim=(1, 2, 3))
            state["stem.weight"] = stem / INPUT_GAIN
            state["skip"] = state.pop("skip.weight")
            net.load_state_dict(state)
        except (KeyError, IndexError, RuntimeError) as error:
            raise ValueError("the tensors are not those of a block network") from error
        return net

    def weights(
        self, quantise: Callable[[str, torch.Tensor], torch.Tensor] = lambda _name, tensor: tensor
    ) -> dict[str, torch.Tensor]:
        """The tensors that the exported network holds, by name.

        Args:
            quantise: Maps name and tensor to the tensor as a decoder will have it.

        Returns:
            Name to tensor, in the order of execution.  The stem is the exported one: it takes
            samples in [0, 1], because the centring of the input is folded into it.
        """
        trained: dict[str, torch.Tensor] = dict(self.named_parameters())
        stem = quantise("stem.weight", trained["stem.weight"] * INPUT_GAIN)
        # Moving the mean into the bias is exact, because nothing is padded.  It must be that of
        # the quantised weights: the mean of the input is large against its detail, and what
        # rounding does to the weights' sum would shift everything.
        trained["stem.bias"] = trained["stem.bias"] - INPUT_MEAN * stem.sum(dim=(1, 2, 3))
        others = {name: tensor for name, tensor in trained.items() if name != "stem.weight"}
        others["skip.weight"] = self.skip
        return {"stem.weight": stem} | {n: quantise(n, tensor) for n, tensor in others.items()}

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Runs the network; see the class."""
        centred = (samples - INPUT_MEAN) * INPUT_GAIN
        weights = dict(self.named_parameters())
        return run_convolutions(samples, centred, weights, self.skip)


def run_convolutions(
    samples: torch.Tensor,
    stem_input: torch.Tensor,
    weights: Mapping[str, torch.Tensor],
    skip: torch.Tensor,
) -> torch.Tensor:
    """Runs the network's function on given weights, which may be quantised ones.

    Args:
        samples: ``(N, 1, H + 2 * overlap, W + 2 * overlap) float32`` in [0, 1].
        stem_input: What the stem sees: ``samples``, or the centred samples.
        weights: Tensors by the names of ``BlockNet.weights``.
        skip: Interpolation taps, ``(out_block ** 2, 1, 6, 6) float32``.

    Returns:
        ``(N, 1, scale * H, scale * W) float32``.
    """
    hidden = functional.conv2d(stem_input, weights["stem.weight"], weights["stem.bias"], stride=2)
    hidden = functional.relu(hidden)
    index = 0
    while f"body.{index}.weight" in weights:
        name = f"body.{index}"
        hidden = functional.conv2d(hidden, weights[f"{name}.weight"], weights[f"{name}.bias"])
        hidden = functional.relu(hidden)
        index += 1
    correction = functional.conv2d(hidden, weights["tail.weight"], weights["tail.bias"])
    enlarged = functional.pixel_shuffle(correction, _block(skip))
    return enlarged + interpolate(samples, skip, 2 * (index + 2))


def interpolate(samples: torch.Tensor, taps: torch.Tensor, overlap: int) -> torch.Tensor:
    """Runs the fixed taps alone, which is what a network has to improve on.

    Args:
        samples: ``(N, 1, H + 2 * overlap, W + 2 * overlap) float32``.
        taps: ``(out_block ** 2, 1, 6, 6) float32``.
        overlap: At least 2.

    Returns:
        ``(N, 1, scale * H, scale * W) float32``.
    """
    # The taps reach 2 samples outside a position's 2x2 block; the rest of the overlap is cut away.
    cut = overlap - 2
    inner = samples[:, :, cut : samples.shape[2] - cut, cut : samples.shape[3] - cut]
    return functional.pixel_shuffle(functional.conv2d(inner, taps, stride=2), _block(taps))


def _block(taps: torch.Tensor) -> int:
    """Output samples of a position, in each direction."""
    return math.isqrt(taps.shape[0])


def to_arrays(weights: Mapping[str, torch.Tensor]) -> dict[str, npt.NDArray[np.float32]]:
    """Copies tensors out of PyTorch as float32 arrays."""
    return {
        name: np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype=np.float32)
        for name, tensor in weights.items()
    }
