# SPDX-License-Identifier: Apache-2.0
"""Scales and biases that make up for what quantisation did to the outputs of each layer.

Quantised coarsely, a filter answers with another strength and another mean.  Both can be measured
on a few inputs and put right with a factor and a bias for each output channel, without any
training: a local scaling beside the weight's own levels, which stay as they are.  Layers are
taken in their order, each behind those that are corrected already, and with companions as the
receiver will have them.

Spec: ISO/IEC 15938-17, NNR_CPT_LS and NNR_CPT_BI; how they are chosen is the encoder's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, final

import numpy as np

from nnrvideo.limits import Limits
from nnrvideo.model.blocks import find_blocks
from nnrvideo.model.graph import Array, Graph, Node, Port, serialize
from nnrvideo.model.package import pack, unpack
from nnrvideo.model.prepare import for_runtime
from nnrvideo.model.rewrite import Rewriter, Vector, output_channels, rows_are_outputs
from nnrvideo.model.scaling import SUFFIX, Scaled, with_scaling
from nnrvideo.model.topology import Network
from nnrvideo.nnc import EncodeSettings, Role, decode, encode
from nnrvideo.nnc.quantisation import qp_of_step
from nnrvideo.tensors import TensorSet

_log = logging.getLogger(__name__)

_LARGEST: Final = 4.0  # factor; more would lift noise where a filter has all but vanished
_COARSEST, _FINEST = 2.0**-6, 2.0**-12  # steps of the factors
_NOTHING: Final = 1e-14  # of the power: what float32 cannot tell from none
_ROUNDING: Final = 1e-10  # of the square of a value
_STEPS: Final = 4  # of a factor in its typical distance from 1


class Runnable(Protocol):
    """A network that is ready to run; ``nnrvideo.runtime.Session`` is one."""

    def run(self, feeds: Mapping[str, Array]) -> tuple[Array, ...]:
        """Outputs in the order of the graph."""


class Executor(Protocol):
    """Whatever runs networks; ``nnrvideo.runtime.OnnxRuntimeBackend`` is one."""

    def load(self, graph: bytes, initializers: Mapping[str, Array]) -> Runnable:
        """Makes a network ready, whose external tensors are ``initializers``."""


@final
@dataclass(frozen=True, slots=True)
class _Layer:
    """A linear operator with a bias that can be corrected."""

    node: Node
    channels: int
    scalable: bool

    @property
    def weight(self) -> str:
        return self.node.inputs[1]

    @property
    def bias(self) -> str:
        return self.node.inputs[2]

    @property
    def output(self) -> str:
        return self.node.outputs[0]


@final
class _Moments:
    """Mean and deviation of each channel of a tensor, over all inputs."""

    def __init__(self, channels: int) -> None:
        self._count = 0
        self._sums = np.zeros((2, channels))

    def add(self, values: Array) -> None:
        rows = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1).astype(np.float64)
        self._count += rows.shape[1]
        self._sums += rows.sum(axis=1), np.einsum("cn,cn->c", rows, rows)

    @property
    def mean(self) -> Vector:
        mean: Vector = self._sums[0] / self._count
        return mean

    @property
    def variance(self) -> Vector:
        """0 where nothing but rounding is left."""
        square = self._sums[1] / self._count
        spread = square - self.mean**2
        return np.where(spread > _ROUNDING * square, spread, 0.0)


def correct(
    network: Network,
    settings: EncodeSettings,
    inputs: Sequence[Mapping[str, Array]],
    executor: Executor,
    *,
    always: bool = False,
) -> tuple[Scaled, EncodeSettings]:
    """Finds scales and biases with which the coded network is nearest to the network.

    Args:
        network: What is to be coded.  Conv and Gemm with float32 weights of their own get factors
            and biases, ConvTranspose and Gemm whose rows are no outputs biases only; where either
            has no bias, it gets one.
        settings: Choices of the encoder, lossy.
        inputs: Some typical inputs, by name, each as the graph takes it.
        executor: What runs the network.
        always: Correct even where a finer QP makes more of the same bytes, by the outputs on
            these inputs and the rule that a bit for each weight is worth 6 dB.

    Returns:
        What to give to :func:`~nnrvideo.model.pack`, network and settings: the weights as they
        were, with local scalings, and the new biases; the network itself, with a warning in the
        log, where the correction does not pay.

    Raises:
        ValueError: No inputs, or lossless settings.
        InferenceError: The network does not run, or not on these inputs.
    """
    if not inputs or settings.lossless:
        msg = "a correction needs inputs to measure at, and a lossy code to correct"
        raise ValueError(msg)
    found, chosen = _Correction(network, settings, executor).run(inputs)
    if always:
        return found, chosen
    plain, corrected = pack(network, settings), pack(found, chosen)
    errors = [_output_error(network, each, inputs, executor) for each in (plain, corrected)]
    gain = math.log10(max(errors[0], _NOTHING) / max(errors[1], _NOTHING))
    bits = 8 * (len(corrected) - len(plain)) / max(1, network.tensors.parameters)
    if gain > bits * math.log10(4):
        return found, chosen
    _log.warning(
        "correction left out: it gains %.1f dB at the outputs, a finer QP more for its %d bytes",
        10 * gain,
        len(corrected) - len(plain),
    )
    return Scaled(network), settings


def _output_error(
    network: Network, coded: bytes, inputs: Sequence[Mapping[str, Array]], executor: Executor
) -> float:
    """Squared error of the outputs of a coded network, of their power."""
    received = unpack(coded, limits=Limits.offline()).require_network()
    outputs = network.graph.outputs
    sessions = [
        executor.load(*_until(each.graph, each.tensors, outputs)) for each in (network, received)
    ]
    error, power = np.zeros((2, len(outputs)))
    for feeds in inputs:
        pairs = zip(*(each.run(feeds) for each in sessions), strict=True)
        for index, (wanted, found) in enumerate(pairs):
            power[index] += np.square(wanted, dtype=np.float64).sum()
            error[index] += np.square(wanted.astype(np.float64) - found).sum()
    return float(np.divide(error, power, out=np.zeros_like(error), where=power > 0).sum())


class _Correction:
    def __init__(self, network: Network, settings: EncodeSettings, executor: Executor) -> None:
        self._original = network
        self._settings = settings
        self._executor = executor
        work = Rewriter(network)
        self._layers = []
        for index, node in enumerate(network.graph.nodes):
            weight = work.own_weight(node)
            if weight is None:
                continue
            channels = output_channels(node, weight.shape)
            bias = work.bias(node, channels)
            if bias is not None:
                node = work.set_bias(index, bias)
                self._layers.append(_Layer(node, channels, rows_are_outputs(node)))
        self._network = work.network()
        coded = unpack(pack(self._network, settings), limits=Limits.offline()).require_network()
        self._coded = dict(coded.tensors)
        self._blocks = {block[Role.WEIGHT]: block for block in find_blocks(self._network.graph)}
        self._biases: dict[str, Array] = {}
        self._scaling: dict[str, Array] = {}

    def run(self, inputs: Sequence[Mapping[str, Array]]) -> tuple[Scaled, EncodeSettings]:
        for layers in _by_depth(self._network.graph, self._layers):
            for layer, measured in zip(layers, self._measure(layers, inputs), strict=True):
                self._put_right(layer, *measured)
        tensors = TensorSet({**self._network.tensors, **self._biases})
        return Scaled(self._network.with_tensors(tensors), self._scaling), self._settings

    def _measure(
        self, layers: Sequence[_Layer], inputs: Sequence[Mapping[str, Array]]
    ) -> list[tuple[_Moments, _Moments]]:
        """Outputs of some layers, as they should be and as the coded network has them."""
        outputs = [Port(layer.output, np.dtype(np.float32), None) for layer in layers]
        sessions = [
            self._executor.load(*_until(graph, tensors, outputs))
            for graph, tensors in (
                (self._original.graph, self._original.tensors),
                (self._network.graph, self._coded),
            )
        ]
        found = [(_Moments(layer.channels), _Moments(layer.channels)) for layer in layers]
        for feeds in inputs:
            for side, session in enumerate(sessions):
                for moments, values in zip(found, session.run(feeds), strict=True):
                    moments[side].add(values)
        return found

    def _put_right(self, layer: _Layer, wanted: _Moments, found: _Moments) -> None:
        bias_name = layer.bias
        factors = np.ones(layer.channels)
        if layer.scalable and layer.weight + SUFFIX not in self._network.tensors:
            factors = _factors(wanted.variance, found.variance)
            step = float(np.clip(np.sqrt(np.mean((factors - 1) ** 2)) / _STEPS, _FINEST, _COARSEST))
            qp = qp_of_step(step, self._settings.qp_density)
            own = {**self._settings.qp_per_tensor, layer.weight + SUFFIX: qp}
            self._settings = replace(self._settings, qp_per_tensor=own)
            self._scaling[layer.weight] = factors.astype(np.float32)
            factors = self._code(layer)[layer.weight + SUFFIX].astype(np.float64)
        # The factor is that of the product; what the layer adds now is replaced as a whole.
        product = found.mean - self._coded[bias_name]
        self._biases[bias_name] = (wanted.mean - factors * product).astype(np.float32)
        self._coded.update(self._code(layer, applied=True))

    def _code(self, layer: _Layer, *, applied: bool = False) -> Mapping[str, Array]:
        """Tensors of a layer as a receiver will have them; ``applied``: with the factors."""
        block = self._blocks.get(layer.weight, {Role.WEIGHT: layer.weight})
        names = {*block.values(), layer.bias}
        source = {**self._network.tensors, **self._biases}
        arrays: Mapping[str, Array] = {name: source[name] for name in source if name in names}
        blocks: Sequence[Mapping[Role, str]] = [block] if len(block) > 1 else []
        if layer.weight in self._scaling:
            one = {layer.weight: self._scaling[layer.weight]}
            arrays, blocks = with_scaling(arrays, blocks, one)
        decoded = decode(encode(arrays, self._settings, blocks=blocks), limits=Limits.offline())
        return decoded.network_tensors() if applied else decoded.tensors


def _factors(wanted: Vector, found: Vector) -> Vector:
    """Ratio of the deviations; 1 where either is constant, as behind a filter of zeros.

    A factor that makes the squared error least, smaller by the correlation of the two, serves the
    layer alone; those behind it expect activations of the strength they were trained with.
    """
    alive = (wanted > 0) & (found > 0)
    ratios = np.sqrt(np.where(alive, wanted, 1.0) / np.where(alive, found, 1.0))
    factors: Vector = np.clip(ratios, 1 / _LARGEST, _LARGEST)
    return factors


def _by_depth(graph: Graph, layers: Sequence[_Layer]) -> Iterator[list[_Layer]]:
    """Layers that do not depend on each other together, behind all that they depend on."""
    made = {layer.output: layer for layer in layers}
    depths: dict[str, int] = {}
    found: dict[int, list[_Layer]] = {}
    for node in graph.nodes:
        depth = max((depths.get(name, 0) for name in node.inputs), default=0)
        layer = made.get(node.outputs[0])
        if layer is not None:
            found.setdefault(depth, []).append(layer)
            depth += 1
        depths.update(dict.fromkeys(node.outputs, depth))
    yield from (found[depth] for depth in sorted(found))


def _until(
    graph: Graph, tensors: Mapping[str, Array], outputs: Sequence[Port]
) -> tuple[bytes, dict[str, Array]]:
    """The part of a graph that makes some of its values, and its tensors, for a runtime."""
    wanted = {port.name for port in outputs}
    nodes = []
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
            nodes.append(node)
    part = replace(
        graph,
        outputs=tuple(outputs),
        nodes=tuple(reversed(nodes)),
        constants={name: value for name, value in graph.constants.items() if name in wanted},
        externals={name: each for name, each in graph.externals.items() if name in wanted},
        order=tuple(name for name in graph.order if name in wanted),
    )
    model, arrays = for_runtime(part, {name: tensors[name] for name in part.externals})
    return serialize(model), arrays
