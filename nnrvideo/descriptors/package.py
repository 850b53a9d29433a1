# SPDX-License-Identifier: Apache-2.0
"""A descriptor model: backbone, projection and manifest in one network, one NNC bitstream.

What is not part of the graph travels as further tensors that no operator reads, as ranges of
activations do: every receiver of networks carries them along, and updates change them like any
other weight.

    nnrvideo.descriptor.manifest    uint8 [n]      JSON, filled up with spaces
    nnrvideo.descriptor.mean        float32 [2, C] mean of the pooled features without rotations,
                                                   and over 4; [1, C] where there is but one
    nnrvideo.descriptor.whitening   float32 [D, C] principal directions, each over its standard
                                                   deviation: coded with one step, all components
                                                   of a descriptor then suffer alike
    nnrvideo.descriptor.rotation    int8 [R, D]    signs of R rotations, D a power of two

A rotation is a row of signs followed by the Walsh-Hadamard transform: orthogonal, exact in any
arithmetic, and 32 bytes instead of a matrix.  Rotation r gives bits r * D to (r + 1) * D - 1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from nnrvideo.descriptors.manifest import MAX_MANIFEST_BYTES, Manifest
from nnrvideo.errors import ModelError, UnsupportedFeatureError
from nnrvideo.limits import Limits
from nnrvideo.model import Network, check, ranges_of, receive, without_ranges
from nnrvideo.model.int8 import quantise
from nnrvideo.model.ranges import changed
from nnrvideo.tensors import TensorSet

Array = npt.NDArray[Any]

PREFIX: Final = "nnrvideo.descriptor."
MANIFEST: Final = PREFIX + "manifest"
MEAN: Final = PREFIX + "mean"
WHITENING: Final = PREFIX + "whitening"
ROTATION: Final = PREFIX + "rotation"
_ALL: Final = frozenset({MANIFEST, MEAN, WHITENING, ROTATION})

_ROOM: Final = 1024  # the manifest is filled up to a multiple, so that updates can lengthen it
_MAX_DIMENSIONS: Final = 1024
_MAX_ROTATIONS: Final = 32


@final
@dataclass(frozen=True, slots=True)
class Projection:
    """From pooled features to descriptors.

    Args:
        mean: (1, C) or (2, C) float32; the last row is for 4 rotations if there are two.
        whitening: (D, C) float32.
        rotation: (R, D) int8 of +1 and -1.
    """

    mean: Array
    whitening: Array
    rotation: Array


@final
@dataclass(frozen=True, eq=False)
class DescriptorModel:
    """A network that makes descriptors; make one with :func:`descriptor_model`.

    Args:
        network: With all tensors, as received.
        manifest: How to use it.
        projection: From its features to descriptors.
        integers: Whether it computes in 8-bit integers; see :mod:`nnrvideo.descriptors.integers`.
    """

    network: Network = field(repr=False)
    manifest: Manifest
    projection: Projection = field(repr=False)
    integers: bool = False

    @property
    def dimensions(self) -> int:
        """D: numbers of a real descriptor."""
        return int(self.projection.whitening.shape[0])

    @property
    def max_bits(self) -> int:
        """The longest descriptor of bits that the rotations give."""
        return int(self.projection.rotation.size)

    @cached_property
    def model_id(self) -> bytes:
        """SHA-256 over graph and decoded weights, 32 bytes.

        Coding a network changes its weights and so its id: a sender describes with what its own
        bitstream decodes to, as every receiver does.
        """
        tensors = self.network.tensors
        ordered = TensorSet({name: tensors[name] for name in sorted(tensors)})
        digest = hashlib.sha256(b"nnrvideo descriptor model\0")
        digest.update(hashlib.sha256(self.network.topology.skeleton).digest())
        digest.update(ordered.fingerprint().encode())
        if self.integers:
            digest.update(b"8-bit integers")
        return digest.digest()

    @property
    def plain(self) -> Network:
        """The network without the tensors that no operator reads."""
        return without_ranges(changed(self.network, drop=_ALL))

    @cached_property
    def backbone(self) -> Network:
        """The network alone, for any number of pictures at once."""
        plain = self.plain
        ranges = ranges_of(changed(self.network, drop=_ALL)) if self.integers else None
        if ranges is not None:
            plain = quantise(plain, ranges)
        graph = plain.graph
        free = [replace(port, dims=("n", *(port.dims or ())[1:])) for port in graph.inputs]
        outputs = [replace(port, dims=("n", *(port.dims or ())[1:])) for port in graph.outputs]
        graph = replace(graph, inputs=tuple(free), outputs=tuple(outputs))
        return Network(type(plain.topology).from_graph(graph), plain.tensors)


def attach(network: Network, manifest: Manifest, projection: Projection) -> Network:
    """Puts manifest and projection into a network, in place of any that it has.

    Raises:
        ModelError: They do not fit the network or each other.
    """
    data = manifest.to_json()
    if len(data) > MAX_MANIFEST_BYTES:
        raise ModelError(f"the descriptor manifest has {len(data)} bytes, over 65536")
    text = data.ljust(-(-len(data) // _ROOM) * _ROOM)
    old = _ALL.intersection(network.graph.order)
    plain = changed(network, drop=old) if old else network
    packed = changed(
        plain,
        add={
            MANIFEST: np.frombuffer(text, np.uint8),
            MEAN: np.asarray(projection.mean, np.float32),
            WHITENING: np.asarray(projection.whitening, np.float32),
            ROTATION: np.asarray(projection.rotation, np.int8),
        },
    )
    descriptor_model(packed, limits=Limits.offline())
    return packed


def is_descriptor(network: Network) -> bool:
    """Whether a network claims to be a descriptor model."""
    return MANIFEST in network.tensors


def descriptor_model(network: Network, *, limits: Limits | None = None) -> DescriptorModel:
    """Takes a network for a descriptor model, after proving that it is one.

    Args:
        network: Not trusted.
        limits: Bounds; by default :meth:`Limits.desktop`.

    Raises:
        ModelError: It is none, or not an acceptable one; lists every reason.
        LimitExceededError: It costs too much.
    """
    limits = limits or Limits.desktop()
    missing = sorted(_ALL - set(network.tensors))
    if missing:
        raise ModelError("the network is no descriptor model; it lacks", missing)
    tensors = network.tensors
    text = tensors[MANIFEST]
    if text.dtype != np.uint8 or text.ndim != 1 or text.size > MAX_MANIFEST_BYTES:
        raise ModelError(f"{MANIFEST} is {text.dtype}{list(text.shape)}, not up to 65536 bytes")
    manifest = Manifest.from_json(text.tobytes())
    projection = Projection(tensors[MEAN], tensors[WHITENING], tensors[ROTATION])
    violations = [*_projection_violations(projection), *_graph_violations(network)]
    if not violations and len(projection.mean) != (2 if manifest.rotations == 4 else 1):
        violations.append(
            f"{MEAN} has {len(projection.mean)} rows for {manifest.rotations} rotations"
        )
    if violations:
        raise ModelError("the descriptor model is not acceptable", violations)
    model = DescriptorModel(network, manifest, projection)
    side = manifest.long_side
    found = check(model.backbone, limits=limits, input_shape=(2, 3, side, side))
    limits.require(
        "max_macs_per_sample",
        -(-found.macs // (2 * side * side)),
        "multiply-accumulates per sample of the picture",
    )
    shape = found.shape(network.graph.outputs[0].name)
    if len(shape) != 4 or shape[0] != 2 or shape[1] != projection.whitening.shape[1]:
        raise ModelError(
            f"the features are {list(shape)} for two pictures; the projection takes "
            f"{projection.whitening.shape[1]} channels"
        )
    return model


def load_model(data: bytes, *, limits: Limits | None = None) -> DescriptorModel:
    """Decodes a descriptor model from its NNC bitstream.

    Args:
        data: The bitstream; untrusted.
        limits: Bounds; by default :meth:`Limits.desktop`.

    Raises:
        BitstreamError, UnsupportedFeatureError, LimitExceededError: As ``nnrvideo.unpack``.
        ModelError: No descriptor model.
    """
    received = receive(data, limits=limits)
    if received.network is None:
        raise ModelError("the NNC bitstream carries no topology; a descriptor model needs one")
    return descriptor_model(received.network, limits=limits)


def require_form(model: DescriptorModel, bits: int, rotations: int) -> None:
    """Refuses a form of descriptor that a model does not make.

    Raises:
        UnsupportedFeatureError: Says what it makes.
    """
    if bits > model.max_bits:
        raise UnsupportedFeatureError(
            f"descriptors of {bits} bits; this model has rotations for {model.max_bits}"
        )
    if rotations not in (1, model.manifest.rotations):
        raise UnsupportedFeatureError(
            f"{rotations} rotations; this model is made for {model.manifest.rotations}"
        )


def _projection_violations(projection: Projection) -> list[str]:
    found = []
    for name, value, rank in (
        (MEAN, projection.mean, 2),
        (WHITENING, projection.whitening, 2),
    ):
        if value.dtype != np.float32 or value.ndim != rank:
            found.append(f"{name} is {value.dtype}{list(value.shape)}")
        elif not np.all(np.isfinite(value)):
            found.append(f"{name} has values that are infinite or not a number")
    rotation = projection.rotation
    if rotation.dtype != np.int8 or rotation.ndim != 2 or not np.all(np.abs(rotation) == 1):
        found.append(f"{ROTATION} is not int8 of +1 and -1")
    if found:
        return found
    dimensions, channels = projection.whitening.shape
    if projection.mean.shape not in ((1, channels), (2, channels)):
        found.append("mean and whitening do not fit each other")
    if not 1 <= dimensions <= _MAX_DIMENSIONS or dimensions & (dimensions - 1):
        found.append(f"{dimensions} dimensions are no power of two up to {_MAX_DIMENSIONS}")
    if rotation.shape[1] != dimensions or not 1 <= rotation.shape[0] <= _MAX_ROTATIONS:
        found.append(f"{ROTATION} is {list(rotation.shape)} for {dimensions} dimensions")
    return found


def _graph_violations(network: Network) -> list[str]:
    graph = network.graph
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        return [f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs instead of one"]
    found = []
    for what, port in (("input", graph.inputs[0]), ("output", graph.outputs[0])):
        if port.dims is None or len(port.dims) != 4 or port.dtype != np.float32:
            found.append(f"the {what} is no float32 tensor of rank 4")
    dims = graph.inputs[0].dims
    if dims is not None and (dims[1] != 3 or isinstance(dims[2], int) or isinstance(dims[3], int)):
        found.append("the input does not take pictures of 3 components and any size")
    return found
