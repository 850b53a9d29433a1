# SPDX-License-Identifier: Apache-2.0
"""Writes the inputs that fuzzing starts from: ``seeds.py FOLDER`` fills ``FOLDER/<target>``.

Native targets need none: their inputs have no syntax that a fuzzer would not find.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from nnrvideo.carriage import NalFraming, carriage_for
from nnrvideo.carriage.nal import split_annexb
from nnrvideo.model import infer_contract, load_onnx, pack, to_nnpfc
from nnrvideo.nnc import (
    DecoderState,
    EncodeSettings,
    TopologyPayload,
    decode,
    encode,
    encode_update,
)
from nnrvideo.sei import (
    Nnpfa,
    UserDataRegisteredT35,
    UserDataUnregistered,
    message_of,
    pack_records,
    write_sei_rbsp,
)

sys.path.insert(0, str(Path(__file__).resolve().parent))
from targets import CODECS, NEXT

FROZEN = Path(__file__).resolve().parents[1] / "conformance" / "data" / "nnc"


def nnc() -> Iterator[bytes]:
    """Streams of the encoder, and the frozen ones, which hold what it does not write."""
    rng = np.random.default_rng(1)
    tensors = {
        "w": rng.normal(0, 0.1, (6, 4, 3, 3)).astype(np.float32),
        "b": rng.normal(0, 0.1, 6).astype(np.float32),
        "n": np.arange(-4, 5, dtype=np.int32).reshape(3, 3),
    }
    tensors["w"][2] = 0
    for settings in (
        EncodeSettings(),
        EncodeSettings(profile=0, node_ids=False),
        EncodeSettings(scan_order=1, dependent_quantisation=False, cabac_unary_length_minus1=0),
        EncodeSettings(lossless=True),
        EncodeSettings(search=False, rate_weight=0.1, qp=-20, qp_density=5),
        EncodeSettings(qp=-20, max_unit_bytes=40),
    ):
        yield encode(tensors, settings)
    yield encode(tensors, topology=TopologyPayload(data=b"graph"))
    yield encode(tensors, topology=TopologyPayload(0, 0, b"text"))
    yield NEXT.join(predicted(tensors))
    for path in sorted(FROZEN.glob("*.nnc")):
        yield path.read_bytes()
    yield NEXT.join(path.read_bytes() for path in sorted(FROZEN.glob("sequence.*.nnc")))


def predicted(tensors) -> Iterator[bytes]:
    """A base and updates that are residuals of their prediction."""
    state = DecoderState()
    data = encode(tensors, EncodeSettings(qp=-20))
    for number in range(3):
        yield data
        decode(data, state=state)
        moved = {name: value // 2 + number for name, value in tensors.items()}
        data = encode_update(moved, state, EncodeSettings(qp=-12), predict="always")


def networks() -> Iterator[bytes]:
    """Small networks of several kinds."""
    rng = np.random.default_rng(2)

    def model(nodes, weights, dims=(1, 1, "h", "w"), opset=17) -> bytes:
        graph = helper.make_graph(
            [helper.make_node(*node[:3], **node[3]) for node in nodes],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(dims))],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        )
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()

    def weight(*shape):
        return rng.normal(size=shape).astype(np.float32)

    yield model(
        [
            ("Conv", ["x", "w", "b"], ["c"], {"pads": [1, 1, 1, 1]}),
            ("Relu", ["c"], ["r"], {}),
            ("DepthToSpace", ["r"], ["y"], {"blocksize": 2, "mode": "CRD"}),
        ],
        {"w": weight(4, 1, 3, 3), "b": weight(4)},
    )
    yield model(
        [
            ("Pad", ["x", "pads"], ["p"], {"mode": "reflect"}),
            ("Conv", ["p", "w"], ["c"], {"dilations": [2, 2]}),
            ("PRelu", ["c", "s"], ["q"], {}),
            ("ConvTranspose", ["q", "t"], ["u"], {"strides": [2, 2]}),
            ("Clip", ["u", "low", "high"], ["y"], {}),
        ],
        {
            "pads": np.array([0, 0, 2, 2, 0, 0, 2, 2]),
            "w": weight(3, 3, 3, 3),
            "s": weight(3, 1, 1),
            "t": weight(3, 3, 2, 2),
            "low": np.float32(0),
            "high": np.float32(1),
        },
        (1, 3, "h", "w"),
    )
    yield model(
        [
            ("Resize", ["x", "", "scales"], ["r"], {"mode": "linear"}),
            ("Shape", ["r"], ["s"], {}),
            ("Gather", ["s", "i"], ["g"], {}),
            ("Slice", ["r", "from", "g", "i"], ["c"], {}),
            ("Add", ["c", "bias"], ["y"], {}),
        ],
        {
            "scales": np.array([1, 1, 2, 2], np.float32),
            "i": np.array([2, 3]),
            "from": np.array([0, 0]),
            "bias": weight(1, 1, 1, 1),
        },
    )
    yield model(
        [
            ("Reshape", ["x", "shape"], ["a"], {}),
            ("Transpose", ["a"], ["t"], {"perm": [0, 3, 1, 2]}),
            ("GlobalAveragePool", ["t"], ["m"], {}),
            ("Mul", ["t", "m"], ["v"], {}),
            ("ReduceMean", ["v"], ["e"], {"axes": [1], "keepdims": 1}),
            ("Sigmoid", ["e"], ["y"], {}),
        ],
        {"shape": np.array([0, 0, -1, 4])},
        (1, 2, 16, 16),
    )


def model() -> Iterator[bytes]:
    """Each network as a file, and as the skeleton that travels in a stream."""
    for data in networks():
        yield data
        yield load_onnx(data).topology.skeleton


def sei() -> Iterator[bytes]:
    """Messages alone and together; the first byte tells fuzz_sei which form follows."""
    network = load_onnx(next(networks()))
    base = to_nnpfc(infer_contract(network), None, nnpfc_id=7, payload=b"network")
    update = replace(base, nnpfc_base_flag=False)
    uri = replace(
        base, nnpfc_mode_idc=1, nnpfc_tag_uri="tag:x", nnpfc_uri="https://x", nnpfc_payload_byte=b""
    )
    rate = replace(
        base,
        nnpfc_purpose=base.nnpfc_purpose | 0x08,
        nnpfc_num_input_pics_minus1=1,
        nnpfc_input_pic_filtering_flag=(True, False),
        nnpfc_interpolated_pics=(2,),
    )
    payloads = [
        base,
        update,
        uri,
        rate,
        Nnpfa.activate(7),
        Nnpfa.cancel(7),
        UserDataUnregistered(UUID(bytes=bytes(range(16))), b"words"),
        UserDataRegisteredT35(0xB5, b"\0\x3c"),
    ]
    messages = []
    for payload in payloads:
        message = message_of(payload)
        messages.append(message)
        yield bytes([message.payload_type]) + message.payload
    yield b"\0" + pack_records(messages)
    yield b"\1" + write_sei_rbsp(messages)
    stream = replace(base, nnpfc_payload_byte=pack(network))
    yield b"\0" + pack_records([message_of(stream), message_of(Nnpfa.activate(7))])


# Parameter sets and a key frame of each codec, from small films.
_VVC = Path(__file__).resolve().parents[1] / "conformance" / "data" / "vvc"
_UNITS = {
    "h264": "00000001674d400a eca2c4ec044000000300400000 0c03c489658000000168efbcb200000165888404",
    "hevc": "00000001460150 000000014201010160000003009000000300000300 1e"
    "a0904184b2dd29 000000014401c1 0000000126 01af13",
    "av1": "1200 0a0b00000004 3cfebc4af90040 320a10 00aabbccddeeff0011",
}


def carriage() -> Iterator[bytes]:
    """Access units of every codec with messages, in start codes and length fields."""
    network = load_onnx(next(networks()))
    base = to_nnpfc(infer_contract(network), None, nnpfc_id=7, payload=b"network")
    messages = [message_of(base), message_of(Nnpfa.activate(7))]
    for number, codec in enumerate(CODECS):
        unit = bytes.fromhex(_UNITS[codec]) if codec in _UNITS else None
        for path in sorted(_VVC.glob("*.266")) if unit is None else [None]:
            data = path.read_bytes()[:400] if path is not None else unit
            assert data is not None
            with_messages = carriage_for(codec).insert(data, messages)
            yield bytes([number, 0]) + with_messages
            yield bytes([number, 0]) + data
            if codec == "av1":
                record = bytes.fromhex("81000c00") + data[2:15] + with_messages[15:-12]
                yield bytes([number, len(record) % 256]) + record[:255] + with_messages
                continue
            framing = NalFraming(4)
            units = [with_messages[s.start : s.end] for s in split_annexb(with_messages)]
            record = {
                "h264": bytes.fromhex("014d400affe100"),
                "hevc": bytes(21) + bytes([3, 1, 0x27, 0, 1, 0, 4]) + bytes.fromhex("4e010180"),
                "vvc": bytes.fromhex(
                    "ff00351f020233c000c0404101deadbeef00b00090000001 8c00030061 10"
                ),
            }[codec]
            sample = b"".join(map(framing.frame, units))
            yield bytes([number, len(record)]) + record + sample


def main() -> None:
    """Writes all seeds."""
    kinds = (("nnc", nnc), ("model", model), ("sei", sei), ("carriage", carriage))
    for name, seeds in kinds:
        folder = Path(sys.argv[1]) / name
        folder.mkdir(parents=True, exist_ok=True)
        for index, data in enumerate(seeds()):
            (folder / f"seed-{index:02}").write_bytes(data)


if __name__ == "__main__":
    main()
