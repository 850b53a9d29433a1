# SPDX-License-Identifier: Apache-2.0
"""Which tensors of a graph belong together, so that one NNC unit can carry them.

A weight and the bias that is added to its rows' outputs share a unit header and a codeword; in
small networks that is worth several per cent.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nnrvideo.model.graph import Graph, Node, TensorDeclaration
from nnrvideo.nnc import Role

_BIAS_INPUT = 2


def find_blocks(graph: Graph) -> list[Mapping[Role, str]]:
    """Weights with a bias of one value for each of their rows.

    Args:
        graph: The network's graph.

    Returns:
        Names by role, for ``nnc.encode``; no tensor occurs twice.

    Spec: ISO/IEC 15938-17, NNR_PT_BLOCK, NNR_CPT_BI.
    """
    blocks: list[Mapping[Role, str]] = []
    taken: set[str] = set()
    for node in graph.nodes:
        if not _adds_bias_to_rows(node) or len(node.inputs) <= _BIAS_INPUT:
            continue
        weight, bias = (graph.externals.get(name) for name in node.inputs[1:3])
        if weight is None or bias is None or not _fit(weight, bias):
            continue
        if weight.name not in taken and bias.name not in taken:
            taken.update((weight.name, bias.name))
            blocks.append({Role.WEIGHT: weight.name, Role.BIAS: bias.name})
    return blocks


def _adds_bias_to_rows(node: Node) -> bool:
    if node.op_type == "Gemm":  # the weight's rows are outputs only when it is transposed
        return bool(node.integer("transB", 0))
    return node.op_type == "Conv"


def _fit(weight: TensorDeclaration, bias: TensorDeclaration) -> bool:
    floats = weight.dtype == np.float32 and bias.dtype == np.float32
    return floats and len(weight.shape) > 1 and bias.shape == weight.shape[:1]
