# SPDX-License-Identifier: Apache-2.0
"""A descriptor model as an NNC bitstream, coarse or fine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nnrvideo.descriptors.extractor import network_input
from nnrvideo.descriptors.frames import Rgb
from nnrvideo.descriptors.package import PCA, DescriptorModel, attach
from nnrvideo.model import Scaled, correct, pack
from nnrvideo.nnc import EncodeSettings
from nnrvideo.runtime import OnnxRuntimeBackend

_PCA_QP: Final = -26  # a step of about a quarter of a typical weight


def code_model(
    model: DescriptorModel,
    *,
    bit_depth: int | None = 8,
    correct_on: Sequence[Rgb] | None = None,
) -> bytes:
    """Codes a model.

    Args:
        model: The model.
        bit_depth: Of the backbone's weights; None codes everything without loss.
        correct_on: Pictures on which scales and biases are measured that bring the outputs of
            each layer back to where they were: what coarse weights need to stay comparable with
            the original.

    Returns:
        The NNC bitstream.  Its model has an id of its own; describe with what it decodes to.
    """
    if bit_depth is None:
        return pack(model.network, EncodeSettings(lossless=True))
    settings = EncodeSettings(bit_depth=bit_depth, preset="slow", qp_per_tensor={PCA: _PCA_QP})
    if not correct_on:
        return pack(model.network, settings)
    backbone = model.plain
    name = backbone.graph.inputs[0].name
    inputs = [{name: network_input(model.manifest, rgb)[None]} for rgb in correct_on]
    scaled, settings = correct(backbone, settings, inputs, OnnxRuntimeBackend(), always=True)
    network = attach(scaled.network, model.manifest, model.projection)
    return pack(Scaled(network, scaled.scaling), settings)
