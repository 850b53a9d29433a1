# SPDX-License-Identifier: Apache-2.0
"""From the payloads of NNPFC messages to a network in a session, through every gate.

The order of the gates is fixed: syntax (NNC), limits and operators, the message's promises; only
what has passed them all reaches an inference session.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from nnrvideo.errors import InferenceError, ModelError, UnsupportedFeatureError
from nnrvideo.limits import Limits
from nnrvideo.model import (
    RANGES_TENSOR,
    Network,
    Prepared,
    WeightStore,
    check,
    check_against_nnpfc,
    keep,
    measure,
    prepare,
    reach_of,
    receive,
    stored_bytes,
    takes_picture_whole,
    unpack_stored,
    without_ranges,
)
from nnrvideo.picture import PictureFormat
from nnrvideo.player import characteristics
from nnrvideo.player.filter import LoadedNetwork
from nnrvideo.player.precision import Precision, PrecisionPolicy
from nnrvideo.runtime.base import InferenceBackend, MappingBackend, Session
from nnrvideo.runtime.layout import FORMAT_INTEGER
from nnrvideo.sei import MODE_PAYLOAD, MODE_URI, Nnpfc

_log = logging.getLogger(__name__)

Resolver = Callable[[str, str], bytes | None]
"""Finds the NNC bitstream that a tag and a URI name; None if it cannot or will not."""

NNC_TAG_URI = "tag:iso.org,2023:15938-17"

# Convolutions work in a blocked layout and in padded channels, so a session holds about twice
# what the shapes add up to (measured on networks of 1k to 21k parameters).
_ARENA_FACTOR = 2


def decode_network(
    base: Nnpfc,
    update: Nnpfc | None,
    *,
    limits: Limits,
    resolver: Resolver | None = None,
    store: WeightStore | None = None,
) -> Network:
    """Decodes a network, with its update applied.

    An update is relative to the base and replaces any earlier update.

    Args:
        base: The base message.
        update: The update message, or None.
        limits: Bounds on the bitstreams and on the network.
        resolver: Finds networks that are named by URI.
        store: Keeps the weights of large networks in files.

    Returns:
        The network, not yet checked.

    Raises:
        BitstreamError: A bitstream is broken.
        UnsupportedFeatureError: It, or the way it is sent, is not implemented.
        LimitExceededError: It is over a limit.
        ModelError: The tensors do not fit the graph, or there is no graph.

    Spec: Rec. ITU-T H.274 (V4) clause 8.28.1.2, nnpfc_base_flag and nnpfc_mode_idc.
    """
    data = _bitstream(base, resolver)
    limits.require("max_bitstream_bytes", len(data), "bytes of the network")
    if update is None and store is not None:
        stored = unpack_stored(data, store, limits=limits)
        if stored is not None:
            return stored
    received = receive(data, limits=limits)
    before = received.network
    if update is not None:
        data = _bitstream(update, resolver)
        limits.require("max_bitstream_bytes", len(data), "bytes of the update")
        received = receive(data, received, limits=limits)
    if received.network is None:
        raise ModelError("the NNC bitstream carries no topology; give the graph separately")
    network = _with_valid_ranges(received.network, before)
    return network if store is None else keep(network, store)


def _with_valid_ranges(network: Network, before: Network | None) -> Network:
    """Drops ranges that were measured on other weights: an update of the weights brings its own."""
    if before is None or before is network or RANGES_TENSOR not in network.tensors:
        return network
    same = {
        name: np.array_equal(value, before.tensors.get(name, np.empty(0)))
        for name, value in network.tensors.items()
    }
    stale = same.pop(RANGES_TENSOR) and not all(same.values())
    return without_ranges(network) if stale else network


def load_network(
    network: Network,
    properties: Nnpfc,
    source: PictureFormat,
    backend: InferenceBackend,
    *,
    limits: Limits,
    precision: PrecisionPolicy | None = None,
    observe: Sequence[str] = (),
    store: WeightStore | None = None,
) -> LoadedNetwork:
    """Checks a network and makes a session of it.

    Args:
        network: Decoded, not trusted.
        properties: The message whose properties hold.
        source: Format of the pictures to filter.
        backend: Runs the network.
        limits: Bounds on the network.
        precision: Chooses the numbers to compute in; real ones if absent.
        observe: Values inside that become further outputs, for measuring.
        store: Keeps the weights of large networks in files, where the backend can map them.

    Raises:
        ModelError: Lists everything that is wrong with the network.
        BitstreamError: The message is not legal for such pictures.
        UnsupportedFeatureError: Not implemented.
        LimitExceededError: Over a limit.
        InferenceError: The backend does not take it.
    """
    check(network, limits=limits)
    contract = check_against_nnpfc(network, properties, source, limits=limits)
    target = characteristics.output_format(properties, source, limits)
    precision = precision or PrecisionPolicy(Precision.FP32, backend)
    chosen = precision.choose(network)
    preparation = partial(
        prepare,
        network,
        contract,
        input_bit_depth=source.bit_depth,
        output_bit_depth=target.bit_depth,
        ranges=chosen.ranges,
        observe=observe,
    )
    prepared, session = _session(preparation, network, backend, store)
    layout = characteristics.input_tensor(properties)
    if prepared.input_dtype.kind != "f":
        # The graph converts samples by itself.
        layout = replace(
            layout,
            format_idc=FORMAT_INTEGER,
            luma_bit_depth=prepared.input_bit_depth,
            chroma_bit_depth=prepared.input_bit_depth,
        )
    output = replace(
        characteristics.output_tensor(properties),
        format_idc=FORMAT_INTEGER,
        luma_bit_depth=prepared.output_bit_depth,
        chroma_bit_depth=prepared.output_bit_depth,
    )
    width, height = contract.nominal_patch()
    positions = (width + 2 * contract.overlap) * (height + 2 * contract.overlap)
    peak = measure(network, contract=contract, limits=limits).peak_bytes
    per_position = -(-_ARENA_FACTOR * peak // positions)
    return LoadedNetwork(
        session,
        layout,
        output,
        per_position,
        chosen,
        reach_of(network),
        takes_picture_whole(network, contract, source, limits=limits),
    )


def _session(
    preparation: Callable[..., Prepared],
    network: Network,
    backend: InferenceBackend,
    store: WeightStore | None,
) -> tuple[Prepared, Session]:
    """The session of a network, with its large weights mapped where that can be."""
    if store is not None and isinstance(backend, MappingBackend):
        with store.opened(stored_bytes(network.tensors)) as opened:
            if opened is not None:
                prepared = preparation(store=opened)
                try:
                    session = backend.load_mapped(prepared.model, prepared.arrays, opened.folder)
                except InferenceError as error:
                    # Files can fail where memory does not; the network's own faults come again.
                    _log.warning("weights stay in memory, they cannot be mapped: %s", error)
                else:
                    return prepared, session
    prepared = preparation()
    return prepared, backend.load(prepared.model, prepared.arrays)


def _bitstream(message: Nnpfc, resolver: Resolver | None) -> bytes:
    if message.nnpfc_mode_idc == MODE_PAYLOAD:
        return message.nnpfc_payload_byte
    if message.nnpfc_mode_idc != MODE_URI:
        raise UnsupportedFeatureError(f"nnpfc_mode_idc {message.nnpfc_mode_idc} is reserved")
    if message.nnpfc_tag_uri != NNC_TAG_URI:
        raise UnsupportedFeatureError(f"a network of the format {message.nnpfc_tag_uri[:200]!r}")
    found = resolver(message.nnpfc_tag_uri, message.nnpfc_uri) if resolver else None
    if found is None:
        raise UnsupportedFeatureError(
            f"the network is named by a URI, which is not followed: {message.nnpfc_uri[:200]!r}"
        )
    return found
