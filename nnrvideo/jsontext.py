# SPDX-License-Identifier: Apache-2.0
"""JSON from strangers: strict, and of bounded depth, so that whoever walks it may recurse.

Text in it is text: escapes of half a character, which no file name and no terminal takes, are
refused.
"""

from __future__ import annotations

import json
from typing import Any

JSON = None | bool | int | float | str | list[Any] | dict[str, Any]
"""A value as JSON has it."""

_MAX_DEPTH = 32
_MAX_DIGITS = 300  # of a number; every one of them fits a float


def parse_json(text: str | bytes) -> JSON:
    """Parses JSON: no name twice in an object, no infinities, no half characters, bounded depth.

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
    _require_proper(value)
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


def _require_proper(value: JSON) -> None:
    level: list[JSON] = [value]
    for _ in range(_MAX_DEPTH):
        following: list[JSON] = []
        for each in level:
            if isinstance(each, dict):
                following += [*each.keys(), *each.values()]
            elif isinstance(each, list):
                following += each
            elif isinstance(each, str) and not each.isascii():
                _require_text(each)
        if not following:
            return
        level = following
    raise ValueError(f"it is nested deeper than {_MAX_DEPTH} levels")


def _require_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text[:40]!r} is no text: half a character is missing") from None
