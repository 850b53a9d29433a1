# SPDX-License-Identifier: Apache-2.0
"""ONNX with the weights in a data file beside the model, decoded in the memory of one tensor.

A protobuf message ends at 2 GiB, and a runtime maps a data file where it would copy a message.
Large tensors begin at a page of the file, which a runtime can map; small ones follow each other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from onnx import numpy_helper

from nnrvideo.errors import BitstreamError, TensorMismatchError, UnsupportedFeatureError
from nnrvideo.files import OutputFile, output_files
from nnrvideo.limits import Limits
from nnrvideo.model.element_ids import names_by_id
from nnrvideo.model.element_types import stored_bytes
from nnrvideo.model.exact import restore_parts
from nnrvideo.model.graph import (
    Array,
    Placement,
    TensorDeclaration,
    serialize,
    write_model,
)
from nnrvideo.model.package import parse_topology, unpack
from nnrvideo.model.topology import Network, Topology
from nnrvideo.nnc import NEED_DATA, DataUnit, NncReader, StartUnit, TopologyUnit, iter_tensors
from nnrvideo.nnc.layers import layer_starts
from nnrvideo.nnc.topology import unpack_topology

_ELEMENT_ID: Final = "topology_elem_id"
_PAGE: Final = 4096
_ALIGNMENT: Final = 64  # of tensors below a page: a cache line, and any vector instruction
_PART: Final = 1 << 18  # values converted at a time; even, for two values of four bits are a byte
_READ_BYTES: Final = 1 << 16


def data_path(path: str | os.PathLike[str]) -> Path:
    """Where the weights of a model are put: ``net.onnx.data`` for ``net.onnx``."""
    target = Path(path)
    return target.with_name(target.name + ".data")


def save_external(
    network: Network, path: str | os.PathLike[str], *, overwrite: bool = False
) -> None:
    """Writes a network as ONNX, with the weights in :func:`data_path` beside it.

    Args:
        network: The network.
        path: The model.
        overwrite: Whether existing files may be replaced.

    Raises:
        ContainerError: A file exists already, or cannot be written; what was there before stays.
    """
    with output_files(data_path(path), path, overwrite=overwrite) as outputs:
        _write(network.topology, iter(network.tensors.items()), *outputs)


def unpack_external(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    limits: Limits | None = None,
) -> Topology:
    """Decodes an NNC file to ONNX with the weights beside it, one unit at a time.

    Memory grows by the largest tensor as ``nnc.iter_tensors`` has it, by its unit's bytes and
    little else: 4 bytes for each number that was sent.  Quantised weights and integers are a
    number each, weights of a lossless stream up to four (:mod:`nnrvideo.model.exact`).  What cannot
    be decoded in one pass (layered streams, the first edition, factors and local scales in units of
    their own, a graph behind its weights) is decoded in memory as a whole.

    Args:
        source: The NNC file; untrusted.
        path: The model; the weights go to :func:`data_path` of it.
        overwrite: Whether existing files may be replaced.
        limits: Bounds; by default :meth:`Limits.desktop`.

    Returns:
        What the bitstream says of the graph and its tensors.

    Raises:
        BitstreamError: The bitstream is broken.
        UnsupportedFeatureError: It uses what is not implemented.
        LimitExceededError: It is too large.
        ModelError: It carries no acceptable graph, its tensors do not fit, or it is an update.
        ContainerError: A file exists already, or cannot be written; what was there before stays.
        OSError: The source cannot be read.
    """
    limits = limits or Limits.desktop()
    with (
        Path(source).open("rb") as file,
        output_files(data_path(path), path, overwrite=overwrite) as outputs,
    ):
        topology = single_pass_topology(file, limits=limits)
        if topology is not None:
            try:
                _write(topology, iter_tensors(file, limits=limits), *outputs)
            except UnsupportedFeatureError:
                pass  # in one pass; whether at all is seen below
            else:
                return topology
        file.seek(0)
        network = unpack(file.read(), limits=limits).require_network()
        _write(network.topology, iter(network.tensors.items()), *outputs)
        return network.topology


def read_topology(source: BinaryIO, *, limits: Limits | None = None) -> Topology | None:
    """The graph of a bitstream, without its weights.

    Args:
        source: File open for reading, at the start of a bitstream; untrusted.
        limits: Bounds; by default :meth:`Limits.desktop`.

    Returns:
        The graph if it comes before all weights, in a second-edition bitstream.  The two flavours
        of the first edition can be told apart by the weights only.

    Raises:
        BitstreamError, UnsupportedFeatureError, LimitExceededError, ModelError: As for ``unpack``.
    """
    limits = limits or Limits.desktop()
    reader = NncReader(limits)
    while True:
        unit = reader.next_unit()
        if unit is NEED_DATA:
            data = source.read(_READ_BYTES)
            if not data:
                reader.close()
                return None
            reader.feed(data)
        elif isinstance(unit, TopologyUnit):
            return parse_topology(unpack_topology(unit, limits), limits)
        elif isinstance(unit, DataUnit) or (
            isinstance(unit, StartUnit) and unit.general_profile_idc == 0
        ):
            return None


def single_pass_topology(source: BinaryIO, *, limits: Limits | None = None) -> Topology | None:
    """The graph of a bitstream whose tensors may be had one after the other.

    Args:
        source: File open for reading, at the start of a bitstream; untrusted.  Is left there.
        limits: Bounds; by default :meth:`Limits.desktop`.

    Returns:
        As :func:`read_topology`, and None for a layered stream.  Whether the tensors really can be
        decoded in one pass, :func:`nnrvideo.nnc.iter_tensors` finds out.

    Raises:
        BitstreamError, UnsupportedFeatureError, LimitExceededError, ModelError: As for ``unpack``.
    """
    topology = read_topology(source, limits=limits)
    if topology is not None and len(layer_starts(source)) > 1:
        topology = None
    source.seek(0)
    return topology


def fit_tensors(
    topology: Topology,
    tensors: Iterator[tuple[str, Array]],
    take: Callable[[TensorDeclaration, Array], None],
) -> None:
    """Hands over tensors as they come, in any order; each is let go before the next is asked for.

    Args:
        topology: Declares them.
        tensors: Name or element id, and values as decoded; untrusted.
        take: Called with each tensor and its declaration; raises ValueError where it is not what
            is declared.

    Raises:
        BitstreamError: A tensor comes under two ids.
        TensorMismatchError: Lists all tensors that are missing, left over, or do not fit.
    """
    declarations = {each.name: each for each in topology.tensors}
    missing = dict.fromkeys(declarations)
    names = names_by_id(topology)
    ids: dict[str, str] = {}
    violations = []
    while (found := next(tensors, None)) is not None:
        name = names.get(found[0], found[0])
        if ids.setdefault(name, found[0]) != found[0]:
            raise BitstreamError(f"tensor {name!r} comes under two ids", element=_ELEMENT_ID)
        missing.pop(name, None)
        declared = declarations.get(name)
        if declared is None:
            violations.append(f"tensor {name!r}: is not part of the topology")
            continue
        try:
            take(declared, found[1])
        except ValueError as error:
            violations.append(f"tensor {name!r}: {error}")
        del found
    violations += [f"tensor {name!r} is missing" for name in missing]
    if violations:
        raise TensorMismatchError("the tensors do not fit the topology", violations)


def stored_parts(value: Array, declared: TensorDeclaration) -> Iterator[tuple[int, bytes]]:
    """The bytes of a tensor as a data file has them, a part at a time.

    Args:
        value: As decoded; untrusted.
        declared: Type and shape.

    Yields:
        How many bytes come before the part, and the part.

    Raises:
        ValueError: The tensor is not what is declared.
    """
    for first, part in restore_parts(value, declared, _PART):
        yield stored_bytes(declared.dtype, first), numpy_helper.from_array(part).raw_data


def _write(
    topology: Topology,
    tensors: Iterator[tuple[str, Array]],
    data_output: OutputFile,
    model_output: OutputFile,
) -> None:
    """Both files, from tensors in any order; each is let go before the next is asked for."""
    placements, size = _placed(topology, data_output.path.name)
    with data_output.temporary.open("wb") as file:
        file.truncate(size)

        def write(declared: TensorDeclaration, value: Array) -> None:
            for before, part in stored_parts(value, declared):
                file.seek(placements[declared.name].offset + before)
                file.write(part)

        fit_tensors(topology, tensors, write)
    empty = {
        each.name: np.empty(each.shape, each.dtype)
        for each in topology.tensors
        if each.name not in placements
    }
    model = serialize(write_model(topology.graph, empty, placements))
    model_output.temporary.write_bytes(model)


def _placed(topology: Topology, location: str) -> tuple[dict[str, Placement], int]:
    """Place of each tensor that has values, and the size of the file."""
    placements: dict[str, Placement] = {}
    end = 0
    for declared in topology.tensors:
        length = stored_bytes(declared.dtype, declared.size)
        if not length:
            continue
        alignment = _PAGE if length >= _PAGE else _ALIGNMENT
        offset = -(-end // alignment) * alignment
        placements[declared.name] = Placement(location, offset, length)
        end = offset + length
    return placements, end
