# SPDX-License-Identifier: Apache-2.0
"""Where the bits of a video stream go: pictures, networks, updates, repetitions, activations."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import final

from nnrvideo.carriage import FILTER_PAYLOAD_TYPES
from nnrvideo.container import MediaReader, unit_messages
from nnrvideo.errors import CarriageError, NnrVideoError
from nnrvideo.report.results import Bits
from nnrvideo.sei import NNPFC_PAYLOAD_TYPE, SeiMessage, pack_records, parse_nnpfc


@final
@dataclass(frozen=True, slots=True)
class UnitBits:
    """Bits of one access unit."""

    pts: Fraction  # seconds
    bits: Bits

    @property
    def video(self) -> int:
        """Of the pictures."""
        return self.bits.video

    @property
    def networks(self) -> int:
        """Of networks, updates and activations."""
        return self.bits.networks


def count_bits(
    media: MediaReader, *, until: Fraction | None = None
) -> tuple[Bits, tuple[UnitBits, ...]]:
    """Counts the bits of a file's video stream.

    Args:
        media: The open file.
        until: Leave out access units that are shown later than this, in seconds.

    Returns:
        Sums by kind, and each access unit in decoding order.

    Raises:
        ContainerError: The file cannot be read.
    """
    try:
        carriage = media.carriage()
    except (CarriageError, NnrVideoError):
        carriage = None  # no place for networks: all of it is video
    sums: Counter[str] = Counter(video=0)
    seen: set[bytes] = set()
    units = []
    for unit in media.access_units():
        time = unit.time or Fraction(0)
        if until is not None and time > until:
            continue
        messages: list[SeiMessage] = []
        if carriage is not None:
            try:
                messages = unit_messages(carriage, unit, media.limits)
            except NnrVideoError:
                messages = []  # the player passes over them just so
        own: Counter[str] = Counter()
        for message in messages:
            if message.payload_type in FILTER_PAYLOAD_TYPES:
                size = len(pack_records([message]))
                if media.base64_messages:
                    size = -(-size * 4 // 3)
                own[_kind(message, seen)] += 8 * size
        inside = own.total() if carriage is not None and carriage.in_band else 0
        own["video"] = max(8 * len(unit.data) - inside, 0)
        sums.update(own)
        units.append(UnitBits(time, Bits(**own)))
    return Bits(**sums), tuple(units)


def _kind(message: SeiMessage, seen: set[bytes]) -> str:
    """The field of :class:`Bits` that a message counts under."""
    if message.payload_type != NNPFC_PAYLOAD_TYPE:
        return "activations"
    if message.payload in seen:
        return "repeats"
    seen.add(message.payload)
    try:
        return "base" if parse_nnpfc(message.payload).nnpfc_base_flag else "updates"
    except NnrVideoError:
        return "base"  # unreadable, yet paid for
