# SPDX-License-Identifier: Apache-2.0
"""Films and pictures in, descriptor streams out, as they come: segment by segment."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, final

import numpy as np
import numpy.typing as npt

from nnrvideo.container import DecodedPicture, SideData, open_media
from nnrvideo.descriptors.extractor import Extractor, Form
from nnrvideo.descriptors.frames import Rgb, quality, signature, small_rgb
from nnrvideo.descriptors.keyframes import RATE_POINTS, Decision, KeyFrameSelector
from nnrvideo.descriptors.manifest import form_name
from nnrvideo.descriptors.models import StreamModels
from nnrvideo.descriptors.package import Array, DescriptorModel
from nnrvideo.descriptors.pdq import pdq_hash
from nnrvideo.descriptors.pooling import Vector
from nnrvideo.descriptors.stream import Header, Item, Segment, StreamWriter
from nnrvideo.errors import InferenceError
from nnrvideo.files import PathLike
from nnrvideo.limits import Limits
from nnrvideo.picture import Picture

_log = logging.getLogger(__name__)

_STILL: Final = Fraction(1)  # seconds that a single picture stands for
_DEFAULT_RATE: Final = Fraction(25)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeOptions:
    """What to make of a film.

    Args:
        form: Of the descriptors.
        rate: Name of the rate point.
        pdq: Add a PDQ hash to each key frame, for copies that are nearly identical.
        threads: Threads of the network; results do not depend on it.
    """

    form: Form = field(default_factory=Form)
    rate: int = 64
    pdq: bool = False
    threads: int | None = None


def describe(
    path: PathLike,
    model: DescriptorModel | None = None,
    options: DescribeOptions | None = None,
    *,
    limits: Limits | None = None,
) -> Iterator[Item]:
    """Describes a film or a picture.

    Args:
        path: Film or picture.
        model: What to describe it with; None for the one that travels in the film.  Where that
            changes, a new header with the new id comes before the next segment.
        options: What to make of it.
        limits: Bounds on networks in the film.

    Yields:
        A header, then segments as each is complete.  Nothing for a film without a model.

    Raises:
        ContainerError: The film cannot be read.
        UnsupportedFeatureError: The model does not make this form.
        InferenceError: The network cannot be run; of a network that came in the film, this costs
            the descriptors from there on, with a warning in the log.
    """
    options = options or DescribeOptions()
    with open_media(path, limits=limits) as media:
        rate = media.video.frame_rate or _DEFAULT_RATE
        describer = Describer(options, media.video.time_base, 1 / rate)
        models = StreamModels(limits) if model is None else None
        if model is not None:
            yield from describer.use(model)
        for event in media.events():
            if isinstance(event, SideData):
                if models is not None:
                    models.take(event.pts, event.records)
                continue
            if models is not None:
                changed = models.due(event.pts)
                if changed is not None:
                    yield from describer.use(changed)
            yield from _pushed(describer, event, in_band=models is not None)
        yield from describer.finish()


def _pushed(describer: Describer, event: DecodedPicture, *, in_band: bool) -> Iterator[Item]:
    try:
        yield from describer.push(event.picture, event.pts)
    except InferenceError as error:
        if not in_band:
            raise
        _log.warning("no descriptors from %.3f s on: %s", float(event.pts), error)
        yield from describer.drop()


class Describer:
    """Makes segments of pictures that come one by one; knows no file.

    Args:
        options: What to make.
        time_base: Seconds of one tick in the stream.
        duration: Seconds that the last picture is shown.

    Raises:
        ImportError: PDQ hashes are wanted, and ``pdqhash`` is not installed.
    """

    def __init__(self, options: DescribeOptions, time_base: Fraction, duration: Fraction) -> None:
        self._options = options
        self._time_base = time_base
        self._duration = duration
        self._extractor: Extractor | None = None
        self._header: Header | None = None
        self._selector = KeyFrameSelector(options.rate)
        self._open: _Open | None = None
        self._pictures = 0
        self._end = 0
        if options.pdq:
            pdq_hash(np.zeros((64, 64, 3), np.uint8))  # tells at once that it is missing

    def use(self, model: DescriptorModel) -> Iterator[Item]:
        """Goes on with another model; ends the segment that is open.

        Raises:
            UnsupportedFeatureError: The model does not make the form.
            InferenceError: The network cannot be loaded.
        """
        yield from self.drop()
        options = self._options
        self._extractor = Extractor(model, options.form, threads=options.threads)
        manifest = model.manifest
        self._header = Header(
            model.model_id,
            options.form,
            model.dimensions,
            options.rate,
            manifest.min_quality,
            _threshold(model, options.form),
            self._time_base,
            options.pdq,
            manifest.interoperable,
        )
        yield self._header

    def drop(self) -> Iterator[Item]:
        """Ends the open segment and makes nothing until a model comes."""
        yield from self.finish()
        self._extractor = None

    def push(self, picture: Picture, pts: Fraction) -> Iterator[Item]:
        """Takes the next picture.

        Args:
            picture: Decoded picture.
            pts: Its presentation time in seconds, increasing.

        Yields:
            The segment that it ends, if any.

        Raises:
            InferenceError: The network failed.
        """
        tick = round(pts / self._time_base)
        extractor = self._extractor
        if extractor is not None and self._selector.looks():
            rgb = small_rgb(picture, extractor.model.manifest.long_side)
            found: list[Vector] = []

            def matches_last() -> bool:
                found.append(extractor.describe(rgb))
                limit = _threshold(extractor.model, Form(bits=0))
                return self._open is not None and float(found[0] @ self._open.last) > limit

            colours = signature(rgb)
            decision = self._selector.decide(colours, pts, matches_last)
            if decision is not Decision.NOTHING:
                vector = found[0] if found else extractor.describe(rgb)
                if decision is Decision.NEW_SEGMENT:
                    yield from self._close(tick)
                    self._open = _Open(tick)
                assert self._open is not None
                hashed = pdq_hash(rgb) if self._options.pdq else None
                self._open.add(tick, rgb, vector, extractor.code(vector), hashed)
        self._pictures += 1
        self._end = tick

    def finish(self) -> Iterator[Item]:
        """Yields the segment that is open; the next picture begins another."""
        self._selector = KeyFrameSelector(self._options.rate)
        shown = _STILL if self._pictures == 1 else self._duration
        yield from self._close(self._end + max(1, round(shown / self._time_base)))

    def _close(self, end: int) -> Iterator[Item]:
        if self._open is None or self._header is None:
            return
        segment, self._open = self._open.segment(end), None
        cap = RATE_POINTS[self._options.rate].bytes_per_second
        room = max(cap * (segment.end - segment.start) * self._time_base, Fraction(0))
        while _coded_bytes(self._header, segment) > room and len(segment.times) > 1:
            segment = segment.thinned()
        yield segment


class _Open:
    """A segment that grows."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._times: list[int] = []
        self._quality: list[int] = []
        self._values: list[Array] = []
        self._hashes: list[npt.NDArray[np.uint8]] = []
        self.last: Vector = np.zeros(0)

    def add(
        self,
        tick: int,
        rgb: Rgb,
        vector: Vector,
        code: Array,
        hashed: npt.NDArray[np.uint8] | None,
    ) -> None:
        self._times.append(tick)
        self._quality.append(quality(rgb))
        self._values.append(code)
        self.last = vector
        if hashed is not None:
            self._hashes.append(hashed)

    def segment(self, end: int) -> Segment:
        return Segment(
            self._start,
            max(end, self._times[-1] + 1),
            np.array(self._times, np.int64),
            np.array(self._quality, np.uint8),
            np.stack(self._values),
            np.stack(self._hashes) if self._hashes else None,
        )


def _threshold(model: DescriptorModel, form: Form) -> float:
    """The model's own, or one that suits whitened descriptors."""
    default = 0.35 if form.bits == 0 else 0.25
    return model.manifest.thresholds.get(form_name(form.bits), default)


def _coded_bytes(header: Header, segment: Segment) -> int:
    writer = StreamWriter()
    writer.unit(header)
    return len(writer.unit(segment))
