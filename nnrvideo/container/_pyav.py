# SPDX-License-Identifier: Apache-2.0
"""The border to PyAV: opening, and one-line errors of our own tree instead of libav's.

Only this package touches PyAV.  Everything that differs between PyAV 18 and 19 is kept here:
an unset ``time_base`` is ``None`` in one and ``0/1`` in the other, hence tests by truth value.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av as av  # noqa: PLC0414 - re-exported to the files beside this one
import av.error

from nnrvideo.errors import ContainerError

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer

PathLike = str | os.PathLike[str]

# A network of several megabytes in the first key frame must not end libavformat's search for
# stream parameters; probing stops as soon as they are known, so the bound costs nothing else.
_PROBE_BYTES = 100_000_000
# A file that was handed to us must not make the library read other files or the network.
_INPUT_OPTIONS = {"probesize": str(_PROBE_BYTES), "protocol_whitelist": "file"}
# Byte streams of one codec, by libavformat's muxer, which has the codec's name.
RAW_SUFFIXES = {
    "h264": frozenset({".h264", ".264", ".avc"}),
    "hevc": frozenset({".h265", ".265", ".hevc"}),
    "vvc": frozenset({".h266", ".266", ".vvc"}),
}
# Muxers that give segments and tracks random ids; the same work shall give the same file.
_RANDOM_IDS = frozenset({"matroska", "webm"})
_RANDOM_SUFFIXES = frozenset({".mkv", ".webm"})
_PLAYLISTS = frozenset({"hls", "dash", "concat", "imf", "webm_dash_manifest"})


@contextmanager
def translate_errors(path: PathLike, doing: str) -> Iterator[None]:
    """Turns libav's and the system's errors into one clear line.

    Args:
        path: The file concerned.
        doing: What was tried, for instance ``"open"``; completes "cannot ... FILE".

    Raises:
        ContainerError: Anything that PyAV or the system refused inside the block.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of our pipe has seen enough; nothing is wrong
    except (av.error.FFmpegError, OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ContainerError(f"cannot {doing} {os.fspath(path)}: {reason}") from error


def open_input(path: PathLike) -> InputContainer:
    """Opens a local media file for reading.

    Args:
        path: File; never interpreted as a URL.

    Returns:
        PyAV container; the caller closes it.

    Raises:
        ContainerError: There is no such file, or it is no media file.
    """
    file = Path(path)
    if file.is_dir():
        raise ContainerError(f"cannot open {file}: it is a directory")
    if not file.exists():
        raise ContainerError(f"cannot open {file}: no such file")
    with translate_errors(path, "open"):
        container = av.open(
            f"file:{os.fspath(path)}",
            mode="r",
            options=dict(_INPUT_OPTIONS),
            # Tags in other encodings are copied byte for byte rather than refused.
            metadata_errors="surrogateescape",
        )
    if _PLAYLISTS.intersection(container.format.name.split(",")):
        name = container.format.name
        container.close()
        raise ContainerError(f"cannot open {file}: {name} is a playlist, not a media file")
    return container


def open_output(
    path: PathLike, *, format_name: str | None, options: Mapping[str, str] | None = None
) -> OutputContainer:
    """Opens a local media file for writing.

    Args:
        path: File to write; its suffix chooses the format when ``format_name`` is None.
        format_name: Name of a libavformat muxer.
        options: Options of the muxer.

    Returns:
        PyAV container; the caller closes it.

    Raises:
        ContainerError: Unknown format or unwritable place.
    """
    given = dict(options or {})
    if format_name in _RANDOM_IDS or Path(path).suffix.lower() in _RANDOM_SUFFIXES:
        given.setdefault("fflags", "+bitexact")
    with translate_errors(path, "write"):
        try:
            return av.open(
                f"file:{os.fspath(path)}",
                mode="w",
                format=format_name,
                container_options=given,
                metadata_errors="surrogateescape",
            )
        except ValueError as error:
            if isinstance(error, av.error.FFmpegError):
                raise
            raise ContainerError(f"cannot write {os.fspath(path)}: {error}") from error


def raw_format(path: PathLike) -> str | None:
    """Muxer for a raw byte stream of NAL units, or None if the suffix means a container."""
    suffix = Path(os.fspath(path)).suffix.lower()
    return next((name for name, known in RAW_SUFFIXES.items() if suffix in known), None)


def seconds(timestamp: int | None, time_base: Fraction | None) -> Fraction | None:
    """Time of a timestamp in seconds, or None when either part is unknown."""
    if timestamp is None or not time_base:
        return None
    return timestamp * time_base


def codec_name(stream: Any) -> str | None:
    """Name of the stream's coding format (``"h264"``, ``"hevc"``), whatever decodes it."""
    context = stream.codec_context
    if context is None:
        name = getattr(stream, "name", None)
        return str(name) if name else None
    codec = context.codec
    return str(getattr(codec, "canonical_name", None) or context.name)
