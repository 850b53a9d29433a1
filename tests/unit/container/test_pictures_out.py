# SPDX-License-Identifier: Apache-2.0
"""Writers of pictures, read back: y4m and PNG by another reader, and the shortest of films."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from nnrvideo.container import VideoWriter, Y4mWriter, open_media, picture_to_rgb, png_bytes
from nnrvideo.errors import ContainerError
from nnrvideo.picture import ChromaFormat, Picture, PictureFormat


def noise(chroma, depth, width=17, height=12, seed=0):
    rng = np.random.default_rng(seed)
    shape = PictureFormat(width, height, chroma, depth)
    planes = [
        rng.integers(0, 1 << depth, shape.plane_shape(c)).astype(shape.dtype)
        for c in range(chroma.planes)
    ]
    return Picture(tuple(planes), chroma, depth)


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("chroma", list(ChromaFormat))
def test_y4m_is_read_back(tmp_path, chroma, depth):
    path = tmp_path / "film.y4m"
    pictures = [noise(chroma, depth, seed=seed) for seed in range(3)]
    rate = Fraction(24_000, 1001)
    with Y4mWriter(path, frame_rate=rate, sample_aspect_ratio=Fraction(4, 3)) as writer:
        for picture in pictures:
            writer.write(picture)
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        assert (stream.average_rate, stream.sample_aspect_ratio) == (rate, Fraction(4, 3))
        frames = list(source.decode(stream))
    assert len(frames) == 3
    for frame, picture in zip(frames, pictures, strict=True):
        for plane, expected in zip(frame.planes, picture.planes, strict=True):
            rows = np.frombuffer(plane, expected.dtype).reshape(plane.height, -1)
            np.testing.assert_array_equal(rows[:, : plane.width], expected)


def test_y4m_refusals(tmp_path):
    path = tmp_path / "film.y4m"
    with pytest.raises(ContainerError, match="no pictures"), Y4mWriter(path):
        pass
    with pytest.raises(ValueError, match="in a file of"), Y4mWriter(path) as writer:
        writer.write(noise(ChromaFormat.C420, 8))
        writer.write(noise(ChromaFormat.C444, 8))
    assert not list(tmp_path.iterdir())
    path.write_bytes(b"precious")
    with pytest.raises(ContainerError, match="exists"):
        Y4mWriter(path)
    assert path.read_bytes() == b"precious"


def test_full_disk_is_one_clear_error():
    with (
        pytest.raises(ContainerError, match="/dev/full"),
        Y4mWriter("/dev/full", overwrite=True) as w,
    ):
        for _ in range(200):
            w.write(noise(ChromaFormat.C420, 8, 64, 64))


def test_png_is_read_back():
    rgb = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    decoded = cv2.imdecode(np.frombuffer(png_bytes(rgb), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[..., ::-1], rgb)


def test_grey_is_grey():
    flat = Picture(tuple(np.full(s, v, np.uint8) for s, v in [((8, 8), 126), *[((4, 4), 128)] * 2]))
    rgb = picture_to_rgb(flat)
    assert rgb.shape == (8, 8, 3)
    assert np.ptp(rgb.astype(int), axis=-1).max() <= 1
    assert abs(int(rgb.mean()) - 128) <= 1


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_two_pictures_are_coded_one_after_the_other(tmp_path, codec):
    """libx265 sometimes dates them thousands of years back, which no muxer takes."""
    for attempt in range(8):
        path = tmp_path / f"{attempt}.mp4"
        with VideoWriter(path, codec=codec, options={"preset": "ultrafast"}) as writer:
            for number in range(2):
                writer.write(noise(ChromaFormat.C420, 8, 96, 64, number), Fraction(number, 25))
        with open_media(path) as media:
            assert [item.pts for item in media.pictures()] == [0, Fraction(1, 25)]
