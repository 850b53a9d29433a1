# SPDX-License-Identifier: Apache-2.0
"""Looping, seeking and updating for long: nothing is lost, and nothing grows.

A scaled-down soak; ``NNRVIDEO_SOAK=SECONDS`` makes it as long as one likes.
"""

import os
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from nnrvideo.authoring import embed
from nnrvideo.container import open_media
from nnrvideo.data import base_network
from nnrvideo.model import diff, receive
from nnrvideo.player import Enhanced, Enhancer, Feeder

FRAMES = 48
SECONDS = float(os.environ.get("NNRVIDEO_SOAK", "12"))

pytestmark = pytest.mark.slow


def resident():
    """MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmRSS")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_hours_in_seconds(make_clip, tmp_path):
    plain = make_clip(tmp_path / "plain.mp4", frames=FRAMES, size=(192, 128))
    base = base_network()
    received = receive(base)
    tail = received.tensors["tail.bias"]
    updates = {
        Fraction(frame, 24): diff(received, {"tail.bias": tail + np.float32(frame / 1e4)})
        for frame in (10, 30)
    }
    embed(plain, tmp_path / "film.mp4", base, updates=updates)
    random = np.random.default_rng(1)
    sent = got = rounds = 0
    begun = time.monotonic()
    memory, threads = [], []
    with (
        open_media(tmp_path / "film.mp4") as media,
        Enhancer(threads=2, workers=2, source=media.video.format) as enhancer,
    ):
        while time.monotonic() - begun < SECONDS or rounds < 12:
            start = Fraction(int(random.integers(0, FRAMES)), 24) if rounds % 2 else None
            leave = int(random.integers(1, FRAMES)) if rounds % 3 else None
            feeder = Feeder(media, enhancer, start=start)
            for index, decoded in enumerate(feeder):
                sent += 1
                result = enhancer.receive(None)
                assert isinstance(result, Enhanced)
                assert result.pts == decoded.pts
                assert result.info.enhanced, result.info.reason
                got += 1
                if index == leave:
                    break
            feeder.stop()
            rounds += 1
            memory.append(resident())
            threads.append(threading.active_count())
        counts = enhancer.stats()
    assert got == sent
    assert counts.frames_in == counts.frames_out + counts.flushed
    assert counts.networks_built == 3
    settled = len(memory) // 3
    early, late = (float(np.median(part)) for part in (memory[settled : settled + 3], memory[-3:]))
    print(
        f"\n{sent} pictures in {time.monotonic() - begun:.0f} s, {rounds} rounds, none lost; "
        f"{early:.1f} MiB after a third, {late:.1f} at the end, highest {max(memory):.1f}; "
        f"{max(threads)} threads"
    )
    assert max(threads[settled:]) <= max(threads[: settled + 1])
    # Within five per cent of where it stood after the first third.
    assert late <= 1.05 * early
