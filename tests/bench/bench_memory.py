# SPDX-License-Identifier: Apache-2.0
"""What ``--max-memory`` is worth: added memory of a player under a bound, and what it costs.

    python tests/bench/bench_memory.py [--size 360|540] [--precision fp32|int8] [--bounds 32 64 256]

Each bound is tried in a process of its own: imports and one decoded picture are the base line, the
figure is the highest resident memory after 30 pictures above it.  The checksum over all output
samples must not depend on the bound.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def resident():
    """Resident memory and its maximum so far, in MiB."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return [int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")]


def child(clip, precision, bound, threads):
    import cv2  # noqa: F401 - part of the base line, as
    import onnxruntime  # noqa: F401 - onnxruntime is

    from nnrvideo.container import open_media
    from nnrvideo.player import enhanced_pictures

    with open_media(clip) as media:
        first = next(iter(media.pictures())).picture
        del first
        Path("/proc/self/clear_refs").write_text("5")  # restarts VmHWM
        base = resident()[0]
        digest, count, start = hashlib.sha256(), 0, time.process_time()
        for item in enhanced_pictures(
            media, precision=precision, max_memory_mib=bound, threads=threads
        ):
            assert item.enhanced, item.reason
            for plane in item.picture.planes:
                digest.update(plane.tobytes())
            count += 1
            if count == 30:
                break
    milliseconds = 1e3 * (time.process_time() - start) / count
    facts = [resident()[1] - base, milliseconds, digest.hexdigest()]
    print(json.dumps(facts))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=540)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bounds", type=int, nargs="+", default=[32, 64, 128, 1024])
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        clip, precision, bound, threads = options.child
        child(clip, precision, int(bound), int(threads))
        return
    from bench_player import SIZES, make_clip

    from nnrvideo.authoring import embed
    from nnrvideo.data import base_network

    with tempfile.TemporaryDirectory() as folder:
        clip, coded = Path(folder) / "clip.mp4", Path(folder) / "coded.mp4"
        make_clip(clip, SIZES[options.size])
        embed(clip, coded, base_network())
        print("bound MiB   added MiB   ms CPU a picture   samples")
        for bound in options.bounds:
            arguments = [coded, options.precision, bound, options.threads]
            done = subprocess.run(
                [sys.executable, __file__, "--child", *map(str, arguments)],
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            )
            added, cpu, digest = json.loads(done.stdout.splitlines()[-1])
            print(f"{bound:9}   {added:9.1f}   {cpu:16.1f}   {digest[:12]}")


if __name__ == "__main__":
    main()
