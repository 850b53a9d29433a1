# SPDX-License-Identifier: Apache-2.0
"""JSON from strangers: strict, and of bounded depth, so that whoever walks it may recurse."""

from __future__ import annotations

import json
from typing import Any

JSON = None | bool | int | float | str | list[Any] | dict[str, Any]
"""A value as JSON has it."""

_MAX_DEPTH = 32
_MAX_DIGITS = 300  # of a number; every one of them fits a float


def parse_json(text: str | bytes) -> JSON:
    """Parses JSON: no name twice in an object, no infinities, no depth without end.

    Args:
        text: UTF-8; its size is for the caller to bound.

    Raises:
        ValueError: It is no such JSON; one line that says why.
    """
    try:
        value: JSON = json.loads(
            text, parse_constant=_refuse, parse_int=_integer, object_pairs_hook=_once
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"it is no proper JSON: {error}") from error
    _require_depth(value)
    return value


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name is given twice in one object")
    return value


def _require_depth(value: JSON) -> None:
    level: list[JSON] = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for each in level
            if isinstance(each, list | dict)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {_MAX_DEPTH} levels")
