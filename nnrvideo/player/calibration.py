# SPDX-License-Identifier: Apache-2.0
"""The encoder's side of 8-bit inference: measures ranges, and what the integers would lose.

A receiver cannot tell whether integers are good enough, because it has no original.  So the
sender runs the network both ways on pictures that it can compare, with the very code of the
player, and sends ranges only where the loss is small enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import final

import numpy as np

from nnrvideo.container import open_media
from nnrvideo.errors import InferenceError, ModelError
from nnrvideo.limits import Limits
from nnrvideo.metrics import squared_error
from nnrvideo.model import (
    ConvRanges,
    Network,
    Ranges,
    convolutions,
    infer_contract,
    quantisable,
    to_nnpfc,
    with_ranges,
    without_ranges,
)
from nnrvideo.picture import Picture
from nnrvideo.player.filter import NetworkFilter
from nnrvideo.player.networks import load_network
from nnrvideo.player.precision import Precision, PrecisionPolicy, integer_obstacle
from nnrvideo.runtime.base import Array, Capabilities, InferenceBackend, Session, TensorInfo
from nnrvideo.runtime.onnxruntime import OnnxRuntimeBackend
from nnrvideo.runtime.resample import resize_picture

MAX_LOSS = 0.05  # dB that integers may cost by default

_MARGIN = 1 / 8  # widening of measured ranges, for pictures that were not seen
_MEMORY = 256 << 20  # bytes for one run


@final
@dataclass(frozen=True, slots=True)
class Calibration:
    """Result of :func:`calibrate`.

    Args:
        network: With ranges if integers are allowed, else without.
        integer: Number of convolutions that will run in integers.
        convolutions: Number of all convolutions.
        psnr_fp32: dB of the network in real numbers against the originals; infinite if equal.
        psnr_int8: dB with the integers that were tried last.
    """

    network: Network
    integer: int
    convolutions: int
    psnr_fp32: float
    psnr_int8: float

    @property
    def loss(self) -> float:
        """Decibels that integers cost."""
        if math.isinf(self.psnr_fp32):
            return 0.0 if math.isinf(self.psnr_int8) else math.inf
        return self.psnr_fp32 - self.psnr_int8


def calibrate(
    network: Network,
    pairs: Sequence[tuple[Picture, Picture]],
    *,
    max_loss: float = MAX_LOSS,
    limits: Limits | None = None,
    backend: InferenceBackend | None = None,
) -> Calibration:
    """Measures the ranges of a network's activations and decides whether to send them.

    Where integers in all suitable convolutions lose too much, those at the end are left in real
    numbers, then those at both ends, before giving up.

    Args:
        network: As a receiver will have it, that is after coding.
        pairs: Decoded picture, and the original that the filtered picture is to be compared
            with, such as :func:`calibration_pairs` gives.
        max_loss: dB of PSNR, over the samples that the network makes, that integers may cost.
        limits: Bounds; by default :meth:`Limits.offline`.
        backend: Runs the network; ONNX Runtime on the CPU if absent.

    Raises:
        ValueError: No pictures, or ``max_loss`` is negative.
        ModelError: The network is none that a player could run on such pictures.
        InferenceError: The network fails, or this machine cannot compute integers exactly.
    """
    if not pairs:
        raise ValueError("pictures are needed to calibrate")
    if max_loss < 0:
        raise ValueError(f"max_loss must not be negative, got {max_loss}")
    bench = _Bench(
        without_ranges(network),
        pairs,
        limits or Limits.offline(),
        backend or OnnxRuntimeBackend(providers=["CPUExecutionProvider"]),
    )
    possible = quantisable(bench.network)
    real = bench.psnr(bench.network)
    if not any(possible):
        return Calibration(bench.network, 0, len(possible), real, real)
    if obstacle := integer_obstacle(bench.backend):
        raise InferenceError(obstacle)
    measured = bench.ranges(possible)
    tried = Calibration(bench.network, 0, len(possible), real, real)
    for ranges in _attempts(measured):
        candidate = with_ranges(bench.network, ranges)
        integers = bench.psnr(candidate)
        count = sum(one is not None for one in ranges)
        tried = Calibration(candidate, count, len(possible), real, integers)
        if tried.loss <= max_loss:
            return tried
    return replace(tried, network=bench.network, integer=0)


def calibration_pairs(
    network: Network,
    original: Path,
    coded: Path | None = None,
    *,
    pictures: int = 16,
    limits: Limits | None = None,
) -> list[tuple[Picture, Picture]]:
    """Pairs for :func:`calibrate`, spread evenly over a film.

    Args:
        network: Tells the size that it makes.
        original: The film before coding.
        coded: The same film as a receiver decodes it.  Without it, originals are made smaller by
            the network's ratio, which only a network that enlarges can be judged by.
        pictures: How many, at least 1.
        limits: Bounds; by default :meth:`Limits.offline`.

    Raises:
        ValueError: ``coded`` is missing for a network that keeps the size.
        ModelError: No NNPFC message can describe the network.
        ContainerError: A file cannot be read.
    """
    contract = infer_contract(network, limits=limits or Limits.offline())
    across, down = contract.width_ratio, contract.height_ratio
    if coded is None and across * down <= 1:
        raise ValueError("the network does not enlarge: the coded film is needed as well")
    with ExitStack() as stack:
        media = stack.enter_context(open_media(original))
        step = max(1, (media.video.frames or pictures) // pictures)
        decoded = None if coded is None else stack.enter_context(open_media(coded))
        inputs = None if decoded is None else (item.picture for item in decoded.pictures())
        found: list[tuple[Picture, Picture]] = []
        for item in media.pictures():
            given = None if inputs is None else next(inputs, None)
            if item.index % step:
                continue
            pair = _scaled_pair(item.picture, given, across, down)
            found.append(pair)
            if len(found) >= pictures:
                break
    return found


def _scaled_pair(
    original: Picture, given: Picture | None, across: Fraction, down: Fraction
) -> tuple[Picture, Picture]:
    """What goes in and what should come out, of sizes that fit the ratio."""
    form = original.format
    if given is None:
        # Even sizes on both sides, so that chroma scales to whole samples, too.
        step_x, step_y = 2 * across.numerator, 2 * down.numerator
        width, height = form.width // step_x * step_x, form.height // step_y * step_y
        original = resize_picture(original, form.scaled(width, height))
        small = form.scaled(int(width / across), int(height / down))
        return resize_picture(original, small), original
    width, height = int(given.format.width * across), int(given.format.height * down)
    return given, resize_picture(original, form.scaled(width, height))


def _attempts(measured: Ranges) -> Iterator[Ranges]:
    """All, all but the last, all but the first and the last."""
    known = [index for index, one in enumerate(measured) if one is not None]
    for left_out in ((), known[-1:], known[:1] + known[-1:]):
        ranges = tuple(None if index in left_out else one for index, one in enumerate(measured))
        if any(ranges):
            yield ranges


@final
class _Bench:
    """Runs a network on all pairs, as a player would."""

    def __init__(
        self,
        network: Network,
        pairs: Sequence[tuple[Picture, Picture]],
        limits: Limits,
        backend: InferenceBackend,
    ) -> None:
        self.network = network
        self.backend = backend
        self._pairs = pairs
        self._limits = limits
        contract = infer_contract(network, limits=limits)
        # A message must have a payload; only the properties are read here.
        self._nnpfc = to_nnpfc(contract, None, nnpfc_id=7, payload=b"\0")

    def psnr(self, network: Network) -> float:
        """Decibels over all samples that the network makes."""
        error, samples = 0.0, 0
        for network_filter, group in self._filters(network, self.backend):
            peak = (1 << network_filter.target.bit_depth) - 1
            for picture, original in group:
                made = network_filter.process(picture)
                if made.format != original.format:
                    raise ModelError(f"the network makes {made.format}, not {original.format}")
                for component in network_filter.made:
                    plane = original.planes[component]
                    error += squared_error(plane, made.planes[component]) / peak**2
                    samples += plane.size
        return 10 * math.log10(samples / error) if error else math.inf

    def ranges(self, possible: Sequence[bool]) -> Ranges:
        """Smallest and largest value around each convolution, widened."""
        found = convolutions(self.network.graph)
        wanted = [one for one, can in zip(found, possible, strict=True) if can]
        names = list(dict.fromkeys(name for one in wanted for name in (one.input, one.output)))
        observer = _ObservingBackend(self.backend, names)
        for network_filter, group in self._filters(self.network, observer, observe=names):
            for picture, _ in group:
                network_filter.process(picture)
        return tuple(
            ConvRanges(_widened(observer.seen[one.input]), _widened(observer.seen[one.output]))
            if can
            else None
            for one, can in zip(found, possible, strict=True)
        )

    def _filters(
        self, network: Network, backend: InferenceBackend, observe: Sequence[str] = ()
    ) -> Iterator[tuple[NetworkFilter, list[tuple[Picture, Picture]]]]:
        """A filter for each format of the pictures, and the pairs of that format."""
        for source in dict.fromkeys(picture.format for picture, _ in self._pairs):
            loaded = load_network(
                network,
                self._nnpfc,
                source,
                backend,
                limits=self._limits,
                precision=PrecisionPolicy(Precision.AUTO, self.backend),
                observe=observe,
            )
            network_filter = NetworkFilter(
                loaded, self._nnpfc, source, limits=self._limits, max_memory_bytes=_MEMORY
            )
            yield network_filter, [pair for pair in self._pairs if pair[0].format == source]


def _widened(seen: tuple[float, float]) -> tuple[float, float]:
    """A little more than was seen; 0 is always inside, and what ends there (after Relu) stays."""
    low, high = min(seen[0], 0.0), max(seen[1], 0.0)
    return low * (1 + _MARGIN), (high * (1 + _MARGIN)) or 1.0


@final
class _ObservingBackend:
    """Loads networks whose further outputs are looked at and not handed on."""

    def __init__(self, backend: InferenceBackend, names: Sequence[str]) -> None:
        self._backend = backend
        self._names = names
        self.seen: dict[str, tuple[float, float]] = {}

    def capabilities(self) -> Capabilities:
        return self._backend.capabilities()

    def load(self, graph: bytes, initializers: Mapping[str, Array]) -> Session:
        return _ObservingSession(self._backend.load(graph, initializers), self._names, self.seen)


@final
class _ObservingSession:
    def __init__(
        self, session: Session, names: Sequence[str], seen: dict[str, tuple[float, float]]
    ) -> None:
        self._session = session
        self._names = names
        self._seen = seen
        self.inputs: tuple[TensorInfo, ...] = session.inputs
        self.outputs: tuple[TensorInfo, ...] = session.outputs[:1]
        self.provider = session.provider
        self.fallbacks = session.fallbacks

    def run(self, feeds: Mapping[str, Array]) -> tuple[Array, ...]:
        picture, *values = self._session.run(feeds)
        for name, value in zip(self._names, values, strict=True):
            low, high = self._seen.get(name, (np.inf, -np.inf))
            self._seen[name] = min(low, float(value.min())), max(high, float(value.max()))
        return (picture,)
