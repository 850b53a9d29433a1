# SPDX-License-Identifier: Apache-2.0
"""The descriptor stream, ``.nvd``: written and read.  A format of nnrvideo, not that of CDVA.

All numbers are big-endian; ue(v) is the Exp-Golomb code of H.26x.

    stream()   "NVD" 0x01, then units: unit_type u(8), unit_size u(32), payload
    unit_type  0 header: valid for the segments up to the next header
               1 segment
               others are skipped by size

    header()                            segment()
    model_id                   u(256)     start_pts            i(64)   in time_base
    bits                       u(16)      duration             u(48)   in time_base, above 0
    dimensions                 u(16)      num_minus1           ue(v)
    rotations                  u(8)       reference            ue(v)   index of a key frame
    rate                       u(16)      for each key frame:
    min_quality                u(8)         pts_delta          ue(v)   from the one before
    threshold                  i(16)        quality            u(7)    0 to 100
    time_base_num, _den        u(32) x 2    predicted_flag     u(1)    absent for the reference
    pdq_flag, reserved         u(1), u(7) zero bits up to a whole byte
    num_interoperable          u(8)       codeword()
    for each of them:
      model_id                 u(256)
      cross_map, _tpr, own_map u(16) x 3  in 1/10000

    codeword(), one arithmetic codeword of NNC's engine (ISO/IEC 15938-17, deepCABAC):
      the reference: bits as bypass bins; levels as a tensor of one row
      the key frames that are predicted, less the reference (of bits: exclusive or), as a tensor
      the others as a tensor; of bits, as bypass bins
      with pdq_flag: the reference's hash as bypass bins, exclusive or of the others as a tensor
      terminating bin

A tensor of no rows is absent.  Levels are a real descriptor in steps of 2 ** -10; threshold is a
similarity in steps of 2 ** -15.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from nnrvideo.bits import BitReader, BitWriter
from nnrvideo.descriptors.extractor import Form
from nnrvideo.descriptors.keyframes import RATE_POINTS
from nnrvideo.descriptors.manifest import BITS, ID_BYTES, Interoperable
from nnrvideo.descriptors.pooling import STEP_BITS
from nnrvideo.entropy import (
    Decoder,
    Encoder,
    TensorChoices,
    TensorSpec,
    decoder,
    encoder,
    search_init_indices,
)
from nnrvideo.errors import BitstreamError, LimitExceededError, TruncatedError

Array = npt.NDArray[Any]

MAGIC: Final = b"NVD\x01"
MAX_UNIT_BYTES: Final = 1 << 22
MAX_KEY_FRAMES: Final = 4096  # of a segment
MAX_SEGMENTS: Final = 1 << 20  # of a stream
PDQ_BYTES: Final = 32

_HEADER: Final = 0
_SEGMENT: Final = 1
_MAX_DIMENSIONS: Final = 1024
_MAX_LEVEL: Final = (1 << STEP_BITS) + 1  # a number of a vector of norm 1
_UNARY: Final = 16
_WORTH: Final = 0.4  # share of bits that differ; above, the contexts cost what they save
_THRESHOLD: Final = 1 << 15
_FIGURE: Final = 10_000


@final
@dataclass(frozen=True, slots=True)
class Header:
    """What the descriptors are.

    Args:
        model_id: Of the model that made them, 32 bytes.
        form: Bits or real numbers, and rotations.
        dimensions: D of the model.
        rate: Name of the rate point.
        min_quality: Key frames below are not compared.
        threshold: Similarity above which key frames match.
        time_base: Seconds of one tick.
        pdq: Whether a PDQ hash goes with each key frame.
        interoperable: Models whose descriptors may be compared with these.
    """

    model_id: bytes
    form: Form
    dimensions: int
    rate: int
    min_quality: int
    threshold: float
    time_base: Fraction
    pdq: bool = False
    interoperable: tuple[Interoperable, ...] = ()

    @property
    def width(self) -> int:
        """Values of a descriptor: levels, or bytes of bits."""
        return self.form.bits // 8 if self.form.bits else self.dimensions


@final
@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Key frames of one scene.

    Args:
        start: First moment, in ticks of the header's time base.
        end: First moment after it.
        times: (n,) int64 ticks of the key frames, increasing, from ``start`` on.
        quality: (n,) uint8, 0 to 100.
        values: (n, D) int16 levels, or (n, bits / 8) uint8.
        pdq: (n, 32) uint8, or None.
    """

    start: int
    end: int
    times: npt.NDArray[np.int64]
    quality: npt.NDArray[np.uint8]
    values: Array = field(repr=False)
    pdq: npt.NDArray[np.uint8] | None = field(default=None, repr=False)

    def thinned(self) -> Segment:
        """The segment without every second key frame."""
        kept = slice(None, None, 2)
        pdq = None if self.pdq is None else self.pdq[kept]
        return Segment(
            self.start, self.end, self.times[kept], self.quality[kept], self.values[kept], pdq
        )


Item = Header | Segment


def write_stream(items: Iterable[Item]) -> bytes:
    """A whole stream.

    Args:
        items: A header before its segments.

    Raises:
        ValueError: A segment before any header, or one that does not fit it.
    """
    writer = StreamWriter()
    return MAGIC + b"".join(writer.unit(item) for item in items)


class StreamWriter:
    """Writes units, one at a time; ``MAGIC`` goes before the first."""

    def __init__(self) -> None:
        self._header: Header | None = None

    def unit(self, item: Item) -> bytes:
        """Codes a header or a segment.

        Raises:
            ValueError: No header came before, or the segment does not fit it.
        """
        if isinstance(item, Header):
            self._header = item
            kind, payload = _HEADER, _header_payload(item)
        elif self._header is None:
            raise ValueError("a segment needs a header before it")
        else:
            kind, payload = _SEGMENT, _segment_payload(item, self._header)
        return bytes([kind]) + len(payload).to_bytes(4, "big") + payload


def read_stream(data: bytes) -> Iterator[Item]:
    """Reads a stream from an untrusted source.

    Raises:
        BitstreamError: It is no descriptor stream, or damaged.
        LimitExceededError: A unit, or the number of key frames or segments, is too large.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise BitstreamError("no descriptor stream: it does not start with NVD", bit=0)
    position, segments = len(MAGIC), 0
    header: Header | None = None
    while position < len(data):
        place = f"unit at byte {position}"
        if position + 5 > len(data):
            raise TruncatedError("the stream ends inside a unit", unit=place, element="unit_size")
        kind = data[position]
        size = int.from_bytes(data[position + 1 : position + 5], "big")
        _require("MAX_UNIT_BYTES", size, MAX_UNIT_BYTES, f"bytes of the {place}")
        begin = position + 5
        position = begin + size
        if position > len(data):
            raise TruncatedError("the stream ends inside a unit", unit=place, element="unit_size")
        payload = data[begin:position]
        try:
            if kind == _HEADER:
                header = _parse_header(payload)
                yield header
            elif kind == _SEGMENT:
                segments += 1
                _require("MAX_SEGMENTS", segments, MAX_SEGMENTS, "segments")
                yield _parse_segment(payload, header)
        except BitstreamError as error:
            raise error.at(unit=place) from None


def _require(limit: str, value: int, allowed: int, what: str) -> None:
    if value > allowed:
        raise LimitExceededError(what, limit=limit, value=value, allowed=allowed)


def _header_payload(header: Header) -> bytes:
    out = BitWriter()
    out.bytes(header.model_id)
    out.u(header.form.bits, 16)
    out.u(header.dimensions, 16)
    out.u(header.form.rotations, 8)
    out.u(header.rate, 16)
    out.u(header.min_quality, 8)
    out.i(max(1 - _THRESHOLD, min(_THRESHOLD - 1, round(header.threshold * _THRESHOLD))), 16)
    out.u(header.time_base.numerator, 32)
    out.u(header.time_base.denominator, 32)
    out.u(int(header.pdq) << 7, 8)
    out.u(len(header.interoperable), 8)
    for each in header.interoperable:
        out.bytes(each.model_id)
        for figure in (each.cross_map, each.cross_tpr, each.own_map):
            out.u(round(figure * _FIGURE), 16)
    return out.to_bytes()


def _parse_header(data: bytes) -> Header:
    reader = BitReader(data)
    model_id = reader.bytes("model_id", ID_BYTES)
    bits = reader.u("bits", 16)
    dimensions = reader.u("dimensions", 16)
    rotations = reader.u("rotations", 8)
    rate = reader.u("rate", 16)
    min_quality = reader.u("min_quality", 8)
    threshold = reader.i("threshold", 16) / _THRESHOLD
    time_base = reader.u("time_base_num", 32), reader.u("time_base_den", 32)
    pdq = reader.flag("pdq_flag")
    reader.u("reserved", 7)
    for holds, element, value in (
        (bits in (0, *BITS), "bits", bits),
        (1 <= dimensions <= _MAX_DIMENSIONS, "dimensions", dimensions),
        (rotations in (1, 4), "rotations", rotations),
        (rate in RATE_POINTS, "rate", rate),
        (min_quality <= 100, "min_quality", min_quality),
        (all(time_base), "time_base", time_base),
    ):
        if not holds:
            raise BitstreamError(f"{value} is not a legal value", element=element)
    models = []
    for _ in range(reader.u("num_interoperable", 8)):
        other = reader.bytes("interoperable_model_id", ID_BYTES)
        figures = [reader.u(name, 16) for name in ("cross_map", "cross_tpr", "own_map")]
        if max(figures) > _FIGURE:
            raise reader.error("cross_map", "a figure is over 1")
        models.append(Interoperable(other, *(figure / _FIGURE for figure in figures)))
    if reader.bits_left:
        raise reader.error("header", "bytes are left after the header")
    return Header(
        model_id,
        Form(bits, rotations),
        dimensions,
        rate,
        min_quality,
        threshold,
        Fraction(*time_base),
        pdq,
        tuple(models),
    )


def _segment_payload(segment: Segment, header: Header) -> bytes:
    _check(segment, header)
    values = _expanded(segment.values, header)
    reference = _medoid(values)
    others = [index for index in range(len(values)) if index != reference]
    residual = _difference(values, values[reference], header)
    predicted = _pays(residual, values, header)
    out = BitWriter()
    out.i(segment.start, 64)
    out.u(segment.end - segment.start, 48)
    out.ue(len(values) - 1)
    out.ue(reference)
    before = segment.start
    for index, (time, quality) in enumerate(zip(segment.times, segment.quality, strict=True)):
        out.ue(int(time) - before)
        out.u(int(quality), 7)
        if index != reference:
            out.flag(bool(predicted[index]))
        before = int(time)
    out.align_zero()
    coder = encoder()
    _put_rows(coder, values[[reference]], bypass=bool(header.form.bits))
    _put_rows(coder, residual[[i for i in others if predicted[i]]])
    whole = values[[i for i in others if not predicted[i]]]
    _put_rows(coder, whole, bypass=bool(header.form.bits))
    if segment.pdq is not None:
        hashes = _unpacked(segment.pdq)
        _put_rows(coder, hashes[[reference]], bypass=True)
        _put_rows(coder, hashes[others] ^ hashes[reference])
    out.bytes(coder.terminate())
    return out.to_bytes()


def _check(segment: Segment, header: Header) -> None:
    count = len(segment.times)
    dtype = np.uint8 if header.form.bits else np.int16
    fits = (
        1 <= count <= MAX_KEY_FRAMES
        and segment.values.shape == (count, header.width)
        and segment.values.dtype == dtype
        and segment.quality.shape == (count,)
        and (segment.pdq is not None) == header.pdq
        and (segment.pdq is None or segment.pdq.shape == (count, PDQ_BYTES))
        and segment.start <= segment.times[0]
        and segment.times[-1] < segment.end
        and bool(np.all(np.diff(segment.times) > 0))
    )
    if not fits:
        raise ValueError("the segment does not fit its header")


def _parse_segment(data: bytes, header: Header | None) -> Segment:
    if header is None:
        raise BitstreamError("a segment without a header", element="unit_type")
    reader = BitReader(data)
    start = reader.i("start_pts", 64)
    end = start + reader.u("duration", 48)
    count = reader.ue("num_minus1") + 1
    _require("MAX_KEY_FRAMES", count, MAX_KEY_FRAMES, "key frames of a segment")
    reference = reader.ue("reference")
    if reference >= count:
        raise reader.error("reference", f"there is no key frame {reference} of {count}")
    times, quality, predicted = [], [], []
    time = start
    for index in range(count):
        delta = reader.ue("pts_delta")
        if index and not delta:
            raise reader.error("pts_delta", "two key frames at one time")
        time += delta
        times.append(time)
        quality.append(reader.u("quality", 7))
        predicted.append(index != reference and reader.flag("predicted_flag"))
    if time >= end:
        raise reader.error("pts_delta", "a key frame is outside its segment")
    if not -(1 << 63) <= end < 1 << 63:
        raise reader.error("duration", "the segment ends outside 64 bits")
    if max(quality) > 100:
        raise reader.error("quality", "a quality is over 100")
    reader.align_zero("alignment")
    codeword = reader.rest()
    coder = decoder(codeword)
    bits = header.form.bits
    columns = bits or header.dimensions
    values = np.empty((count, columns), np.int32)
    values[reference] = _get_rows(coder, 1, columns, bypass=bool(bits))[0]
    others = [index for index in range(count) if index != reference]
    first = [index for index in others if predicted[index]]
    last = [index for index in others if not predicted[index]]
    residual = _get_rows(coder, len(first), columns)
    _require_binary(residual, bits)
    values[first] = residual ^ values[reference] if bits else residual + values[reference]
    values[last] = _get_rows(coder, len(last), columns, bypass=bool(bits))
    if not bits and not (values.min() >= -_MAX_LEVEL and values.max() <= _MAX_LEVEL):
        raise BitstreamError("a level is outside -1025 to 1025", element="codeword")
    pdq = None
    if header.pdq:
        hashes = np.empty((count, 8 * PDQ_BYTES), np.int32)
        hashes[reference] = _get_rows(coder, 1, 8 * PDQ_BYTES, bypass=True)[0]
        changes = _get_rows(coder, len(others), 8 * PDQ_BYTES)
        _require_binary(changes, 1)
        hashes[others] = changes ^ hashes[reference]
        pdq = _packed(hashes)
    if coder.terminate() != len(codeword):
        raise BitstreamError("bytes are left after the codeword", element="codeword")
    return Segment(
        start,
        end,
        np.array(times, np.int64),
        np.array(quality, np.uint8),
        _packed(values) if bits else values.astype(np.int16),
        pdq,
    )


def _require_binary(values: Array, bits: int) -> None:
    if bits and values.size and not np.array_equal(values, values & 1):
        raise BitstreamError("a difference of bits is neither 0 nor 1", element="codeword")


def _expanded(values: Array, header: Header) -> npt.NDArray[np.int32]:
    return _unpacked(values) if header.form.bits else values.astype(np.int32)


def _unpacked(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    return np.unpackbits(values, axis=1).astype(np.int32)


def _packed(values: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    return np.packbits(values.astype(np.uint8), axis=1)


def _difference(values: Array, reference: Array, header: Header) -> npt.NDArray[np.int32]:
    found = values ^ reference if header.form.bits else values - reference
    return np.asarray(found, np.int32)


def _medoid(values: npt.NDArray[np.int32]) -> int:
    """The key frame that is nearest to all the others."""
    wide = values.astype(np.float64)
    square = np.einsum("nd,nd->n", wide, wide)
    products = np.einsum("nd,d->n", wide, wide.sum(axis=0))
    return int(np.argmin(len(wide) * square + square.sum() - 2 * products))


def _pays(residual: Array, values: Array, header: Header) -> npt.NDArray[np.bool_]:
    """For which key frames the difference is shorter to code than the descriptor itself."""
    if header.form.bits:
        share = residual.mean(axis=1)
        return np.asarray(np.minimum(share, 1 - share) < _WORTH)
    costs = [np.log2(1 + np.abs(levels)).sum(axis=1) for levels in (residual, values)]
    return np.asarray(costs[0] < costs[1])


def _put_rows(coder: Encoder, rows: npt.NDArray[np.int32], *, bypass: bool = False) -> None:
    if not len(rows):
        return
    if bypass:
        for word in np.packbits(rows.astype(np.uint8)).view(">u4"):
            coder.uae(int(word), 32)
        return
    spec = _spec(*rows.shape)
    rows = np.ascontiguousarray(rows)
    indices = search_init_indices(rows, spec)
    coder.tensor(rows, spec, TensorChoices(indices))


def _get_rows(
    coder: Decoder, count: int, columns: int, *, bypass: bool = False
) -> npt.NDArray[np.int32]:
    if not count:
        return np.empty((0, columns), np.int32)
    if bypass:
        words = [coder.uae(32) for _ in range(count * columns // 32)]
        packed = np.array(words, ">u4").view(np.uint8).reshape(count, columns // 8)
        return _unpacked(packed)
    return coder.tensor(_spec(count, columns)).levels


def _spec(rows: int, columns: int) -> TensorSpec:
    return TensorSpec(rows, columns, general_profile_idc=1, unary_length=_UNARY)
