# SPDX-License-Identifier: Apache-2.0
"""Which tensors of a graph belong together, so that one NNC unit can carry them.

A weight, the bias that is added to its rows' outputs and the batch normalisation behind them share
a unit header and a codeword; in small networks that is worth several per cent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from nnrvideo.model.graph import Graph, Node, TensorDeclaration
from nnrvideo.model.rewrite import rows_are_outputs
from nnrvideo.nnc import Role

_BIAS_INPUT: Final = 2
_NORM_INPUTS: Final = {Role.GAMMA: 1, Role.BETA: 2, Role.MEAN: 3, Role.VARIANCE: 4}


def find_blocks(graph: Graph) -> list[Mapping[Role, str]]:
    """Weights with companions of one value for each of their rows.

    Args:
        graph: The network's graph.

    Returns:
        Names by role, for ``nnc.encode``; no tensor occurs twice.

    Spec: ISO/IEC 15938-17, NNR_PT_BLOCK, NNR_CPT_BI and NNR_CPT_BN.
    """
    norms = {
        node.inputs[0]: node
        for node in graph.nodes
        if node.op_type == "BatchNormalization" and node.inputs
    }
    blocks: list[Mapping[Role, str]] = []
    taken: set[str] = set()
    for node in graph.nodes:
        if not rows_are_outputs(node) or len(node.inputs) < 2:
            continue
        weight = graph.externals.get(node.inputs[1])
        if weight is None or weight.name in taken or len(weight.shape) < 2:
            continue
        block = {Role.WEIGHT: weight.name}
        for companions in ({Role.BIAS: _BIAS_INPUT}, _NORM_INPUTS):
            source = node if Role.BIAS in companions else norms.get(node.outputs[0])
            names = _companions(source, companions, graph, weight)
            if names is not None and taken.isdisjoint(names.values()):
                block.update(names)
        if len(block) > 1:
            taken.update(block.values())
            blocks.append(block)
    return blocks


def _companions(
    node: Node | None, inputs: Mapping[Role, int], graph: Graph, weight: TensorDeclaration
) -> dict[Role, str] | None:
    """Names of inputs of a node, if all of them are vectors that fit the weight."""
    if node is None or len(node.inputs) <= max(inputs.values()):
        return None
    names = {role: node.inputs[index] for role, index in inputs.items()}
    if len(set(names.values())) != len(names) or weight.dtype != np.float32:
        return None
    for name in names.values():
        vector = graph.externals.get(name)
        if vector is None or vector.dtype != np.float32 or vector.shape != weight.shape[:1]:
            return None
    return names
