# SPDX-License-Identifier: Apache-2.0
"""Which of several networks to run, when a stream offers heavier and lighter ones.

Alternatives are filters that are active together and make the same format.  Their messages tell
multiply-accumulates per sample; what this machine makes of them is not known before it has tried.
So the heaviest that should fit is taken, ten pictures are timed, and the measured speed decides
from then on.  Without a deadline the heaviest is the best.  Pure arithmetic, no clock.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import final

from nnrvideo.picture import PictureFormat
from nnrvideo.player.library import Content, Recent, properties_of
from nnrvideo.sei import Nnpfc

_PROBE = 10  # pictures that are timed before a verdict
_REMEMBERED = 64  # networks whose times are kept
_KMAC = 1000
_GUESS = 40e9  # multiply-accumulates a second, before anything is measured: one slow core
_HYSTERESIS = 0.7  # share of the budget that a heavier network must be expected to keep


@final
class TierChooser:
    """Chooses a network for each picture."""

    def __init__(self) -> None:
        self._speed: float | None = None  # multiply-accumulates a second, as measured
        # An update computes as long as its base, so bases are the keys.
        self._times: Recent[Nnpfc, list[float]] = Recent(_REMEMBERED)
        self._too_slow: Recent[Nnpfc, bool] = Recent(_REMEMBERED)

    def choose(
        self, contents: Sequence[Content], target: PictureFormat, budget: float | None
    ) -> Content:
        """The network to run.

        Args:
            contents: Alternatives, at least one.
            target: Format of the output.
            budget: Seconds that one picture may take; None for as long as it needs.

        Returns:
            The heaviest that is expected to keep the budget; the lightest if none is.
        """
        if len(contents) == 1:
            return contents[0]
        ranked = sorted(contents, key=_cost, reverse=True)
        if budget is None:
            return ranked[0]
        for content in ranked[:-1]:
            allowed = not self._too_slow.get(content[0])
            if allowed and self._expected(content, target) <= budget:
                return content
        return ranked[-1]

    def expected(self, content: Content) -> float:
        """Seconds within which a network will be done, but for one picture in ten.

        0 if it never ran.
        """
        times = sorted(self._times.get(content[0]) or ())
        return times[-2] if len(times) > 1 else sum(times)

    def rest(self, content: Content) -> None:
        """Keeps the best of a network's times only: after a pause the machine may be free again.

        A network whose best was too slow is not tried again, so it makes no picture late.
        """
        if times := self._times.get(content[0]):
            self._times.put(content[0], [min(times)])

    def ran(self, content: Content, target: PictureFormat, seconds: float) -> None:
        """Notes how long a network took for a picture of that output format."""
        times = self._times.get(content[0]) or []
        self._times.put(content[0], times)
        times.append(seconds)
        if len(times) >= _PROBE:
            del times[:-_PROBE]
            if operations := _operations(content, target):
                self._speed = operations / statistics.median(times)

    def demote(self, content: Content) -> None:
        """Rules a network out for the session: it was late too often."""
        self._too_slow.put(content[0], value=True)

    def has_lighter(self, content: Content, contents: Sequence[Content]) -> bool:
        """Whether a lighter alternative is left."""
        return any(_cost(other) < _cost(content) for other in contents)

    def _expected(self, content: Content, target: PictureFormat) -> float:
        times = self._times.get(content[0]) or []
        if len(times) >= _PROBE:
            return statistics.median(times)
        speed = self._speed or _GUESS
        # A network that never ran must promise more than one whose time is known.
        return _operations(content, target) / speed / _HYSTERESIS


def _cost(content: Content) -> int:
    return properties_of(content).nnpfc_num_kmac_operations_idc


def _operations(content: Content, target: PictureFormat) -> float:
    return float(_cost(content)) * _KMAC * target.width * target.height
