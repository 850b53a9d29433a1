# SPDX-License-Identifier: Apache-2.0
"""A trained network as ONNX model and as NNC bitstream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from nnrvideo.errors import ModelError
from nnrvideo.model import Network, infer_contract, load_onnx, pack, prepare, unpack
from nnrvideo.model.blocknet import build_block_network, out_block_of
from nnrvideo.nnc import EncodeSettings
from nnrvideo.runtime import OnnxRuntimeBackend
from nnrvideo.training.quantised import QuantPlan
from nnrvideo.training.train import Trained

_NAMES = {2: "enhance_luma", 3: "sr1.5x_luma", 4: "sr2x_luma"}


def to_onnx(tensors: Mapping[str, npt.NDArray[np.float32]], *, name: str | None = None) -> bytes:
    """Builds the ONNX model of a ``BlockNet``.

    Args:
        tensors: Exported tensors by name, as ``Trained.tensors``.
        name: Name of the graph; None for what it does, such as ``sr2x_luma``.

    Returns:
        The serialised model.
    """
    return build_block_network(tensors, name=name or _NAMES[out_block_of(tensors)])


def to_nnc(
    trained: Trained, *, name: str | None = None, ids: Literal["names", "short"] = "names"
) -> bytes:
    """Codes a trained network with the quantisation that it was trained for.

    Args:
        trained: Result of training.
        name: Name of the graph; None for what it does, such as ``sr2x_luma``.
        ids: How tensors are named, see :func:`nnrvideo.model.pack`.

    Returns:
        The NNC bitstream with the graph as its topology.

    Raises:
        ModelError: The bitstream decodes to other values than the network was trained with.
    """
    # Values that are quantised already are levels times steps, which the encoder finds again.
    network = load_onnx(to_onnx(trained.tensors, name=name))
    data = pack(network, encode_settings(trained.plan), ids=ids)
    _verify(unpack(data).require_network(), trained)
    return data


def encode_settings(plan: QuantPlan) -> EncodeSettings:
    """The encoder's settings that quantise as a plan does: by distortion alone."""
    return EncodeSettings(
        preset="slow",
        codebook="never",  # it would change values that training has not seen
        qp_density=plan.qp_density,
        qp_per_tensor=dict(plan.qp),
        dependent_quantisation=plan.dependent,
        rate_weight=0.0,
    )


def _verify(decoded: Network, trained: Trained) -> None:
    for name, wanted in trained.tensors.items():
        got = decoded.tensors[name]
        if got.shape != wanted.shape or not np.array_equal(got, wanted):
            raise ModelError(f"{name} decodes to other values than the network was trained with")


class PlaneFilter:
    """Runs a coded luma network on 8-bit planes, as a player would.

    Args:
        data: NNC bitstream with topology; what is measured is what was sent.

    Raises:
        BitstreamError: The bitstream is broken.
        ModelError: Its graph is not acceptable.
    """

    def __init__(self, data: bytes) -> None:
        network = unpack(data).require_network()
        self._contract = infer_contract(network)
        self._prepared = prepare(network, self._contract, input_bit_depth=8)
        self._session = OnnxRuntimeBackend().load(self._prepared.model, self._prepared.arrays)

    def __call__(self, plane: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Filters a plane in one patch; the picture's edge is repeated outside of it.

        Args:
            plane: ``(H, W) uint8``, both multiples of what the network asks for.

        Returns:
            ``(scale * H, scale * W) uint8``.
        """
        padded = np.pad(plane, self._contract.overlap, mode="edge")[np.newaxis, np.newaxis]
        (filtered,) = self._session.run({self._prepared.input_name: padded})
        return np.asarray(filtered[0, 0], np.uint8)
