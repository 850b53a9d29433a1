# SPDX-License-Identifier: Apache-2.0
"""Networks that change: what a receiver has, updates that reach it, and how they are made.

``receive`` turns a bitstream into a ``Received``; a later bitstream goes on from there, and the
earlier ``Received`` stays what it was, so that one base can serve any number of updates.  ``diff``
makes an update from a ``Received`` and the network it shall become.  Both ends add the decoded
differences in the same arithmetic, so they keep the same bits.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, final

import numpy as np

from nnrvideo.errors import BitstreamError, TensorMismatchError
from nnrvideo.limits import Limits
from nnrvideo.model.differences import apply_update
from nnrvideo.model.element_ids import by_name, renamed
from nnrvideo.model.element_types import is_floating
from nnrvideo.model.graph import Array
from nnrvideo.model.package import Unpacked, unpack
from nnrvideo.model.topology import Network
from nnrvideo.nnc import (
    Decoded,
    DecoderState,
    EncodeSettings,
    ParentIds,
    Prediction,
    encode_update,
)
from nnrvideo.tensors import TensorSet

_ID_SCHEME: Final = "id:"
_ID_BYTES: Final = 16


@final
@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """What a receiver has after one or more bitstreams.

    Args:
        tensors: Values of the network.
        network: With the graph, if one was sent.
        state: What later bitstreams may be coded relative to; do not pass it to a decoder,
            :func:`receive` takes a copy.
        decoded: The bitstream received last, None if the network did not come as one.
        ids: Element ids, by name, of tensors that came under short ones; updates use them again.
    """

    tensors: TensorSet
    network: Network | None
    state: DecoderState = field(repr=False)
    decoded: Decoded | None = field(default=None, repr=False)
    ids: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, network: Network | TensorSet) -> Received:
        """A network that reached the receiver some other way, exactly."""
        if isinstance(network, Network):
            return cls(network.tensors, network, DecoderState())
        return cls(network, None, DecoderState())


def receive(
    data: bytes, previous: Received | None = None, *, limits: Limits | None = None
) -> Received:
    """Decodes a bitstream: a base, or an update of what was received before.

    Args:
        data: The bitstream; untrusted.
        previous: What the receiver has; None for a base.
        limits: Bounds; by default :meth:`Limits.desktop`.

    Raises:
        BitstreamError: The bitstream is broken, or is relative to something else.
        UnsupportedFeatureError: It uses what is not implemented.
        LimitExceededError: It is too large.
        ModelError: Its tensors do not fit the graph or the network received before.
    """
    if previous is None:
        state = DecoderState()
        unpacked = unpack(data, limits=limits, state=state)
        if unpacked.decoded.is_update:
            raise BitstreamError(
                "the bitstream is an update; the network it refers to must come first",
                element="mps_parent_signalling_enabled_flag",
            )
        return Received(unpacked.tensors, unpacked.network, state, unpacked.decoded, unpacked.ids)
    state = previous.state.fork()
    unpacked = unpack(data, limits=limits, state=state)
    if not unpacked.decoded.is_update and unpacked.network is not None:
        return Received(unpacked.tensors, unpacked.network, state, unpacked.decoded, unpacked.ids)
    _require_base(previous.tensors, unpacked)
    changes, ids = unpacked.tensors, {**previous.ids, **unpacked.ids}
    if previous.network is not None:
        changes, found = by_name(changes, previous.network.topology)
        ids |= found
    differences = unpacked.decoded.is_update
    tensors = apply_update(previous.tensors, changes, differences=differences)
    network = None if previous.network is None else previous.network.with_tensors(tensors)
    return Received(tensors, network, state, unpacked.decoded, ids)


def _require_base(base: TensorSet, unpacked: Unpacked) -> None:
    expected = unpacked.decoded.base_model_id
    if expected is not None and expected.startswith(_ID_SCHEME) and expected != model_id(base):
        raise BitstreamError(
            f"the update is for the network {expected}, not for {model_id(base)}",
            element="base_model_id",
        )


def diff(
    base: Received,
    new: Mapping[str, Array],
    settings: EncodeSettings | None = None,
    *,
    parent_ids: ParentIds = "node",
    name_base: bool = True,
    predict: Prediction = "never",
) -> bytes:
    """Codes what turns the network that a receiver has into another.

    Args:
        base: What the receiver has; ``receive`` with the result goes on from it.
        new: Values it shall have, of the same shapes; tensors that are left out stay.
        settings: Choices of the encoder; the QPs hold for the differences.
        parent_ids: How each unit names its parent.
        name_base: Name the network in ``base_model_id``, so that a receiver with another one
            refuses the update; 26 bytes.
        predict: Send what the update before did not foretell, as for ``nnc.encode_update``.

    Returns:
        The bitstream.

    Raises:
        ValueError: A value that NNC cannot carry, or settings that no update can have.
        TensorMismatchError: A tensor is not part of the base, or has another shape or type there.
    """
    violations = []
    differences: dict[str, Array] = {}
    for name, known in base.tensors.items():
        value = new.get(name)
        if value is None:
            continue
        if value.shape != known.shape or value.dtype != known.dtype:
            violations.append(
                f"tensor {name!r} is {value.dtype}{list(value.shape)}, "
                f"{known.dtype}{list(known.shape)} in the base"
            )
            continue
        differences[name] = _difference(value, known)
    violations += [
        f"tensor {name!r} is not part of the base" for name in new if name not in base.tensors
    ]
    if violations:
        raise TensorMismatchError("the networks are not of the same kind", violations)
    settings = settings or EncodeSettings()
    settings = replace(settings, qp_per_tensor=renamed(settings.qp_per_tensor, base.ids))
    return encode_update(
        renamed(differences, base.ids),
        base.state,
        settings,
        base_model_id=model_id(base.tensors) if name_base else None,
        parent_ids=parent_ids,
        predict=predict,
    )


def _difference(value: Array, known: Array) -> Array:
    if not is_floating(value.dtype):
        return value.astype(np.int64) - known.astype(np.int64)
    return value.astype(np.float32) - known.astype(np.float32)


def model_id(tensors: Mapping[str, Array]) -> str:
    """Name of a network's exact weights, for ``base_model_id``.

    Args:
        tensors: Values by name; the order does not matter.

    Returns:
        ``id:`` and the first 16 bytes of a SHA-256 over names, types, shapes and values in the
        order of the names, as base64url without padding.
    """
    ordered = {name: np.atleast_1d(tensors[name]) for name in sorted(tensors)}
    digest = hashlib.sha256(TensorSet(ordered).fingerprint().encode()).digest()
    return _ID_SCHEME + base64.urlsafe_b64encode(digest[:_ID_BYTES]).rstrip(b"=").decode()
