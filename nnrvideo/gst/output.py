# SPDX-License-Identifier: Apache-2.0
"""The source pad of ``nnrenhance``: what is negotiated with downstream, and buffers for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

from nnrvideo.gst._gi import Gst, GstVideo
from nnrvideo.gst.errors import BAD_FORMAT, ElementError
from nnrvideo.gst.frames import FORMATS, RawFormat, format_name
from nnrvideo.picture import Picture, PictureFormat
from nnrvideo.runtime import Upscaler, resize_picture

_MAX_SIZE = 32_768
_SYSTEM_MEMORY = Gst.CapsFeatures.from_string(Gst.CAPS_FEATURE_MEMORY_SYSTEM_MEMORY)
_COMPANIONS = Gst.BufferCopyFlags.FLAGS | Gst.BufferCopyFlags.TIMESTAMPS | Gst.BufferCopyFlags.META


@final
@dataclass(frozen=True, slots=True)
class Room:
    """A buffer of the pool, mapped for writing."""

    buffer: Any
    picture: Picture


@final
class Output:
    """Pushes pictures of one format after another.

    Args:
        pad: The source pad.
        upscaler: For pictures that downstream wants in another size than they have.
    """

    def __init__(self, pad: Any, upscaler: Upscaler) -> None:
        self._pad = pad
        self._upscaler = upscaler
        self._pool: Any = None
        self._metas_understood = False  # downstream reads strides from GstVideoMeta
        self._wanted: tuple[Any, PictureFormat] | None = None  # of the latest negotiation
        self.format: RawFormat | None = None

    def close(self) -> None:
        """Gives back the buffers."""
        if self._pool is not None:
            self._pool.set_active(False)
        self._pool = self._wanted = self.format = None

    def size_downstream(self, source: PictureFormat) -> tuple[int, int] | None:
        """Width and height, if downstream takes no other.

        Args:
            source: Format of the input, whose shape is kept where only one of them is given.
        """
        caps = self._pad.peer_query_caps(None)
        if caps is None or caps.is_any():
            return None
        sizes = {_fixed_size(caps.get_structure(i), source) for i in range(caps.get_size())}
        return sizes.pop() if len(sizes) == 1 else None

    def needs(self, source: Any, target: PictureFormat) -> bool:
        """Whether :meth:`negotiate` must be called before pictures of a format can be pushed."""
        return self._wanted != (source, target) or self._pad.check_reconfigure()

    def negotiate(self, source: Any, source_format: RawFormat, target: PictureFormat) -> bool:
        """Agrees on caps with downstream, and tells it.

        Args:
            source: Caps of the input; all that is not changed is kept.
            source_format: The same.
            target: Format of the pictures to come.

        Returns:
            Whether downstream agreed.

        Raises:
            ElementError: GStreamer has no sample format for them.
        """
        caps = self._choose(source, source_format, target)
        if caps is None:
            return False
        current = self._pad.get_current_caps()
        if current is None or not current.is_equal(caps):
            if not self._pad.push_event(Gst.Event.new_caps(caps)):
                return False
            self.format = RawFormat.from_caps(caps)
            self._make_pool(caps)
        self._wanted = source, target
        return self.format is not None

    def push_input(self, buffer: Any, source: RawFormat) -> Any:
        """Passes an input buffer on; untouched, unless downstream cannot take it as it is."""
        raw = self._require_format()
        same = (raw.name, raw.picture_format) == (source.name, source.picture_format)
        if same and (self._metas_understood or raw.has_own_layout(buffer)):
            return self._pad.push(buffer)
        with source.picture_in(buffer) as picture:
            return self.push(picture, buffer)

    @contextmanager
    def room(self, source: Any, target: PictureFormat | None) -> Iterator[Room | None]:
        """A buffer to be filled inside the context.

        Args:
            source: Caps of the input.
            target: Format of the picture to come.

        Yields:
            None where downstream expects pictures of another format, or nothing is agreed on yet.
        """
        raw = self.format
        ready = self._wanted == (source, target) and not self._pad.needs_reconfigure()
        if raw is None or not ready or raw.picture_format != target or not raw.is_planes:
            yield None
            return
        flow, buffer = self._pool.acquire_buffer(None)
        if flow != Gst.FlowReturn.OK:
            yield None
            return
        with raw.planes_of(buffer) as picture:
            yield Room(buffer, picture)

    def push(self, picture: Picture, companion: Any) -> Any:
        """Pushes a picture with the timestamps and metas of the input buffer."""
        raw = self._require_format()
        flow, buffer = self._pool.acquire_buffer(None)
        if flow != Gst.FlowReturn.OK:
            return flow
        raw.store(resize_picture(picture, raw.picture_format, self._upscaler), buffer)
        return self.push_filled(buffer, companion)

    def push_filled(self, buffer: Any, companion: Any) -> Any:
        """Pushes a buffer of the pool with the timestamps and metas of the input buffer."""
        buffer.copy_into(companion, _COMPANIONS, 0, companion.get_size())
        # It describes the memory of the input.
        meta = GstVideo.buffer_get_video_meta(buffer)
        if meta is not None:
            buffer.remove_meta(meta.meta)
        return self._pad.push(buffer)

    def _require_format(self) -> RawFormat:
        if self.format is None:
            raise ElementError("a picture came before its format was agreed on", BAD_FORMAT)
        return self.format

    def _choose(self, source: Any, source_format: RawFormat, target: PictureFormat) -> Any:
        """Fixed caps that suit the pictures, or else downstream; None if there are none."""
        name = format_name(target, source_format.name)
        if name is None:
            raise ElementError(
                f"GStreamer has no {target.bit_depth}-bit format for "
                f"{target.chroma_format.name} pictures",
                BAD_FORMAT,
            )
        ideal = _resized(source, source_format, name, target.width, target.height)
        allowed = self._pad.peer_query_caps(None)
        if allowed is None or ideal.can_intersect(allowed):
            return ideal
        # Downstream insists on another size or sample format.
        possible = any_size(source).intersect(allowed)
        if possible.is_empty():
            possible = any_size(source, any_format=True).intersect(allowed)
        if possible.is_empty():
            return None
        structure = possible.get_structure(0).copy()
        structure.fixate_field_string("format", name)
        structure.fixate_field_nearest_int("width", target.width)
        structure.fixate_field_nearest_int("height", target.height)
        structure.fixate()
        chosen = structure.get_string("format")
        (_, width), (_, height) = structure.get_int("width"), structure.get_int("height")
        caps = _resized(source, source_format, chosen, width, height)
        return caps if caps.can_intersect(allowed) else None

    def _make_pool(self, caps: Any) -> None:
        query = Gst.Query.new_allocation(caps, need_pool=False)
        api = GstVideo.video_meta_api_get_type()
        self._metas_understood = self._pad.peer_query(query) and query.find_allocation_meta(api)[0]
        if self._pool is not None:
            self._pool.set_active(False)
        self._pool = GstVideo.VideoBufferPool.new()
        config = self._pool.get_config()
        Gst.BufferPool.config_set_params(config, caps, self._require_format().size, 0, 0)
        if not self._pool.set_config(config) or not self._pool.set_active(True):
            raise ElementError("no buffers can be allocated for the pictures", BAD_FORMAT)


def any_size(caps: Any, *, any_format: bool = False) -> Any:
    """Caps with size and pixel aspect ratio left open; on request also the sample format.

    Only video in system memory, without further features, is kept.
    """
    opened = Gst.Caps.new_empty()
    for index in range(caps.get_size()):
        features = caps.get_features(index)
        if features is not None and not features.is_equal(_SYSTEM_MEMORY):
            continue
        structure = caps.get_structure(index).copy()
        structure.remove_field("pixel-aspect-ratio")
        for field in ("width", "height"):
            structure.set_value(field, Gst.IntRange(range(1, _MAX_SIZE)))
        if any_format:
            structure.set_value("format", Gst.ValueList(list(FORMATS)))
        opened.append_structure(structure)
    return opened


def _fixed_size(structure: Any, source: PictureFormat) -> tuple[int, int] | None:
    (has_width, width), (has_height, height) = (
        structure.get_int("width"),
        structure.get_int("height"),
    )
    if not has_width and not has_height:
        return None
    if not has_width:
        width = _nearest(structure, "width", round(Fraction(source.width * height, source.height)))
    if not has_height:
        height = _nearest(structure, "height", round(Fraction(source.height * width, source.width)))
    return width, height


def _nearest(structure: Any, field: str, wanted: int) -> int:
    """The value nearest to a wish that a structure allows."""
    if not structure.has_field(field):
        return wanted
    structure = structure.copy()
    structure.fixate_field_nearest_int(field, wanted)
    return int(structure.get_int(field)[1])


def _resized(source: Any, raw: RawFormat, name: str, width: int, height: int) -> Any:
    """Input caps with another sample format and size; pictures keep their shape on the screen."""
    structure = source.get_structure(0).copy()
    structure.set_value("format", name)
    structure.set_value("width", width)
    structure.set_value("height", height)
    info = raw.info
    aspect = Fraction(info.par_n, info.par_d) * Fraction(info.width * height, info.height * width)
    if (info.width, info.height) != (width, height):
        ratio = Gst.Fraction(aspect.numerator, aspect.denominator)
        structure.set_value("pixel-aspect-ratio", ratio)
    caps = Gst.Caps.new_empty()
    caps.append_structure(structure)
    return caps
