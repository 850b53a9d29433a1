# SPDX-License-Identifier: Apache-2.0
"""Networks that are quantised already: which tensors must not be quantised again.

Their integers are exact anyway, for NNC codes integers without loss.  Scales are real numbers,
but a scale that went through a lossy code would move every weight that it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nnrvideo.model.graph import Graph
from nnrvideo.model.operators import QUANTISER_INPUTS

_INTEGER_PRODUCTS: Final = frozenset({"ConvInteger", "MatMulInteger"})


def quantiser_names(graph: Graph) -> frozenset[str]:
    """Names of all initialisers that are scales or zero points of a quantised operator.

    Args:
        graph: With QDQ pairs, integer operators, or packed weights; else the set is empty.

    Returns:
        Inputs of :data:`~nnrvideo.model.operators.QUANTISER_INPUTS`, and the factors that turn
        the integers of MatMulInteger and ConvInteger into real numbers.
    """
    return frozenset(_declared(graph)) | frozenset(_factors(graph))


def _declared(graph: Graph) -> Iterator[str]:
    stored = set(graph.order)
    for node in graph.nodes:
        for index in QUANTISER_INPUTS.get(node.op_type, ()):
            if index < len(node.inputs) and node.inputs[index] in stored:
                yield node.inputs[index]


def _factors(graph: Graph) -> Iterator[str]:
    """The integer operators know no scale; exporters multiply by it after a Cast.

    Often by the product of the scale of the weights and that of the input, which
    DynamicQuantizeLinear has found.
    """
    stored = set(graph.order)
    integers: set[str] = set()
    scales: set[str] = set()
    for node in graph.nodes:
        given = set(node.inputs)
        if node.op_type in _INTEGER_PRODUCTS:
            integers.update(node.outputs)
        elif node.op_type == "DynamicQuantizeLinear":
            scales.update(node.outputs[1:2])
        elif node.op_type == "Cast":
            for kind in (integers, scales):
                if given & kind:
                    kind.update(node.outputs)
        elif node.op_type == "Mul" and given & (integers | scales):
            yield from given & stored
            # Integers times their scale are ordinary numbers, whatever follows.
            if not given & integers:
                scales.update(node.outputs)


def values_per_byte(graph: Graph) -> dict[str, int]:
    """Name of each blob of MatMulNBits, and how many weights a byte of it holds."""
    found: dict[str, int] = {}
    for node in graph.nodes:
        if node.op_type == "MatMulNBits" and len(node.inputs) > 1:
            found[node.inputs[1]] = max(1, 8 // max(1, node.integer("bits", 4)))
    return found
