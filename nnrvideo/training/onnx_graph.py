# SPDX-License-Identifier: Apache-2.0
"""Runs an ONNX graph in PyTorch, so that its weights can be trained: backbones of convolutions.

Few operators, those that classification backbones without normalisation consist of; everything
else is refused by name before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from nnrvideo.errors import UnsupportedFeatureError
from nnrvideo.model.graph import Graph, Node
from nnrvideo.training._torch import functional, torch


def run_graph(
    graph: Graph, tensors: Mapping[str, torch.Tensor], feed: torch.Tensor
) -> torch.Tensor:
    """The only output of a graph, with gradients to its tensors.

    Args:
        graph: Of one input and one output, accepted by :func:`require_trainable`.
        tensors: Values of its external tensors by name.
        feed: (N, C, H, W) float32.

    Returns:
        (N, C', H', W') float32.
    """
    values = {name: torch.from_numpy(np.array(value)) for name, value in graph.constants.items()}
    values |= {**tensors, graph.inputs[0].name: feed}
    for node in graph.nodes:
        found = [values[name] for name in node.inputs if name]
        values[node.outputs[0]] = _OPERATORS[node.op_type](node, found)
    return values[graph.outputs[0].name]


def require_trainable(graph: Graph) -> None:
    """Refuses a graph that :func:`run_graph` cannot run.

    Raises:
        UnsupportedFeatureError: Names what it cannot run.
    """
    reasons = {reason for node in graph.nodes if (reason := _objection(node))}
    if reasons:
        raise UnsupportedFeatureError(
            f"fine-tuning cannot run {', '.join(sorted(reasons))}; "
            f"it knows {', '.join(sorted(_OPERATORS))}"
        )


def _objection(node: Node) -> str | None:
    if node.domain or node.op_type not in _OPERATORS:
        return node.op_type
    if node.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return f"{node.op_type} with auto_pad"
    kernel = node.integers("kernel_shape")
    if kernel is not None and len(kernel) != 2:
        return f"{node.op_type} in {len(kernel)} dimensions"
    if node.op_type == "MaxPool":
        if len(node.outputs) > 1:
            return "MaxPool with indices"
        if node.integer("ceil_mode", 0) and any(node.integers("pads") or ()):
            return "MaxPool with both ceil_mode and pads"
    return None


def _padded(node: Node, value: torch.Tensor, fill: float) -> torch.Tensor:
    top, left, bottom, right = node.integers("pads") or (0, 0, 0, 0)
    if not (top or left or bottom or right):
        return value
    return functional.pad(value, (left, right, top, bottom), value=fill)


def _conv(node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    return functional.conv2d(
        _padded(node, inputs[0], 0.0),
        inputs[1],
        inputs[2] if len(inputs) > 2 else None,
        stride=list(node.integers("strides") or (1, 1)),
        dilation=list(node.integers("dilations") or (1, 1)),
        groups=node.integer("group", 1),
    )


def _max_pool(node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    return functional.max_pool2d(
        _padded(node, inputs[0], -torch.inf),
        node.integers("kernel_shape") or (1, 1),
        stride=node.integers("strides") or (1, 1),
        dilation=node.integers("dilations") or (1, 1),
        ceil_mode=bool(node.integer("ceil_mode", 0)),
    )


def _concat(node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat(inputs, dim=node.integer("axis", 1))


def _relu(_node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    return functional.relu(inputs[0])


_OPERATORS: Final[Mapping[str, Callable[[Node, list[torch.Tensor]], torch.Tensor]]] = {
    "Concat": _concat,
    "Conv": _conv,
    "MaxPool": _max_pool,
    "Relu": _relu,
}
