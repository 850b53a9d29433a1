# SPDX-License-Identifier: Apache-2.0
"""Rotation and HDR10's static metadata go from the source into what is encoded from it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from nnrvideo.container import ResumableWriter, VideoWriter, open_media
from nnrvideo.container.display import Display, display_of

_X265 = (
    "log-level=none:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
    "L(10000000,50):max-cll=1000,400"
)


def source(path: Path, *, hdr: bool, rotation: int, hflip: bool = False) -> Path:
    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("libx265", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p10le"
        stream.codec_context.options = {
            "preset": "ultrafast",
            "x265-params": _X265 if hdr else "log-level=none",
        }
        if rotation or hflip:
            stream.set_display_rotation(rotation, hflip=hflip)
        for number in range(3):
            frame = av.VideoFrame(96, 64, "yuv420p10le")
            for plane in frame.planes:
                np.frombuffer(plane, np.uint16)[:] = 300 + 20 * number
            frame.pts = number
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    return path


def encoded(original: Path, target: Path, codec: str) -> Path:
    options = {"libsvtav1": {"preset": "12"}}.get(codec, {"preset": "ultrafast"})
    with (
        open_media(original) as media,
        VideoWriter(
            target, like=media.video, codec=codec, options=options, copy_from=original
        ) as writer,
    ):
        for item in media.pictures():
            writer.write(item.picture, item.pts)
    return target


@pytest.mark.parametrize(
    ("rotation", "hflip"), [(90, False), (180, False), (-90, False), (0, True)]
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_rotation_is_kept(tmp_path: Path, rotation: int, hflip: bool, suffix: str) -> None:
    original = source(tmp_path / "in.mp4", hdr=False, rotation=rotation, hflip=hflip)
    wanted = display_of(original)
    assert wanted.matrix is not None
    if suffix == "mkv" and hflip:
        pytest.skip("libavformat writes no mirrored pictures into Matroska")
    got = display_of(encoded(original, tmp_path / f"out.{suffix}", "libx265"))
    # Matroska says the angle in degrees, which costs the last bits of the matrix.
    assert got.matrix is not None
    assert np.abs(np.subtract(got.matrix, wanted.matrix)).max() <= 1


def test_both_are_kept_in_pieces(tmp_path: Path) -> None:
    original = source(tmp_path / "in.mp4", hdr=True, rotation=90)
    target = tmp_path / "out.mp4"
    with (
        open_media(original) as media,
        ResumableWriter(
            target,
            settings={},
            every=2,
            like=media.video,
            codec="libx265",
            options={"preset": "ultrafast"},
            copy_from=original,
        ) as writer,
    ):
        for item in media.pictures():
            writer.write(item.picture, item.pts)
    assert writer.frames == 3
    assert display_of(target) == display_of(original)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_static_metadata_is_kept(tmp_path: Path, codec: str) -> None:
    original = source(tmp_path / "in.mp4", hdr=True, rotation=0)
    wanted = display_of(original)
    assert wanted.primaries is not None and wanted.light == (1000, 400)
    assert wanted.luminance == (1000, Fraction(1, 200))
    assert wanted.primaries[0] == (Fraction(17, 25), Fraction(8, 25))
    got = display_of(encoded(original, tmp_path / "out.mp4", codec))
    assert got.light == wanted.light
    assert got.primaries is not None and got.luminance is not None
    assert np.allclose(np.array(got.primaries, float), np.array(wanted.primaries, float), atol=1e-4)
    assert np.allclose(np.array(got.luminance, float), np.array(wanted.luminance, float), atol=1e-3)


def test_nothing_is_made_up(tmp_path: Path) -> None:
    original = source(tmp_path / "in.mp4", hdr=False, rotation=0)
    assert display_of(original) == Display()
    assert Display().encoder_options("libx265") == {}
    assert Display(light=(1, 2)).encoder_options("libvpx-vp9") == {}
