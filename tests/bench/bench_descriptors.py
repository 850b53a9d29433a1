# SPDX-License-Identifier: Apache-2.0
"""Search of a million descriptors, and key frames a second; prints, never fails.

python tests/bench/bench_descriptors.py [MODEL.nnc FILM]
"""

import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from nnrvideo.descriptors import Extractor, Form, Header, KeyFrames, Segment, load_model
from nnrvideo.descriptors.index import Index
from nnrvideo.descriptors.similarity import hamming

COUNT, EACH, QUERIES, NEIGHBOURS = 1_000_000, 4000, 100, 10


def search() -> None:
    """Synthetic: 20,000 scenes of 50 descriptors that differ in 15 % of bits; queries in 12 %."""
    generator = np.random.default_rng(0)
    scenes = generator.integers(0, 256, (20_000, 32), dtype=np.uint8)

    def noisy(rows, share):
        flips = generator.random((len(rows), 256), dtype=np.float32) < share
        return rows ^ np.packbits(flips, axis=1)

    header = Header(bytes(32), Form(256, 4), 256, 256, 0, 0.25, Fraction(1, 1000))
    with tempfile.TemporaryDirectory() as folder:
        index = Index(Path(folder) / "million.nvx", threads=1)
        every = []
        for number in range(COUNT // EACH):
            rows = noisy(scenes[generator.integers(0, len(scenes), EACH)], 0.15)
            times = np.arange(EACH, dtype=np.int64)
            # Straight into memory: what is measured is the search.
            segment = Segment(0, EACH, times, np.full(EACH, 99, np.uint8), rows)
            index.header = header
            index._take(str(number), KeyFrames.of(header, [segment]))
            every.append(rows)
        table = np.concatenate(every)
        queries = noisy(table[generator.integers(0, COUNT, QUERIES)], 0.12)
        index.nearest(queries[:1], NEIGHBOURS)
        spent, recalls = [], []
        for query in queries:
            begin = time.process_time()
            distances, _ = index.nearest(query[None], NEIGHBOURS)
            spent.append(time.process_time() - begin)
            exact = np.sort(hamming(query[None], table)[0])[:NEIGHBOURS]
            recalls.append(float((distances[0] <= exact[-1]).mean()))
        print(
            f"{COUNT} descriptors of 256 bits, one thread: median {1000 * np.median(spent):.2f} ms,"
            f" slowest {1000 * max(spent):.2f} ms of CPU a query; recall@10 {np.mean(recalls):.4f}"
        )


def speed(model_path: str, film: str) -> None:
    """CPU time of a key frame on one thread, everything after decoding."""
    import nnrvideo as nv
    from nnrvideo.descriptors.frames import quality, signature, small_rgb

    model = load_model(Path(model_path).read_bytes())
    with nv.open_media(film) as media:
        pictures = [d.picture for d in media.pictures() if d.index % 10 == 0][:20]
    for rotations in (1, 4):
        extractor = Extractor(model, Form(256, rotations), threads=1)
        spent = []
        for picture in pictures:
            begin = time.process_time()
            rgb = small_rgb(picture, model.manifest.long_side)
            signature(rgb), quality(rgb)
            extractor.code(extractor.describe(rgb))
            spent.append(time.process_time() - begin)
        median = float(np.median(spent))
        print(f"NIP-{rotations}: {1000 * median:.1f} ms a key frame, {1 / median:.1f} a second")


if __name__ == "__main__":
    search()
    if len(sys.argv) == 3:
        speed(sys.argv[1], sys.argv[2])
