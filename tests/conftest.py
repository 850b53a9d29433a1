# SPDX-License-Identifier: Apache-2.0
"""What all tests share: where the big test data lies, and which backend is being tested."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


def shared_dir() -> Path | None:
    """Folder with conformance vectors and clips, or None: the project stands without it."""
    given = os.environ.get("NNRVIDEO_SHARED")
    folder = Path(given) if given else ROOT.parent / "shared"
    return folder if (folder / "vectors").is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder; skips the test where it is absent."""
    folder = shared_dir()
    if folder is None:
        pytest.skip("no shared test data (set NNRVIDEO_SHARED or put it beside the checkout)")
    return folder


@pytest.fixture(autouse=True, scope="session")
def no_weight_store() -> None:
    """Large networks of tests stay out of the cache of whoever runs them."""
    os.environ["NNRVIDEO_WEIGHTS"] = ""


def pytest_report_header() -> str:
    """Prints the backend in use: a silent fallback must not pass for the native core."""
    try:
        from nnrvideo.entropy import BACKEND
    except ImportError:
        BACKEND = "no"
    return f"nnrvideo: {BACKEND} backend, shared data: {shared_dir() or 'absent'}"


def _numbered(index: int, width: int, height: int) -> np.ndarray:
    """Luma that shows a number below 256: eight bars, dark for 0 and bright for 1."""
    bits = np.array([index >> bit & 1 for bit in range(8)])
    row = np.where(bits[np.arange(width) * 8 // width], 200, 50)
    return np.broadcast_to(row, (height, width))


def _test_picture(index: int, width: int, height: int, depth: int) -> list[np.ndarray]:
    """Moving gradients with a little noise: motion for B pictures, detail for every block."""
    noise = np.random.default_rng(index).integers(0, 12, (height, width))
    y, x = np.mgrid[0:height, 0:width]
    luma = (x * 2 + y + index * 3) % 220 + noise
    cb, cr = 128 + 60 * np.sin((x + index) / 9), 128 + 60 * np.cos((y - index) / 7)
    dtype = np.uint8 if depth == 8 else np.uint16
    return [(plane * (1 << (depth - 8))).astype(dtype) for plane in (luma, cb, cr)]


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """Function that makes a film with PyAV alone, so that it is independent of what it tests."""

    def make(
        path: Path,
        *,
        codec: str = "libx264",
        frames: int = 40,
        size: tuple[int, int] = (96, 64),
        pix_fmt: str = "yuv420p",
        rate: Fraction = Fraction(24),
        gop: int = 12,
        times: Sequence[Fraction] | None = None,  # seconds; by default constant rate from 0
        time_base: Fraction = Fraction(1, 12_000),
        options: dict[str, str] | None = None,
        audio: bool = False,
        subtitles: str | None = None,  # codec name
        chapters: bool = False,
        attachment: bytes | None = None,
        numbers: bool = False,  # pictures show their numbers
        muxer_options: dict[str, str] | None = None,
    ) -> Path:
        import av

        os.environ.setdefault("SVT_LOG", "1")  # errors only
        with av.open(str(path), "w", options=muxer_options or {}) as sink:
            video = sink.add_stream(codec, rate=rate)
            video.width, video.height, video.pix_fmt = *size, pix_fmt
            video.codec_context.time_base = time_base
            x265 = f"log-level=none:keyint={gop}:min-keyint={gop}:scenecut=0:bframes=2:open-gop=0"
            defaults = {
                "libx264": {"g": str(gop), "bf": "2", "preset": "ultrafast", "sc_threshold": "0"},
                "libx265": {"preset": "ultrafast", "x265-params": x265},
                # Hidden pictures, shown later or never: what other codecs have B pictures for.
                "libvpx": {"g": str(gop), "cpu-used": "5"},
                "libvpx-vp9": {"g": str(gop), "cpu-used": "5", "lag-in-frames": "16"},
                "libsvtav1": {"g": str(gop), "preset": "10", "svtav1-params": "lookahead=16"},
            }
            video.codec_context.options = {**defaults.get(codec, {}), **(options or {})}
            sink.metadata["title"] = "Test clip"
            if audio:
                sound = sink.add_stream("aac", rate=48_000)
                sound.metadata["language"] = "swe"
            if subtitles:
                text = sink.add_mux_stream(subtitles)
                text.time_base = Fraction(1, 1000)
                text.metadata["language"] = "fra"
            if attachment is not None:
                sink.add_attachment("font.ttf", "font/ttf", attachment)
            if chapters:
                marks = [(0, 700, "one"), (700, 1600, "two")]
                sink.set_chapters(
                    [
                        {
                            "id": number,
                            "start": start,
                            "end": end,
                            "time_base": Fraction(1, 1000),
                            "metadata": {"title": title},
                        }
                        for number, (start, end, title) in enumerate(marks, 1)
                    ]
                )
            depth = 10 if "10" in pix_fmt else 8
            packets = []
            for index in range(frames):
                frame = av.VideoFrame(*size, pix_fmt)
                planes = _test_picture(index, *size, depth)
                if numbers:
                    planes = [_numbered(index, *size).astype(planes[0].dtype), *planes[1:]]
                for plane, samples in zip(frame.planes, planes, strict=False):
                    step_y, step_x = size[1] // plane.height, size[0] // plane.width
                    view = np.frombuffer(plane, samples.dtype)
                    view = view.reshape(-1, plane.line_size // samples.itemsize)
                    view[: plane.height, : plane.width] = samples[::step_y, ::step_x]
                time = times[index] if times else index / rate
                frame.pts, frame.time_base = round(time / time_base), time_base
                packets += video.encode(frame)
            packets += video.encode(None)
            if audio:
                seconds = frames / rate
                tone = np.sin(np.arange(int(48_000 * seconds)) * 0.05).astype(np.float32) * 0.2
                for start in range(0, len(tone) - 1023, 1024):
                    block = np.stack([tone[start : start + 1024]] * 2)
                    frame = av.AudioFrame.from_ndarray(block, "fltp", "stereo")
                    frame.sample_rate, frame.pts = 48_000, start
                    frame.time_base = Fraction(1, 48_000)
                    packets += sound.encode(frame)
                packets += sound.encode(None)
            if subtitles:
                for number, words in enumerate((b"hello", b"world \xc3\xa5")):
                    body = words
                    if subtitles == "mov_text":
                        body = len(words).to_bytes(2, "big") + words
                    packet = av.Packet(body)
                    packet.pts = packet.dts = number * 600 + 100
                    packet.duration, packet.time_base = 400, Fraction(1, 1000)
                    packet.stream = text
                    packets.append(packet)
            packets.sort(key=lambda p: (p.dts * p.time_base, p.stream.index))
            for packet in packets:
                sink.mux(packet)
        return path

    return make


@pytest.fixture(scope="session")
def number_of() -> Callable[[np.ndarray], int]:
    """Function that reads the number off the luma of a picture, whatever coding has done to it."""

    def read(luma: np.ndarray) -> int:
        middle = luma[luma.shape[0] // 2]
        bars = (np.arange(8) * 2 + 1) * luma.shape[1] // 16
        return sum(int(middle[bar] > 125) << bit for bit, bar in enumerate(bars))

    return read


@pytest.fixture(scope="session")
def decode_clip() -> Callable[[Path], list[tuple[Fraction | None, str]]]:
    """Function that returns (seconds, MD5) of every decoded picture, with PyAV alone."""

    def decode(path: Path) -> list[tuple[Fraction | None, str]]:
        import av

        result = []
        with av.open(str(path)) as source:
            for frame in source.decode(video=0):
                digest = hashlib.md5(frame.to_ndarray().tobytes()).hexdigest()
                time = None if frame.pts is None else frame.pts * frame.time_base
                result.append((time, digest))
        return result

    return decode
