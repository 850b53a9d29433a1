# SPDX-License-Identifier: Apache-2.0
"""Scalable coding: a coarse network first, then layers that refine it.

A layered stream is a base bitstream with update bitstreams behind it.  Each is complete in itself,
each update codes what the layers before it left over, with contexts that look at their levels, and
whatever ends at a layer is a valid stream again.

Refining a scalar quantiser costs nothing where the new cells divide the old ones evenly: by 3, 5
or 7, not by 4, because both grids have a level at zero.  So layers above the base divide the step
by the odd number nearest to the power of two that their bits stand for, and only the last layer
may use dependent quantisation, whose overlapping cells cannot be refined.

Spec: ISO/IEC 15938-17 (second edition), incremental coding; requirements of scalability.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy import step_size
from nnrvideo.errors import BitstreamError
from nnrvideo.limits import Limits
from nnrvideo.nnc.codec import Decoded, decode
from nnrvideo.nnc.constants import UnitType
from nnrvideo.nnc.difference import encode_update
from nnrvideo.nnc.elements import Role
from nnrvideo.nnc.encoder import encode
from nnrvideo.nnc.quantisation import qp_of_depth, qp_of_step
from nnrvideo.nnc.settings import EncodeSettings
from nnrvideo.nnc.sparsify import sparsify
from nnrvideo.nnc.syntax import parse_unit_size
from nnrvideo.nnc.topology import TopologyPayload
from nnrvideo.nnc.units import ModelParameterSet
from nnrvideo.nnc.update import DecoderState

Array = npt.NDArray[Any]

MAX_LAYER_BITS: Final = 16
_MAX_RATE_FACTOR: Final = 3.0
_MIN_DENSITY: Final = 4  # coarser grids of steps miss the odd ratios by too much


def encode_layers(
    tensors: Mapping[str, Array],
    bits: Sequence[int],
    settings: EncodeSettings | None = None,
    *,
    topology: TopologyPayload | None = None,
    blocks: Sequence[Mapping[Role, str]] = (),
    per_tensor: Mapping[str, EncodeSettings] = MappingProxyType({}),
    parameters: ModelParameterSet | None = None,
) -> list[bytes]:
    """Encodes tensors in layers.

    Args:
        tensors: As for ``encode``.
        bits: Bits of the base layer, with which the largest weights of a tensor have about
            ``2 ** (bits - 1)`` steps, then bits that each further layer adds.
        settings: Choices of the encoder; QPs of tensors with two and more dimensions follow from
            ``bits`` instead.
        topology: Graph, sent with the base layer.
        blocks: As for ``encode``, for the base layer.
        per_tensor: As for ``encode``; such a tensor is whole in the base layer.
        parameters: As for ``encode``, for the base layer.

    Returns:
        One bitstream for each layer; joined they are a layered stream.

    Raises:
        ValueError: As for ``encode``; no layer, one of less than 1 or more than 16 bits, or
            lossless coding.
    """
    if not bits or not all(1 <= each <= MAX_LAYER_BITS for each in bits):
        msg = f"layers of {list(bits)} bits: each has 1 to {MAX_LAYER_BITS}"
        raise ValueError(msg)
    settings = settings or EncodeSettings()
    if settings.lossless:
        msg = "what is lossless has no layers"
        raise ValueError(msg)
    density = max(settings.qp_density, _MIN_DENSITY)
    if density != settings.qp_density:
        shift = density - settings.qp_density
        nonweight = settings.nonweight_qp
        settings = replace(
            settings,
            qp=settings.qp << shift,
            qp_per_tensor={name: qp << shift for name, qp in settings.qp_per_tensor.items()},
            nonweight_qp=None if nonweight is None else nonweight << shift,
            qp_density=density,
        )
    weights = {name: np.asarray(value) for name, value in tensors.items()}
    weights = {
        name: value
        for name, value in weights.items()
        if value.ndim > 1 and value.dtype.kind == "f" and value.size and name not in per_tensor
    }
    qps = {name: qp_of_depth(value, bits[0], density) for name, value in weights.items()}
    last = len(bits) - 1
    layers = [
        encode(
            tensors,
            _of_layer(settings, qps, last=last == 0),
            topology=topology,
            blocks=blocks,
            per_tensor=per_tensor,
            parameters=parameters,
        )
    ]
    state = DecoderState()
    below = decode(layers[0], state=state, limits=Limits.offline())
    found = dict(below.network_tensors())
    for number, more in enumerate(bits[1:], 1):
        qps = {name: _refined(qp, more, density) for name, qp in qps.items()}
        left = {
            name: sparsify(value.astype(np.float32), settings) - found[name].astype(np.float32)
            for name, value in weights.items()
        }
        # What is left out is no error that a later layer should mend.
        whole = replace(
            settings,
            sparsity=0.0,
            structured_sparsity=0.0,
            low_rank=0.0,
            rate_weight=_rate_weight(settings, below),
        )
        chosen = _of_layer(whole, qps, last=number == last)
        layers.append(encode_update(left, state, chosen))
        below = decode(layers[-1], state=state, limits=Limits.offline())
        for name, value in below.tensors.items():
            found[name] = (found[name].astype(np.float32) + value).astype(found[name].dtype)
    return layers


def _of_layer(settings: EncodeSettings, qps: Mapping[str, int], *, last: bool) -> EncodeSettings:
    return replace(
        settings,
        qp_per_tensor={**settings.qp_per_tensor, **qps},
        dependent_quantisation=settings.dependent_quantisation and last,
        # Weighing the rate moves the borders of cells, which a layer above would pay for.
        rate_weight=settings.rate_weight if last else 0.0,
    )


def _rate_weight(settings: EncodeSettings, below: Decoded) -> float:
    """Weight of the rate in the last layer, unless the settings say it.

    Where a refinement below found mostly zeros, most of what is left lies close to zero and is
    better left there.  Found by trying weights on networks with a quarter to two thirds of zeros;
    zeros of the base layer say nothing of the kind.
    """
    if settings.rate_weight is not None:
        return settings.rate_weight
    weight = settings.effort.rate_weight
    if not below.is_update:
        return weight
    levels = below.levels.values()
    others = sum(int(np.count_nonzero(each)) for each in levels)
    zeros = sum(each.size for each in levels) - others
    return weight * min(1.0 + (zeros / max(others, 1)) ** 2 / 3, _MAX_RATE_FACTOR)


def _refined(qp: int, bits: int, qp_density: int) -> int:
    """QP whose step divides that of ``qp`` by an odd number, or by a little less."""
    ratio = max(3, 2 * round((2**bits - 1) / 2) + 1)
    ratio = min((ratio - 2, ratio, ratio + 2), key=lambda odd: abs(math.log2(max(odd, 3)) - bits))
    return qp_of_step(float(step_size(qp, qp_density)) / max(3, ratio), qp_density) + 1


def split_layers(data: bytes) -> list[bytes]:
    """Parts a layered stream into its bitstreams.

    Args:
        data: One or more bitstreams, one behind the other; untrusted.

    Returns:
        The bitstreams, each from its NNR_STR to the next; a single one if there is but one, or if
        the units cannot be followed: then its parser says what is wrong.

    Spec: ISO/IEC 15938-17, nnr_unit_size and NNR_STR.
    """
    starts = layer_starts(io.BytesIO(data))
    return [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


def layer_starts(source: BinaryIO) -> list[int]:
    """Where the bitstreams of a layered stream begin, found by reading the heads of units only.

    Args:
        source: The stream, open for reading in any order; untrusted.

    Returns:
        Bytes from the start of ``source``, the first 0; 0 alone as for :func:`split_layers`.
    """
    starts = []
    position, end = 0, source.seek(0, io.SEEK_END)
    while position < end:
        source.seek(position)
        head = source.read(5)
        try:
            size = parse_unit_size(head)
        except BitstreamError:
            break
        if size is None or size[1] < 3 or position + size[1] > end:
            break
        if head[4 if size[0] else 2] >> 2 == UnitType.NNR_STR:
            starts.append(position)
        position += size[1]
    return starts if len(starts) > 1 and starts[0] == 0 else [0]
