# SPDX-License-Identifier: Apache-2.0
"""A network as one NNC bitstream, and as a NumPy archive.

NNC codes tensors; which graph they belong to travels in the topology unit.  Networks that were
coded elsewhere often come without one; then the receiver has tensors only, and the graph must
come from somewhere else.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, final, get_args

import numpy as np

from nnrvideo.errors import BitstreamError, ModelError
from nnrvideo.limits import Limits
from nnrvideo.model import element_types
from nnrvideo.model.batch_norm import warn_of_coarse_variances
from nnrvideo.model.blocks import find_blocks
from nnrvideo.model.differences import apply_update
from nnrvideo.model.element_ids import by_name, renamed, short_ids
from nnrvideo.model.element_types import BFLOAT16, INT4, is_packed
from nnrvideo.model.exact import carriers, widened
from nnrvideo.model.graph import Array
from nnrvideo.model.quantised import quantiser_names
from nnrvideo.model.scaling import SUFFIX, Scaled, with_scaling
from nnrvideo.model.topology import Network, Topology
from nnrvideo.nnc import (
    Decoded,
    DecoderState,
    EncodeSettings,
    ModelParameterSet,
    TopologyPayload,
    decode,
    encode,
    encode_layers,
    split_layers,
)
from nnrvideo.nnc.constants import CompressionFormat, StorageFormat
from nnrvideo.tensors import TensorSet

TopologyForm = Literal["onnx", "text", "none"]
ElementIds = Literal["names", "short"]

_STORAGE = {"onnx": StorageFormat.NNR_TPL_ONNX, "text": StorageFormat.NNR_TPL_UNREC}


@final
@dataclass(frozen=True, slots=True)
class Unpacked:
    """What an NNC bitstream holds.

    Args:
        network: The network, or None when there is no topology or the tensors are an update.
        tensors: The tensors, shaped as the topology says where there is one.
        decoded: Everything else that the decoder found; in the base layer of a layered stream.
        layers: Every layer as decoded, the base first; one where there are no others.
        ids: Element ids by name of tensors that came under an index instead of their name.
    """

    network: Network | None
    tensors: TensorSet
    decoded: Decoded
    layers: tuple[Decoded, ...] = ()
    ids: Mapping[str, str] = field(default_factory=dict)

    def require_network(self) -> Network:
        """The network.

        Raises:
            ModelError: The bitstream alone does not make one.
        """
        if self.network is not None:
            return self.network
        if self.decoded.is_update:
            raise ModelError("the NNC bitstream is an update; apply it to the network it refers to")
        raise ModelError("the NNC bitstream carries no topology; give the graph separately")


def pack(
    network: Network | Scaled,
    settings: EncodeSettings | None = None,
    *,
    topology: TopologyForm = "onnx",
    blocks: bool = True,
    layers: Sequence[int] = (),
    ids: ElementIds = "names",
    parameters: ModelParameterSet | None = None,
) -> bytes:
    """Codes a network as one NNC bitstream.

    Integers are always exact.  So are the scales and zero points of a network that is quantised
    already: nothing is quantised twice.

    Args:
        network: The network; one with local scalings sends them beside the weights.
        settings: Choices of the encoder; its defaults when None.
        topology: How the graph travels.  ``"onnx"`` is what the standard intends; ``"text"`` lets
            decoders that take every topology for text, such as NNCodec, read the tensors, which
            then go as numbers wherever NNC has such numbers; ``"none"`` leaves the graph out.
            Types without a code point of NNC then go as wider ones, or not at all if lossless.
        blocks: Send bias and batch normalisation in the unit of their weight, which is shorter.
        layers: Bits of a base layer and of each layer that refines it; the result then is a
            layered stream, any prefix of which that ends at a layer is a network.
        ids: How data units name their tensors: ``"names"`` of the graph, or ``"short"`` indices
            into it, see :mod:`nnrvideo.model.element_ids`, for receivers that know this package's
            rule.  Updates made by :func:`diff` follow.
        parameters: As for ``nnc.encode``: performance maps and what belongs to them.

    Returns:
        The bitstream.

    Raises:
        ValueError: ``topology`` or ``ids`` is none of these, layers and lossless coding are asked
            for, short ids have no graph or could be taken for names, or a tensor has a type or a
            value that NNC cannot carry; names it.  Local scalings without blocks, in layers or
            lossless, or with a name that is taken.

    Spec: ISO/IEC 15938-17 NNR_TPL and NNR_NDU units.
    """
    scaled = network if isinstance(network, Scaled) else Scaled(network)
    network, scaling = scaled.network, scaled.scaling
    payload = None
    if topology != "none":
        if topology not in _STORAGE:
            msg = f"topology must be 'onnx', 'text' or 'none', not {topology!r}"
            raise ValueError(msg)
        payload = TopologyPayload(
            _STORAGE[topology], CompressionFormat.NNR_DFL, network.topology.skeleton
        )
    settings = settings or EncodeSettings()
    arrays, own = carriers(
        network.tensors,
        settings,
        exact=quantiser_names(network.graph),
        plain=topology == "text",
        graph=payload is not None,
    )
    together = find_blocks(network.graph) if blocks else []
    if scaling and (layers or settings.lossless or not blocks):
        msg = "local scalings travel in blocks, and neither in layers nor lossless"
        raise ValueError(msg)
    warn_of_coarse_variances(network, settings)
    if ids != "names":
        if ids not in get_args(ElementIds) or payload is None:
            msg = f"ids must be 'names', or 'short' with a topology, not {ids!r}"
            raise ValueError(msg)
        short = short_ids(network.topology)
        scales = {name + SUFFIX: short[name] + SUFFIX for name in scaling}
        settings = replace(settings, qp_per_tensor=renamed(settings.qp_per_tensor, short | scales))
        arrays, own, scaling = renamed(arrays, short), renamed(own, short), renamed(scaling, short)
        together = [{role: short[name] for role, name in block.items()} for block in together]
    if scaling:
        arrays, together = with_scaling(arrays, together, scaling)
    if layers:
        parts = encode_layers(
            arrays,
            layers,
            settings,
            topology=payload,
            blocks=together,
            per_tensor=own,
            parameters=parameters,
        )
        return b"".join(parts)
    return encode(
        arrays,
        settings,
        topology=payload,
        blocks=together,
        per_tensor=own,
        parameters=parameters,
    )


def unpack(
    data: bytes, *, limits: Limits | None = None, state: DecoderState | None = None
) -> Unpacked:
    """Decodes an NNC bitstream, with its graph if it carries one and all layers it has.

    Args:
        data: The bitstream, or a layered stream; untrusted.
        limits: Bounds; by default :meth:`Limits.desktop`.
        state: Memory of a receiver of several bitstreams, for updates.

    Raises:
        BitstreamError: The bitstream is broken.
        UnsupportedFeatureError: It uses what is not implemented.
        LimitExceededError: It is too large.
        ModelError: Its graph is not acceptable, or its tensors do not fit the graph.
    """
    limits = limits or Limits.desktop()
    state = DecoderState() if state is None else state
    parts = split_layers(data)
    limits.require("max_layers", len(parts), "layers of the bitstream")
    working = state.fork()
    layers = [decode(part, state=working, limits=limits) for part in parts]
    first = layers[0]
    if first.is_update and len(layers) > 1:
        raise BitstreamError("an update has no layers of its own", element="nnr_unit_type")
    tensors = first.network_tensors()
    for layer in layers[1:]:
        if not layer.is_update:
            raise BitstreamError("a second network follows the first", element="nnr_unit_type")
        tensors = apply_update(tensors, layer.network_tensors(), differences=True)
    topology = parse_topology(first.topology, limits)
    network: Network | None = None
    ids: dict[str, str] = {}
    if topology is not None:
        tensors, ids = by_name(tensors, topology)
        network = None if first.is_update else Network(topology, tensors)
    state.adopt(working)
    tensors = tensors if network is None else network.tensors
    return Unpacked(network, tensors, first, tuple(layers), ids)


def parse_topology(payload: TopologyPayload | None, limits: Limits) -> Topology | None:
    """The graph that a topology unit carries.

    Args:
        payload: As decoded; untrusted.
        limits: Bounds.

    Returns:
        The graph, or None where there is none: no unit, or text that is no graph.

    Raises:
        ModelError: Not an acceptable graph.
        LimitExceededError: Too large.
    """
    if payload is None:
        return None
    binary = payload.storage_format == StorageFormat.NNR_TPL_ONNX
    # Text that is not deflated is somebody's remark, not a graph.
    text = (
        payload.storage_format == StorageFormat.NNR_TPL_UNREC
        and payload.compression_format == CompressionFormat.NNR_DFL
    )
    return Topology.parse(payload.data, limits=limits) if binary or text else None


def stored_bytes(tensors: TensorSet) -> int:
    """Bytes of all values as an ONNX file stores them: two int4 in one."""
    return sum(element_types.stored_bytes(each.dtype, each.size) for each in tensors.values())


def save_npz(tensors: TensorSet, path: str | os.PathLike[str]) -> None:
    """Writes tensors as a NumPy archive, in their order.

    Types that NumPy does not know are widened: bfloat16 to float32, int4 and uint4 to a byte.
    """
    # Keywords of savez would clash with tensors called "file"; a list of names avoids that.
    with zipfile.ZipFile(Path(path), "w", zipfile.ZIP_STORED) as archive:
        for name, value in tensors.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, _of_numpy(value), allow_pickle=False)


def _of_numpy(value: Array) -> Array:
    if value.dtype == BFLOAT16:
        return widened(value)
    if is_packed(value.dtype):
        return value.astype(np.int8 if value.dtype == INT4 else np.uint8)
    return np.asarray(value)


def load_npz(path: str | os.PathLike[str], *, limits: Limits | None = None) -> TensorSet:
    """Reads tensors from a NumPy archive; pickled objects are refused.

    Args:
        path: The archive.
        limits: Bounds; by default :meth:`Limits.offline`.

    Raises:
        ModelError: Not an archive of plain arrays.
        LimitExceededError: Too many values.
        OSError: The file cannot be read.
    """
    limits = limits or Limits.offline()
    tensors = {}
    try:
        with zipfile.ZipFile(Path(path)) as archive:
            members = archive.infolist()
            limits.require("max_tensors", len(members), "tensors in the archive")
            for member in members:
                limits.require("max_bitstream_bytes", member.file_size, "bytes of a tensor")
                data = archive.read(member)
                tensors[member.filename.removesuffix(".npy")] = _read_npy(data, limits)
    except (ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ModelError(f"{os.fspath(path)} is no archive of arrays: {error}") from error
    return TensorSet(tensors)


def _read_npy(data: bytes, limits: Limits) -> Array:
    """One array; its size is compared with the data before anything of that size is made."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, column_major, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, column_major, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"version {version} of the array format")
    count = math.prod(shape)
    limits.require("max_elements", count, "values of a tensor")
    rest = data[stream.tell() :]
    if dtype.hasobject or dtype.itemsize * count != len(rest):
        raise ValueError(f"{len(rest)} bytes for {list(shape)} of {dtype}")
    flat = np.frombuffer(rest, dtype)
    return flat.reshape(shape, order="F" if column_major else "C")
