# SPDX-License-Identifier: Apache-2.0
"""``Extractor``: pictures in, descriptors out; one network session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from nnrvideo.descriptors.frames import Rgb
from nnrvideo.descriptors.manifest import Manifest
from nnrvideo.descriptors.package import Array, DescriptorModel, require_form
from nnrvideo.descriptors.pooling import Vector, pool, project, to_bits, to_levels
from nnrvideo.errors import InferenceError
from nnrvideo.model import exactness_probe
from nnrvideo.model.graph import serialize
from nnrvideo.model.prepare import for_runtime
from nnrvideo.runtime import InferenceBackend, OnnxRuntimeBackend

_CPU = ("CPUExecutionProvider",)


@final
@dataclass(frozen=True, slots=True)
class Form:
    """What a descriptor looks like.

    Args:
        bits: 256, 512 or 1024; 0 for real numbers.
        rotations: 1 or 4.
    """

    bits: int = 256
    rotations: int = 4


class Extractor:
    """Makes descriptors with a model.

    Args:
        model: The model.
        form: What to make.
        threads: Threads of one run; results do not depend on it.
        backend: What runs the network; the processor by default, because bits shall be the same
            everywhere.

    Raises:
        UnsupportedFeatureError: The model does not make this form.
        InferenceError: The network cannot be run.
    """

    def __init__(
        self,
        model: DescriptorModel,
        form: Form,
        *,
        threads: int | None = None,
        backend: InferenceBackend | None = None,
    ) -> None:
        require_form(model, form.bits, form.rotations)
        self.model, self.form = model, form
        backbone = model.backbone
        graph, arrays = for_runtime(backbone.graph, dict(backbone.tensors))
        self._input = backbone.graph.inputs[0].name
        backend = backend or OnnxRuntimeBackend(providers=_CPU, threads=threads)
        if model.integers:
            _require_exact(backend)
        self._session = backend.load(serialize(graph), arrays)

    def pooled(self, rgb: Rgb) -> Vector:
        """Features of a picture, pooled.

        Args:
            rgb: (rows, columns, 3) uint8.

        Returns:
            (C,) float64 of norm 1.

        Raises:
            InferenceError: The network failed, or gave what is not a number.
        """
        upright = network_input(self.model.manifest, rgb)
        # Turned by 90 degrees a picture has other sizes, so that a run holds two of four.
        turns: tuple[tuple[int, ...], ...] = (
            ((0, 2), (1, 3)) if self.form.rotations == 4 else ((0,),)
        )
        if self.form.rotations == 4 and rgb.shape[0] == rgb.shape[1]:
            turns = ((0, 1, 2, 3),)
        features: list[Array] = []
        for together in turns:
            batch = np.stack([np.rot90(upright, turn, axes=(1, 2)) for turn in together])
            features.extend(self._session.run({self._input: np.ascontiguousarray(batch)})[0])
        if not all(np.all(np.isfinite(each)) for each in features):
            raise InferenceError("the descriptor network gave values that are not a number")
        return pool(features, self.model.manifest.windows)

    def describe(self, rgb: Rgb) -> Vector:
        """The real descriptor of a picture, not rounded: (D,) float64 of norm 1.

        Raises:
            InferenceError: As :meth:`pooled`.
        """
        return project(self.pooled(rgb), self.model.projection, self.form.rotations)

    def code(self, vector: Vector) -> Array:
        """The descriptor in its form.

        Args:
            vector: From :meth:`describe`.

        Returns:
            (D,) int16 levels, or (bits / 8,) uint8.
        """
        if self.form.bits:
            return to_bits(vector, self.model.projection, self.form.bits)
        return to_levels(vector)


def _require_exact(backend: InferenceBackend) -> None:
    """Refuses a machine whose 8-bit sums saturate: its bits would be its own.

    Raises:
        InferenceError: It does.
    """
    graph, value, right = exactness_probe()
    (found,) = backend.load(graph, {}).run({"x": value})
    if not np.array_equal(found, right):
        raise InferenceError("sums of 8-bit integers saturate on this machine")


def network_input(manifest: Manifest, rgb: Rgb) -> npt.NDArray[np.float32]:
    """A picture as the network takes it.

    Args:
        manifest: Of the model.
        rgb: (rows, columns, 3) uint8.

    Returns:
        (3, rows, columns) float32.
    """
    order = slice(None) if manifest.colour_order == "RGB" else slice(None, None, -1)
    mean = np.array(manifest.mean, np.float32)
    scale = np.array(manifest.scale, np.float32)
    planes: npt.NDArray[np.float32] = (rgb[..., order].astype(np.float32) - mean) * scale
    return np.ascontiguousarray(np.moveaxis(planes, 2, 0))
