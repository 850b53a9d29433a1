# SPDX-License-Identifier: Apache-2.0
"""The operators that a network in a stream may use, and what their inputs are for.

The list holds what filters for pictures are made of: convolutions, activations, element-wise
arithmetic, resampling and re-ordering of samples, pooling for channel attention, quantised
inference (QDQ and integer operators), and the shape arithmetic that exporters write around these.
Left out on purpose: control flow and everything else with a subgraph, sequences and optionals,
strings, random numbers, operators whose output *shape* depends on the values of pixels, and every
custom domain but for one operator of onnxruntime, ``MatMulNBits`` (see :data:`DOMAINS`).  A
network made of these operators touches no file, runs no code but onnxruntime's kernels, and has
a cost that is known before it runs.
"""

from __future__ import annotations

from typing import Final

MIN_OPSET: Final = 11  # Clip, Pad and Resize take their parameters as inputs from here on
MAX_OPSET: Final = 23

CONVOLUTIONS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

UNARY: Final = frozenset(
    {
        "Abs",
        "Ceil",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "Neg",
        "Reciprocal",
        "Relu",
        "Round",
        "Sigmoid",
        "Softmax",
        "Softplus",
        "Sqrt",
        "Tanh",
    }
)

DOMAINS: Final = {"MatMulNBits": "com.microsoft"}
"""Operators that are not of ``ai.onnx``: the one domain in which each is accepted.

onnxruntime has MatMulNBits built in; weights of 2, 4 or 8 bits with a scale for each block have
no other operator.
"""

QUANTISED: Final = frozenset(
    {
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "MatMulNBits",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
    }
)

BROADCASTING: Final = frozenset({"Add", "Div", "Max", "Min", "Mul", "PRelu", "Pow", "Sub"})

ALLOWED_OPERATORS: Final = (
    CONVOLUTIONS
    | UNARY
    | BROADCASTING
    | QUANTISED
    | {
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GlobalAveragePool",
        "MaxPool",
        "Pad",
        "ReduceMean",
        "Reshape",
        "Resize",
        "Shape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)

# Inputs that say how an operator works rather than what it has learnt.  Such a constant stays
# inside the topology, because it must arrive exactly: a resampling factor or a clipping bound
# that went through a lossy code would make another network of it.
STRUCTURAL_INPUTS: Final[dict[str, frozenset[int]]] = {
    "Clip": frozenset({1, 2}),
    "ConstantOfShape": frozenset({0}),
    "Expand": frozenset({1}),
    "Gather": frozenset({1}),
    "Pad": frozenset({1, 2, 3}),
    "Pow": frozenset({1}),
    "ReduceMean": frozenset({1}),
    "Reshape": frozenset({1}),
    "Resize": frozenset({1, 2, 3}),
    "Slice": frozenset({1, 2, 3, 4}),
    "Split": frozenset({1}),
    "Squeeze": frozenset({1}),
    "Tile": frozenset({1}),
    "Unsqueeze": frozenset({1}),
}

# Scales and zero points.  They must arrive exactly, too: the integers mean nothing without them.
# A single one stays inside the topology; more travel as tensors that are never quantised.
QUANTISER_INPUTS: Final[dict[str, frozenset[int]]] = {
    "ConvInteger": frozenset({2, 3}),
    "DequantizeLinear": frozenset({1, 2}),
    "MatMulInteger": frozenset({2, 3}),
    "MatMulNBits": frozenset({2, 3}),
    "QLinearConv": frozenset({1, 2, 4, 5, 6, 7}),
    "QLinearMatMul": frozenset({1, 2, 4, 5, 6, 7}),
    "QuantizeLinear": frozenset({1, 2}),
}
