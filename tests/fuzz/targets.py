# SPDX-License-Identifier: Apache-2.0
"""Fuzz targets on the Python side: bytes in, nothing out but the errors of ``nnrvideo.errors``.

A plain module without atheris, so that test_corpus.py replays what the fuzzer found.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper

from nnrvideo import nnc
from nnrvideo.carriage import FILTER_PAYLOAD_TYPES, carriage_for, picture_order
from nnrvideo.errors import NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.model import (
    Network,
    Topology,
    check,
    check_against_nnpfc,
    contract_from_nnpfc,
    infer_contract,
    load_onnx,
    prepare,
    to_nnpfc,
)
from nnrvideo.picture import ChromaFormat, PictureFormat
from nnrvideo.sei import (
    FilterState,
    Nnpfc,
    SeiMessage,
    UnknownSei,
    check_picture,
    interpret,
    message_of,
    num_output_pictures,
    output_format,
    parse_nnpfc,
    parse_records,
    parse_sei_rbsp,
    validate_nnpfc,
)
from nnrvideo.tensors import TensorSet

# Small, so that an input costs little, and so that limits are met often.
LIMITS = Limits(
    max_bitstream_bytes=1 << 16,
    max_unit_bytes=1 << 15,
    max_units=64,
    max_tensors=32,
    max_dimensions=6,
    max_elements=2048,
    max_total_elements=4096,
    max_string_bytes=64,
    max_codebook_size=256,
    max_topology_bytes=1 << 14,
    max_nodes=40,
    max_activation_elements=1 << 20,
    max_macs_per_sample=1 << 20,
    max_parameters=1 << 14,
    max_payload_bytes=1 << 12,
    max_messages=16,
    max_filters=4,
    max_picture_samples=1 << 16,
    max_input_pictures=8,
)
NEXT = b"\xffNEXT"  # between the bitstreams of a sequence
PICTURE = PictureFormat(64, 48, ChromaFormat.C420)


def fuzz_nnc(data: bytes) -> None:
    """Whole bitstreams, several of which may share a receiver's memory."""
    state = nnc.DecoderState()
    for stream in data.split(NEXT)[:4]:
        before = state.fork()
        try:
            decoded = nnc.decode(stream, state=state, limits=LIMITS)
        except NnrVideoError as error:
            well_told(error)
            continue
        # What was accepted can be written again and is the same then.
        again = nnc.decode(nnc.recode(decoded), state=before, limits=LIMITS)
        assert again.tensors.fingerprint() == decoded.tensors.fingerprint()
        assert again.is_update == decoded.is_update
        try:
            decoded.network_tensors()
        except NnrVideoError as error:
            well_told(error)


def fuzz_sei(data: bytes) -> None:
    """Messages one by one, and all of them through the state machine of a receiver."""
    form, body = data[:1], data[1:]
    try:
        if form in {b"\0", b""}:
            messages = parse_records(body, LIMITS)
        elif form == b"\1":
            messages = parse_sei_rbsp(body, LIMITS)
        else:
            messages = [SeiMessage(form[0], body)]
    except NnrVideoError as error:
        return well_told(error)
    for message in messages:
        try:
            payload = interpret(message, LIMITS)
        except NnrVideoError as error:
            well_told(error)
            continue
        # What was read can be written and reads the same.
        written = message_of(payload)
        assert interpret(written, LIMITS) == payload
        if isinstance(payload, UnknownSei):
            assert written == message
        if isinstance(payload, Nnpfc):
            _use(payload)
    state = FilterState(LIMITS)
    for pts, message in enumerate(messages):
        # Every second message joins the access unit of the one before it.
        state.access_unit(pts // 2, [message], clvs_start=pts % 4 == 0)
        for found in state.active(pts // 2):
            assert found.base.nnpfc_id == found.nnpfc_id
    state.flush()
    return None


CODECS = ("h264", "hevc", "vvc", "av1")
_ADDED = SeiMessage(211, b"\x10\xc5")


def fuzz_carriage(data: bytes) -> None:
    """An access unit behind its codec and, after its length, the configuration record."""
    if len(data) < 2:
        return None
    codec, record, unit = CODECS[data[0] % 4], data[2 : 2 + data[1]], data[2 + data[1] :]
    try:
        carriage = carriage_for(codec, record, limits=LIMITS)
    except NnrVideoError as error:
        return well_told(error)
    order = picture_order(codec, record)
    for action in (
        carriage.configuration_messages,
        carriage.strip_configuration,
        lambda: carriage.is_clvs_start(unit, first=True),
        lambda: carriage.is_random_access(unit),
        lambda: carriage.ends_sequence(unit),
        lambda: order and order.key(unit),
        lambda: order and order.key(unit),
    ):
        try:
            action()
        except NnrVideoError as error:
            well_told(error)
    try:
        found = carriage.messages(unit)
        stripped = carriage.strip(unit)
        added = carriage.insert(unit, [_ADDED])
    except NnrVideoError as error:
        return well_told(error)
    assert carriage.strip(stripped) == stripped
    try:
        assert not FILTER_PAYLOAD_TYPES & {m.payload_type for m in carriage.messages(stripped)}
    except NnrVideoError as error:
        well_told(error)  # only what cannot be read is left
    if len(found) < LIMITS.max_messages:
        assert sorted(map(repr, carriage.messages(added))) == sorted(map(repr, [*found, _ADDED]))
    return None


def fuzz_model(data: bytes) -> None:
    """A topology, with zeros for weights, on its way to an inference session."""
    try:
        load_onnx(data, limits=LIMITS)
    except NnrVideoError as error:
        well_told(error)
    try:
        topology = Topology.parse(data, limits=LIMITS)
        assert Topology.parse(topology.skeleton, limits=LIMITS).skeleton == topology.skeleton
        if sum(math.prod(tensor.shape) for tensor in topology.tensors) > LIMITS.max_parameters:
            return  # no bitstream within the limits has these weights
        zeros = {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in topology.tensors}
        network = Network(topology, TensorSet(zeros))
        check(network, limits=LIMITS)
        contract = infer_contract(network, limits=LIMITS)
        prepare(network, contract, input_bit_depth=8, output_bit_depth=10)
        message = to_nnpfc(contract, None, nnpfc_id=7, payload=b"payload")
        assert parse_nnpfc(message.to_payload()) == message
        # A sender describes a network; a receiver must come to the same understanding.
        check_against_nnpfc(network, message, PICTURE, limits=LIMITS)
    except NnrVideoError as error:
        well_told(error)


def well_told(error: NnrVideoError) -> None:
    """Errors end up in logs, one line each, and what a stream says must not flood them."""
    text = str(error)
    assert text
    assert len(text) < 20_000


def _use(message: Nnpfc) -> None:
    try:
        validate_nnpfc(message)
    except NnrVideoError as error:
        return well_told(error)
    for action in (
        lambda: check_picture(message, PICTURE, LIMITS),
        lambda: output_format(message, PICTURE),
        lambda: num_output_pictures(message),
        lambda: contract_from_nnpfc(message, _GRAPH),
    ):
        try:
            action()
        except NnrVideoError as error:
            well_told(error)
    return None


def _doubling() -> bytes:
    nodes = [
        helper.make_node("Concat", ["x", "x", "x", "x"], ["many"], axis=1),
        helper.make_node("DepthToSpace", ["many"], ["y"], blocksize=2),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, *size])
        for name, size in (("x", ["h", "w"]), ("y", ["H", "W"]))
    ]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


_GRAPH = Topology.parse(_doubling()).graph

TARGETS: dict[str, Callable[[bytes], None]] = {
    "nnc": fuzz_nnc,
    "sei": fuzz_sei,
    "carriage": fuzz_carriage,
    "model": fuzz_model,
}
