# SPDX-License-Identifier: Apache-2.0
"""Descriptors in 8-bit integers: ranges are measured by the maker and travel with the model.

Integers round, so their descriptors are those of another model: they have an id of their own, and
are compared with the floating-point ones only where a manifest lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nnrvideo.descriptors.extractor import network_input
from nnrvideo.descriptors.frames import Rgb
from nnrvideo.descriptors.package import DescriptorModel, descriptor_model
from nnrvideo.errors import ModelError
from nnrvideo.limits import Limits
from nnrvideo.model import RANGES_TENSOR, ConvRanges, convolutions, with_ranges
from nnrvideo.model.graph import Port, serialize
from nnrvideo.model.prepare import for_runtime
from nnrvideo.runtime import OnnxRuntimeBackend


def with_measured_ranges(model: DescriptorModel, pictures: Sequence[Rgb]) -> DescriptorModel:
    """Measures between which numbers activations lie, so that the model may run in integers.

    Args:
        model: The model.
        pictures: Typical pictures, (rows, columns, 3) uint8.

    Raises:
        ModelError: No pictures.
        InferenceError: The network does not run.
    """
    if not pictures:
        raise ModelError("ranges are measured on pictures; there are none")
    backbone = model.backbone
    found = convolutions(backbone.graph)
    names = list(dict.fromkeys(name for one in found for name in (one.input, one.output)))
    source = backbone.graph.inputs[0].name
    ports = [Port(name, np.dtype(np.float32), None) for name in names if name != source]
    graph, arrays = for_runtime(
        replace(backbone.graph, outputs=tuple(ports)), dict(backbone.tensors)
    )
    session = OnnxRuntimeBackend(providers=("CPUExecutionProvider",)).load(serialize(graph), arrays)
    low = dict.fromkeys(names, np.inf)
    high = dict.fromkeys(names, -np.inf)
    for rgb in pictures:
        feed = network_input(model.manifest, rgb)[None]
        outputs = session.run({source: feed})
        for name, values in (
            (source, feed),
            *zip((port.name for port in ports), outputs, strict=True),
        ):
            if name in low:
                low[name] = min(low[name], float(values.min()))
                high[name] = max(high[name], float(values.max()))
    ranges = [
        ConvRanges((low[one.input], high[one.input]), (low[one.output], high[one.output]))
        if low[one.input] < high[one.input] and low[one.output] < high[one.output]
        else None
        for one in found
    ]
    return descriptor_model(with_ranges(model.network, ranges), limits=Limits.offline())


def in_integers(model: DescriptorModel) -> DescriptorModel:
    """The model as it computes in 8-bit integers, under an id of its own.

    Raises:
        ModelError: It came without ranges, or with ranges that do not fit.
    """
    if RANGES_TENSOR not in model.network.tensors:
        raise ModelError("the model has no ranges for 8-bit integers; its maker measures them")
    return replace(model, integers=True)
