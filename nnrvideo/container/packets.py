# SPDX-License-Identifier: Apache-2.0
"""Timestamps that a container does not store, filled in before anyone relies on them.

Raw Annex B has none at all, Matroska stores no decoding times, AVI no presentation times; a
muxer refuses or mangles packets without them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

from nnrvideo.carriage import VvcCarriage, is_annexb, picture_order
from nnrvideo.container._pyav import av, open_input
from nnrvideo.errors import BitstreamError
from nnrvideo.limits import Limits

_log = logging.getLogger(__name__)

_REORDERED = frozenset({"h264", "hevc", "vvc"})  # codecs whose picture_order() is known
_DEFAULT_RATE = Fraction(25)
# Longest run of leading packets without dts: the reordering depth of any video codec is below.
_MAX_PENDING = 64


def with_timestamps(packets: Iterable[Any], stream: Any, codec: str | None) -> Iterator[Any]:
    """Yields the packets of one video stream, each with pts, dts and duration.

    Args:
        packets: ``av.Packet`` of ``stream`` in decoding order; empty ones are dropped (only by
            their size: packets without dts are real).
        stream: The ``av.VideoStream``.
        codec: Name of its coding format.

    Yields:
        The packets in the same order.
    """
    iterator: Iterator[Any] = (packet for packet in packets if packet.size)
    if codec == "vvc":
        iterator = _split_anew(iterator, stream)
    first = next(iterator, None)
    if first is None:
        return
    rest = _with_duration(_chain(first, iterator), stream)
    if codec == "vvc" and stream.container.format.name.startswith("matroska"):
        yield from _derive_dts(rest, stream)
    elif first.pts is not None:
        yield from _fill_dts(_fill_pts(rest, stream), stream)
    elif codec in _REORDERED:
        yield from _derive_pts(rest, stream, codec)
    else:
        yield from _count_pts(rest, stream)


def copy_packet(packet: Any, data: bytes) -> Any:
    """A packet cannot grow in place: a new one with other bytes and everything else equal."""
    fresh = av.Packet(data)
    fresh.pts, fresh.dts, fresh.duration = packet.pts, packet.dts, packet.duration
    fresh.time_base = packet.time_base
    fresh.stream = packet.stream
    fresh.is_keyframe = packet.is_keyframe
    fresh.is_corrupt = packet.is_corrupt
    for side_data in packet.iter_sidedata():
        fresh.set_sidedata(side_data)
    return fresh


def frame_duration(stream: Any) -> int:
    """Nominal duration of a frame in the stream's time base, at least 1."""
    rate = stream.guessed_rate or stream.average_rate or _DEFAULT_RATE
    return max(1, round(1 / (Fraction(rate) * Fraction(stream.time_base))))


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _split_anew(packets: Iterator[Any], stream: Any) -> Iterator[Any]:
    """Gives SEI messages of VVC byte streams back to the access unit that they belong to."""
    record = bytes(stream.codec_context.extradata or b"")
    if not is_annexb(record):
        yield from packets
        return
    carriage = VvcCarriage(record, Limits.desktop())
    ahead = b""
    for packet in packets:
        data = bytes(packet)
        end = carriage.next_begins(data)
        yield copy_packet(packet, ahead + data[:end]) if ahead or end < len(data) else packet
        ahead = data[end:]


def _derive_dts(packets: Iterator[Any], stream: Any) -> Iterator[Any]:
    """Decoding times from presentation times, which a first pass over the file collects.

    Matroska stores none, and libavformat, which guesses them, does not know how far VVC reorders.
    """
    with open_input(_path(stream)) as container:
        times = [
            packet.pts
            for packet in container.demux(container.streams[stream.index])
            if packet.size and packet.pts is not None
        ]
    shown = sorted(times)
    ranks = {time: rank for rank, time in enumerate(shown)}
    delay = max((index - ranks[time] for index, time in enumerate(times)), default=0)
    step = frame_duration(stream)
    index = None
    for packet in packets:
        if index is None:  # a seek may have left out the beginning
            index = times.index(packet.pts) if packet.pts in ranks else 0
        before = min(index - delay, len(shown) - 1)
        packet.dts = shown[before] if before >= 0 else shown[0] + before * step
        index += 1
        yield packet


def _with_duration(packets: Iterator[Any], stream: Any) -> Iterator[Any]:
    """Gives packets a nominal duration that have none: MP4 cuts a last picture that lasts 0."""
    step = frame_duration(stream)
    for packet in packets:
        packet.duration = packet.duration or step
        yield packet


def _fill_pts(packets: Iterator[Any], stream: Any) -> Iterator[Any]:
    """Puts packets whose time was lost on the way right behind all that is known."""
    step = frame_duration(stream)
    latest = None
    for packet in packets:
        if packet.pts is None and latest is not None:
            packet.pts = latest + step
        if packet.pts is not None:
            latest = packet.pts if latest is None else max(latest, packet.pts)
        yield packet


def _fill_dts(packets: Iterator[Any], stream: Any) -> Iterator[Any]:
    """Counts backwards from the first known dts; later gaps continue from their predecessor."""
    step = frame_duration(stream)
    pending: list[Any] = []
    last: int | None = None
    for packet in packets:
        if packet.dts is None and last is None and len(pending) < _MAX_PENDING:
            pending.append(packet)
            continue
        if packet.dts is None:
            packet.dts = _next_dts(last, packet.pts)
        yield from _backfill(pending, packet.dts, step)
        pending.clear()
        last = packet.dts
        yield packet
    # A stream so short that no dts was ever known: decoding order is all there is.
    earliest = min((packet.pts for packet in pending if packet.pts is not None), default=0)
    yield from _backfill(pending, earliest + step, step)


def _backfill(pending: list[Any], end: int, step: int) -> list[Any]:
    """Gives dts to packets that precede ``end``; strictly increasing and never after pts."""
    limit = end
    for packet in reversed(pending):
        limit = limit - step
        if packet.pts is not None:
            limit = min(limit, packet.pts)
        packet.dts = limit
    return pending


def _next_dts(last: int | None, pts: int | None) -> int:
    following = 0 if last is None else last + 1
    return following if pts is None else min(following, pts)


def _derive_pts(packets: Iterator[Any], stream: Any, codec: str) -> Iterator[Any]:
    """Codecs with picture order counts: a first pass over the file finds the output order."""
    order = _output_order(stream, codec)
    step = frame_duration(stream)
    ranks = {index: rank for rank, index in enumerate(order)}
    # Decoding must run ahead of output by as much as the worst reordering needs.
    delay = max((index - rank for index, rank in ranks.items()), default=0)
    for index, packet in enumerate(packets):
        packet.pts = ranks.get(index, index) * step
        packet.dts = (index - delay) * step
        yield packet


def _output_order(stream: Any, codec: str) -> list[int]:
    """Indices of the access units in output order."""
    reader = picture_order(codec, bytes(stream.codec_context.extradata or b""))
    keys: list[tuple[int, int]] = []
    if reader is None:
        return []
    with open_input(_path(stream)) as container:
        for packet in container.demux(container.streams[stream.index]):
            if not packet.size:
                continue
            last = keys[-1] if keys else (0, 0)
            try:
                keys.append(reader.key(bytes(packet)))
            except BitstreamError as error:
                # Damaged headers: the picture stays where decoding order has it.
                _log.warning("access unit %d: no picture order: %s", len(keys), error)
                keys.append(last)
    return sorted(range(len(keys)), key=keys.__getitem__)


def _path(stream: Any) -> str:
    name: str = stream.container.name
    return name.removeprefix("file:")


def _count_pts(packets: Iterator[Any], stream: Any) -> Iterator[Any]:
    """Other codecs without presentation times: decoding order is taken for output order."""
    step = frame_duration(stream)
    last = -step
    for packet in packets:
        if packet.dts is None:
            packet.dts = last + step
        if packet.pts is None:
            packet.pts = packet.dts
        last = packet.dts
        yield packet
