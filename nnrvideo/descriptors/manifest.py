# SPDX-License-Identifier: Apache-2.0
"""``Manifest``: what a receiver must know of a descriptor network besides its weights.

It is JSON inside the network's own bitstream, so its reader treats it like the rest of the stream:
known keys only, every number with its range, nothing that is a path or an address.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Self, final

from nnrvideo.errors import ModelError

MAX_MANIFEST_BYTES: Final = 1 << 16
MAX_INTEROPERABLE: Final = 64
ID_BYTES: Final = 32

BITS: Final = (256, 512, 1024)
"""Lengths that a descriptor of bits can have."""

_MAX_SIDE: Final = 4096
_MAX_WINDOWS: Final = 8
_MAX_TEXT: Final = 1024


@final
@dataclass(frozen=True, slots=True)
class Interoperable:
    """Another model whose descriptors may be compared with those of this one, as measured.

    Args:
        model_id: SHA-256 of the other model, 32 bytes.
        cross_map: Mean average precision, queries by this model and references by the other.
        cross_tpr: True positive rate at 1 % false positives of the same.
        own_map: Mean average precision with the other model on both sides.
    """

    model_id: bytes
    cross_map: float
    cross_tpr: float
    own_map: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """How pictures become descriptors.

    Args:
        long_side: Samples of the longer side of what the network sees; the aspect ratio stays.
        mean: Subtracted from each colour component (0 to 255), in the order of the network.
        scale: Multiplies each of them then.
        colour_order: ``"BGR"`` or ``"RGB"``.
        windows: Sides of the pooling windows, in samples of the feature map.
        rotations: 1, or 4: the most rotations by 90 degrees that may be pooled over.
        thresholds: Similarity above which key frames match, by :func:`form_name`.
        min_quality: Key frames of a lower quality byte are never compared.
        name: What people call the model.
        licence: Of the weights.
        interoperable: Models whose descriptors may be compared with those of this one.

    Raises:
        ModelError: A field is outside its range; lists all.
    """

    long_side: int = 256
    mean: tuple[float, float, float] = (104.0, 117.0, 123.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    colour_order: str = "BGR"
    windows: tuple[int, ...] = (3, 5, 7)
    rotations: int = 4
    thresholds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    min_quality: int = 30
    name: str = ""
    licence: str = ""
    interoperable: tuple[Interoperable, ...] = ()

    def __post_init__(self) -> None:
        wrong = [text for holds, text in self._rules() if not holds]
        if wrong:
            raise ModelError("the descriptor manifest is not acceptable", wrong)

    def _rules(self) -> list[tuple[bool, str]]:
        numbers = (*self.mean, *self.scale)
        return [
            (32 <= self.long_side <= _MAX_SIDE, f"long_side {self.long_side} is not 32 to 4096"),
            (all(map(math.isfinite, numbers)), "mean and scale are not finite"),
            (len(self.mean) == len(self.scale) == 3, "mean and scale are not three numbers each"),
            (self.colour_order in ("BGR", "RGB"), f"colour_order {self.colour_order!r}"),
            (
                0 < len(self.windows) <= _MAX_WINDOWS
                and all(1 <= side <= _MAX_SIDE for side in self.windows),
                f"windows {self.windows} are not 1 to {_MAX_WINDOWS} sides",
            ),
            (self.rotations in (1, 4), f"rotations {self.rotations} is not 1 or 4"),
            (
                all(-1 <= value <= 1 for value in self.thresholds.values()),
                "a threshold is not -1 to 1",
            ),
            (0 <= self.min_quality <= 100, f"min_quality {self.min_quality} is not 0 to 100"),
            (
                max(len(self.name), len(self.licence)) <= _MAX_TEXT,
                f"name or licence is longer than {_MAX_TEXT} characters",
            ),
            (
                len(self.interoperable) <= MAX_INTEROPERABLE
                and all(len(each.model_id) == ID_BYTES for each in self.interoperable),
                f"interoperable is not up to {MAX_INTEROPERABLE} ids of {ID_BYTES} bytes",
            ),
            (
                all(
                    0 <= value <= 1
                    for each in self.interoperable
                    for value in (each.cross_map, each.cross_tpr, each.own_map)
                ),
                "a figure of interoperable is not 0 to 1",
            ),
        ]

    def to_json(self) -> bytes:
        """The manifest as it travels."""
        value: dict[str, Any] = {
            "long_side": self.long_side,
            "mean": self.mean,
            "scale": self.scale,
            "colour_order": self.colour_order,
            "windows": self.windows,
            "rotations": self.rotations,
            "thresholds": dict(sorted(self.thresholds.items())),
            "min_quality": self.min_quality,
            "name": self.name,
            "licence": self.licence,
            "interoperable": [
                {
                    "model_id": each.model_id.hex(),
                    "cross_map": each.cross_map,
                    "cross_tpr": each.cross_tpr,
                    "own_map": each.own_map,
                }
                for each in self.interoperable
            ],
        }
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Reads a manifest from an untrusted source.

        Args:
            data: UTF-8; trailing spaces are allowed.

        Raises:
            ModelError: Not a manifest; says what is wrong.
        """
        if len(data) > MAX_MANIFEST_BYTES:
            raise ModelError(f"the descriptor manifest has {len(data)} bytes, over 65536")
        try:
            return cls(**_fields(json.loads(data)))
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
            raise ModelError(f"the descriptor manifest cannot be read: {error}") from error


def _fields(value: Any) -> dict[str, Any]:
    """Fields of a manifest out of parsed JSON; any error if they are not what they should be."""
    if not isinstance(value, dict):
        raise TypeError("not an object")
    readers: dict[str, Callable[[Any], Any]] = {
        "long_side": _integer,
        "mean": _floats,
        "scale": _floats,
        "colour_order": _text,
        "windows": lambda v: tuple(map(_integer, _list(v))),
        "rotations": _integer,
        "thresholds": _thresholds,
        "min_quality": _integer,
        "name": _text,
        "licence": _text,
        "interoperable": lambda v: tuple(map(_interoperable, _list(v))),
    }
    unknown = sorted(set(value) - set(readers))
    if unknown:
        raise ValueError(f"unknown keys {', '.join(unknown)[:200]}")
    return {key: readers[key](item) for key, item in value.items()}


def form_name(bits: int) -> str:
    """Name of a form of descriptor: ``"real"``, or the number of its bits."""
    return str(bits) if bits else "real"


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_INTEROPERABLE:
        raise TypeError(f"no list of up to {MAX_INTEROPERABLE} entries")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no integer")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _floats(value: Any) -> tuple[float, ...]:
    return tuple(map(_number, _list(value)))


def _thresholds(value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or len(value) > MAX_INTEROPERABLE:
        raise TypeError("thresholds are no small object")
    return {name: _number(limit) for name, limit in value.items()}


def _interoperable(value: Any) -> Interoperable:
    if not isinstance(value, dict):
        raise TypeError("an entry of interoperable is no object")
    return Interoperable(
        bytes.fromhex(value["model_id"]),
        _number(value["cross_map"]),
        _number(value["cross_tpr"]),
        _number(value["own_map"]),
    )
