# SPDX-License-Identifier: Apache-2.0
"""``VideoWriter``: encodes pictures and carries audio, subtitles, chapters and tags along.

Options are those of ffmpeg's command line, by the same names.  Presentation times are kept as
they are given; nothing is resampled to a constant rate.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from nnrvideo.container._pyav import (
    PathLike,
    av,
    open_output,
    raw_format,
    translate_errors,
)
from nnrvideo.container.companions import Companions
from nnrvideo.container.copying import DroppedStream, require_video
from nnrvideo.container.decode import apply_colour, frame_from_picture, pixel_format_of
from nnrvideo.container.display import Display, apply_matrix, display_of
from nnrvideo.container.info import VideoInfo
from nnrvideo.container.output import OutputFile
from nnrvideo.container.writer import PictureWriter
from nnrvideo.container.y4m import Y4mWriter
from nnrvideo.errors import ContainerError
from nnrvideo.picture import ChromaFormat, Picture, PictureFormat

_DEFAULT_RATE = Fraction(25)
_DEFAULT_TIME_BASE = Fraction(1, 90_000)
# Encoders compute with 32-bit time scales; finer ones (raw streams) are of no use to them.
_FINEST_TIME_BASE = Fraction(1, 1_000_000)

# ffmpeg's names for things that PyAV sets by attribute instead of by option.
_CODEC_KEYS = ("c:v", "c", "codec:v", "vcodec")
_MUXER_KEYS = frozenset(
    {"movflags", "brand", "muxrate", "max_delay", "frag_duration", "frag_size", "mpegts_flags",
     "video_track_timescale", "cluster_time_limit", "reserve_index_space", "use_editlist"}
)  # fmt: skip
# libx264 would write the time base into the VUI as the frame rate, 12288 pictures a second; the
# presentation times pass through all the same.  libx265 and SVT-AV1 write banners to standard
# error.
_ENCODER_PRESETS = {
    "libx264": {"x264-params": "force-cfr=1"},
    "libx265": {"x265-params": "log-level=error"},
}
_SVT_LOG = ("SVT_LOG", "1")  # the environment variable by which SVT-AV1 hears "errors only"
# Of so few pictures none is coded before its turn. libx265 reckons their decoding times from a
# delay that it has not measured yet, now and then to some thousand years ago.
_UNORDERED = 2
_DEFAULT_CODECS = {".h265": "libx265", ".265": "libx265", ".hevc": "libx265", ".webm": "libvpx-vp9"}


def open_writer(
    path: PathLike,
    *,
    like: VideoInfo | None = None,
    codec: str | None = None,
    options: Mapping[str, str] | None = None,
    copy_from: PathLike | None = None,
    start: Fraction | None = None,
    end: Fraction | None = None,
    overwrite: bool = False,
) -> PictureWriter:
    """Opens the writer that suits a path: YUV4MPEG2 for ``"-"`` and ``.y4m``, else an encoder.

    Arguments and errors are those of :class:`VideoWriter`.
    """
    if os.fspath(path) == "-" or Path(os.fspath(path)).suffix.lower() == ".y4m":
        return Y4mWriter(
            path,
            frame_rate=like.frame_rate if like else None,
            sample_aspect_ratio=like.sample_aspect_ratio if like else None,
            overwrite=overwrite,
        )
    return VideoWriter(
        path, like=like, codec=codec, options=options, copy_from=copy_from, start=start, end=end,
        overwrite=overwrite,
    )  # fmt: skip


class VideoWriter(PictureWriter):
    """Encodes pictures into a media file.

    Size, sample format and colour are those of the first picture. The file appears when
    :meth:`close` succeeds and not before.

    Args:
        path: Target; its suffix chooses the container.
        like: Source video, for frame rate, time base and sample aspect ratio.
        codec: Encoder, for instance ``"libx264"``; ``options["c:v"]`` says the same.
        options: ffmpeg's options by name: ``c:v``, ``crf``, ``b:v``, ``preset``, ``g``,
            ``pix_fmt``, ``r``, ``x265-params``, ``movflags`` and any other of encoder or muxer.
        copy_from: Media file whose audio, subtitles, attachments, chapters and tags are copied, and
            with them its rotation and, for libx264, libx265 and libsvtav1, the static metadata of
            HDR10.
        start: Time of the source (seconds) that becomes 0; copied packets before it are left out.
        end: Time of the source (seconds) at which copying stops.
        overwrite: Whether an existing file may be replaced.
        display: How the pictures are meant to be shown, instead of what ``copy_from`` says.

    Attributes:
        frames: Pictures written so far.
        dropped: Streams of ``copy_from`` that the container cannot hold.

    Raises:
        ContainerError: The target exists or cannot be written; unknown encoder.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        like: VideoInfo | None = None,
        codec: str | None = None,
        options: Mapping[str, str] | None = None,
        copy_from: PathLike | None = None,
        start: Fraction | None = None,
        end: Fraction | None = None,
        overwrite: bool = False,
        display: Display | None = None,
    ) -> None:
        self.path = Path(os.fspath(path))
        self.frames = 0
        self.dropped: list[DroppedStream] = []
        self._like = like
        self._start = start or Fraction(0)
        self._codec_options = {str(k): str(v) for k, v in (options or {}).items()}
        self._codec = encoder_for(path, codec, self._codec_options)
        for key in _CODEC_KEYS:
            self._codec_options.pop(key, None)
        self._last_pts: int | None = None
        self._format: PictureFormat | None = None
        self._stream: Any = None
        self._copy_from = copy_from
        self._display = display
        self._companions: Companions | None = None
        self._coding_format = coding_format(self._codec)
        self._output = OutputFile(path, overwrite=overwrite)
        try:
            self._codec_options, muxer = split_options(self._codec_options)
            raw = raw_format(path)
            self._sink = open_output(self._output.temporary, format_name=raw, options=muxer)
            if copy_from is not None and raw is None:
                self._companions = Companions(copy_from, start=self._start, end=end)
        except BaseException:
            self._output.discard()
            raise

    def write(self, picture: Picture, pts: Fraction) -> None:
        """Encodes a picture.

        Args:
            picture: Same format as the first one.
            pts: Presentation time in seconds of the source, increasing.

        Raises:
            ContainerError: The encoder or the disk refused.
            ValueError: The format or the time does not fit what was written before.
        """
        if self._stream is None:
            self._begin(picture)
        if picture.format != self._format:
            raise ValueError(f"a picture of {picture.format} in a file of {self._format}")
        time_base: Fraction = self._time_base
        ticks = round((pts - self._start) / time_base)
        if self._last_pts is not None and ticks <= self._last_pts:
            raise ValueError(f"presentation time {float(pts):.6f} s does not increase")
        self._last_pts = ticks
        frame = frame_from_picture(picture)
        with translate_errors(self.path, "write"):
            if frame.format.name != self._stream.codec_context.pix_fmt:
                frame = frame.reformat(format=self._stream.codec_context.pix_fmt)
                apply_colour(frame, picture.colour)
            frame.pts, frame.time_base = ticks, time_base
            for packet in self._stream.encode(frame):
                self._sink.mux_one(packet)
            if self._companions is not None:
                self._companions.copy_until(pts)
        self.frames += 1

    def close(self) -> None:
        """Completes the file and gives it its name.

        Raises:
            ContainerError: Nothing was written, or the last bytes could not be.
        """
        if self._stream is None:
            self.abort()
            raise ContainerError(f"no pictures were written to {self.path}")
        try:
            with translate_errors(self.path, "write"):
                for packet in self._stream.encode(None):
                    if self.frames <= _UNORDERED:
                        packet.dts = packet.pts
                    self._sink.mux_one(packet)
                if self._companions is not None:
                    self._companions.copy_until(None)
                self._sink.close()
        except BaseException:
            self.abort()
            raise
        self._close_companions()
        self._output.commit()

    def abort(self) -> None:
        """Removes what was written so far."""
        with contextlib.suppress(Exception):
            self._sink.close()
        self._close_companions()
        self._output.discard()

    def _begin(self, picture: Picture) -> None:
        """Configures encoder and copied streams once the first picture is known."""
        options = dict(self._codec_options)
        like = self._like
        self._time_base = time_base_for(like)
        rate = Fraction(options.pop("r", "0")) or (like and like.frame_rate) or _DEFAULT_RATE
        wanted = options.pop("pix_fmt", None)
        encoder_options = {key.removesuffix(":v"): value for key, value in options.items()}
        tag = encoder_options.pop("tag", None)
        display = self._display or display_of(self._copy_from)
        ours = [*_ENCODER_PRESETS.get(self._codec, {}).items()]
        for key, value in [*display.encoder_options(self._codec).items(), *ours]:
            # Later settings win, so a user's own stay in force.
            encoder_options[key] = ":".join(filter(None, [value, encoder_options.get(key)]))
        if self._codec == "libsvtav1":
            os.environ.setdefault(*_SVT_LOG)
        with translate_errors(self.path, "write"):
            rate = rate.limit_denominator(1 << 16)
            try:
                require_video(self._sink.format.name, self._coding_format)
                stream: Any = self._sink.add_stream(self._codec, rate=rate)
            except ValueError as error:
                raise ContainerError(f"cannot write {self.path}: {error}") from error
            context = stream.codec_context
            context.width, context.height = picture.width, picture.height
            context.pix_fmt = wanted or _encoder_format(self._codec, picture.format)
            context.time_base = self._time_base
            apply_colour(context, picture.colour)
            if like and like.sample_aspect_ratio:
                context.sample_aspect_ratio = like.sample_aspect_ratio
            context.options = encoder_options
            if tag or (self._codec == "libx265" and self._sink.format.name in ("mp4", "mov")):
                context.codec_tag = tag or "hvc1"
            if "threads" not in encoder_options:
                context.thread_count = 0
            apply_matrix(stream, display)
            if self._companions is not None:
                self.dropped = self._companions.add_to(self._sink, stream)
            try:
                context.open()
            except (ValueError, av.error.FFmpegError) as error:
                raise ContainerError(f"{self._codec} refuses its settings: {error}") from error
            unknown = sorted(set(context.options) & set(encoder_options))
            if unknown:
                raise ContainerError(f"{self._codec} has no option {', '.join(unknown)}")
            self._sink.start_encoding()
        self._stream = stream
        self._format = picture.format

    def _close_companions(self) -> None:
        if self._companions is not None:
            self._companions.close()


def time_base_for(like: VideoInfo | None) -> Fraction:
    """Unit of the times that are written for pictures of a source; seconds."""
    if like is None or like.time_base < _FINEST_TIME_BASE:
        return _DEFAULT_TIME_BASE
    return like.time_base


def encoder_for(path: PathLike, codec: str | None, options: Mapping[str, str]) -> str:
    """Name of the encoder that is meant: said directly, among ffmpeg's options, or by the suffix.

    Raises:
        ValueError: Pictures cannot be copied.
    """
    named = [options[key] for key in _CODEC_KEYS if key in options]
    suffix = Path(os.fspath(path)).suffix.lower()
    chosen = codec or (named[0] if named else _DEFAULT_CODECS.get(suffix, "libx264"))
    if chosen == "copy":
        raise ValueError("pictures cannot be stream-copied; use remux()")
    return chosen


def split_options(options: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Parts options, as ffmpeg's command line mixes them, into the encoder's and the muxer's."""
    muxer = {key: value for key, value in options.items() if key in _MUXER_KEYS}
    return {key: value for key, value in options.items() if key not in muxer}, muxer


def coding_format(encoder: str) -> str:
    """Libavcodec's name of the coding format that an encoder writes: "hevc" for "libx265".

    Raises:
        ContainerError: There is no such video encoder.
    """
    try:
        codec = av.Codec(encoder, "w")
    except (ValueError, av.error.FFmpegError) as error:
        raise ContainerError(f"there is no encoder {encoder!r}") from error
    if codec.type != "video":
        raise ContainerError(f"{encoder!r} is no video encoder")
    return codec.canonical_name


def pass_options(
    encoder: str, options: Mapping[str, str], number: int, statistics: Path
) -> dict[str, str]:
    """Options for one of two passes.

    Args:
        encoder: ``libx264`` or ``libx265``.
        options: Those of one pass.
        number: 1 or 2.
        statistics: File that the first pass writes and the second reads.

    Raises:
        ContainerError: The encoder hands its statistics over in a way that PyAV has no access to.
    """
    key = {"libx264": "x264-params", "libx265": "x265-params"}.get(encoder)
    if key is None:
        raise ContainerError(
            f"two passes are possible with libx264 and libx265, not with {encoder}"
        )
    path = str(statistics).replace("\\", "\\\\").replace(":", "\\:")
    added = f"pass={number}:stats={path}"
    return {**options, key: ":".join(filter(None, [options.get(key), added]))}


def _encoder_format(encoder: str, picture_format: PictureFormat) -> str:
    """Sample format to encode: the picture's own, or one that holds it without loss.

    Raises:
        ContainerError: The encoder has none; the user must choose what to lose.
    """
    name = pixel_format_of(picture_format)
    formats = av.Codec(encoder, "w").video_formats
    if formats is None:
        return name
    supported = [video_format.name for video_format in formats]
    if name in supported:
        return name
    # Grey pictures lose nothing in 4:2:0; deeper words lose nothing either.
    chromas = [picture_format.chroma_format]
    if picture_format.chroma_format is ChromaFormat.MONO:
        chromas.append(ChromaFormat.C420)
    for chroma in chromas:
        for depth in (8, 10, 12, 16):
            if depth < picture_format.bit_depth:
                continue
            candidate = pixel_format_of(PictureFormat(2, 2, chroma, depth))
            if candidate in supported:
                return candidate
    raise ContainerError(
        f"{encoder} cannot encode {name}; choose pix_fmt from: {', '.join(sorted(supported))}"
    )
