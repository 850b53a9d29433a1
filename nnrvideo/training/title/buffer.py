# SPDX-License-Identifier: Apache-2.0
"""The encoder's buffer, and the part of it that networks take.

``-maxrate`` and ``-bufsize`` promise receivers that bits which arrive at one rate never come too
late for a buffer of one size.  A network is a burst that the encoder knows nothing of.  If the
video keeps a promise that is smaller by the network's own rate and burst, both together keep the
one that was made: leaky buckets add up.

Spec: Rec. ITU-T H.264 / H.265 Annex C describe the buffer; nothing here is normative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Self, final

from nnrvideo.training.title.curve import bits_of_option

_FULL_AT_START: Final = 0.9  # of the buffer, as x264 and x265 begin
_LEAST_LEFT: Final = 0.5  # of size and of rate, that the video must keep


@final
@dataclass(frozen=True, slots=True)
class Buffer:
    """What receivers are promised.

    Args:
        rate: Bits a second that arrive.
        size: Bits that the buffer holds.
    """

    rate: float
    size: float

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Self | None:
        """The promise of an encoder's options; None where they make none.

        Raises:
            ValueError: ``maxrate`` or ``bufsize`` is no number of bits.
        """
        if not {"maxrate", "bufsize"} <= options.keys():
            return None
        return cls(
            bits_of_option("-maxrate", options["maxrate"]),
            bits_of_option("-bufsize", options["bufsize"]),
        )

    @property
    def options(self) -> Mapping[str, str]:
        """For the encoder."""
        return {"maxrate": f"{self.rate:.0f}", "bufsize": f"{self.size:.0f}"}

    def without(self, bits: int, seconds: float) -> Buffer | None:
        """What is left for the video.

        Args:
            bits: Of a network.
            seconds: After which it is sent again, at the earliest.

        Returns:
            The smaller promise; None where the network would take half of it or more.
        """
        left = Buffer(self.rate - bits / seconds, self.size - bits)
        enough = left.rate > _LEAST_LEFT * self.rate and left.size > _LEAST_LEFT * self.size
        return left if enough else None

    def lacking(self, units: Iterable[tuple[Fraction, int]]) -> int:
        """Bits that have not arrived when they are needed, at the worst moment.

        Args:
            units: Presentation time in seconds and bits of access units, in decoding order.

        Returns:
            0 where the promise is kept.
        """
        known = list(units)
        # The times of decoding are those of showing, in order, but for a delay that is the same
        # for all.
        times = sorted(time for time, _ in known)
        level, worst = _FULL_AT_START * self.size, 0.0
        for at, (_, bits) in enumerate(known):
            if at:
                arrived = self.rate * float(times[at] - times[at - 1])
                level = min(level + arrived, self.size)
            level -= bits
            worst = min(worst, level)
        return round(-worst)
