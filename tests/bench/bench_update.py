# SPDX-License-Identifier: Apache-2.0
"""Bytes of content-adapted updates against full streams of the same networks.

    python tests/bench/bench_update.py [--pulls 0,0.003,0.01,0.03] CLIP...

The shipped network is adapted to each clip (halved by area, x265 CRF 22, decoded) under several
pulls towards the base.  The adapted network is then sent in two ways, each with QPs that cost at
most 0.02 dB on the clip: as a full stream without graph, and as an update of the base.  Training
takes every sixth picture, figures are of the pictures between them.

Needs the extra ``[train]``.  Asserts nothing.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from nnrvideo import data, model, nnc
from nnrvideo.training import Degradation, PairSet
from nnrvideo.training.adaptation import AdaptSettings, adapt, adaptation_psnr, to_update
from nnrvideo.training.data import crop_to_multiple, degrade
from nnrvideo.training.video import read_luma

_LOSS = 0.02


def pairs_of(clip: Path, pictures: int) -> tuple[PairSet, PairSet]:
    """Pairs to train on, and pairs to measure on."""
    planes, rate = read_luma(clip, pictures)
    large = [crop_to_multiple(plane) for plane in planes]
    small = degrade(large, Degradation("area", "libx265", 22), rate)

    def every(first: int) -> PairSet:
        chosen = range(first, len(large), 6)
        return PairSet(
            [small[n] for n in chosen], [large[n] for n in chosen], list(range(len(chosen)))
        )

    return every(3), every(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--pulls", default="0,0.003,0.01,0.03")
    parser.add_argument("--pictures", type=int, default=150)
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    base = model.receive(data.base_network())
    before = {
        name: np.asarray(value)
        for name, value in base.tensors.items()
        if name != model.RANGES_TENSOR
    }
    print(
        f"{'clip':14} {'pull':>6} {'base dB':>8} {'adapted':>8} {'moved':>6} {'full B':>7} "
        f"{'dB':>7} {'update B':>8} {'dB':>7} {'ratio':>6} {'cpu s':>6}"
    )
    for clip in options.clips:
        training, held_out = pairs_of(clip, options.pictures)
        for pull in map(float, options.pulls.split(",")):
            start = time.process_time()
            settings = AdaptSettings(
                pull=pull, steps=options.steps, refine_steps=options.steps // 2
            )
            adapted = adapt(before, training, settings)
            spent = time.process_time() - start
            coding = nnc.EncodeSettings(preset="slow")

            def metric(tensors, pairs=held_out):
                return adaptation_psnr({n: np.asarray(v) for n, v in tensors.items()}, pairs)

            reached = metric(adapted)
            qps = nnc.allocate_qps(adapted, metric, _LOSS, coding)
            coded = nnc.EncodeSettings(preset="slow", qp_per_tensor=qps)
            full = nnc.encode(adapted, coded)
            update = to_update(base, adapted, held_out, coding, loss=_LOSS)
            after = model.receive(update, base).tensors
            moved = sum(int((adapted[n] != before[n]).sum()) for n in before)
            print(
                f"{clip.stem:14} {pull:6} {metric(before):8.3f} {reached:8.3f} "
                f"{moved / sum(v.size for v in before.values()):6.3f} {len(full):7} "
                f"{metric(nnc.decode(full).tensors) - reached:+7.3f} {len(update):8} "
                f"{metric(after) - reached:+7.3f} {len(update) / len(full):6.3f} {spent:6.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
