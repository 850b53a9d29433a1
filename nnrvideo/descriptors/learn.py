# SPDX-License-Identifier: Apache-2.0
"""Makes a descriptor model of a backbone: the projection is learnt on pictures, nothing trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import numpy as np

from nnrvideo.descriptors.extractor import Extractor, Form
from nnrvideo.descriptors.frames import Rgb
from nnrvideo.descriptors.manifest import BITS, Manifest, form_name
from nnrvideo.descriptors.package import (
    Array,
    DescriptorModel,
    Projection,
    attach,
    descriptor_model,
)
from nnrvideo.descriptors.pooling import Vector, project, to_bits, to_levels
from nnrvideo.descriptors.similarity import similarities
from nnrvideo.errors import ModelError
from nnrvideo.limits import Limits
from nnrvideo.model import Network, infer_shapes

_MIN_PICTURES: Final = 16
_FALSE_ALARMS: Final = 0.001
_RIDGE: Final = 1e-3  # of the largest variance; keeps directions that nobody has seen quiet
_MAX_BITS: Final = 1024


def learn(
    backbone: Network,
    manifest: Manifest,
    pictures: Iterable[Rgb],
    *,
    dimensions: int = 256,
    seed: int = 0,
) -> DescriptorModel:
    """Learns the projection.

    Args:
        backbone: One input of (1, 3, H, W) and one output of (1, C, H', W'), H and W free.
        manifest: How to use it.
        pictures: What the model shall tell apart; a few hundred, and none that it is tested on.
        dimensions: D, a power of two up to C.
        seed: Of the rotations.

    Raises:
        ModelError: No acceptable backbone, or fewer than 16 pictures.
        InferenceError: The network does not run.
        ValueError: ``dimensions`` is no power of two or over the number of channels.
    """
    side = manifest.long_side
    name = backbone.graph.inputs[0].name
    shapes = infer_shapes(backbone.graph, {name: (1, 3, side, side)}, limits=Limits.offline())
    channels = int(shapes.shape(backbone.graph.outputs[0].name)[1])
    if dimensions & (dimensions - 1) or not 1 <= dimensions <= channels:
        msg = f"{dimensions} dimensions are no power of two up to the {channels} channels"
        raise ValueError(msg)
    generator = np.random.default_rng(seed)
    rotation = generator.choice(
        np.array([-1, 1], np.int8), (max(1, _MAX_BITS // dimensions), dimensions)
    )
    # Pooling needs a model; this one's projection is not used.
    blank = Projection(
        np.zeros((2 if manifest.rotations == 4 else 1, channels), np.float32),
        np.eye(dimensions, channels, dtype=np.float32),
        rotation,
    )
    draft = descriptor_model(attach(backbone, manifest, blank), limits=Limits.offline())
    rows = list(pictures)
    if len(rows) < _MIN_PICTURES:
        raise ModelError(f"{len(rows)} pictures; a projection needs at least {_MIN_PICTURES}")
    pooled = []
    for rotations in (1, 4) if manifest.rotations == 4 else (1,):
        extractor = Extractor(draft, Form(bits=0, rotations=rotations))
        pooled.append(np.stack([extractor.pooled(rgb) for rgb in rows]))
    thresholds = _thresholds(pooled[-1], dimensions, rotation, manifest)
    manifest = replace(manifest, thresholds={**thresholds, **manifest.thresholds})
    projection = _principal(pooled[-1], dimensions)
    mean = np.stack([each.mean(axis=0) for each in pooled]).astype(np.float32)
    projection = replace(projection, mean=mean, rotation=rotation)
    return descriptor_model(attach(backbone, manifest, projection), limits=Limits.offline())


def _principal(pooled: Vector, dimensions: int) -> Projection:
    mean = pooled.mean(axis=0)
    centred = pooled - mean
    variances, directions = np.linalg.eigh(centred.T @ centred / len(pooled))
    order = np.argsort(variances)[::-1][:dimensions]
    floor = _RIDGE * float(variances.max())
    deviations = np.sqrt(np.maximum(variances[order], 0) + floor)
    whitening = np.ascontiguousarray((directions[:, order] / deviations).T, np.float32)
    none = np.ones((1, dimensions), np.int8)
    return Projection(mean[None].astype(np.float32), whitening, none)


def _thresholds(
    pooled: Vector, dimensions: int, rotation: Array, manifest: Manifest
) -> dict[str, float]:
    """Similarity that one in a thousand pairs of unlike pictures exceeds.

    The projection is learnt on one half of the pictures for this and tried on the other: those
    that it has seen are less alike than any that it will meet.
    """
    half = len(pooled) // 2
    trial = replace(_principal(pooled[:half], dimensions), rotation=rotation)
    vectors = [project(row, trial, manifest.rotations) for row in pooled[half:]]
    found = {}
    for bits in (0, *(count for count in BITS if count <= rotation.size)):
        codes = np.stack([to_bits(v, trial, bits) if bits else to_levels(v) for v in vectors])
        scores = similarities(codes, codes, bits)[np.triu_indices(len(vectors), 1)]
        found[form_name(bits)] = round(float(np.quantile(scores, 1 - _FALSE_ALARMS)), 4)
    return found


def with_manifest(model: DescriptorModel, manifest: Manifest) -> DescriptorModel:
    """The same model with another manifest; its id changes with it."""
    changed = attach(model.network, manifest, model.projection)
    return descriptor_model(changed, limits=Limits.offline())
