# SPDX-License-Identifier: Apache-2.0
"""How much faster a network runs in 8-bit integers than in real numbers.

    python tests/bench/bench_precision.py [--network NET.nnc] [--threads 1 2] [--rounds N]

Both sessions of the shipped network (or of any network with ranges) run in turns on the same
pictures, in one process; the figures are medians over rounds and the median of the ratios of
neighbours.  CPU time hardly depends on what else the machine does.  Asserts nothing.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np

from nnrvideo.data import base_network
from nnrvideo.limits import Limits
from nnrvideo.model import infer_contract, prepare, ranges_of, unpack
from nnrvideo.player.precision import integer_obstacle
from nnrvideo.runtime import OnnxRuntimeBackend

SIZES = (640, 360), (960, 540)


def sessions(network, threads):
    contract = infer_contract(network)
    for ranges in (None, ranges_of(network)):
        prepared = prepare(network, contract, input_bit_depth=8, ranges=ranges)
        backend = OnnxRuntimeBackend(providers=["CPUExecutionProvider"], threads=threads)
        yield backend.load(prepared.model, prepared.arrays), prepared.input_name


def timed(session, name, tensor, runs=4):
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(runs):
        session.run({name: tensor})
    return (
        1e3 * (time.perf_counter() - wall) / runs,
        1e3 * (time.process_time() - cpu) / runs,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", type=Path)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    payload = base_network() if options.network is None else options.network.read_bytes()
    network = unpack(payload, limits=Limits.offline()).require_network()
    if ranges_of(network) is None:
        raise SystemExit("the network carries no ranges: nnrvideo calibrate adds them")
    obstacle = integer_obstacle(OnnxRuntimeBackend(providers=["CPUExecutionProvider"]))
    print(f"integers  {obstacle or 'exact'}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    overlap = infer_contract(network).overlap
    print("picture   threads   fp32 ms   int8 ms   fp32 CPU   int8 CPU   faster   CPU faster")
    for width, height in SIZES:
        ramp = np.arange(width + 2 * overlap) % 256
        tensor = np.broadcast_to(ramp, (1, 1, height + 2 * overlap, ramp.size)).astype(np.uint8)
        for threads in options.threads:
            pair = list(sessions(network, threads))
            rounds = [[timed(*one, tensor) for one in pair] for _ in range(options.rounds + 1)][1:]
            wall = [statistics.median(r[i][0] for r in rounds) for i in (0, 1)]
            cpu = [statistics.median(r[i][1] for r in rounds) for i in (0, 1)]
            ratio = [statistics.median(r[0][k] / r[1][k] for r in rounds) for k in (0, 1)]
            print(
                f"{width}x{height}   {threads:7}   {wall[0]:7.2f}   {wall[1]:7.2f}   "
                f"{cpu[0]:8.2f}   {cpu[1]:8.2f}   {ratio[0]:6.2f}   {ratio[1]:10.2f}"
            )


if __name__ == "__main__":
    main()
