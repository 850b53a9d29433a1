# SPDX-License-Identifier: Apache-2.0
"""``StreamEmbedder``: puts a network and its updates into a stream that is passing by.

:func:`~nnrvideo.authoring.embed` plans with the whole film in view; here access units come one by
one, in decoding order, and updates at any time.  Everything that a receiver may join at repeats
what it needs; whatever holds from a picture on in output order is repeated at each access unit
that turns out to be shown earlier than the one that carried it first.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import final

from nnrvideo.carriage import CodecCarriage
from nnrvideo.errors import BitstreamError
from nnrvideo.sei import Nnpfa, Nnpfc, SeiMessage, message_of, random_access_messages


@final
class StreamEmbedder:
    """Embeds one filter.

    Args:
        carriage: How messages travel in the stream.
        base: Base message with its network; inside the writing profile.
        updates: Updates by the presentation time (seconds) from which each is in force.
        activate: Whether to activate the filter, too.
        keep_existing: Keep messages that the stream carries already; else they are removed.

    Raises:
        ValueError: The filter is outside the writing profile.
    """

    def __init__(
        self,
        carriage: CodecCarriage,
        base: Nnpfc,
        *,
        updates: Mapping[Fraction, Nnpfc] | None = None,
        activate: bool = True,
        keep_existing: bool = False,
    ) -> None:
        random_access_messages(base)  # refuses what must not be written
        self._carriage = carriage
        self._base = base
        self._updates: list[tuple[Fraction, Nnpfc]] = []
        self._activate = activate
        self._keep_existing = keep_existing
        self._first = True  # nothing, or an end of sequence, precedes the next access unit
        self._sent: dict[int, Fraction] = {}  # update in this CLVS -> earliest picture with it
        self._base_from: Fraction | None = None  # earliest picture with the base in this CLVS
        self.positions = 0  # access units that carry the base
        self.message_bytes = 0  # of all messages so far
        for since, update in (updates or {}).items():
            self.add_update(since, update)

    def add_update(self, since: Fraction, update: Nnpfc) -> None:
        """Plans an update; it replaces all that begin at the same time or later.

        Args:
            since: First presentation time (seconds) at which it is in force.
            update: Relative to the base.

        Raises:
            ValueError: It does not go with the base, or is outside the writing profile.
        """
        random_access_messages(self._base, update)
        self._updates = [item for item in self._updates if item[0] < since]
        self._updates.append((since, update))

    def access_unit(self, au: bytes, time: Fraction) -> bytes:
        """The next access unit, with what it has to carry.

        Args:
            au: As the container stores it.
            time: Presentation time of its picture in seconds.

        Returns:
            The access unit; the same object if nothing was to be done.

        Raises:
            BitstreamError: It cannot be split.
            CarriageError: A message is too long for the stream's length fields.
        """
        data = au if self._keep_existing else self._carriage.strip(au)
        messages = self._due(data, time)
        if not messages:
            return data
        try:
            edited = self._carriage.insert(data, messages)
        except BitstreamError:
            # No coded slice: parameter sets alone, or damage.  The next one carries them.
            self.restart()
            return data
        self.message_bytes += sum(len(message.payload) for message in messages)
        return edited

    def restart(self) -> None:
        """The stream starts again, as after a seek."""
        self._first = True
        self._sent.clear()
        self._base_from = None

    def _due(self, au: bytes, time: Fraction) -> list[SeiMessage]:
        starts = self._carriage.is_clvs_start(au, first=self._first)
        joins = self._first or starts or self._carriage.is_random_access(au)
        self._first = self._carriage.ends_sequence(au)
        if starts:
            self._sent.clear()
            self._base_from = None
        update = self._update_at(time)
        if joins or self._base_from is None or time < self._base_from:
            self.positions += 1
            self._base_from = _earlier(self._base_from, time)
            if update is not None:
                self._sent[id(update)] = _earlier(self._sent.get(id(update)), time)
            return list(random_access_messages(self._base, update, activate=self._activate))
        if update is None:
            return []
        sent = self._sent.get(id(update))
        if sent is not None and sent <= time:
            return []
        self._sent[id(update)] = time
        messages = [message_of(update)]
        if self._activate:
            messages.append(message_of(Nnpfa.activate(self._base.nnpfc_id, base=False)))
        return messages

    def _update_at(self, time: Fraction) -> Nnpfc | None:
        return next((update for since, update in reversed(self._updates) if since <= time), None)


def update_message(base: Nnpfc, bitstream: bytes) -> Nnpfc:
    """The message that carries an update of a filter.

    Args:
        base: Of the filter.
        bitstream: NNC bitstream coded relative to the base's network.
    """
    return Nnpfc(
        nnpfc_purpose=base.nnpfc_purpose,
        nnpfc_id=base.nnpfc_id,
        nnpfc_base_flag=False,
        nnpfc_property_present_flag=False,
        nnpfc_payload_byte=bitstream,
    )


def _earlier(known: Fraction | None, time: Fraction) -> Fraction:
    return time if known is None else min(known, time)
