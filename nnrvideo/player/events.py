# SPDX-License-Identifier: Apache-2.0
"""What an :class:`~nnrvideo.player.enhancer.Enhancer` tells its player: results, events, counts."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from fractions import Fraction
from typing import final

from nnrvideo.picture import Picture

Pts = Fraction | int
"""Presentation time; seconds wherever real time matters, else any number that grows."""


class Status(enum.Enum):
    """Flow control; never an error."""

    OK = "ok"
    AGAIN = "again"  # the queue is full, or nothing has come out yet


class EventKind(enum.Enum):
    """What can happen besides pictures."""

    NETWORK_READY = "network_ready"  # decoded, checked, loaded and warmed up
    NETWORK_ACTIVATED = "network_activated"  # from this picture on
    NETWORK_DEACTIVATED = "network_deactivated"  # from this picture on no network applies
    NETWORK_REJECTED = "network_rejected"  # once for each network; plain upscaling instead
    SIDE_DATA_REJECTED = "side_data_rejected"  # messages that cannot be read; once for each
    FALLBACK_ON = "fallback_on"  # too slow: plain upscaling for a while
    FALLBACK_OFF = "fallback_off"  # the network gets another chance
    TIER_DROPPED = "tier_dropped"  # too slow: a lighter network of the stream from now on
    ERROR = "error"  # a network failed while running; plain upscaling instead


@final
@dataclass(frozen=True, slots=True)
class Event:
    """Something that a player may want to show or to log."""

    kind: EventKind
    nnpfc_id: int | None = None
    reason: str = ""
    pts: Pts | None = None


@final
@dataclass(frozen=True, slots=True)
class FrameInfo:
    """How one output picture came about."""

    pts: Pts
    enhanced: bool  # by a network; otherwise plain
    nnpfc_id: int | None = None  # the filter that applies, whether or not it ran
    reason: str = ""  # why not enhanced; empty if it is
    milliseconds: float = 0.0  # wall time spent on the picture, in the worker
    late: bool = False  # finished after the time at which it was due
    into: bool = False  # written into the planes that came with the picture


@final
@dataclass(frozen=True, slots=True)
class Enhanced:
    """One output picture."""

    picture: Picture = field(repr=False)
    info: FrameInfo

    @property
    def pts(self) -> Pts:
        """Presentation time of the input picture."""
        return self.info.pts


@final
@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the enhancer was made; a consistent snapshot."""

    frames_in: int = 0
    frames_out: int = 0
    enhanced: int = 0
    plain: int = 0
    late: int = 0  # finished after the time at which they were due
    too_slow: int = 0  # plain because the network would have been, or had been, too slow
    flushed: int = 0  # dropped by flush()
    networks_built: int = 0
    networks_rejected: int = 0
    build_milliseconds: float = 0.0
    network_milliseconds: float = 0.0  # wall time of enhanced pictures together
    provider: str = ""  # execution provider of the latest network
    precision: str = ""  # numbers that it computes in: "fp32" or "int8"
    nnpfc_id: int | None = None  # filter of the latest enhanced picture
    pace: str = "on"  # the deadline policy: "on", "paused", or "off" for the session

    @property
    def mean_network_milliseconds(self) -> float:
        """Average wall time of an enhanced picture; 0 before the first."""
        return self.network_milliseconds / self.enhanced if self.enhanced else 0.0
