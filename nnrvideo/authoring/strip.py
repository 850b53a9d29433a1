# SPDX-License-Identifier: Apache-2.0
"""Takes networks out of a film again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import final

from nnrvideo.carriage import FILTER_PAYLOAD_TYPES
from nnrvideo.container import AccessUnit, DroppedStream, open_media, remux
from nnrvideo.errors import NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.sei import parse_records

Progress = Callable[[int, int | None], None]


@final
@dataclass(frozen=True, slots=True)
class StripReport:
    """What :func:`strip` did."""

    access_units: int  # of the video
    stripped: int  # access units that lost messages
    messages: int  # messages removed, those of the configuration record included
    bytes_removed: int  # from the video stream
    dropped: tuple[DroppedStream, ...] = ()  # streams that the target cannot hold


def strip(
    src: str | PathLike[str],
    dst: str | PathLike[str],
    *,
    overwrite: bool = False,
    fragmented: bool = False,
    options: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> StripReport:
    """Copies a film without NNPFC and NNPFA messages; everything else stays byte for byte.

    Args:
        src: Film in a codec that can carry networks.
        dst: Target; its suffix chooses the container.
        overwrite: Whether an existing target may be replaced; it may be the source itself.
        fragmented: Write fragmented MP4.
        options: Further options of the muxer.
        limits: Bounds on messages that are looked at.
        progress: Called with (access units done, total or None).

    Raises:
        CarriageError: The codec has no place for a network, so there is none to remove.
        ContainerError: A file cannot be read or written.
        BitstreamError: An access unit cannot be split.
    """
    with open_media(src, limits=limits) as media:
        carriage = media.carriage()
    configured = [
        m for m in carriage.configuration_messages() if m.payload_type in FILTER_PAYLOAD_TYPES
    ]
    removed = len(configured)

    def edit(unit: AccessUnit) -> bytes:
        nonlocal removed
        data = carriage.strip(unit.data)
        if data != unit.data:
            before, after = carriage.messages(unit.data), carriage.messages(data)
            removed += len(before) - len(after)
        removed += _count(unit.records)
        return data

    report = remux(
        src,
        dst,
        edit,
        edit_configuration=lambda _: carriage.strip_configuration(),
        keep_beside=False,
        overwrite=overwrite,
        fragmented=fragmented,
        options=options,
        progress=progress,
    )
    return StripReport(
        report.access_units, report.edited, removed, -report.bytes_added, report.dropped
    )


def _count(records: bytes) -> int:
    """Messages beside an access unit; what cannot be read goes without being counted."""
    try:
        return len(parse_records(records))
    except NnrVideoError:
        return 0
