# SPDX-License-Identifier: Apache-2.0
"""``encode_update``: what changed in a network, coded relative to what the receiver has.

Spec: ISO/IEC 15938-17 (second edition), incremental coding: parameter update tree, temporal
context adaptation, history-dependent significance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from nnrvideo.nnc.constants import ParentNodeIdType
from nnrvideo.nnc.elements import Role
from nnrvideo.nnc.encoder import FORMATS, checked_array
from nnrvideo.nnc.quantisation import base_qp, quantisation_parameter
from nnrvideo.nnc.settings import EncodeSettings
from nnrvideo.nnc.sparsify import sparsify
from nnrvideo.nnc.stream import write_units
from nnrvideo.nnc.unitcoder import Parentage, UnitPlan, code_units
from nnrvideo.nnc.units import ModelParameterSet, NodeId, ParentNode, Quantization, StartUnit
from nnrvideo.nnc.update import DecoderState

Array = npt.NDArray[Any]

ParentIds = Literal["node", "sha256", "sha512"]

_HASH_TYPES: Final[dict[str, ParentNodeIdType]] = {
    "sha256": ParentNodeIdType.ICNN_NDU_PL_SHA256,
    "sha512": ParentNodeIdType.ICNN_NDU_PL_SHA512,
}


def encode_update(
    differences: Mapping[str, Array],
    state: DecoderState,
    settings: EncodeSettings | None = None,
    *,
    base_model_id: str | None = None,
    parent_ids: ParentIds = "node",
) -> bytes:
    """Encodes differences as a bitstream for a receiver in a known state.

    A tensor whose differences are all quantised to zero is left out; the receiver keeps what it
    has.  Contexts look at the levels that were sent last (TCA) and at where earlier updates were
    non-zero (HDSP) wherever that makes a tensor shorter.

    Args:
        differences: Name to new value less old one, of types as for ``encode``.
        state: What the receiver remembers; unchanged.  Decoding the result advances it.
        settings: Choices of the encoder; second edition, not lossless, without factors.
        base_model_id: Names the network that the differences are to be added to.
        parent_ids: How each unit names its parent: by its place in the update tree, or by the
            hash of the payload that was received last for the tensor, 32 or 64 bytes a tensor.

    Returns:
        The bitstream.

    Raises:
        ValueError: A value that NNC cannot carry, settings that no update can have, or a parent
            that shall be named by hash but was never sent.
    """
    settings = settings or EncodeSettings()
    if settings.profile != 1 or settings.lossless or settings.low_rank:
        msg = "an update needs the second edition, is not lossless and has no factors"
        raise ValueError(msg)
    if parent_ids not in get_args(ParentIds):
        msg = f"parent_ids {parent_ids!r} is none of {', '.join(get_args(ParentIds))}"
        raise ValueError(msg)
    arrays = {
        name: sparsify(checked_array(name, array, settings), settings)
        for name, array in differences.items()
    }
    arrays = {name: array for name, array in arrays.items() if array.any()}
    qps = {
        name: quantisation_parameter(name, array, settings)
        for name, array in arrays.items()
        if array.dtype == np.float32
    }
    base = base_qp(qps, settings)
    order = {name: index for index, name in enumerate(differences)}
    plans = [
        UnitPlan(
            {Role.WEIGHT: array},
            {Role.WEIGHT: name},
            array.shape,
            {Role.WEIGHT: qps[name]} if name in qps else {},
            base,
            _node_id(name, order[name], state, settings),
            FORMATS[np.asarray(differences[name]).dtype.name],
            _parentage(name, array, state, settings, parent_ids),
            optional=True,
        )
        for name, array in arrays.items()
    ]
    mps = ModelParameterSet(
        topology_carriage_flag=False,
        mps_parent_signalling_enabled_flag=True,
        base_model_id=base_model_id,
        quantization=Quantization(settings.qp_density, base),
    )
    return write_units(
        [StartUnit(1), mps, *code_units(plans, settings)],
        dimensions=state.dimensions,
        max_unit_bytes=settings.max_unit_bytes,
    )


def _node_id(name: str, index: int, state: DecoderState, settings: EncodeSettings) -> NodeId | None:
    """The node below the one that the receiver has; a sequence depends on it, so always sent."""
    stored = state.node(name)
    if stored is None:
        return NodeId(settings.device_id, index, 1)
    return NodeId(stored.device_id, stored.parameter_id, stored.put_node_depth + 1)


def _parentage(
    name: str,
    array: Array,
    state: DecoderState,
    settings: EncodeSettings,
    parent_ids: ParentIds,
) -> Parentage:
    node = state.node(name)
    parent = ParentNode(parent_device_id=settings.device_id if node is None else node.device_id)
    if parent_ids != "node":
        digest = state.payload_sha(name, _HASH_TYPES[parent_ids])
        if digest is None:
            msg = f"tensor {name!r} was never sent, so its parent has no hash"
            raise ValueError(msg)
        parent = ParentNode(_HASH_TYPES[parent_ids], parent_node_payload_sha=digest)
    reference = state.levels(name, array.shape)
    history = state.history(name, array.shape)
    return Parentage(
        parent,
        {name: reference} if reference is not None and reference.any() else {},
        {name: history} if history is not None else {},
    )
