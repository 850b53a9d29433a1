# SPDX-License-Identifier: Apache-2.0
"""Speed of the coder alone: nanoseconds of CPU for each weight, and bins a second.

    python tests/bench/bench_entropy.py [--rows 1000] [--cols 1000] [--qp -32] [--runs 5]

Weights of Laplace distribution, dependent quantisation. Asserts nothing.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from nnrvideo import entropy
from nnrvideo.entropy import (
    TensorChoices,
    TensorSpec,
    contract_levels,
    estimate_bits,
    quantise,
    search_init_indices,
    step_size,
)


def bins_of(coded: np.ndarray, unary_length: int) -> int:
    """Context-coded and bypass bins of coded values: significance, sign, flags, remainder."""
    magnitudes = np.abs(coded.astype(np.int64))
    flags = np.minimum(magnitudes, unary_length)[magnitudes > 0].sum()
    rest = magnitudes[magnitudes > unary_length] - unary_length
    widths = np.floor(np.log2(rest)) if rest.size else np.zeros(0)
    return int(coded.size + (magnitudes > 0).sum() + flags + (2 * widths + 1).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--cols", type=int, default=1000)
    parser.add_argument("--qp", type=int, default=-32)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    weights = random.laplace(0, 0.02, (options.rows, options.cols)).astype(np.float32)
    step = step_size(options.qp, 2)
    spec = TensorSpec(options.rows, options.cols, 1, 11, dq_flag=True)
    levels = quantise(weights, step, spec)
    choices = TensorChoices(search_init_indices(levels, spec))

    def encode() -> bytes:
        encoder = entropy.encoder()
        encoder.tensor(levels, spec, choices)
        return encoder.terminate()

    codeword = encode()

    def decode() -> None:
        decoder = entropy.decoder(codeword)
        decoder.tensor(spec)
        decoder.terminate()

    bins = bins_of(contract_levels(levels), 11)
    print(
        f"{entropy.BACKEND} backend, {weights.size} weights, "
        f"{8 * len(codeword) / weights.size:.2f} bits and {bins / weights.size:.2f} bins each"
    )
    print(f"{'':28}{'ns a weight':>12}{'M bins/s':>10}")
    for name, action in {
        "quantise, distortion": lambda: quantise(weights, step, spec),
        "quantise, with rate": lambda: quantise(weights, step, spec, choices, lam=0.75),
        "search of initial states": lambda: search_init_indices(levels, spec),
        "estimate of the size": lambda: estimate_bits(levels, spec, choices),
        "encode": encode,
        "decode": decode,
    }.items():
        best = float("inf")
        for _ in range(options.runs):
            start = time.process_time()
            action()
            best = min(best, time.process_time() - start)
        rate = f"{bins / best / 1e6:10.0f}" if name in {"encode", "decode"} else ""
        print(f"{name:28}{1e9 * best / weights.size:12.1f}{rate}")


if __name__ == "__main__":
    main()
