# SPDX-License-Identifier: Apache-2.0
"""Which pictures are late already, by what a sink reports; numbers in, numbers out."""

from __future__ import annotations

from typing import final


@final
class Lateness:
    """Follows the quality-of-service events of a sink, as GStreamer's own filters do."""

    def __init__(self) -> None:
        self._earliest: int | None = None

    def report(self, running_time: int, lateness: int, duration: int) -> None:
        """Notes a report; all in ns.

        Args:
            running_time: Of the picture that the sink speaks of.
            lateness: How late it was; negative if early.
            duration: Of a picture.
        """
        # Aiming at twice the lateness catches up instead of staying just late.
        ahead = 2 * lateness + duration if lateness > 0 else lateness
        self._earliest = running_time + ahead

    def is_late(self, running_time: int | None) -> bool:
        """Whether a picture would come too late if it took its time."""
        return (
            self._earliest is not None
            and running_time is not None
            and running_time <= self._earliest
        )

    def reset(self) -> None:
        """Forgets everything, as after a seek."""
        self._earliest = None
