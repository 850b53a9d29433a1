# SPDX-License-Identifier: Apache-2.0
"""A live pipeline for long: networks put in, updated, taken out and run; memory stays.

Scaled down; ``NNRVIDEO_SOAK=SECONDS`` makes it as long as one likes.
"""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from nnrvideo.data import base_network
from nnrvideo.model import diff, receive

RATE = 25
SECONDS = float(os.environ.get("NNRVIDEO_SOAK", "12"))

pytestmark = pytest.mark.slow


def resident():
    """MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmRSS")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_stays_while_a_network_works(pipeline, gst, tmp_path):
    from gi.repository import GLib

    base = base_network()
    received = receive(base)
    tail = received.tensors["tail.bias"]
    network = tmp_path / "net.nnc"
    network.write_bytes(base)
    frames = int(SECONDS * RATE)
    running = pipeline(
        f"videotestsrc is-live=true pattern=ball num-buffers={frames} ! video/x-raw,width=160,"
        f"height=96,framerate={RATE}/1 ! x264enc tune=zerolatency speed-preset=ultrafast "
        f"key-int-max=25 ! video/x-h264,profile=main ! h264parse ! nnrinsert name=insert "
        f"location={network} ! h264parse ! nnrh264decodebin enhance::mode=network name=bin "
        "! appsink name=out sync=false max-buffers=10",
        state=None,
    )
    running.start()
    enhance = running["enhance"]
    memory = []
    for index in range(frames):
        if index % (10 * RATE) == 5 * RATE:
            update = diff(received, {"tail.bias": tail + np.float32(index % 7 / 1e4)})
            running["insert"].emit("update", GLib.Bytes.new(update))
        frame = running.pull()
        assert frame is not None
        assert frame.size == (320, 192)
        if index % RATE == 0:
            memory.append(resident())
    assert running.pull() is None
    stats = enhance.get_property("stats")
    assert stats.get_value("frames") == frames
    assert stats.get_value("enhanced") == frames
    settled = len(memory) // 3
    early, late = (float(np.median(part)) for part in (memory[settled : settled + 3], memory[-3:]))
    print(
        f"\n{frames} pictures in {Fraction(frames, RATE)} s, none lost, all enhanced; "
        f"{early:.1f} MiB after a third, {late:.1f} at the end, highest {max(memory):.1f}"
    )
    assert late <= 1.05 * early
