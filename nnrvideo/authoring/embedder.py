# SPDX-License-Identifier: Apache-2.0
"""Puts networks into an existing film by stream copy: not one coded sample changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from typing import final

from nnrvideo.authoring.schedule import FilterPlan, Positions, Span, UnitTiming, schedule
from nnrvideo.authoring.streaming import update_message
from nnrvideo.carriage import CodecCarriage
from nnrvideo.container import (
    AccessUnit,
    DroppedStream,
    MediaReader,
    open_media,
    remux,
    unit_messages,
)
from nnrvideo.errors import CarriageError, ContainerError
from nnrvideo.limits import Limits
from nnrvideo.model import check_against_nnpfc, infer_contract, measure, to_nnpfc, unpack
from nnrvideo.picture import PictureFormat
from nnrvideo.sei import (
    NNPFC_PAYLOAD_TYPE,
    PREFERRED_FILTER_IDS,
    Nnpfc,
    SeiMessage,
    check_picture,
    pack_records,
    parse_nnpfc,
)

Progress = Callable[[int, int | None], None]
Network = bytes | Nnpfc


@final
@dataclass(frozen=True, slots=True)
class EmbedReport:
    """What :func:`embed` did."""

    filters: tuple[int, ...]  # nnpfc_id of each filter
    access_units: int  # of the video
    positions: int  # access units that carry at least one network
    message_bytes: int  # of all messages together, repetitions included
    bytes_added: int  # to the video stream; negative when larger networks were replaced
    bits_per_second: Fraction | None  # cost of the messages; None when the duration is unknown
    dropped: tuple[DroppedStream, ...] = ()  # streams that the target cannot hold


def describe(
    network: bytes,
    *,
    nnpfc_id: int = PREFERRED_FILTER_IDS[0],
    picture_format: PictureFormat | None = None,
    limits: Limits | None = None,
) -> Nnpfc:
    """Writes the base message for a network that carries its own graph.

    Args:
        network: NNC bitstream with topology.
        nnpfc_id: Identity of the filter.
        picture_format: Video to be filtered; the message is proven against it when given.
        limits: Bounds on the network.

    Returns:
        Message in mode 0, the network inside.

    Raises:
        ModelError: No graph in the bitstream, or no message can describe it, or it does not fit
            the video.
        BitstreamError: The bitstream is broken.
        LimitExceededError: It is too large.
    """
    limits = limits or Limits.desktop()
    content = unpack(network, limits=limits).require_network()
    contract = infer_contract(content, limits=limits)
    complexity = measure(content, contract=contract, limits=limits)
    message = to_nnpfc(contract, complexity, nnpfc_id=nnpfc_id, payload=network)
    if picture_format is not None:
        check_against_nnpfc(content, message, picture_format, limits=limits)
    return message


def embed(
    src: str | PathLike[str],
    dst: str | PathLike[str],
    network: Network | Sequence[Network],
    *,
    nnpfc_id: int | None = None,
    updates: Mapping[Fraction, Network | None] | None = None,
    positions: Positions = "random-access",
    repeat: Fraction = Fraction(0),
    start: Fraction | None = None,
    end: Fraction | None = None,
    spans: Sequence[Span] | None = None,
    activate: bool = True,
    persistent: bool = True,
    keep_existing: bool = False,
    overwrite: bool = False,
    fragmented: bool = False,
    options: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> EmbedReport:
    """Copies a film and puts networks into it.

    Args:
        src: Film in AVC, HEVC, VVC, AV1, VP8 or VP9.
        dst: Target; its suffix chooses the container.
        network: NNC bitstream with topology, or a ready base message; several for several
            filters, each with its own id.
        nnpfc_id: Identity of the (first) filter given as a bitstream; 7 by default.
        updates: Updates of the first filter by the presentation time (seconds) from which each
            is in force: NNC bitstreams coded relative to its base, or ready messages; None for
            the base itself.
        positions: Where the networks are repeated; see :func:`~.schedule.schedule`.
        repeat: Seconds between repetitions, at least; see there, too.
        start: First presentation time that is filtered.
        end: First presentation time that is not filtered any more.
        spans: Several pairs of start and end, instead of these two.
        activate: Whether to activate the filters; without, they are only on board.
        persistent: Activate per CLVS rather than per picture.
        keep_existing: Keep networks that the film carries already; else they are removed.
        overwrite: Whether an existing target may be replaced; it may be the source itself.
        fragmented: Write fragmented MP4.
        options: Further options of the muxer.
        limits: Bounds on the networks.
        progress: Called with (access units done, total).

    Returns:
        What was done.

    Raises:
        CarriageError: The codec has no place for a network, or an id is taken.
        ContainerError: A file cannot be read or written.
        ModelError: A network does not fit the video.
        BitstreamError: A network or the film's configuration is broken.
        ValueError: Ids collide, or a message is outside the writing profile.
    """
    limits = limits or Limits.desktop()
    if spans is not None and (start is not None or end is not None):
        raise ValueError("spans take the place of start and end")
    wanted = tuple(spans) if spans is not None else ((start, end),)
    with open_media(src, limits=limits) as media:
        carriage = media.carriage()
        bases = _bases(network, nnpfc_id, media.video.format, limits)
        plans = [
            FilterPlan(
                base,
                _updates(updates, base) if number == 0 else (),
                spans=wanted,
                activate=activate,
                persistent=persistent,
            )
            for number, base in enumerate(bases)
        ]
        ids = frozenset(base.nnpfc_id for base in bases)
        timings, span = _scan(media, carriage, ids if keep_existing else None)
    messages: dict[int, list[SeiMessage]] = {}
    for plan in plans:
        for index, items in schedule(timings, plan, positions, repeat=repeat).items():
            messages.setdefault(index, []).extend(items)

    def edit(unit: AccessUnit) -> bytes:
        data = unit.data if keep_existing else carriage.strip(unit.data)
        return carriage.insert(data, messages.get(unit.index, ()))

    def beside(unit: AccessUnit) -> bytes:
        return (unit.records if keep_existing else b"") + pack_records(messages.get(unit.index, ()))

    report = remux(
        src,
        dst,
        edit if carriage.in_band else None,
        beside=None if carriage.in_band else beside,
        edit_configuration=None if keep_existing else lambda _: carriage.strip_configuration(),
        overwrite=overwrite,
        fragmented=fragmented,
        options=options,
        progress=None if progress is None else lambda done, _: progress(done, len(timings)),
    )
    size = sum(len(pack_records(items)) for items in messages.values())
    return EmbedReport(
        filters=tuple(base.nnpfc_id for base in bases),
        access_units=report.access_units,
        positions=sum(
            any(m.payload_type == NNPFC_PAYLOAD_TYPE for m in items) for items in messages.values()
        ),
        message_bytes=size,
        bytes_added=report.bytes_added,
        bits_per_second=8 * size / span if span else None,
        dropped=report.dropped,
    )


def _bases(
    network: Network | Sequence[Network],
    nnpfc_id: int | None,
    picture_format: PictureFormat,
    limits: Limits,
) -> list[Nnpfc]:
    """Base messages of all filters, proven to fit the video."""
    items = [network] if isinstance(network, bytes | Nnpfc) else list(network)
    taken = {item.nnpfc_id for item in items if isinstance(item, Nnpfc)}
    free = iter([i for i in PREFERRED_FILTER_IDS if i not in taken and i != nnpfc_id])
    bases = []
    for item in items:
        if isinstance(item, Nnpfc):
            check_picture(item, picture_format, limits)
            bases.append(item)
            continue
        chosen, nnpfc_id = (nnpfc_id if nnpfc_id is not None else next(free)), None
        bases.append(
            describe(bytes(item), nnpfc_id=chosen, picture_format=picture_format, limits=limits)
        )
    ids = [base.nnpfc_id for base in bases]
    if not ids:
        raise ValueError("no network was given")
    if len(set(ids)) < len(ids):
        raise ValueError(f"two filters have the same nnpfc_id: {ids}")
    return bases


def _updates(
    updates: Mapping[Fraction, Network | None] | None, base: Nnpfc
) -> tuple[tuple[Fraction, Nnpfc | None], ...]:
    """Update messages of a base in increasing time."""
    known: dict[bytes, Nnpfc] = {}  # one message for what is in force several times
    result: list[tuple[Fraction, Nnpfc | None]] = []
    for time, item in sorted((updates or {}).items(), key=lambda pair: pair[0]):
        if item is not None and not isinstance(item, Nnpfc):
            data = bytes(item)
            item = known.setdefault(data, update_message(base, data))
        result.append((Fraction(time), item))
    return tuple(result)


def _scan(
    media: MediaReader, carriage: CodecCarriage, refuse: frozenset[int] | None
) -> tuple[list[UnitTiming], Fraction | None]:
    """First pass over the film: where it can be joined, and when what is shown.

    Args:
        media: The film.
        carriage: Of its codec.
        refuse: Ids that the film must not carry already; None when they are removed anyway.

    Returns:
        Timings in decoding order, and the span of presentation times in seconds.

    Raises:
        CarriageError: An id is taken.
        BitstreamError: An access unit is broken.
    """
    timings: list[UnitTiming] = []
    first = True
    last = Fraction(0)
    for unit in media.access_units():
        last = last if unit.time is None else unit.time
        start = carriage.is_clvs_start(unit.data, first=first)
        timings.append(
            UnitTiming(
                last, start, start or unit.is_keyframe or carriage.is_random_access(unit.data)
            )
        )
        first = carriage.ends_sequence(unit.data)
        if refuse is not None:
            _refuse_taken(carriage, unit, refuse)
    if not timings:
        raise ContainerError(f"{media.path} contains no pictures")
    times = [timing.time for timing in timings]
    span = max(times) - min(times) + 1 / (media.video.frame_rate or Fraction(25))
    return timings, span or None


def _refuse_taken(carriage: CodecCarriage, unit: AccessUnit, ids: frozenset[int]) -> None:
    for message in unit_messages(carriage, unit):
        if message.payload_type == NNPFC_PAYLOAD_TYPE:
            found = parse_nnpfc(message.payload).nnpfc_id
            if found in ids:
                raise CarriageError(f"the film carries a filter of nnpfc_id {found} already")
