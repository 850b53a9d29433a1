# SPDX-License-Identifier: Apache-2.0
"""``encode_update``: what changed in a network, coded relative to what the receiver has.

Spec: ISO/IEC 15938-17 (second edition), incremental coding: parameter update tree, temporal
context adaptation, history-dependent significance, predictive residuals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, final, get_args

import numpy as np
import numpy.typing as npt

from nnrvideo.entropy import step_size
from nnrvideo.limits import Limits
from nnrvideo.nnc.codec import decode
from nnrvideo.nnc.constants import ParentNodeIdType
from nnrvideo.nnc.elements import Role
from nnrvideo.nnc.encoder import FORMATS, checked_array
from nnrvideo.nnc.prediction import predicts, subtract_prediction
from nnrvideo.nnc.quantisation import base_qp, quantisation_parameter
from nnrvideo.nnc.settings import EncodeSettings
from nnrvideo.nnc.sparsify import sparsify
from nnrvideo.nnc.stream import write_units
from nnrvideo.nnc.unitcoder import Parentage, UnitPlan, code_units
from nnrvideo.nnc.units import ModelParameterSet, NodeId, ParentNode, Quantization, StartUnit
from nnrvideo.nnc.update import DecoderState

Array = npt.NDArray[Any]

ParentIds = Literal["node", "sha256", "sha512"]
Prediction = Literal["never", "auto", "always"]

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
    predict: Prediction = "never",
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
        predict: Send only what the update before did not foretell, see ``nnc.prediction``;
            ``auto``: where that makes the bitstream shorter, a larger error counted as the bytes
            that would mend it.  Other receivers than this package may predict in another way, or
            not at all.

    Returns:
        The bitstream.

    Raises:
        ValueError: A value that NNC cannot carry, settings that no update can have, a parent
            that shall be named by hash but was never sent, or a residual that is out of range.
    """
    settings = settings or EncodeSettings()
    if settings.profile != 1 or settings.lossless or settings.low_rank:
        msg = "an update needs the second edition, is not lossless and has no factors"
        raise ValueError(msg)
    for what, value, known in (
        ("parent_ids", parent_ids, get_args(ParentIds)),
        ("predict", predict, get_args(Prediction)),
    ):
        if value not in known:
            msg = f"{what} {value!r} is none of {', '.join(known)}"
            raise ValueError(msg)
    arrays = {
        name: sparsify(checked_array(name, array, settings), settings)
        for name, array in differences.items()
    }
    update = _Update(
        arrays,
        {name: FORMATS[np.asarray(array).dtype.name] for name, array in differences.items()},
        state,
        settings,
        base_model_id,
        parent_ids,
    )
    if predict == "always":
        return update.encode(predicted=True)
    plain = update.encode(predicted=False)
    if predict == "never" or not update.predictable():
        return plain
    try:
        predicted = update.encode(predicted=True)
    except ValueError:  # a residual may be out of range where the difference is not
        return plain
    return predicted if update.pays(predicted, plain) else plain


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Update:
    """Differences that can be coded with prediction or without.

    Args:
        arrays: float32 or int32 by name, as they shall be reached.
        formats: nnr_decompressed_data_format of each.
        state: Of the receiver.
        settings: Choices of the encoder.
        base_model_id: As for ``encode_update``.
        parent_ids: As for ``encode_update``.
    """

    arrays: Mapping[str, Array]
    formats: Mapping[str, int | None]
    state: DecoderState
    settings: EncodeSettings
    base_model_id: str | None
    parent_ids: ParentIds

    def predictable(self) -> bool:
        """True if there is a prediction for a tensor that has changed."""
        return any(array.any() and self._predicted(name) for name, array in self.arrays.items())

    def encode(self, *, predicted: bool) -> bytes:
        """The bitstream."""
        settings, state = self.settings, self.state
        arrays = {name: array for name, array in self.arrays.items() if array.any()}
        # The error shall not depend on the prediction, so neither do the QPs.
        qps = {
            name: quantisation_parameter(name, array, settings)
            for name, array in arrays.items()
            if array.dtype == np.float32
        }
        base = base_qp(qps, settings)
        order = {name: index for index, name in enumerate(self.arrays)}
        plans = []
        for name, array in arrays.items():
            residual, optional = array, True
            if predicted and self._predicted(name):
                if name in qps and _all_zero(array, qps[name], settings):
                    continue  # "no change" says it as well as a residual
                residual = subtract_prediction(array, state.difference(name))
                optional = False  # without the unit, the receiver would not add the prediction
            plan = UnitPlan(
                {Role.WEIGHT: residual},
                {Role.WEIGHT: name},
                array.shape,
                {Role.WEIGHT: qps[name]} if name in qps else {},
                base,
                _node_id(name, order[name], state, settings),
                self.formats[name],
                _parentage(name, array, state, settings, self.parent_ids),
                optional=optional,
            )
            plans.append(plan)
        mps = ModelParameterSet(
            topology_carriage_flag=False,
            mps_parent_signalling_enabled_flag=True,
            nnr_pre_flag=predicted,
            base_model_id=self.base_model_id,
            quantization=Quantization(settings.qp_density, base),
        )
        return write_units(
            [StartUnit(1), mps, *code_units(plans, settings)],
            dimensions=state.dimensions,
            max_unit_bytes=settings.max_unit_bytes,
        )

    def pays(self, data: bytes, other: bytes) -> bool:
        """True if ``data`` is shorter than ``other`` at the same error.

        A larger error is counted as the bytes that would mend it: half a bit a value for each
        factor of two in the mean square, which is right for fine steps and too much for coarse.
        """
        if len(data) >= len(other):
            return False
        error, wanted = self._squared_error(data), self._squared_error(other)
        if error <= wanted:
            return True
        values = sum(array.size for array in self.arrays.values() if array.dtype == np.float32)
        return wanted > 0 and len(data) + values * math.log2(error / wanted) / 16 < len(other)

    def _squared_error(self, data: bytes) -> float:
        decoded = decode(data, state=self.state.fork(), limits=Limits.offline())
        found = decoded.network_tensors()
        total = 0.0
        for name, array in self.arrays.items():
            if array.dtype == np.float32:
                left = array.astype(np.float64) - found.get(name, 0.0)
                total += float(np.square(left).sum())
        return total

    def _predicted(self, name: str) -> bool:
        array = self.arrays[name]
        return predicts(self.state.difference(name), array.shape, array.dtype.kind)


def _all_zero(array: Array, qp: int, settings: EncodeSettings) -> bool:
    return bool(np.abs(array).max(initial=0.0) * 2 < step_size(qp, settings.qp_density))


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
