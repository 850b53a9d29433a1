# SPDX-License-Identifier: Apache-2.0
"""The sound of a film, for playing: decoded, and brought to one format that every device takes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nnrvideo.container._pyav import PathLike, av, open_input, seconds, translate_errors

_log = logging.getLogger(__name__)

SAMPLE_RATE = 48_000  # Hz
CHANNELS = 2


@final
@dataclass(frozen=True, slots=True)
class Sound:
    """A piece of sound.

    Args:
        pts: Presentation time of its first sample, seconds.
        samples: (n, 2) int16, left and right, at 48 kHz.
    """

    pts: Fraction
    samples: npt.NDArray[np.int16] = field(repr=False)


def has_audio(path: PathLike) -> bool:
    """Whether a film has a sound track that can be decoded."""
    with open_input(path) as container:
        return _stream(container) is not None


def read_audio(path: PathLike, start: Fraction = Fraction(0)) -> Iterator[Sound]:
    """Decodes the first sound track.

    Args:
        path: The film.
        start: Seconds; sound before it is cut off.

    Yields:
        Pieces in order; none if there is no sound.  Damaged pieces are left out.

    Raises:
        ContainerError: The file cannot be read.
    """
    with open_input(path) as container, translate_errors(path, "read"):
        stream = _stream(container)
        if stream is None:
            return
        if start > 0 and stream.time_base:
            container.seek(int(start / stream.time_base), stream=stream, backward=True)
        resampler = av.AudioResampler(format="s16", layout="stereo", rate=SAMPLE_RATE)
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.EOFError:
                frames = []
            except av.error.FFmpegError as error:
                _log.debug("sound cannot be decoded: %s", error)
                continue
            for frame in frames:
                yield from _pieces(resampler.resample(frame), start)


def _pieces(frames: Any, start: Fraction) -> Iterator[Sound]:
    for frame in frames:
        pts = seconds(frame.pts, frame.time_base) or Fraction(0)
        samples = frame.to_ndarray().reshape(-1, CHANNELS)
        early = max(0, round((start - pts) * SAMPLE_RATE))
        if early < len(samples):
            yield Sound(pts + Fraction(early, SAMPLE_RATE), samples[early:])


def _stream(container: Any) -> Any:
    return next((s for s in container.streams.audio if s.codec_context is not None), None)
