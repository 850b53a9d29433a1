# SPDX-License-Identifier: Apache-2.0
"""What a network performs, as a model parameter set says it and as JSON.

The JSON form is an object.  Every key may be left out:

- ``performance_metric_type``: text, for instance ``"PSNR"``;
- ``validation_set_performance``: number, in the metric's unit;
- ``sparsification_performance_map``, ``pruning_performance_map``, ``unification_performance_map``,
  ``decomposition_performance_map``: lists of objects whose keys are the syntax elements, as the
  classes of :mod:`nnrvideo.nnc.maps` have them.  Lists of numbers and what belongs to single
  classes may be left out.

Spec: ISO/IEC 15938-17, nnr_model_parameter_set_unit_payload() and *_performance_map().
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Final, get_type_hints

import numpy as np

from nnrvideo.nnc.maps import (
    Decomposition,
    PerformanceMaps,
    Pruning,
    Sparsification,
    Unification,
)
from nnrvideo.nnc.units import ModelParameterSet

_KINDS: Final[dict[str, type]] = {
    "sparsification": Sparsification,
    "pruning": Pruning,
    "unification": Unification,
    "decomposition": Decomposition,
}
_SUFFIX: Final = "_performance_map"
_METRIC: Final = "performance_metric_type"
_VALIDATION: Final = "validation_set_performance"
_MAX_ENTRIES: Final = 254  # the count of eight bits is one more
_MAX_CLASSES: Final = {"decomposition": (1 << 16) - 1}
_MAX_UEK: Final = (1 << 32) - 1


def performance_from_json(facts: object) -> ModelParameterSet:
    """A parameter set that says what the JSON does, for ``nnc.encode(parameters=)``.

    Args:
        facts: As ``json.loads`` returns it.

    Raises:
        ValueError: It has not the form above, or a number does not fit; names the place.
    """
    if not isinstance(facts, Mapping):
        raise ValueError("a performance map is a JSON object")  # noqa: TRY004 - of a file, not of a call
    known = {_METRIC, _VALIDATION, *(f"{kind}{_SUFFIX}" for kind in _KINDS)}
    _refuse_others("a performance map", facts, known)
    maps = {
        kind: _entries(f"{kind}{_SUFFIX}", kind, facts[f"{kind}{_SUFFIX}"])
        for kind in _KINDS
        if f"{kind}{_SUFFIX}" in facts
    }
    metric = facts.get(_METRIC)
    if metric is not None and (not isinstance(metric, str) or "\0" in metric):
        raise ValueError(f"{_METRIC} is no text without zero bytes")
    validation = facts.get(_VALIDATION)
    if validation is not None:
        validation = _number(_VALIDATION, validation, float)
    if metric is not None and validation is None and not maps:
        raise ValueError(f"{_METRIC} without a performance or map that it could be about")
    return ModelParameterSet(
        metric_type_performance_map_valid_flag=metric is not None and bool(maps),
        performance_metric_type=metric,
        validation_set_performance=validation,
        maps=PerformanceMaps(**maps),
    )


def performance_to_json(parameters: ModelParameterSet | None) -> dict[str, Any]:
    """Inverse of :func:`performance_from_json`; empty if the parameter set says nothing."""
    facts: dict[str, Any] = {}
    if parameters is None:
        return facts
    if parameters.performance_metric_type:
        facts[_METRIC] = parameters.performance_metric_type
    if parameters.validation_set_performance is not None:
        facts[_VALIDATION] = parameters.validation_set_performance
    for kind in _KINDS:
        entries = getattr(parameters.maps, kind)
        if entries is not None:
            facts[f"{kind}{_SUFFIX}"] = [asdict(entry) for entry in entries]
    return facts


def _entries(place: str, kind: str, given: object) -> tuple[Any, ...]:
    if not isinstance(given, list) or len(given) > _MAX_ENTRIES:
        raise ValueError(f"{place} is no list of at most {_MAX_ENTRIES} entries")
    return tuple(_entry(f"{place}[{index}]", kind, each) for index, each in enumerate(given))


def _entry(place: str, kind: str, given: object) -> Any:
    cls = _KINDS[kind]
    if not isinstance(given, Mapping):
        raise ValueError(f"{place} is no object")  # noqa: TRY004 - of a file, not of a call
    _refuse_others(place, given, {each.name for each in fields(cls)})
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for each in fields(cls):
        where, hint = f"{place}.{each.name}", hints[each.name]
        if hint in (float, int):
            if each.name in given:
                values[each.name] = _number(where, given[each.name], hint)
            elif hint is float:
                raise ValueError(f"{where} is missing")
            continue
        items = given.get(each.name, [])
        limit = _MAX_CLASSES.get(kind, (1 << 8) - 1)
        if not isinstance(items, list) or len(items) > limit:
            raise ValueError(f"{where} is no list of at most {limit} numbers")
        (kind_of_item, _) = hint.__args__
        values[each.name] = tuple(
            _number(f"{where}[{index}]", item, kind_of_item) for index, item in enumerate(items)
        )
    _fill_in(place, values, cls)
    return cls(**values)


def _fill_in(place: str, values: dict[str, Any], cls: type) -> None:
    """What belongs to classes, where it was left out; the unification map counts them twice."""
    if cls is Unification:
        classes = len(values["upm_nn_class_accuracy"])
        values.setdefault("upm_count_classes", classes)
        values.setdefault("upm_class_bitmask", classes)
        if values["upm_class_bitmask"] != classes:
            raise ValueError(
                f"{place}.upm_class_bitmask is not {classes}: deployed decoders read as many class "
                "accuracies as its value says"
            )
        for name in ("super_block_dimensions", "block_dimensions"):
            if not all(size < 256 for size in values[name]):
                raise ValueError(f"{place}.{name} has a size over 255")
        if values["upm_count_classes"] > 255:
            raise ValueError(f"{place}.upm_count_classes is over 255")
    elif cls is Sparsification:
        values.setdefault("spm_class_bitmask", 0)
    elif cls is Pruning:
        values.setdefault("ppm_class_bitmask", 0)


def _number(place: str, value: object, kind: type) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{place} is no number")  # noqa: TRY004 - of a file, not of a call
    if kind is int:
        if not isinstance(value, int) or not 0 <= value <= _MAX_UEK:
            raise ValueError(f"{place} is no integer of 0 to {_MAX_UEK}")
        return value
    try:
        with np.errstate(over="ignore"):
            single = float(np.float32(value))
    except OverflowError:  # an integer beyond binary64
        single = math.inf
    if not math.isfinite(single):
        raise ValueError(f"{place} is outside binary32")
    return single


def _refuse_others(place: str, given: Mapping[Any, object], known: set[str]) -> None:
    others = [str(key) for key in given if key not in known]
    if others:
        raise ValueError(f"{place} has no {min(others)!r}; it has {', '.join(sorted(known))}")
