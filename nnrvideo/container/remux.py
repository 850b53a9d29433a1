# SPDX-License-Identifier: Apache-2.0
"""Stream copy with a hook for the video's access units: nothing is re-encoded, nothing re-timed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

from nnrvideo.container._pyav import (
    RAW_SUFFIXES,
    PathLike,
    codec_name,
    open_input,
    open_output,
    raw_format,
    translate_errors,
)
from nnrvideo.container.beside import MessageTrackWriter, Pairing, message_track
from nnrvideo.container.copying import DroppedStream, StreamCopier
from nnrvideo.container.demux import access_unit, main_video
from nnrvideo.container.info import AccessUnit
from nnrvideo.container.output import OutputFile
from nnrvideo.container.packets import copy_packet, with_timestamps
from nnrvideo.errors import ContainerError
from nnrvideo.limits import Limits

Edit = Callable[[AccessUnit], bytes]
Beside = Callable[[AccessUnit], bytes]
Progress = Callable[[int, int | None], None]

# Edit lists need a moov that is written once the first timestamps are known (delay_moov);
# without it fragmented files with B-frames would be shifted in time.
_FRAGMENTED_FLAGS = "frag_keyframe+delay_moov+default_base_moof"
_PROGRESS_STEP = 16  # access units between two calls


@final
@dataclass(frozen=True, slots=True)
class RemuxReport:
    """What a stream copy did."""

    access_units: int  # of the main video stream
    edited: int  # access units that the hook changed
    bytes_added: int  # by the hook, before the container's own overhead
    dropped: tuple[DroppedStream, ...] = ()  # streams the target cannot hold


def remux(
    src: PathLike,
    dst: PathLike,
    edit: Edit | None = None,
    *,
    edit_configuration: Callable[[bytes], bytes] | None = None,
    beside: Beside | None = None,
    keep_beside: bool = True,
    overwrite: bool = False,
    fragmented: bool = False,
    format_name: str | None = None,
    options: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> RemuxReport:
    """Copies a media file, optionally editing the access units of its main video stream.

    Audio, subtitles, further video, attachments, data streams, chapters, tags, dispositions and
    timestamps are kept as far as the target container can hold them.

    Args:
        src: Source file.
        dst: Target file; its suffix chooses the container. May be the source itself.
        edit: Gets each access unit in decoding order and returns its new bytes in the same
            framing; returning ``unit.data`` leaves it alone.
        edit_configuration: Gets the decoder configuration record and returns the new one.
        beside: For codecs whose access units have no place for messages: gets each access unit and
            returns the sei_message() records that shall travel beside it; those that it has, if
            absent.
        keep_beside: False writes no message track at all.
        overwrite: Whether an existing target may be replaced.
        fragmented: Write fragmented MP4.
        format_name: libavformat muxer, when the suffix does not tell.
        options: Further options of the muxer, for instance ``{"movflags": "+faststart"}``.
        progress: Called now and then with (access units done, total or None).

    Returns:
        What was done.

    Raises:
        ContainerError: A file cannot be read or written; the target is then left as it was.
    """
    muxer_options = dict(options or {})
    if fragmented:
        muxer_options.setdefault("movflags", _FRAGMENTED_FLAGS)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_input(src))
        video = main_video(source, src)
        output = stack.enter_context(OutputFile(dst, overwrite=overwrite))
        raw = raw_format(dst) or (format_name if format_name in RAW_SUFFIXES else None)
        if raw is not None:
            format_name = raw
            if codec_name(video) != raw:
                raise ContainerError(
                    f"cannot write {os.fspath(dst)}: the video is {codec_name(video)}"
                )
        with translate_errors(dst, "write"):
            sink = open_output(output.temporary, format_name=format_name, options=muxer_options)
            job = _Remux(source, sink, video, edit, raw=raw is not None)
            if keep_beside:
                job.open_message_track(beside)
            try:
                if edit_configuration is not None:
                    job.edit_configuration(edit_configuration)
                job.run(progress)
            except BaseException:
                # The file is thrown away: a trailer that fails as well is of no interest.
                with contextlib.suppress(Exception):
                    sink.close()
                raise
            sink.close()
    return RemuxReport(job.access_units, job.edited, job.bytes_added, tuple(job.dropped))


class _Remux:
    """One run of :func:`remux`."""

    def __init__(self, source: Any, sink: Any, video: Any, edit: Edit | None, *, raw: bool) -> None:
        self._source, self._sink, self._video, self._edit = source, sink, video, edit
        self._codec = codec_name(video)
        self._name: str = source.name.removeprefix("file:")
        self._track = message_track(self._name, self._codec)
        self._beside: Beside | None = None
        self._messages: MessageTrackWriter | None = None
        track = -1 if self._track is None else self._track.index
        streams = [video] if raw else [s for s in source.streams if s.index != track]
        self._copier = StreamCopier(source, sink, streams)
        self.dropped = self._copier.dropped
        if any(dropped.index == video.index for dropped in self.dropped):
            reason = next(d.reason for d in self.dropped if d.index == video.index)
            raise ContainerError(f"{sink.format.name} cannot hold the video: {reason}")
        self.access_units = 0
        self.edited = 0
        self.bytes_added = 0

    def open_message_track(self, beside: Beside | None) -> None:
        """Makes a track for what travels beside the video, if anything does.

        Raises:
            CarriageError: The target has none.
        """
        self._beside = beside
        if beside is not None or self._track is not None:
            self._messages = MessageTrackWriter(self._sink, self._video.time_base)

    def edit_configuration(self, edit: Callable[[bytes], bytes]) -> None:
        """Replaces the decoder configuration record of the target's video stream."""
        old = bytes(self._video.codec_context.extradata or b"")
        new = edit(old)
        if new != old:
            self._copier.target(self._video.index).codec_context.extradata = new

    def run(self, progress: Progress | None) -> None:
        """Copies all packets."""
        self._sink.start_encoding()
        total = self._video.frames or None
        for packet, records in self._all_packets():
            if packet.stream_index != self._video.index:
                self._copier.send(packet)
                continue
            unit = access_unit(packet, self.access_units, records)
            self.access_units += 1
            self._send_beside(packet, unit)
            if self._edit is not None:
                packet = self._edited(packet, unit)
            self._copier.send(packet)
            if progress is not None and self.access_units % _PROGRESS_STEP == 0:
                progress(self.access_units, total)
        if progress is not None:
            progress(self.access_units, self.access_units)

    def _edited(self, packet: Any, unit: AccessUnit) -> Any:
        assert self._edit is not None
        data = self._edit(unit)
        if data == unit.data:
            return packet
        self.edited += 1
        self.bytes_added += len(data) - len(unit.data)
        return copy_packet(packet, data)

    def _send_beside(self, packet: Any, unit: AccessUnit) -> None:
        wanted = b""
        if self._messages is not None:
            wanted = unit.records if self._beside is None else self._beside(unit)
            if wanted:
                self._messages.send(packet, wanted)
        if wanted != unit.records:
            self.edited += 1
            self.bytes_added += len(wanted) - len(unit.records)

    def _all_packets(self) -> Iterator[tuple[Any, bytes]]:
        """Packets of all carried streams; those of the video have complete timestamps and records.

        Others that come between are handed on at once: completing the video's timestamps may
        look a few packets ahead, and the muxer sorts by time anyway.
        """
        others: list[Any] = []
        pairing = Pairing(self._track, Limits.offline())

        def video_only() -> Iterator[Any]:
            with translate_errors(self._name, "read"):
                for packet in self._source.demux():
                    if packet.stream_index == self._video.index:
                        yield packet
                    elif not pairing.take(packet) and packet.size and self._copier.takes(packet):
                        others.append(packet)

        for pair in pairing.pair(with_timestamps(video_only(), self._video, self._codec)):
            yield from ((other, b"") for other in others)
            others.clear()
            yield pair
        yield from ((other, b"") for other in others)
