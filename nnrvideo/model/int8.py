# SPDX-License-Identifier: Apache-2.0
"""Convolutions in 8-bit integers, prepared by the receiver from weights and measured ranges.

The graph gets pairs of QuantizeLinear and DequantizeLinear around every convolution whose ranges
are known; onnxruntime turns what stands between into one integer convolution (``QLinearConv``),
and other providers read such pairs as well.  Activations are unsigned with a zero point, weights
signed and symmetric with one scale for each output channel, biases 32 bits wide.  What has no
range, such as a fixed interpolation beside the learnt part, stays in floating point, and with it
the sum of the two: rounding then touches the residual only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from nnrvideo.model.graph import Array, Node
from nnrvideo.model.ranges import (
    Convolution,
    ConvRanges,
    Ranges,
    changed,
    convolutions,
    without_ranges,
)
from nnrvideo.model.topology import Network

_MIN_OPSET: Final = 13  # a scale for each channel
_MIN_CHANNELS: Final = 8  # input channels from which integers are worth their conversions
_WEIGHT_TOP: Final = 127
_BIAS_TOP: Final = 2**31 - 1
_TINY: Final = np.finfo(np.float32).tiny  # no scale is 0


def quantisable(network: Network) -> tuple[bool, ...]:
    """For each convolution of a network, whether it can gain from integers.

    It needs constant float32 weights, and enough channels to pay for the conversions around it.
    """
    graph = network.graph
    if graph.opset < _MIN_OPSET:
        return (False,) * len(convolutions(graph))
    values = {**graph.constants, **network.tensors}
    return tuple(_is_quantisable(one, values) for one in convolutions(graph))


def _is_quantisable(one: Convolution, values: Mapping[str, Array]) -> bool:
    constants = [values.get(name) for name in one.node.inputs[1:] if name]
    weight = constants[0] if constants else None
    return (
        weight is not None
        and all(part is not None and part.dtype == np.float32 for part in constants)
        and weight.ndim == 4
        and weight.shape[1] >= _MIN_CHANNELS
    )


def quantise(network: Network, ranges: Ranges) -> Network:
    """Rewrites a network so that convolutions with known ranges run in integers.

    Args:
        network: The network, weights in float32.
        ranges: For each convolution; where :func:`quantisable` says no, a range is ignored.

    Returns:
        A network of the same inputs and outputs; the same convolutions if there is nothing to do.
    """
    possible = quantisable(network)
    plain = without_ranges(network)
    wanted = {
        one.node.outputs[0]: (one, known)
        for one, known, can in zip(convolutions(plain.graph), ranges, possible, strict=True)
        if known is not None and can
    }
    return _Quantiser(plain, wanted).rewrite() if wanted else plain


def exactness_probe() -> tuple[bytes, Array, Array]:
    """A small integer convolution that only a machine with wide enough sums computes rightly.

    Processors without instructions for dot products of bytes add pairs of products in 16 bits,
    and saturate.  A network whose integers saturate shows wrong pictures, so a player asks first.

    Returns:
        Serialised ONNX model with the input ``x`` and one output; the input and the right output.
    """
    channels, size = 16, 3
    factor = channels * size * size * 255 * _WEIGHT_TOP
    constants = {
        "one": np.float32(1),
        "zero": np.uint8(0),
        "weight": np.full((channels, channels, size, size), _WEIGHT_TOP, np.int8),
        "weight_zero": np.int8(0),
        "scale": np.float32(factor / 200),
    }
    node = helper.make_node(
        "QLinearConv",
        ["x", "one", "zero", "weight", "one", "weight_zero", "scale", "zero"],
        ["y"],
    )
    graph = helper.make_graph(
        [node],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, channels, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _MIN_OPSET)])
    model.ir_version = 8
    given = np.full((1, channels, 8, 8), 255, np.uint8)
    return bytes(model.SerializeToString()), given, np.full((1, channels, 6, 6), 200, np.uint8)


@final
class _Quantiser:
    def __init__(
        self, network: Network, wanted: Mapping[str, tuple[Convolution, ConvRanges]]
    ) -> None:
        self._network = network
        self._wanted = wanted
        self._values = {**network.graph.constants, **network.tensors}
        self._taken = network.graph.names()
        self._nodes: list[Node] = []
        self._made: dict[str, Array] = {}
        self._integer: dict[str, tuple[str, Array]] = {}  # value -> its dequantised twin, scale
        self._relus = {one.relu.outputs[0] for one, _ in wanted.values() if one.relu is not None}

    def rewrite(self) -> Network:
        for node in self._network.graph.nodes:
            if node.outputs[0] in self._wanted:
                self._convolution(*self._wanted[node.outputs[0]])
            elif node.outputs[0] not in self._relus:
                self._nodes.append(node)
        used = {name for node in self._nodes for name in node.inputs}
        unused = frozenset(name for name in self._network.graph.order if name not in used)
        return changed(self._network, nodes=self._nodes, add=self._made, drop=unused)

    def _convolution(self, one: Convolution, ranges: ConvRanges) -> None:
        source, source_scale = self._source(one.input, ranges.input)
        weight = self._values[one.node.inputs[1]]
        scales = _weight_scales(weight)
        integers = np.rint(weight / scales[:, None, None, None]).astype(np.int8)
        inputs = [source, self._dequantised("weight", integers, scales, np.int8)]
        if len(one.node.inputs) > 2 and one.node.inputs[2]:
            bias = self._values[one.node.inputs[2]].astype(np.float64)
            bias_scales = np.maximum(scales * source_scale, _TINY).astype(np.float32)
            rounded = np.clip(np.rint(bias / bias_scales), -_BIAS_TOP, _BIAS_TOP)
            inputs.append(self._dequantised("bias", rounded.astype(np.int32), bias_scales))
        result = self._fresh("convolution")
        self._nodes.append(replace(one.node, inputs=tuple(inputs), outputs=(result,)))
        if one.relu is not None:
            rectified = self._fresh("rectified")
            self._nodes.append(replace(one.relu, inputs=(result,), outputs=(rectified,)))
            result = rectified
        _, scale = self._pair(result, one.output, ranges.output)
        self._integer[one.output] = one.output, scale

    def _source(self, value: str, limits: tuple[float, float]) -> tuple[str, Array]:
        """The value as integers make it, and their scale; rounded once, however many read it."""
        if value not in self._integer:
            twin = self._fresh("rounded")
            self._integer[value] = self._pair(value, twin, limits)
        return self._integer[value]

    def _pair(self, value: str, result: str, limits: tuple[float, float]) -> tuple[str, Array]:
        scale, zero = _activation_scale(*limits)
        names = self._constant("scale", scale), self._constant("zero", zero)
        integers = self._fresh("integers")
        self._nodes.append(Node("QuantizeLinear", (value, *names), (integers,)))
        self._nodes.append(Node("DequantizeLinear", (integers, *names), (result,)))
        return result, scale

    def _dequantised(
        self, name: str, integers: Array, scales: Array, zero: type[np.int8] | None = None
    ) -> str:
        inputs = [self._constant(name, integers), self._constant(f"{name}_scale", scales)]
        if zero is not None:
            inputs.append(self._constant(f"{name}_zero", np.zeros(scales.shape, zero)))
        result = self._fresh(f"{name}_real")
        self._nodes.append(Node("DequantizeLinear", tuple(inputs), (result,), {"axis": 0}))
        return result

    def _constant(self, name: str, value: Any) -> str:
        fresh = self._fresh(name)
        self._made[fresh] = np.asarray(value)
        return fresh

    def _fresh(self, name: str) -> str:
        count = 0
        while (fresh := f"nnrvideo/{name}/{count}") in self._taken:
            count += 1
        self._taken.add(fresh)
        return fresh


def _weight_scales(weight: Array) -> Array:
    """One for each output channel; a channel of zeros gets any that is not 0."""
    largest = np.abs(weight).max(axis=(1, 2, 3))
    scales = np.where(largest > 0, largest, 1.0) / _WEIGHT_TOP
    return np.maximum(scales, _TINY).astype(np.float32)


def _activation_scale(low: float, high: float) -> tuple[Array, Array]:
    """Scale and zero point of uint8, so that 0 is one of its numbers."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.maximum((high - low) / 255, _TINY).astype(np.float32)
    zero = np.clip(np.rint(-low / float(scale)), 0, 255).astype(np.uint8)
    return np.asarray(scale), np.asarray(zero)
