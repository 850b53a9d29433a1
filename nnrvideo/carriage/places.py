# SPDX-License-Identifier: Apache-2.0
"""Reading and removing messages wherever inside access units a codec keeps them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from nnrvideo.carriage.base import FILTER_PAYLOAD_TYPES
from nnrvideo.errors import BitstreamError, NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.sei.message import SeiMessage


class Place(NamedTuple):
    """A unit of an access unit that holds messages."""

    begin: int  # byte offset of the unit
    end: int  # byte offset after it
    name: str  # for error messages
    body: bytes  # what the codec parses


class PlacedCarriage(ABC):
    """Carriage in units of the access units.

    Args:
        limits: Bounds on messages.
    """

    in_band: ClassVar[bool] = True

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    @abstractmethod
    def _places(self, au: bytes) -> Iterator[Place]:
        """Units that hold messages, in order.

        Raises:
            BitstreamError: The access unit cannot be split.
        """

    @abstractmethod
    def _parse(self, body: bytes) -> list[SeiMessage]:
        """Messages of one unit."""

    @abstractmethod
    def _rebuilt(self, place: Place, messages: list[SeiMessage]) -> bytes:
        """The unit with other messages, as it stands in the access unit."""

    def messages(self, au: bytes) -> list[SeiMessage]:
        """Reads every message.

        Args:
            au: Access unit as the container stores it.

        Returns:
            Messages in order. A unit that cannot be read costs its own messages, not those of the
            others.

        Raises:
            BitstreamError: The access unit cannot be split, or none of the units could be read
                although there are some.
            LimitExceededError: A message or their number is over the limits.
        """
        found: list[SeiMessage] = []
        failure: NnrVideoError | None = None
        for place in self._places(au):
            try:
                found += self._parse(place.body)
            except BitstreamError as error:
                failure = error.at(unit=f"{place.name} at byte {place.begin}")
        self._limits.require("max_messages", len(found), "messages in an access unit")
        if failure is not None and not found:
            raise failure
        return found

    def strip(self, au: bytes, payload_types: frozenset[int] = FILTER_PAYLOAD_TYPES) -> bytes:
        """Removes messages of some types.

        Args:
            au: Access unit as the container stores it.
            payload_types: payloadType values to remove.

        Returns:
            The access unit; other messages of the same unit stay, a unit that becomes empty goes,
            everything else is unchanged. What cannot be read is left alone.

        Raises:
            BitstreamError: The access unit cannot be split.
        """
        pieces: list[bytes] = []
        kept_until = 0
        for place in self._places(au):
            try:
                messages = self._parse(place.body)
            except NnrVideoError:
                continue
            remaining = [m for m in messages if m.payload_type not in payload_types]
            if len(remaining) == len(messages):
                continue
            pieces.append(au[kept_until : place.begin])
            if remaining:
                pieces.append(self._rebuilt(place, remaining))
            kept_until = place.end
        return b"".join(pieces) + au[kept_until:] if pieces else au
