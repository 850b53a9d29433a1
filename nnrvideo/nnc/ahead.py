# SPDX-License-Identifier: Apache-2.0
"""Codewords decoded before their turn, together or side by side.

Units of a bitstream that names each tensor once do not depend on those before them.  What fails
ahead of its turn is left for the walk through the units to meet again, in order and with its
place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from nnrvideo.errors import NnrVideoError
from nnrvideo.nnc.batch import BatchedCodeword, Job, decode_together
from nnrvideo.nnc.elements import Element
from nnrvideo.nnc.parallel import run_all
from nnrvideo.nnc.payload import CodedTensor, decode_codeword

Codeword = BatchedCodeword | tuple[CodedTensor, ...]

_PARALLEL_BYTES: Final = 1 << 15
_BYTES_A_UNIT: Final = 1 << 10
"""Of payload, in all and for each unit; below, threads cost more than they save."""


def decode_ahead(
    jobs: Sequence[Job], elements: Sequence[tuple[Element, ...]], threads: int
) -> Mapping[int, Codeword]:
    """Decodes all units that can be, if that is worth it.

    Args:
        jobs: INT, FLOAT and BLOCK units: number, unit and surroundings.
        elements: Tensors of the unit of each number.
        threads: Units decoded at a time.

    Returns:
        Codewords by number.
    """
    found: dict[int, Codeword] = {**decode_together(jobs, elements, threads)}
    rest = [job for job in jobs if job[0] not in found]
    if threads < 2 or not _pays(rest):
        return found

    def attempt(job: Job) -> tuple[CodedTensor, ...] | None:
        index, unit, context = job
        try:
            return decode_codeword(unit, elements[index], replace(context, threads=1))
        except NnrVideoError:
            return None

    results = run_all(attempt, rest, threads, size=lambda job: len(job[1].payload))
    for (index, _, _), result in zip(rest, results, strict=True):
        if result is not None:
            found[index] = result
    return found


def _pays(jobs: Sequence[Job]) -> bool:
    names = [name for _, unit, _ in jobs for name in unit.topology_elem_ids]
    sizes = [len(unit.payload) for _, unit, _ in jobs]
    large = sum(sizes) >= max(_PARALLEL_BYTES, _BYTES_A_UNIT * len(jobs))
    return large and len(jobs) > 1 and len(set(names)) == len(names)
