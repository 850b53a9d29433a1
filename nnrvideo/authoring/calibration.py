# SPDX-License-Identifier: Apache-2.0
"""Typical inputs of a network, from arrays or from a film: what a correction is measured on."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nnrvideo.container import open_media
from nnrvideo.errors import ModelError
from nnrvideo.files import PathLike
from nnrvideo.limits import Limits
from nnrvideo.model import IoContract, Network, infer_contract, load_npz
from nnrvideo.picture import Picture
from nnrvideo.runtime import PatchRules, TensorFormat
from nnrvideo.runtime.layout import fill_input, grid_size

Array = npt.NDArray[Any]
Inputs = list[Mapping[str, Array]]

_PICTURES: Final = 16
_APART: Final = Fraction(1, 2)  # seconds; nearer pictures tell the same


def calibration_inputs(network: Network, path: PathLike, *, limits: Limits | None = None) -> Inputs:
    """Reads inputs for :func:`nnrvideo.model.correct`.

    Args:
        network: Whose inputs.
        path: ``.npy`` with samples, or ``.npz`` with samples for each input by its name (any names
            where there is but one input).  Samples have the input's rank, several along the first
            dimension, or one dimension more.  Anything else is a film: the middle of up to 16
            pictures, half a second apart, for networks whose use an NNPFC message can describe.
        limits: Bounds on an archive; by default :meth:`Limits.offline`.

    Returns:
        One mapping of names to arrays for each run.

    Raises:
        ModelError: The arrays do not fit the inputs, or the network is none for pictures.
        ContainerError: The film cannot be read, or has no picture.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".npz":
        return _from_arrays(network, dict(load_npz(path, limits=limits)), path)
    if suffix == ".npy":
        try:
            samples = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ModelError(f"{path} is no array: {error}") from error
        return _from_arrays(network, {"": samples}, path)
    return _from_film(network, path)


def _from_arrays(network: Network, arrays: Mapping[str, Array], path: PathLike) -> Inputs:
    ports = network.graph.inputs
    if len(ports) == 1:
        found = [each for value in arrays.values() for each in _samples(network, 0, value)]
        return [{ports[0].name: each} for each in found]
    missing = [port.name for port in ports if port.name not in arrays]
    if missing:
        raise ModelError(f"{path} has no array for the input {missing[0]!r}")
    columns = [_samples(network, index, arrays[port.name]) for index, port in enumerate(ports)]
    if len({len(column) for column in columns}) != 1:
        raise ModelError(f"{path} has different numbers of samples for the inputs")
    names = [port.name for port in ports]
    return [dict(zip(names, each, strict=True)) for each in zip(*columns, strict=True)]


def _samples(network: Network, index: int, value: Array) -> list[Array]:
    """Arrays as one input takes them."""
    port = network.graph.inputs[index]
    dims = port.dims
    if dims is None:
        raise ModelError(f"the input {port.name!r} does not tell its rank")
    if value.dtype != port.dtype and {value.dtype.kind, port.dtype.kind} != {"f"}:
        raise ModelError(f"samples of {value.dtype} for the input {port.name!r} of {port.dtype}")
    batch = dims[0] if dims and isinstance(dims[0], int) else 1
    if value.ndim == len(dims) and dims and value.shape[0] % batch == 0:
        found = np.split(value, value.shape[0] // batch) if value.size else []
    else:
        found = list(value) if value.ndim == len(dims) + 1 else []
    fits = all(
        not isinstance(dim, int) or each == dim
        for sample in found
        for dim, each in zip(dims, sample.shape, strict=True)
    )
    if not found or not fits:
        raise ModelError(f"{list(value.shape)} are no samples for {port.name!r}: {list(dims)}")
    return [np.ascontiguousarray(each, port.dtype) for each in found]


def _from_film(network: Network, path: PathLike) -> Inputs:
    try:
        contract = infer_contract(network)
    except ModelError as error:
        raise ModelError(
            f"how pictures become inputs of this network is not known ({error}); give arrays "
            "(.npy or .npz)"
        ) from error
    name = network.graph.inputs[0].name
    found: Inputs = []
    after: Fraction | None = None
    with open_media(path) as media:
        for decoded in media.pictures():
            if after is not None and decoded.pts < after:
                continue
            after = decoded.pts + _APART
            found.append({name: _middle(network, contract, decoded.picture)})
            if len(found) == _PICTURES:
                break
    return found


def _middle(network: Network, contract: IoContract, picture: Picture) -> Array:
    """The input that shows the middle of a picture."""
    layout = TensorFormat(
        contract.inp_order_idc,
        contract.inp_format_idc,
        contract.inp_tensor_bit_depth or 8,
        contract.inp_tensor_bit_depth or 8,
        contract.component_last,
        bool(contract.auxiliary_inp_idc & 1),
    )
    width, height = contract.nominal_patch()
    rules = PatchRules(
        overlap=contract.overlap,
        constant=True,
        width=width,
        height=height,
        padding_type=contract.padding_type,
        padding_values=contract.padding_values,
    )
    size = height + 2 * contract.overlap, width + 2 * contract.overlap
    shape = (*size, layout.channels) if layout.component_last else (layout.channels, *size)
    tensor = np.zeros(shape, network.graph.inputs[0].dtype)
    columns, rows = grid_size(layout.order_idc, picture.format)
    origin = (columns - size[1]) // 2, (rows - size[0]) // 2
    fill_input(tensor, picture, layout, origin, rules)
    return tensor.reshape((*[1] * (contract.input_rank - 3), *shape))
