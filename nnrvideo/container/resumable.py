# SPDX-License-Identifier: Apache-2.0
"""``ResumableWriter``: encodes in pieces that outlive the process, and joins them at the end.

Beside the target ``film.mp4`` stands a folder ``.film.mp4.resume`` while the work goes on::

    work.json      what was asked for: a run with other settings must not go on with this
    000000.mp4     a piece: so many pictures, coded by themselves, beginning at time 0
    000000.json    written last, so that it vouches for the piece: pictures, time of the first
    000001.mp4 ...

Every piece has an encoder of its own, whether or not the work was interrupted: the same pictures
give the same file however often it was.  The price is a key frame at the start of each piece, and
that rate control begins anew there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, final

from nnrvideo.container._pyav import (
    PathLike,
    open_input,
    open_output,
    raw_format,
    translate_errors,
)
from nnrvideo.container.companions import Companions
from nnrvideo.container.copying import DroppedStream, StreamCopier
from nnrvideo.container.demux import main_video
from nnrvideo.container.display import display_of
from nnrvideo.container.encode import (
    VideoWriter,
    coding_format,
    encoder_for,
    split_options,
    time_base_for,
)
from nnrvideo.container.info import VideoInfo
from nnrvideo.container.output import OutputFile
from nnrvideo.container.writer import PictureWriter
from nnrvideo.errors import ContainerError
from nnrvideo.files import try_lock
from nnrvideo.picture import Picture

# What MP4, the container of the pieces, gives back exactly as it was put in.
_FORMATS = frozenset({"h264", "hevc", "av1", "vp9"})
_SETTINGS = "work.json"
_PIECE = re.compile(r"\d{6}")


@final
@dataclass(frozen=True, slots=True)
class _Piece:
    path: Path
    start: Fraction  # seconds
    pictures: int


@final
class ResumableWriter(PictureWriter):
    """Encodes pictures into a media file, and can go on where a killed process stopped.

    Args:
        path: Target; its suffix chooses the container.
        settings: Everything else that decides how pictures look, by name; values are text.
        every: Pictures of a piece: at most so many are lost with the process.
        like: Source video, for frame rate, time base and sample aspect ratio.
        codec: Encoder of H.264, H.265, AV1 or VP9.
        options: ffmpeg's options, see :class:`VideoWriter`.
        copy_from: Media file whose sound, subtitles, attachments, chapters and tags are copied.
        overwrite: Whether an existing target may be replaced.

    Attributes:
        done: Pictures in pieces that were finished before: those to be written now follow them.
        frames: Pictures written, those included.
        dropped: Streams of ``copy_from`` that the container cannot hold.

    Raises:
        ContainerError: The target exists or cannot be written; there is unfinished work of other
            settings, or of a process that still runs; an encoder of another format.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        settings: Mapping[str, str],
        every: int = 240,
        like: VideoInfo,
        codec: str | None = None,
        options: Mapping[str, str] | None = None,
        copy_from: PathLike | None = None,
        overwrite: bool = False,
    ) -> None:
        if every < 1:
            raise ValueError(f"a piece has at least 1 picture, not {every}")
        self.path = Path(os.fspath(path))
        self.dropped: list[DroppedStream] = []
        self._display = display_of(copy_from)
        self._overwrite = overwrite
        self._every = every
        self._like = like
        self._copy_from = copy_from if raw_format(path) is None else None
        given = {str(key): str(value) for key, value in (options or {}).items()}
        self._codec = encoder_for(path, codec, given)
        if coding_format(self._codec) not in _FORMATS:
            raise ContainerError(
                f"what {self._codec} writes cannot be kept in pieces; "
                f"work can be resumed in {', '.join(sorted(_FORMATS))}"
            )
        self._options, self._muxer = split_options(given)
        if self.path.exists() and not overwrite:
            raise ContainerError(f"{path} exists already; ask for overwriting to replace it")
        self._folder = self.path.with_name(f".{self.path.name}.resume")
        encoder = {"encoder": self._codec, "pictures of a piece": str(every), **self._options}
        with translate_errors(self._folder, "write"):
            self._folder.mkdir(exist_ok=True)
            self._lock = (self._folder / _SETTINGS).open("a+", encoding="utf-8")
        try:
            self._claim({**settings, **encoder})
            self._pieces = list(self._finished())
            self._clear()
        except BaseException:
            self._lock.close()
            raise
        self.done = self.frames = sum(piece.pictures for piece in self._pieces)
        self._writer: VideoWriter | None = None

    def write(self, picture: Picture, pts: Fraction) -> None:
        """Encodes a picture; arguments and errors are those of :meth:`VideoWriter.write`."""
        if self._writer is None:
            unit = time_base_for(self._like)
            self._begun = round(pts / unit) * unit
            self._writer = VideoWriter(
                self._path(len(self._pieces)),
                like=self._like,
                codec=self._codec,
                options=self._options,
                start=self._begun,
                overwrite=True,
                display=self._display,
            )
        self._writer.write(picture, pts)
        self.frames += 1
        if self._writer.frames == self._every:
            self._finish_piece()

    def close(self) -> None:
        """Joins the pieces, gives the file its name and removes the folder.

        Raises:
            ContainerError: Nothing was written, or the file could not be.
        """
        if self._writer is None and not self._pieces:
            self.abort()
            raise ContainerError(f"no pictures were written to {self.path}")
        try:
            if self._writer is not None:
                self._finish_piece()
            with OutputFile(self.path, overwrite=self._overwrite) as output:
                self._join(output.temporary)
        except BaseException:
            self.abort()
            raise
        self._lock.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def abort(self) -> None:
        """Stops; finished pieces stay where the next run finds them."""
        if self._writer is not None:
            self._writer.abort()
            self._writer = None
        self._lock.close()
        if not self._pieces:
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- the folder --------------------------------------------------------------------------

    def _path(self, index: int) -> Path:
        return self._folder / f"{index:06}.mp4"

    def _claim(self, settings: Mapping[str, str]) -> None:
        """Makes the folder ours: no other process, and no other settings."""
        with translate_errors(self._folder, "lock"):
            free = try_lock(self._lock.fileno())
        if not free:
            raise ContainerError(f"another process is working on {self.path}")
        self._lock.seek(0)
        text = self._lock.read()
        try:
            known = json.loads(text) if text else None
        except ValueError:
            known = None  # killed while it was written, when there was nothing else yet
        if known is None:
            self._lock.truncate(0)
            json.dump(settings, self._lock, indent=1)
            self._lock.flush()
            os.fsync(self._lock.fileno())
        elif known != settings:
            names = sorted(set(known) | set(settings)) if isinstance(known, dict) else []
            other = [name for name in names if known.get(name) != settings.get(name)]
            raise ContainerError(
                f"{self._folder} holds unfinished work with another {', '.join(other) or 'form'}; "
                "remove it to begin anew"
            )

    def _finished(self) -> Iterator[_Piece]:
        """Pieces from the first on, as far as they are whole."""
        for index in range(10**6):
            path = self._path(index)
            try:
                facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
                piece = _Piece(path, Fraction(facts["start"]), int(facts["pictures"]))
            except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
                return
            if piece.pictures != self._every or not path.is_file():
                # A shorter one was the last; joining was interrupted, or the film has grown.
                return
            yield piece

    def _clear(self) -> None:
        """Removes what a killed process left half done."""
        kept = {piece.path.stem for piece in self._pieces}
        for path in self._folder.iterdir():
            if path.name != _SETTINGS and not (_PIECE.fullmatch(path.stem) and path.stem in kept):
                path.unlink(missing_ok=True)

    def _finish_piece(self) -> None:
        assert self._writer is not None
        writer, self._writer = self._writer, None
        writer.close()
        path = self._path(len(self._pieces))
        with translate_errors(path, "write"):
            with path.open("rb") as coded:
                os.fsync(coded.fileno())
            with OutputFile(path.with_suffix(".json"), overwrite=True) as output:
                facts = {"start": str(self._begun), "pictures": writer.frames}
                output.temporary.write_text(json.dumps(facts), encoding="utf-8")
        self._pieces.append(_Piece(path, self._begun, writer.frames))

    # -- the end -----------------------------------------------------------------------------

    def _join(self, path: Path) -> None:
        """Copies the coded pictures of all pieces, and what goes along with them."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(translate_errors(self.path, "write"))
            first = stack.enter_context(contextlib.closing(open_input(self._pieces[0].path)))
            sink = open_output(path, format_name=raw_format(self.path), options=self._muxer)
            stack.callback(_close_quietly, sink)
            video = main_video(first, self.path)
            carrier = StreamCopier(first, sink, [video])
            for refused in carrier.dropped:
                raise ContainerError(f"{sink.format.name} cannot hold the video: {refused.reason}")
            companions: Companions | None = None
            if self._copy_from is not None:
                companions = stack.enter_context(contextlib.closing(Companions(self._copy_from)))
                self.dropped = companions.add_to(sink, carrier.target(video.index))
            sink.start_encoding()
            for packet, time in self._packets():
                carrier.send(packet)
                if companions is not None:
                    companions.copy_until(time)
            if companions is not None:
                companions.copy_until(None)
            sink.close()

    def _packets(self) -> Iterator[tuple[Any, Fraction]]:
        """Coded pictures with times of the film; decoding times always increase."""
        last: int | None = None
        for piece in self._pieces:
            with contextlib.closing(open_input(piece.path)) as source:
                video = main_video(source, piece.path)
                shift = round(piece.start / video.time_base)
                for packet in source.demux(video):
                    if not packet.size:
                        continue
                    packet.pts += shift
                    packet.dts += shift
                    if last is not None and packet.dts <= last:
                        # Encoders reckon decoding times from the distances of the pictures to
                        # come; where the rate falls at a cut they begin too early.
                        packet.dts = last + 1
                    last = packet.dts
                    yield packet, packet.pts * packet.time_base


def _close_quietly(sink: Any) -> None:
    """For a file that is thrown away: a trailer that fails as well is of no interest."""
    with contextlib.suppress(Exception):
        sink.close()
