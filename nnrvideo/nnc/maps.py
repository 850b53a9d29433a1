# SPDX-License-Identifier: Apache-2.0
"""Performance maps of the parameter sets: what each pruning or thresholding step costs.

The maps are information for people and tools; no decoding depends on them.  Each count in the
bitstream is one more than the entries that follow.  Spec: ISO/IEC 15938-17, *_performance_map().
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from nnrvideo.bits import BitReader, BitWriter


@final
@dataclass(frozen=True, slots=True)
class Sparsification:
    """One entry of sparsification_performance_map()."""

    sparsification_threshold: float
    non_zero_ratio: float
    spm_nn_accuracy: float
    spm_class_bitmask: int
    spm_nn_class_accuracy: tuple[float, ...]


@final
@dataclass(frozen=True, slots=True)
class Pruning:
    """One entry of pruning_performance_map()."""

    pruning_ratio: float
    ppm_nn_accuracy: float
    ppm_class_bitmask: int
    ppm_nn_class_accuracy: tuple[float, ...]


@final
@dataclass(frozen=True, slots=True)
class Unification:
    """One entry of unification_performance_map()."""

    reshaped_tensor_dimensions: tuple[int, ...]
    super_block_dimensions: tuple[int, ...]
    block_dimensions: tuple[int, ...]
    unification_threshold: float
    upm_nn_accuracy: float
    upm_count_classes: int
    upm_class_bitmask: int
    upm_nn_class_accuracy: tuple[float, ...]  # as many as the bitmask's *value*, see below


@final
@dataclass(frozen=True, slots=True)
class Decomposition:
    """One entry of decomposition_performance_map()."""

    mse_threshold: float
    dpm_nn_accuracy: float
    nn_reduction_ratio: float
    dpm_nn_class_accuracy: tuple[float, ...]


@final
@dataclass(frozen=True, slots=True)
class PerformanceMaps:
    """The maps of one parameter set; ``None`` where the flag of the map is 0."""

    sparsification: tuple[Sparsification, ...] | None = None
    pruning: tuple[Pruning, ...] | None = None
    unification: tuple[Unification, ...] | None = None
    decomposition: tuple[Decomposition, ...] | None = None


def parse_sparsification(r: BitReader) -> tuple[Sparsification, ...]:
    """sparsification_performance_map()."""
    entries = []
    for _ in range(_entries(r, "spm_count_thresholds")):
        threshold = r.flt("sparsification_threshold")
        ratio = r.flt("non_zero_ratio")
        accuracy = r.flt("spm_nn_accuracy")
        classes = r.u("spm_count_classes", 8)
        bitmask = r.uek("spm_class_bitmask", 7)
        each = _floats(r, "spm_nn_class_accuracy", classes)
        entries.append(Sparsification(threshold, ratio, accuracy, bitmask, each))
    return tuple(entries)


def write_sparsification(w: BitWriter, entries: tuple[Sparsification, ...]) -> None:
    """Inverse of :func:`parse_sparsification`."""
    w.u(len(entries) + 1, 8)
    for entry in entries:
        w.flt(entry.sparsification_threshold)
        w.flt(entry.non_zero_ratio)
        w.flt(entry.spm_nn_accuracy)
        w.u(len(entry.spm_nn_class_accuracy), 8)
        w.uek(entry.spm_class_bitmask, 7)
        _write_floats(w, entry.spm_nn_class_accuracy)


def parse_pruning(r: BitReader) -> tuple[Pruning, ...]:
    """pruning_performance_map()."""
    entries = []
    for _ in range(_entries(r, "ppm_count_pruning_ratios")):
        ratio = r.flt("pruning_ratio")
        accuracy = r.flt("ppm_nn_accuracy")
        classes = r.u("ppm_count_classes", 8)
        bitmask = r.uek("ppm_class_bitmask", 7)
        each = _floats(r, "ppm_nn_class_accuracy", classes)
        entries.append(Pruning(ratio, accuracy, bitmask, each))
    return tuple(entries)


def write_pruning(w: BitWriter, entries: tuple[Pruning, ...]) -> None:
    """Inverse of :func:`parse_pruning`."""
    w.u(len(entries) + 1, 8)
    for entry in entries:
        w.flt(entry.pruning_ratio)
        w.flt(entry.ppm_nn_accuracy)
        w.u(len(entry.ppm_nn_class_accuracy), 8)
        w.uek(entry.ppm_class_bitmask, 7)
        _write_floats(w, entry.ppm_nn_class_accuracy)


def parse_unification(r: BitReader) -> tuple[Unification, ...]:
    """unification_performance_map()."""
    entries = []
    for _ in range(_entries(r, "upm_count_thresholds")):
        count = _less_one(r, "count_reshaped_tensor_dimension", r.uek("count_reshaped", 1))
        _fits(r, "count_reshaped_tensor_dimension", count, bits_each=8)
        reshaped = tuple(r.uek("reshaped_tensor_dimensions", 7) for _ in range(count))
        r.align_one()
        super_block = _small_dimensions(r, "super_block_dimensions")
        block = _small_dimensions(r, "block_dimensions")
        threshold = r.flt("unification_threshold")
        accuracy = r.flt("upm_nn_accuracy")
        classes = r.u("upm_count_classes", 8)
        bitmask = r.uek("upm_class_bitmask", 7)
        # Deployed coders loop on the value of the bitmask here, not on the class count.
        each = _floats(r, "upm_nn_class_accuracy", bitmask)
        entries.append(
            Unification(reshaped, super_block, block, threshold, accuracy, classes, bitmask, each)
        )
    return tuple(entries)


def write_unification(w: BitWriter, entries: tuple[Unification, ...]) -> None:
    """Inverse of :func:`parse_unification`."""
    w.u(len(entries) + 1, 8)
    for entry in entries:
        w.uek(len(entry.reshaped_tensor_dimensions) + 1, 1)
        for size in entry.reshaped_tensor_dimensions:
            w.uek(size, 7)
        w.align_one()
        for dimensions in (entry.super_block_dimensions, entry.block_dimensions):
            w.u(len(dimensions) + 1, 8)
            for size in dimensions:
                w.u(size, 8)
        w.flt(entry.unification_threshold)
        w.flt(entry.upm_nn_accuracy)
        w.u(entry.upm_count_classes, 8)
        w.uek(entry.upm_class_bitmask, 7)
        if len(entry.upm_nn_class_accuracy) != entry.upm_class_bitmask:
            msg = "upm_nn_class_accuracy must have as many values as upm_class_bitmask says"
            raise ValueError(msg)
        _write_floats(w, entry.upm_nn_class_accuracy)


def parse_decomposition(r: BitReader) -> tuple[Decomposition, ...]:
    """decomposition_performance_map()."""
    entries = []
    for _ in range(_entries(r, "dpm_count_thresholds")):
        threshold = r.flt("mse_threshold")
        accuracy = r.flt("dpm_nn_accuracy")
        ratio = r.flt("nn_reduction_ratio")
        each = _floats(r, "dpm_nn_class_accuracy", r.u("dpm_count_classes", 16))
        entries.append(Decomposition(threshold, accuracy, ratio, each))
    return tuple(entries)


def write_decomposition(w: BitWriter, entries: tuple[Decomposition, ...]) -> None:
    """Inverse of :func:`parse_decomposition`."""
    w.u(len(entries) + 1, 8)
    for entry in entries:
        w.flt(entry.mse_threshold)
        w.flt(entry.dpm_nn_accuracy)
        w.flt(entry.nn_reduction_ratio)
        w.u(len(entry.dpm_nn_class_accuracy), 16)
        _write_floats(w, entry.dpm_nn_class_accuracy)


def _entries(r: BitReader, element: str) -> int:
    return _less_one(r, element, r.u(element, 8))


def _less_one(r: BitReader, element: str, count: int) -> int:
    if count == 0:
        raise r.error(element, "count is 0, it must be one more than the entries that follow")
    return count - 1


def _fits(r: BitReader, element: str, count: int, *, bits_each: int) -> None:
    if count * bits_each > r.bits_left:
        raise r.error(element, f"{count} values do not fit the {r.bits_left} bits that are left")


def _floats(r: BitReader, element: str, count: int) -> tuple[float, ...]:
    _fits(r, element, count, bits_each=32)
    return tuple(r.flt(element) for _ in range(count))


def _small_dimensions(r: BitReader, element: str) -> tuple[int, ...]:
    return tuple(r.u(element, 8) for _ in range(_entries(r, f"count_{element}")))


def _write_floats(w: BitWriter, values: tuple[float, ...]) -> None:
    for value in values:
        w.flt(value)
