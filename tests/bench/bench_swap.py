# SPDX-License-Identifier: Apache-2.0
"""What an update of the network costs the picture that it starts with.

    python tests/bench/bench_swap.py [--pictures N] [--every N] [--ahead N]

Sends pictures of 640x360 with an update of the shipped network every so often, as a decoder would
that is some pictures ahead, and compares the time spent on the pictures at which a network is
swapped with the median of all.  Asserts nothing.
"""

import argparse
import os
import statistics
from fractions import Fraction

import numpy as np
from bench_player import ROOT

from nnrvideo.container import open_media
from nnrvideo.data import base_network
from nnrvideo.model import diff, infer_contract, receive, to_nnpfc
from nnrvideo.picture import PictureFormat
from nnrvideo.player import Enhanced, Enhancer
from nnrvideo.runtime import resize_picture
from nnrvideo.sei import Nnpfa, Nnpfc, message_of, pack_records


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--every", type=int, default=40)
    parser.add_argument("--ahead", type=int, default=12)
    parser.add_argument("--precision", default="fp32")
    options = parser.parse_args()
    payload = base_network()
    received = receive(payload)
    base = to_nnpfc(infer_contract(received.network), None, nnpfc_id=7, payload=payload)
    with open_media(ROOT / "samples" / "bbb_sample.mp4") as media:
        pictures = [
            resize_picture(item.picture, PictureFormat(640, 360)) for item in media.pictures()
        ]
    times, swaps = [], []
    with Enhancer(
        threads=1,
        queue_size=options.ahead,
        source=pictures[0].format,
        precision=options.precision,
    ) as enhancer:

        def take(timeout):
            result = enhancer.receive(timeout)
            if isinstance(result, Enhanced):
                assert result.info.enhanced, result.info.reason
                times.append(result.info.milliseconds)
                return True
            return False

        for index in range(options.pictures):
            messages = []
            if index == 0:
                messages = [message_of(base), message_of(Nnpfa.activate(7))]
            elif index % options.every == 0:
                tail = received.tensors["tail.bias"] + np.float32(index / 1e5)
                update = Nnpfc(
                    nnpfc_purpose=base.nnpfc_purpose,
                    nnpfc_id=7,
                    nnpfc_base_flag=False,
                    nnpfc_property_present_flag=False,
                    nnpfc_payload_byte=diff(received, {"tail.bias": tail}),
                )
                messages = [message_of(update), message_of(Nnpfa.activate(7, base=False))]
                swaps.append(index)
            pts = Fraction(index, 25)
            enhancer.send_side_data(pts, pack_records(messages), clvs_start=index == 0)
            while enhancer.send_frame(pictures[index % len(pictures)], pts).name == "AGAIN":
                take(None)
        enhancer.drain()
        while take(0):
            pass
        built = enhancer.stats().networks_built
    median = statistics.median(times[options.every :])
    ratios = sorted(times[index] / median for index in swaps)
    others = sorted(t / median for i, t in enumerate(times) if i not in swaps and i)
    print(
        f"{len(times)} pictures, {built} networks, median {median:.1f} ms; of the {len(swaps)} at "
        f"swaps: median {statistics.median(ratios):.2f}, worst {ratios[-1]:.2f} of that; of the "
        f"others: 99 % below {others[int(0.99 * len(others))]:.2f}, worst {others[-1]:.2f}; load "
        f"{os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
