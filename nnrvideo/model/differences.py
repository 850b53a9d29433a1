# SPDX-License-Identifier: Apache-2.0
"""Adding up what a base and its updates say, in arithmetic that is the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nnrvideo.errors import TensorMismatchError
from nnrvideo.model.element_types import is_floating
from nnrvideo.model.exact import are_digits, restore
from nnrvideo.model.graph import Array, TensorDeclaration
from nnrvideo.tensors import TensorSet


def apply_update(
    base: Mapping[str, Array], tensors: Mapping[str, Array], *, differences: bool
) -> TensorSet:
    """Tensors of a network with some of them changed.

    Args:
        base: The network's tensors.
        tensors: Changes by name; tensors that are not named stay.
        differences: Values are added to the base's, in the base's type; otherwise they replace
            them.

    Raises:
        TensorMismatchError: A tensor is not part of the base, has another shape there, or leaves
            the range of its type.
    """
    changed = dict(base)
    violations = []
    for name, value in tensors.items():
        known = changed.get(name)
        if known is None:
            violations.append(f"tensor {name!r} is not part of the base")
            continue
        declared = TensorDeclaration(name, known.dtype, known.shape)
        fits = value.size == known.size and known.shape in (value.shape, ())
        if not fits and (differences or not are_digits(value, declared)):
            shapes = f"{list(value.shape)}, {list(known.shape)} in the base"
            violations.append(f"tensor {name!r} has the shape {shapes}")
        elif differences:
            fitted = value.reshape(known.shape)
            changed[name] = _sum(known, fitted)
            if not _in_range(known, fitted):
                violations.append(f"tensor {name!r} leaves the range of {known.dtype}")
        else:
            try:
                changed[name] = restore(value.reshape(known.shape) if fits else value, declared)
            except ValueError as error:
                violations.append(f"tensor {name!r}: {error}")
    if violations:
        raise TensorMismatchError("the update does not fit its base", violations)
    return TensorSet(changed)


def _sum(known: Array, difference: Array) -> Array:
    if not is_floating(known.dtype):
        return (known.astype(np.int64) + difference.astype(np.int64)).astype(known.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        wide = known.astype(np.float32, copy=False) + difference.astype(np.float32, copy=False)
        return wide.astype(known.dtype, copy=False)


def _in_range(known: Array, difference: Array) -> bool:
    if is_floating(known.dtype):
        return bool(np.isfinite(_sum(known, difference)[np.isfinite(known)]).all())
    exact = known.astype(np.int64) + difference.astype(np.int64)
    return bool((exact == exact.astype(known.dtype).astype(np.int64)).all())
