# SPDX-License-Identifier: Apache-2.0
"""What goes along with pictures into a new file: sound, subtitles, attachments, chapters, tags."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, final

from nnrvideo.container._pyav import PathLike, codec_name, open_input, seconds
from nnrvideo.container.beside import message_track
from nnrvideo.container.copying import DroppedStream, StreamCopier
from nnrvideo.container.demux import main_video


@final
class Companions:
    """Copies all streams of a film but its pictures and their networks.

    Args:
        path: The film.
        start: Time of the film (seconds) that becomes 0; packets before it are left out.
        end: Time of the film (seconds) at which copying stops; None for its end.

    Raises:
        ContainerError: The film cannot be read.
    """

    def __init__(
        self, path: PathLike, *, start: Fraction = Fraction(0), end: Fraction | None = None
    ) -> None:
        self._path = path
        self._start, self._end = start, end
        self._source: Any = open_input(path)
        self._copier: StreamCopier | None = None
        self._packets: Iterator[Any] = iter(())
        self._ahead: Any = None

    def add_to(self, sink: Any, target: Any) -> list[DroppedStream]:
        """Makes the streams in a container whose header is not written yet.

        Args:
            sink: The container.
            target: Its video stream, which gets the tags of the film's.

        Returns:
            Streams that the container cannot hold.
        """
        video = main_video(self._source, self._path)
        target.metadata.update(video.metadata)
        if video.disposition:
            target.disposition = video.disposition
        # Networks of the film were for its own pictures.
        track = message_track(self._path, codec_name(video))
        skipped = {video.index, -1 if track is None else track.index}
        others = [stream for stream in self._source.streams if stream.index not in skipped]
        self._copier = StreamCopier(self._source, sink, others)
        carried = [stream for stream in others if self._copier.carries(stream)]
        self._packets = self._source.demux(carried) if carried else iter(())
        return self._copier.dropped

    def copy_until(self, time: Fraction | None) -> None:
        """Copies packets up to a time of the film (seconds); all that are left for None."""
        copier = self._copier
        if copier is None:
            return
        while True:
            packet = self._ahead or next(self._packets, None)
            self._ahead = None
            if packet is None:
                return
            if not packet.size or not copier.takes(packet):
                continue
            when = seconds(packet.pts if packet.pts is not None else packet.dts, packet.time_base)
            if when is not None:
                if time is not None and when > time:
                    self._ahead = packet
                    return
                if when < self._start or (self._end is not None and when >= self._end):
                    continue
                shift = round(self._start / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts - shift
                packet.dts = None if packet.dts is None else packet.dts - shift
            copier.send(packet)

    def close(self) -> None:
        """Closes the film."""
        self._source.close()
