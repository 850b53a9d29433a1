# SPDX-License-Identifier: Apache-2.0
"""Whoever stops in the middle of a film gets out, whatever the decoder's threads are at.

Waiting for each other was a matter of luck: once in some hundred times on two busy cores.
"""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from nnrvideo.container import VideoWriter
from nnrvideo.picture import ChromaFormat, Picture

# The timer ends a program that waits for itself.
PROGRAM = """
import faulthandler, sys
from nnrvideo.container import DecodedPicture, open_media

faulthandler.dump_traceback_later(60, exit=True)
with open_media(sys.argv[1]) as media:
    for number in range(60):
        pictures = 0
        for item in media.events(threads=4):
            pictures += isinstance(item, DecodedPicture)
            if pictures > number % 3:
                break
print("out")
"""


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libx264"])
def test_decoding_can_be_left_at_any_picture(tmp_path, codec) -> None:
    film = tmp_path / "film.mkv"
    noise = np.random.default_rng(1).integers(0, 255, (360, 640), dtype=np.uint8)
    grey = np.full((180, 320), 128, np.uint8)
    with VideoWriter(film, codec=codec, options={"crf": "40", "threads": "2"}) as writer:
        for number in range(16):
            luma = np.roll(noise, number, axis=1)  # enough work to keep the threads busy
            writer.write(
                Picture((luma, grey, grey.copy()), ChromaFormat.C420), Fraction(number, 25)
            )
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(film)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "out", done.stderr
