# SPDX-License-Identifier: Apache-2.0
"""A descriptor model as an NNC bitstream, coarse or fine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from nnrvideo.descriptors.extractor import network_input
from nnrvideo.descriptors.frames import Rgb
from nnrvideo.descriptors.learn import with_manifest
from nnrvideo.descriptors.manifest import Manifest
from nnrvideo.descriptors.package import (
    MANIFEST,
    MEAN,
    WHITENING,
    DescriptorModel,
    attach,
    load_model,
)
from nnrvideo.errors import ModelError
from nnrvideo.limits import Limits
from nnrvideo.model import Scaled, correct, pack, ranges_of, with_ranges
from nnrvideo.nnc import (
    DataUnit,
    EncodeSettings,
    TopologyUnit,
    Unit,
    decode,
    parse_units,
    write_units,
)
from nnrvideo.nnc.topology import pack_topology
from nnrvideo.runtime import OnnxRuntimeBackend

# A step of a quarter: features have norm 1, so that the noise of a descriptor stays below its
# hundredth part in power (0.1 % for SqueezeNet, which is a cosine of 0.998).
_WHITENING_QP: Final = -8
# A step of 2 ** -11: at the depth of 4-bit weights the mean alone costs 0.04 of the cosine.
_MEAN_QP: Final = -44


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
    if correct_on:
        return pack_backbone(model, *corrected(model, bit_depth, correct_on))
    return pack(model.network, _settings(bit_depth))


def corrected(
    model: DescriptorModel, bit_depth: int, pictures: Sequence[Rgb], *, trained: bool = False
) -> tuple[Scaled, EncodeSettings]:
    """The backbone with scales and biases that keep it near the original when it is coded.

    Args:
        model: The model.
        bit_depth: Of the backbone's weights.
        pictures: What to measure on; at least one.
        trained: Choose an encoder for weights that are trained on its levels: it keeps those that
            it is given, and quantises uniformly with a bit less, which takes about as many bytes.

    Returns:
        For :func:`pack_backbone`.
    """
    backbone = model.plain
    name = backbone.graph.inputs[0].name
    inputs = [{name: network_input(model.manifest, rgb)[None]} for rgb in pictures]
    settings = _settings(bit_depth)
    if trained:
        settings = replace(
            settings,
            bit_depth=max(1, bit_depth - 1),
            dependent_quantisation=False,
            rate_weight=0.0,
            codebook="never",
            qp_per_tensor={
                WHITENING: _WHITENING_QP + (1 << settings.qp_density),
                MEAN: _MEAN_QP,
            },
        )
    return correct(backbone, settings, inputs, OnnxRuntimeBackend(), always=True)


def pack_backbone(model: DescriptorModel, backbone: Scaled, settings: EncodeSettings) -> bytes:
    """Codes a model with other weights in its backbone; projection and manifest are its own.

    Args:
        model: The model, whose ranges go along if it has some.
        backbone: What takes the place of :attr:`DescriptorModel.plain`.
        settings: Choices of the encoder.
    """
    network = attach(backbone.network, model.manifest, model.projection)
    ranges = ranges_of(model.network)
    if ranges is not None:
        network = with_ranges(network, ranges)
    return pack(Scaled(network, backbone.scaling), settings)


def _settings(bit_depth: int) -> EncodeSettings:
    return EncodeSettings(
        bit_depth=bit_depth, preset="slow", qp_per_tensor={WHITENING: _WHITENING_QP}
    )


def replace_manifest(bitstream: bytes, manifest: Manifest) -> bytes:
    """Puts another manifest into a coded model; the coded weights stay bit for bit.

    Args:
        bitstream: A model, trusted.
        manifest: The new manifest.

    Raises:
        ModelError: No descriptor model in one bitstream with its graph.
    """
    limits = Limits.offline()
    model = with_manifest(load_model(bitstream, limits=limits), manifest)
    decoded = decode(bitstream, limits=limits)
    if decoded.topology is None:
        raise ModelError("the bitstream carries no topology")
    topology = pack_topology(replace(decoded.topology, data=model.network.topology.skeleton))
    # Without loss the unit depends on no quantisation parameter of the bitstream.
    fresh = parse_units(pack(model.network, EncodeSettings(lossless=True)), limits)
    (unit,) = (each for each in fresh if _is_manifest(each))
    units: list[Unit] = []
    for old in parse_units(bitstream, limits):
        if isinstance(old, TopologyUnit):
            units.append(topology)
        elif isinstance(old, DataUnit) and isinstance(unit, DataUnit) and _is_manifest(old):
            units.append(replace(unit, node_id=old.node_id))
        else:
            units.append(old)
    return write_units(units)


def _is_manifest(unit: Unit) -> bool:
    return isinstance(unit, DataUnit) and unit.topology_elem_ids == (MANIFEST,)
