# SPDX-License-Identifier: Apache-2.0
"""Does a film play in time?  Real time, with sound, without a window.

    python tests/bench/bench_play.py [--size 540 --fps 30] [--seconds 30] [--channels N]

Makes a film of that size, rate and length with a tone, puts the shipped network into it (or a
random one of that many channels, which may be far too slow), plays it, and tells how many pictures
were shown by the network, plainly, and late, how far picture and sound came apart, and how busy
the machine was with other things.  Asserts nothing.
"""

import argparse
import os
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from bench_player import ROOT, SIZES, random_network

from nnrvideo.authoring import embed
from nnrvideo.container import open_media
from nnrvideo.data import base_network
from nnrvideo.model import load_onnx, pack
from nnrvideo.picture import PictureFormat
from nnrvideo.player import NoScreen, Playback, SilentSpeaker
from nnrvideo.runtime import resize_picture


def make_film(path, size, fps, seconds):
    with open_media(ROOT / "samples" / "bbb_sample.mp4") as media:
        pictures = [resize_picture(item.picture, PictureFormat(*size)) for item in media.pictures()]
    pictures += pictures[::-1]
    with av.open(str(path), "w") as sink:
        video = sink.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.codec_context.options = {"preset": "veryfast", "crf": "26", "g": str(2 * fps)}
        sound = sink.add_stream("aac", rate=48_000)
        for index in range(fps * seconds):
            planes = pictures[index % len(pictures)].planes
            frame = av.VideoFrame(*size, "yuv420p")
            for plane, target in zip(planes, frame.planes, strict=True):
                rows = np.zeros((plane.shape[0], target.line_size), np.uint8)
                rows[:, : plane.shape[1]] = plane
                target.update(rows.tobytes())
            frame.pts, frame.time_base = index, Fraction(1, fps)
            sink.mux(video.encode(frame))
        sink.mux(video.encode(None))
        tone = np.sin(np.arange(48_000 * seconds) * (440 * 2 * np.pi / 48_000))
        samples = (tone * 8000).astype(np.int16)
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(
                samples[None, start : start + 1024], format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
            sink.mux(sound.encode(frame))
        sink.mux(sound.encode(None))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, choices=SIZES, default=540)
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--channels", type=int)
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    payload = base_network()
    if options.channels:
        payload = pack(load_onnx(random_network(options.channels)))
    with tempfile.TemporaryDirectory() as folder:
        plain, film = Path(folder) / "plain.mp4", Path(folder) / "film.mp4"
        make_film(plain, SIZES[options.size], options.fps, options.seconds)
        embed(plain, film, payload)
        cpu = time.process_time()
        with open_media(film) as media:
            playback = Playback(media, NoScreen(), SilentSpeaker(), precision=options.precision)
            report = playback.run()
        cpu = time.process_time() - cpu
    counts = report.statistics
    load = os.getloadavg()[0]
    ours = cpu / report.seconds
    print(
        f"{SIZES[options.size]} at {options.fps} for {report.seconds:.1f} s, "
        f"{counts.precision}: {report.shown} shown, {report.enhanced} by the network, "
        f"{counts.too_slow} plain for want of time, {report.late} late"
    )
    print(
        f"worst {1e3 * report.worst_lateness:.1f} ms late, {1e3 * report.worst_drift:.1f} ms "
        f"between picture and sound; pace {counts.pace}; {ours:.2f} cores used, "
        f"load of the machine {load:.1f} on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
