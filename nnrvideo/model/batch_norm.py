# SPDX-License-Identifier: Apache-2.0
"""Batch normalisation after a linear operator: the same factors and offsets in the operator itself.

What is folded is a fixed affine map of each output channel, ``y = g * (x - mean) + beta`` with
``g = gamma / sqrt(var + epsilon)``.  ``g`` goes to the weight, as local scaling or multiplied in,
and the rest to the bias; four tensors and an operator are gone.  A pair is left alone wherever
that would change the network: when anything else needs the operator's own output or its weight,
when the statistics are those of the batch at hand, or when a value is not fixed.

Spec: ISO/IEC 15938-17, NNR_CPT_LS, NNR_CPT_BN, NNR_CPT_BI; ONNX operator schemas.
"""

from __future__ import annotations

import logging
from typing import Final

import numpy as np

from nnrvideo.entropy import step_size
from nnrvideo.model.rewrite import (
    LINEAR,
    Rewriter,
    Vector,
    output_channels,
    rows_are_outputs,
    scale_outputs,
)
from nnrvideo.model.scaling import Scaled
from nnrvideo.model.topology import Network
from nnrvideo.nnc import EncodeSettings
from nnrvideo.nnc.payload import MAX_STEP_EXPONENT

_log = logging.getLogger(__name__)

_PARAMETERS: Final = slice(1, 5)  # scale, B, mean, var
_EPSILON: Final = 1e-5
_STEPS: Final = 8  # that the smallest variance should have


def fold_batch_norm(network: Network) -> Scaled:
    """Takes batch normalisation out of a network, as far as its output stays the same.

    Args:
        network: Any network that ``check`` accepts.

    Returns:
        The network without the BatchNormalization nodes that follow a Conv, ConvTranspose or Gemm
        with a float32 weight of its own, and without their tensors.  A weight whose rows are
        output channels is as it was, with a local scaling; any other is multiplied.  The output
        is that of ``network`` but for float32 rounding.
    """
    work = Rewriter(network)
    scaling: dict[str, Vector] = {}
    folded = True
    while folded:  # for there may be one behind another
        folded = any([_fold(work, scaling, *pair) for pair in _pairs(work)])  # noqa: C419 - all
    return Scaled(work.network(), {name: each.astype(np.float32) for name, each in scaling.items()})


def warn_of_coarse_variances(network: Network, settings: EncodeSettings) -> None:
    """Logs a warning if the QP asked for would round a variance to nothing.

    Args:
        network: To be coded as it is.
        settings: Choices of the encoder.
    """
    qp = settings.nonweight_qp
    if qp is None or settings.lossless or abs(qp >> settings.qp_density) > MAX_STEP_EXPONENT:
        return
    step = float(step_size(qp, settings.qp_density))
    for node in network.graph.nodes:
        if node.op_type != "BatchNormalization" or len(node.inputs) < _PARAMETERS.stop:
            continue
        variance = network.tensors.get(node.inputs[4])
        if variance is None or variance.dtype != np.float32 or not variance.size:
            continue
        if float(variance.min()) < _STEPS * step:
            _log.warning(
                "QP %d is too coarse for variances of batch normalisation such as %r, which may "
                "ruin the network: leave the QP of vectors to the encoder, or fold",
                qp,
                node.inputs[4],
            )
            return


def _pairs(work: Rewriter) -> list[tuple[int, int]]:
    """Numbers of linear operators and of the batch normalisation that may go into them."""
    makers = {
        node.outputs[0]: index
        for index, node in enumerate(work.nodes)
        if node is not None and node.op_type in LINEAR
    }
    found = []
    for index, node in enumerate(work.nodes):
        if node is None or node.op_type != "BatchNormalization":
            continue
        if len(node.inputs) < _PARAMETERS.stop or node.inputs[0] not in makers:
            continue
        # It normalises by the batch if it says so; before opset 14, further outputs say it.
        training = bool(node.integer("training_mode", 0)) or any(node.outputs[1:])
        # The value in the middle vanishes, so nobody else may ask for it.
        if not training and work.uses(node.inputs[0]) == 1:
            found.append((makers[node.inputs[0]], index))
    return found


def _fold(work: Rewriter, scaling: dict[str, Vector], linear: int, norm: int) -> bool:
    node, batch_norm = work.nodes[linear], work.nodes[norm]
    assert node is not None
    assert batch_norm is not None
    weight = work.own_weight(node)
    if weight is None:
        return False
    channels = output_channels(node, weight.shape)
    bias = work.bias(node, channels)
    parameters = [
        value.astype(np.float64)
        for name in batch_norm.inputs[_PARAMETERS]
        if (value := work.value(name)) is not None and value.shape == (channels,)
    ]
    epsilon = batch_norm.attributes.get("epsilon", _EPSILON)
    if bias is None or len(parameters) != 4 or not isinstance(epsilon, float):
        return False
    gamma, beta, mean, variance = parameters
    if not bool((variance + epsilon > 0).all()):
        return False
    factors = gamma / np.sqrt(variance + epsilon)
    total = scaling.get(node.inputs[1], np.ones(channels)) * factors
    bias = (bias - mean) * factors + beta
    multiplied = scale_outputs(node, weight, total)
    if not (bool(np.isfinite(multiplied).all()) and bool(np.isfinite(np.float32(bias)).all())):
        return False
    if rows_are_outputs(node):
        scaling[node.inputs[1]] = total
    else:
        work.tensors[node.inputs[1]] = multiplied
    work.set_bias(linear, bias)
    work.take_over(linear, norm)
    return True
