# SPDX-License-Identifier: Apache-2.0
"""Streams made to hurt: each must be refused by its own class of error, before it costs."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from nnrvideo import (
    BitstreamError,
    LimitExceededError,
    Limits,
    TruncatedError,
    UnsupportedFeatureError,
    nnc,
)
from nnrvideo.bits import BitWriter

START = bytes.fromhex("00040201")
MPS = bytes.fromhex("0008068100400080")
INDEXED_MPS = bytes.fromhex("0008068180400080")


def _unit(unit_type, *fields, pad=b""):
    """A unit out of (descriptor, value, argument) triples."""
    w = BitWriter()
    for descriptor, *arguments in fields:
        getattr(w, descriptor)(*arguments)
    w.align_one()
    content = w.to_bytes() + pad
    size = 3 + len(content)
    return size.to_bytes(2, "big") + bytes([unit_type << 2 | 2]) + content


def _ndu(*fields, payload_type=1, multiple=0, pad=b"\xfe\x80"):
    head = [("u", payload_type, 5), ("u", multiple, 1), ("u", 0, 1), ("u", 1, 1)]
    return START + MPS + _unit(5, *head, *fields, pad=pad)


def _single(*fields, **kwargs):
    """A FLOAT unit named "w" without node ids, up to and including dq_flag."""
    name = [("st", "w"), ("u", 0, 1), ("u", 0, 1), ("u", 0, 1)]
    return _ndu(*name, *fields, **kwargs)


def _part(counter, content, *, unit_type=5, flag=2):
    """A unit that says that so many further ones follow with the rest of its data."""
    size = (4 + len(content)).to_bytes(2, "big")
    return size + bytes([unit_type << 2 | flag | 1, counter]) + content


def _shape(*sizes):
    return [("u", 0b10, 2), ("u", 0, 4), ("uek", len(sizes), 1), *[("uek", n, 7) for n in sizes]]


CASES = {
    "nothing": (b"", TruncatedError),
    "size 0": (START + bytes(8), BitstreamError),
    "size 1": (START + b"\0\1" + bytes(8), BitstreamError),
    "long size 4": (START + b"\x80\0\0\4" + bytes(8), BitstreamError),
    "2 GiB unit": (START + b"\xff\xff\xff\xff" + bytes(8), LimitExceededError),
    "text without end": (START + MPS + b"\0\x08\x16\x09abcd", TruncatedError),
    "2^33 ids": (_ndu(("uek", 2**33, 7), payload_type=3, multiple=1), BitstreamError),
    "endless Exp-Golomb": (_ndu(("st", "w"), ("u", 1, 1), ("u", 0, 64)), BitstreamError),
    "no dimensions": (_single(*_shape()), BitstreamError),
    "2^40 elements": (_single(*_shape(1 << 20, 1 << 20)), LimitExceededError),
    "0 x 2^38 elements": (_single(*_shape(0, 1 << 38)), LimitExceededError),
    "2^31 rows of nothing": (_single(*_shape(1 << 31, 0)), LimitExceededError),
    "17 dimensions": (_single(*_shape(*[1] * 17)), LimitExceededError),
    "2^33 dimensions": (
        _single(("u", 0b10, 2), ("u", 0, 4), ("uek", 2**33, 1)),
        LimitExceededError,
    ),
    "scan order 15": (_single(*_shape(9, 9), ("uek", 0, 1), ("u", 15, 4)), BitstreamError),
    "2^17 entry points": (
        _single(*_shape(1 << 20, 2), ("uek", 0, 1), ("u", 1, 4)),
        BitstreamError,
    ),
    "2^33 codebook entries": (
        _ndu(("st", "w"), ("u", 0, 1), ("u", 1, 1), ("u", 0, 4), ("uek", 2**33, 2)),
        LimitExceededError,
    ),
    "codebook of nothing": (
        _ndu(("st", "w"), ("u", 0, 1), ("u", 1, 1), ("u", 0, 4), ("uek", 0, 2), ("iek", 0, 2)),
        BitstreamError,
    ),
    "zero entry outside": (
        _ndu(
            ("st", "w"), ("u", 0, 1), ("u", 1, 1), ("u", 0, 4), ("uek", 2, 2), ("iek", 5, 2),
            ("u", 0, 30),
        ),
        BitstreamError,
    ),
    "reserved alignment": (START + bytes.fromhex("00080681004000c0"), BitstreamError),
    "bytes after the MPS": (START + bytes.fromhex("0009068100400080ff"), BitstreamError),
    "map count 0": (START + _unit(1, ("u", 0b1100, 4), ("u", 0, 28), ("u", 0, 20)), BitstreamError),
    "index without list": (
        START + INDEXED_MPS + _unit(5, ("u", 0b00001_001, 8), ("uek", 3, 7)),
        BitstreamError,
    ),
    "first edition parent": (
        bytes.fromhex("00040200") + MPS + _ndu(("st", "w"))[12:],
        BitstreamError,
    ),
    "part without others": (START + MPS + _part(3, b"x"), TruncatedError),
    "256 empty parts": (
        START + MPS + b"".join(_part(255 - n, b"") for n in range(256)),
        TruncatedError,
    ),
    "part that comes twice": (START + MPS + _part(3, b"x") * 2, BitstreamError),
    "part too far": (START + MPS + _part(3, b"x") + _part(1, b"x"), BitstreamError),
    "part that goes back": (START + MPS + _part(3, b"x") + _part(9, b"x"), BitstreamError),
    "part of something else": (
        START + MPS + _part(3, b"x") + _part(2, b"x", unit_type=3),
        BitstreamError,
    ),
    "parts cut by a unit": (START + MPS + _part(3, b"x") + MPS, BitstreamError),
    "rest of what was lost": (
        START + MPS + _part(1, b"\xff" * 9, flag=0) + _part(0, b"x", flag=0),
        BitstreamError,
    ),
    "no byte for the counter": (START + MPS + b"\0\3\x17", TruncatedError),
    "spread start": (_part(1, b"\1", unit_type=0), UnsupportedFeatureError),
    "spread LPS": (START + MPS + _part(1, b"\0", unit_type=2), UnsupportedFeatureError),
    "empty codeword": (_single(*_shape(2, 2), ("uek", 0, 1), ("u", 0, 4), pad=b""), BitstreamError),
    "all ones": (
        _single(*_shape(2, 2), ("uek", 0, 1), ("u", 0, 4), pad=b"\xff" * 400),
        BitstreamError,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused_cheaply(case):
    data, error = CASES[case]
    tracemalloc.start()
    try:
        with pytest.raises(error, match=r"NNC unit \d+"):
            nnc.decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_many_weights_in_few_bytes_are_bounded_by_the_sum():
    """A codeword may stand for 800 zeros a byte; only limits bound what a stream asks for."""
    unit = _single(*_shape(8192, 8192), ("uek", 0, 1), ("u", 0, 4))[12:]
    with pytest.raises(LimitExceededError, match="max_total_elements"):
        nnc.decode(START + MPS + unit * 5)


def test_a_unit_of_every_type_filled_with_every_byte():
    for unit_type in range(64):
        for fill in range(0, 256, 15):
            data = START + MPS + b"\0\x40" + bytes([unit_type << 2]) + bytes([fill]) * 61
            try:
                nnc.decode(data)
            except (BitstreamError, LimitExceededError, UnsupportedFeatureError):
                continue


def test_parts_do_not_add_up_to_more_than_a_unit_may_have():
    """Each alone is within the limit of a unit."""
    limits = Limits(max_unit_bytes=1 << 16)
    content = bytes((1 << 15) - 100)
    parts = [_part(255 - number, content) for number in range(256)]
    with pytest.raises(LimitExceededError, match=r"NNC unit 2 \(NNR_NDU.*parts of a unit in bytes"):
        nnc.decode(START + MPS + b"".join(parts), limits=limits)


def test_predictions_of_nothing():
    """A prediction flag, and no node, no update before, or not the update before."""
    update = nnc.encode_update(
        {"w": np.ones((3, 3), np.float32)}, nnc.DecoderState(), predict="always"
    )
    start, mps, data = nnc.parse_units(update)
    for change, message in (
        ({"node_id": None, "parent": None}, "the prediction of 'w' needs node ids"),
        ({"node_id": nnc.NodeId(0, 0, 9)}, "put_node_depth: update .* follows others"),
    ):
        stream = nnc.write_units([start, mps, replace(data, **change)])
        with pytest.raises(BitstreamError, match=rf"NNC unit 2 .*{message}"):
            nnc.decode(stream)
    state = nnc.DecoderState()
    nnc.decode(update, state=state)
    with pytest.raises(BitstreamError, match="put_node_depth: update .* does not follow"):
        nnc.decode(update, state=state)
