# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnrvideo.descriptors import Form, Header, Interoperable, Segment, read_stream, write_stream
from nnrvideo.descriptors.stream import MAGIC, MAX_UNIT_BYTES, StreamWriter
from nnrvideo.errors import BitstreamError, LimitExceededError, TruncatedError

HEADER = Header(
    bytes(range(32)), Form(256, 4), 64, 64, 30, 0.25, Fraction(1, 90_000), True,
    (Interoperable(b"\1" * 32, 0.9, 0.95, 0.91),),
)  # fmt: skip


def segment(header, count=5, seed=0, start=0):
    generator = np.random.default_rng(seed)
    scene = generator.normal(size=max(header.form.bits, header.dimensions))
    rows = scene + 0.6 * generator.normal(size=(count, scene.size))
    if header.form.bits:
        values = np.packbits(rows[:, : header.form.bits] > 0, axis=1)
    else:
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        values = np.rint(rows * 1024).astype(np.int16)
    pdq = generator.integers(0, 256, (count, 32), dtype=np.uint8) if header.pdq else None
    times = start + np.cumsum(generator.integers(1, 9000, count))
    quality = generator.integers(0, 101, count).astype(np.uint8)
    return Segment(start, int(times[-1]) + 100, times, quality, values, pdq)


def same(a, b):
    return (
        (a.start, a.end) == (b.start, b.end)
        and np.array_equal(a.times, b.times)
        and np.array_equal(a.quality, b.quality)
        and np.array_equal(a.values, b.values)
        and (a.pdq is b.pdq is None or np.array_equal(a.pdq, b.pdq))
    )


@given(
    bits=st.sampled_from([0, 256, 512, 1024]),
    pdq=st.booleans(),
    count=st.integers(1, 9),
    seed=st.integers(0, 1000),
    start=st.integers(-(1 << 40), 1 << 40),
)
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read(bits, pdq, count, seed, start):
    header = replace(HEADER, form=Form(bits, 1), pdq=pdq)
    written = [header, segment(header, count, seed, start), segment(header, 1, seed + 1, start)]
    data = write_stream(written)
    read = list(read_stream(data))
    assert read[0] == replace(header, threshold=read[0].threshold)
    assert read[0].threshold == pytest.approx(header.threshold, abs=1e-4)
    assert all(same(a, b) for a, b in zip(written[1:], read[1:], strict=True))
    assert write_stream(read) == data


def test_prediction_saves_bytes():
    header = replace(HEADER, pdq=False, form=Form(1024, 4))
    generator = np.random.default_rng(0)
    bits = generator.random(1024) < 0.5
    rows = bits ^ (generator.random((10, 1024)) < 0.08)
    times = np.arange(10, dtype=np.int64)
    alike = Segment(0, 10, times, np.zeros(10, np.uint8), np.packbits(rows, axis=1))
    writer = StreamWriter()
    writer.unit(header)
    assert len(writer.unit(alike)) < 0.75 * alike.values.nbytes


def test_unknown_units_are_skipped():
    data = write_stream([HEADER, segment(HEADER)])
    extended = data + bytes([77]) + (3).to_bytes(4, "big") + b"abc"
    assert len(list(read_stream(extended))) == 2


def test_a_new_header_counts_from_there_on():
    other = replace(HEADER, model_id=b"z" * 32, form=Form(0, 1))
    items = [HEADER, segment(HEADER), other, segment(other)]
    read = list(read_stream(write_stream(items)))
    assert read[2].model_id == b"z" * 32
    assert read[3].values.dtype == np.int16


@pytest.mark.parametrize("form", [Form(0, 4), Form(256, 4)])
def test_damage_raises_our_errors_only(form):
    header = replace(HEADER, form=form)
    data = write_stream([header, segment(header), segment(header, 3, 1, 50_000)])
    generator = np.random.default_rng(1)
    refused = 0
    for _ in range(1500):
        damaged = bytearray(data)
        for _ in range(generator.integers(1, 4)):
            damaged[generator.integers(0, len(damaged))] ^= 1 << generator.integers(8)
        cut = bytes(damaged[: generator.integers(0, len(damaged) + 1)])
        for hostile in (bytes(damaged), cut):
            try:
                list(read_stream(hostile))
            except (BitstreamError, LimitExceededError):
                refused += 1
    assert refused > 1500


def test_every_truncation_inside_a_unit_is_told():
    data = write_stream([HEADER, segment(HEADER)])
    ends = {len(MAGIC), len(MAGIC) + 5 + int.from_bytes(data[5:9], "big")}
    for size in set(range(len(MAGIC), len(data))) - ends:
        with pytest.raises(TruncatedError):
            list(read_stream(data[:size]))


def test_sizes_are_compared_before_anything_is_made():
    claimed = MAGIC + bytes([1]) + (MAX_UNIT_BYTES + 1).to_bytes(4, "big")
    with pytest.raises(LimitExceededError):
        list(read_stream(claimed))
    with pytest.raises(BitstreamError, match="without a header"):
        list(read_stream(MAGIC + bytes([1]) + (9).to_bytes(4, "big") + bytes(9)))
    with pytest.raises(BitstreamError, match="NVD"):
        list(read_stream(b"RIFF"))


def test_a_segment_must_fit_its_header():
    with pytest.raises(ValueError, match="header"):
        write_stream([segment(HEADER)])
    with pytest.raises(ValueError, match="fit"):
        write_stream([replace(HEADER, pdq=False), segment(HEADER)])
