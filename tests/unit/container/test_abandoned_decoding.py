# SPDX-License-Identifier: Apache-2.0
"""Whoever stops in the middle of a film gets out, whatever the decoder's threads are at."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from nnrvideo.container import DecodedPicture, open_media

with open_media(sys.argv[1]) as media:
    for number in range(150):
        pictures = 0
        for item in media.events(threads=3):
            pictures += isinstance(item, DecodedPicture)
            if pictures > number % 5:
                break
print("out")
"""


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libx264"])
def test_decoding_can_be_left_at_any_picture(make_clip, tmp_path, codec) -> None:
    film = tmp_path / "film.mkv"
    make_clip(film, codec=codec, frames=24, gop=24)
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(film)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "out", done.stderr
