# SPDX-License-Identifier: Apache-2.0
"""Kinds of job: what may be asked for, by which arguments, and the function that does it.

The table below is the only way from a name in a job list to code.  It names objects by their
place, because this package stands below those that it calls; a kind is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, final

from nnrvideo.errors import JobError
from nnrvideo.jsontext import JSON

Run = Callable[[Mapping[str, JSON], Path], Mapping[str, JSON]]
"""The function of a kind; see :mod:`nnrvideo.jobs` for what it must keep to."""

FieldType = Literal["file", "name", "text", "texts", "integer", "number", "boolean", "map", "json"]

_NAME_BYTES: Final = 200
_TYPES: Final[Mapping[FieldType, tuple[str, Callable[[Any], bool]]]] = {
    "file": ("the path of a file", lambda value: isinstance(value, str) and "\0" not in value),
    "name": (
        "the name of a file in the job's folder, without a path",
        lambda value: isinstance(value, str) and _is_plain_name(value),
    ),
    "text": ("text", lambda value: isinstance(value, str)),
    "texts": (
        "a list of texts",
        lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    ),
    "integer": (
        "an integer",
        lambda value: isinstance(value, int) and not isinstance(value, bool),
    ),
    "number": (
        "a number",
        lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    ),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "map": (
        "an object of texts",
        lambda value: isinstance(value, dict) and all(isinstance(v, str) for v in value.values()),
    ),
    "json": ("anything", lambda _value: True),
}


@final
@dataclass(frozen=True, slots=True)
class Field:
    """An argument of a kind.

    Args:
        type: ``"file"``: an input file, whose content is part of what identifies the job;
            ``"name"``: of a file that the job writes in its folder; ``"map"``: texts by name.
        required: Whether every job must give it.
        choices: The only values, where there are few; for a list, of its elements.
        find: Where the file of a value lies, from the value and the folder that relative paths
            start from, for files that have names, too.
    """

    type: FieldType
    required: bool = False
    choices: tuple[JSON, ...] = ()
    find: Callable[[str, Path], Path] = lambda value, folder: folder / value

    def problem(self, value: JSON) -> str | None:
        """What is wrong with a value, or None."""
        what, fits = _TYPES[self.type]
        if not fits(value):
            return f"must be {what}, not {_short(value)}"
        values = value if isinstance(value, list) else [value]
        if self.choices and not all(each in self.choices for each in values):
            return f"must be out of {', '.join(map(str, self.choices))}, not {_short(value)}"
        return None


@final
@dataclass(frozen=True, slots=True)
class Kind:
    """What jobs of one name do.

    Args:
        run: The function.
        fields: Its arguments; others are refused.
        version: To be raised whenever the same arguments give another result; finished jobs of
            another version run again.
        check: Looks at whole arguments and raises ValueError for what no field can tell.  It is
            called before references are resolved, too: those are dictionaries with one key.
    """

    run: Run
    fields: Mapping[str, Field]
    version: int = 1
    check: Callable[[Mapping[str, JSON]], None] | None = None


@final
@dataclass(frozen=True, slots=True)
class Registry:
    """Kinds by name.

    Args:
        places: For each name where its :class:`Kind` lies, ``"module:object"``.
    """

    places: Mapping[str, str] = field(default_factory=dict)

    def place(self, name: str) -> str:
        """Where a kind lies.

        Raises:
            JobError: There is no such kind.
        """
        place = self.places.get(name)
        if place is None:
            known = ", ".join(sorted(self.places)) or "none"
            raise JobError(f"there is no kind {_short(name)}; kinds are: {known}")
        return place

    def kind(self, name: str) -> Kind:
        """A kind by its name.

        Raises:
            JobError: There is no such kind.
            ImportError: What it needs is not installed.
        """
        return kind_at(self.place(name))


def kind_at(place: str) -> Kind:
    """The kind that lies at a place of a registry; never call it with what a list says."""
    module, _, name = place.partition(":")
    kind = getattr(import_module(module), name)
    if not isinstance(kind, Kind):
        msg = f"{place} is no kind of job"
        raise TypeError(msg)
    return kind


def _is_plain_name(text: str) -> bool:
    return (
        0 < len(text.encode("utf-8", "surrogateescape")) <= _NAME_BYTES
        and not text.startswith(".")
        and not set(text) & {"/", "\\", "\0"}
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


#: Every kind that a job list may name.
KINDS: Final = Registry(MappingProxyType({"encode": "nnrvideo.training.encode_job:ENCODE"}))
