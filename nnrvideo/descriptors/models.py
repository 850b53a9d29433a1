# SPDX-License-Identifier: Apache-2.0
"""Descriptor models that travel in a film: found among its messages, kept up to date.

A descriptor model is no filter, so its NNPFC message has the purpose 0, "determined by the
application", and nothing activates it: players of filters leave it alone.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from fractions import Fraction
from typing import final

from nnrvideo.descriptors.package import DescriptorModel, descriptor_model, is_descriptor
from nnrvideo.errors import ModelError, NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.model import Received, receive
from nnrvideo.sei import MODE_PAYLOAD, NNPFC_PAYLOAD_TYPE, Nnpfc, parse_nnpfc, parse_records

_log = logging.getLogger(__name__)

PURPOSE_APPLICATION = 0


def model_message(bitstream: bytes, *, nnpfc_id: int, limits: Limits | None = None) -> Nnpfc:
    """The message that carries a descriptor model in a film; give it to ``nnrvideo.embed``.

    Args:
        bitstream: NNC bitstream of a descriptor model.
        nnpfc_id: Its identity in the film.
        limits: Bounds on the network.

    Raises:
        ModelError: No descriptor model; also as :func:`~.package.load_model`.

    Spec: Rec. ITU-T H.274 NNPFC; nnpfc_purpose 0.
    """
    network = receive(bitstream, limits=limits).network
    if network is None:
        raise ModelError("the NNC bitstream carries no topology; a descriptor model needs one")
    descriptor_model(network, limits=limits)
    return Nnpfc(
        nnpfc_purpose=PURPOSE_APPLICATION,
        nnpfc_id=nnpfc_id,
        nnpfc_base_flag=True,
        nnpfc_mode_idc=MODE_PAYLOAD,
        nnpfc_property_present_flag=True,
        nnpfc_payload_byte=bitstream,
    )


@final
class StreamModels:
    """Follows the models of a film.

    The first filter id under which a descriptor model comes is the one that counts.  What cannot be
    used is left out with a warning in the log, once; the model before stays, under its own id.

    Args:
        limits: Bounds; by default :meth:`Limits.desktop`.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits.desktop()
        self._bases: dict[int, Received] = {}
        self._made: dict[bytes, DescriptorModel | None] = {}
        self._id: int | None = None
        self._waiting: deque[tuple[Fraction, DescriptorModel]] = deque()
        self._latest: bytes = b""
        self._current: bytes = b""

    def take(self, pts: Fraction, records: bytes) -> None:
        """Hears the messages of an access unit.

        Args:
            pts: Its presentation time in seconds.
            records: Its sei_message()s.
        """
        found: DescriptorModel | None = None
        try:
            messages = parse_records(records, self._limits)
        except NnrVideoError as error:
            _log.warning("messages at %.3f s are ignored: %s", float(pts), error)
            return
        for message in messages:
            if message.payload_type == NNPFC_PAYLOAD_TYPE:
                found = self._model(message.payload) or found
        if found is not None and found.model_id != self._latest:
            self._latest = found.model_id
            self._waiting.append((pts, found))

    def due(self, pts: Fraction) -> DescriptorModel | None:
        """The model that takes over with the picture of this time; None for no change."""
        model = None
        while self._waiting and self._waiting[0][0] <= pts:
            _, model = self._waiting.popleft()
        if model is None or model.model_id == self._current:
            return None
        self._current = model.model_id
        return model

    def _model(self, payload: bytes) -> DescriptorModel | None:
        key = hashlib.sha256(payload).digest()
        if key not in self._made:
            self._made[key] = None
            if len(self._made) > self._limits.max_messages:
                self._made.pop(next(iter(self._made)))
            try:
                self._made[key] = self._receive(parse_nnpfc(payload, self._limits))
            except NnrVideoError as error:
                _log.warning("a descriptor model is not used: %s", error)
        return self._made.get(key)

    def _receive(self, message: Nnpfc) -> DescriptorModel | None:
        identity, bitstream = message.nnpfc_id, message.nnpfc_payload_byte
        if message.nnpfc_purpose != PURPOSE_APPLICATION or not bitstream:
            return None
        base = self._bases.get(identity)
        if not message.nnpfc_base_flag:
            if base is None:
                return None
            received = receive(bitstream, base, limits=self._limits)
        else:
            received = receive(bitstream, limits=self._limits)
        network = received.network
        if network is None or not is_descriptor(network):
            return None
        if self._id not in (None, identity):
            return None
        model = descriptor_model(network, limits=self._limits)
        self._id = identity
        if message.nnpfc_base_flag:
            self._bases[identity] = received
        return model
