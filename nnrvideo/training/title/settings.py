# SPDX-License-Identifier: Apache-2.0
"""What may be asked of the encoding of a title."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, final

from nnrvideo.training.kinds import (
    LEAST_STEPS,
    LEVELS,
    MODES,
    TARGETS,
    TIERS,
    TRAINING_OPTIONS,
    Level,
    Mode,
    Speed,
    Target,
    Tier,
)


@final
@dataclass(frozen=True, slots=True)
class TitleSettings:
    """What to try, and how hard.

    Args:
        modes: Kinds of network to try.
        tiers: Sizes of network to try: XS 8, S 16, M 32, L 64 channels; None for one of XS, S and
            M, whose bits the video's pay for.
        target: Metric that decides.
        steps: Training steps of each network, the quantised ones included; None for the usual
            number, or for what the budget allows.
        budget: CPU seconds for all training together; None for no bound.
        complexity_limit: Thousands of multiply-accumulates for each output sample that receivers
            can spend; larger networks are left out.
        levels: Kinds of updates to try for each scene; none for one network throughout.
        update_steps: Training steps of each update; None for a fifth of those of a network.
        pictures: Pairs of pictures to train on, at most, spread evenly.
        repeat: Seconds before the network is repeated within a coded video sequence.
        two_pass: Code in two passes, for a bit rate.
        seed: Of the training.
        threads: Threads that training may use; results are the same to the bit only with one.

    Raises:
        ValueError: A value that means nothing.
    """

    modes: Sequence[Mode] = MODES
    tiers: Sequence[Tier] | None = None
    target: Target = "psnr"
    steps: int | None = None
    budget: float | None = None
    complexity_limit: float | None = None
    levels: Sequence[Level] = LEVELS
    update_steps: int | None = None
    pictures: int = 48
    repeat: Fraction = Fraction(10)
    two_pass: bool = False
    seed: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        if not self.modes or not set(self.modes) <= set(MODES):
            raise ValueError(f"modes are {', '.join(MODES)}, not {list(self.modes)}")
        if self.tiers is not None and not (self.tiers and set(self.tiers) <= set(TIERS)):
            raise ValueError(f"tiers are {', '.join(TIERS)}, not {list(self.tiers)}")
        if self.target not in TARGETS:
            raise ValueError(f"targets are {', '.join(TARGETS)}, not {self.target!r}")
        if not set(self.levels) <= set(LEVELS):
            raise ValueError(f"updates are {', '.join(LEVELS)}, not {list(self.levels)}")
        if self.steps is not None and self.steps < LEAST_STEPS:
            raise ValueError(f"training takes at least {LEAST_STEPS} steps, not {self.steps}")
        if (
            min(self.pictures, self.threads, 1 if self.update_steps is None else self.update_steps)
            < 1
        ):
            raise ValueError("training takes at least one picture, step and thread")
        for name in ("budget", "complexity_limit"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} is a positive number, not {value}")
        if self.repeat < 0:
            raise ValueError(f"repeat is 0 seconds or more, not {self.repeat}")


SPEED_SETTINGS: Final[Mapping[Speed, Mapping[str, object]]] = {
    # One network for the title, little training.
    "fast": {"steps": 500, "levels": ()},
    # What the defaults are.
    "medium": {},
    # More sizes of network, three times the training.
    "slow": {
        "tiers": ("XS", "S", "M"),
        "steps": 4500,
        "pictures": 96,
    },
}
"""What each speed trades: fields of :class:`TitleSettings` that differ from their defaults."""

_FIELDS: Final = {"metric": "target", "updates": "levels"}


def settings_of(mode: str, given: Mapping[str, Any]) -> TitleSettings:
    """Settings by the options of ``nnrvideo encode``.

    Args:
        mode: A kind of network, or ``auto``.
        given: Values by the names of :data:`~nnrvideo.training.kinds.TRAINING_OPTIONS`; those that
            are None or missing are left to the speed.

    Raises:
        ValueError: A value means nothing.
    """
    chosen: dict[str, Any] = {"modes": MODES if mode == "auto" else (mode,)}
    speed: Speed = given.get("speed") or "medium"
    if speed not in SPEED_SETTINGS:
        raise ValueError(f"speeds are {', '.join(SPEED_SETTINGS)}, not {speed!r}")
    for name in TRAINING_OPTIONS:
        value = given.get(name)
        if name == "speed" or value is None:
            continue
        if name == "passes":
            chosen["two_pass"] = value == 2
        else:
            chosen[_FIELDS.get(name, name)] = Fraction(value) if name == "repeat" else value
    return TitleSettings(**{**SPEED_SETTINGS[speed], **chosen})
