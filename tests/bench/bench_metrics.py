# SPDX-License-Identifier: Apache-2.0
"""CPU time of metrics on one 1080p pair of pictures, beside scikit-image's SSIM.

    python tests/bench/bench_metrics.py [ROUNDS]

Prints the fastest of several rounds in turns; libvmaf runs in a process of its own and its CPU time
is that of the process.
"""

import resource
import sys
import time
from collections.abc import Callable

import numpy as np
from skimage.metrics import structural_similarity

from nnrvideo.metrics import (
    FlickerMeter,
    VmafError,
    VmafMeter,
    find_vmaf,
    squared_error,
    ssim,
    ssim_and_ms_ssim,
)

SHAPE = (1080, 1920)
REPEATS = 8  # the clock of CPU time is coarse
VMAF_PICTURES = 24


def main(rounds: int) -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    base = 128 + 60 * np.sin(x / 9) * np.cos(y / 11) + rng.normal(0, 4, SHAPE)
    first = np.clip(base, 0, 255).astype(np.uint8)
    second = np.clip(base + rng.normal(0, 3, SHAPE), 0, 255).astype(np.uint8)
    flicker = FlickerMeter()
    jobs: dict[str, Callable[[], object]] = {
        "squared error": lambda: squared_error(first, second),
        "flicker": lambda: flicker.add(first, second),
        "SSIM": lambda: ssim(first, second),
        "SSIM and MS-SSIM": lambda: ssim_and_ms_ssim(first, second),
        "SSIM, scikit-image": lambda: structural_similarity(
            first, second, data_range=255, gaussian_weights=True, use_sample_covariance=False
        ),
    }
    best = dict.fromkeys(jobs, float("inf"))
    for _ in range(rounds):
        for name, job in jobs.items():
            start = time.process_time()
            for _ in range(REPEATS):
                job()
            best[name] = min(best[name], (time.process_time() - start) / REPEATS)
    for name, seconds in best.items():
        share = seconds / best["SSIM, scikit-image"]
        print(f"{name:20} {1000 * seconds:8.1f} ms  {share:6.3f} of scikit-image's SSIM")
    try:
        tool = find_vmaf()
    except VmafError as error:
        print(f"VMAF: {error}")
        return
    before = _children()
    with VmafMeter(tool, SHAPE[1], SHAPE[0]) as meter:
        for _ in range(VMAF_PICTURES):
            meter.add(first, second)
        meter.finish()
    print(f"{'VMAF and VMAF-NEG':20} {1000 * (_children() - before) / VMAF_PICTURES:8.1f} ms")


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
