# SPDX-License-Identifier: Apache-2.0
"""What a player can do here, for negotiating before a network is fetched or decoded."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import final

import numpy as np

from nnrvideo.limits import Limits
from nnrvideo.model import ALLOWED_OPERATORS, infer_contract, measure, prepare, ranges_of, unpack
from nnrvideo.model.contract import SUPPORTED_PURPOSES
from nnrvideo.player.precision import integer_obstacle
from nnrvideo.runtime import OnnxRuntimeBackend
from nnrvideo.runtime.base import InferenceBackend

_RUNS = 5
_SHARE = 0.8  # of the time, the default deadline of an Enhancer


@final
@dataclass(frozen=True, slots=True)
class Ability:
    """What this machine and this build can run.

    Args:
        backend: Name and version of what runs networks.
        providers: Execution providers present, best first.
        threads: Threads for networks.
        precisions: Numbers that networks can compute in: "fp32", and "int8" where integers are
            exact.
        operators: Operators that a network may use.
        purposes: Bits of ``nnpfc_purpose`` that are run, alone or together.
        max_bit_depth: Bits of a sample.
        limits: Bounds on a network.
        macs_per_second: Multiply-accumulates a second by precision, measured with the shipped
            network; empty if not measured.
    """

    backend: str
    providers: tuple[str, ...]
    threads: int
    precisions: tuple[str, ...]
    operators: tuple[str, ...]
    purposes: int
    max_bit_depth: int
    limits: Limits
    macs_per_second: dict[str, float]

    def kmac_per_sample(self, width: int, height: int, pictures_per_second: float) -> int:
        """Largest ``nnpfc_num_kmac_operations_idc`` that plays in time; 0 if not measured.

        Args:
            width: Of the output, luma samples.
            height: Likewise.
            pictures_per_second: Rate.
        """
        fastest = max(self.macs_per_second.values(), default=0.0)
        return int(fastest * _SHARE / (1000 * width * height * pictures_per_second))


def capabilities(
    *,
    measured: bool = False,
    limits: Limits | None = None,
    backend: InferenceBackend | None = None,
) -> Ability:
    """Asks what can be run here.

    Args:
        measured: Also run the shipped network for a moment (well under a second) to see how fast.
        limits: Bounds that will be given to the :class:`Enhancer`; a desktop's if absent.
        backend: What will run the networks; ONNX Runtime if absent.

    Raises:
        InferenceError: Nothing can be run here at all.
    """
    backend = backend or OnnxRuntimeBackend()
    known = backend.capabilities()
    integers = not integer_obstacle(backend)
    return Ability(
        backend=f"{known.backend} {known.version}",
        providers=known.providers,
        threads=known.threads,
        precisions=("fp32", "int8") if integers else ("fp32",),
        operators=tuple(sorted(ALLOWED_OPERATORS)),
        purposes=SUPPORTED_PURPOSES,
        max_bit_depth=16,
        limits=limits or Limits.desktop(),
        macs_per_second=_speeds(backend, integers=integers) if measured else {},
    )


def _speeds(backend: InferenceBackend, *, integers: bool) -> dict[str, float]:
    from nnrvideo.data import base_network

    network = unpack(base_network()).require_network()
    contract = infer_contract(network)
    macs = measure(network, contract=contract).macs
    found = {}
    for name, ranges in (("fp32", None), ("int8", ranges_of(network) if integers else None)):
        if name == "int8" and ranges is None:
            continue
        prepared = prepare(network, contract, input_bit_depth=8, ranges=ranges)
        session = backend.load(prepared.model, prepared.arrays)
        shape = contract.input_shape(*contract.nominal_patch())
        tensor = np.full(shape, 128, prepared.input_dtype)
        session.run({prepared.input_name: tensor})
        times = []
        for _ in range(_RUNS):
            started = time.perf_counter()
            session.run({prepared.input_name: tensor})
            times.append(time.perf_counter() - started)
        found[name] = macs / statistics.median(times)
    return found
