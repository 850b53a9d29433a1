# SPDX-License-Identifier: Apache-2.0
"""What a report tells, as plain data, and its JSON.

The JSON document is the interface to other programs: ``nnrvideo report --json`` writes it,
``--from-json`` renders it, and whatever measures by itself may write one.  Its members are the
fields of the classes below by their names, nested as they are here, with ``format`` and
``version`` beside those of :class:`Report`.  Times are in seconds, sizes in bits unless they say
bytes, PSNR in dB.  An infinite PSNR is the string ``"inf"``; an image is a PNG file in base64; what
was not measured is ``null`` or left out.  Members that this version does not know are passed over;
so is ``comparisons``, which is written for readers and follows from the rest.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass, field
from typing import Any, final

from nnrvideo.errors import NnrVideoError
from nnrvideo.metrics import Quality

FORMAT = "nnrvideo.report"
VERSION = 1
MAX_JSON_BYTES = 256 << 20
_LEAST_SECONDS, _MOST_SECONDS = 1e-6, 1e9  # of anything that has a rate
_PNG = b"\x89PNG\r\n\x1a\n"


class ReportFileError(NnrVideoError):
    """A JSON document is no report; the message says where."""


@final
@dataclass(frozen=True, slots=True)
class Source:
    """The original that everything is held against."""

    name: str
    width: int  # luma samples
    height: int
    bit_depth: int
    frame_rate: float | None  # pictures a second
    pictures: int  # that were measured
    seconds: float


@final
@dataclass(frozen=True, slots=True)
class Bits:
    """Bits of the video stream by kind; container, audio and subtitles are not counted."""

    video: int  # coded pictures and everything else that a plain encode has
    base: int = 0  # base networks, where they are sent for the first time
    updates: int = 0  # updates, likewise
    repeats: int = 0  # both, sent again for who tunes in later
    activations: int = 0  # messages that switch them

    @property
    def networks(self) -> int:
        """All that a plain encode would not have."""
        return self.base + self.updates + self.repeats + self.activations

    @property
    def total(self) -> int:
        """Everything."""
        return self.video + self.networks


@final
@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """One distinct network, or update, in a stream."""

    nnpfc_id: int
    is_base: bool
    purposes: tuple[str, ...]
    output_size: tuple[int, int] | None  # luma samples
    payload_bytes: int
    parameters: int | None
    kmac_per_sample: int | None  # nnpfc_num_kmac_operations_idc: thousands of MACs a sample
    sha256: str
    uri: str
    sent_at: tuple[float, ...]  # seconds from the first picture


@final
@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the video: a scene, or a piece of the timeline."""

    start: float  # seconds from the first picture
    end: float
    pictures: int
    video_bits: int
    network_bits: int
    plain_psnr_y: float | None = None  # of the squared error of the stretch
    network_psnr_y: float | None = None
    plain_vmaf: float | None = None  # mean
    network_vmaf: float | None = None


@final
@dataclass(frozen=True, slots=True)
class Crop:
    """One square before and after; images are PNG files of equal size."""

    kind: str
    seconds: float  # from the first picture
    x: int  # luma samples
    y: int
    gain_db: float
    reference: bytes = field(repr=False)
    plain: bytes = field(repr=False)
    network: bytes = field(repr=False)
    change: bytes = field(repr=False)  # |network - plain|, brightest at change_scale
    change_scale: float  # 8-bit levels


@final
@dataclass(frozen=True, slots=True)
class ChangeMap:
    """Mean of |network - plain| over the sequence, for each place in the picture."""

    image: bytes = field(repr=False)  # PNG, brightest at ``scale``
    scale: float  # 8-bit levels
    mean: float  # 8-bit levels


@final
@dataclass(frozen=True, slots=True)
class CodedFile:
    """A file with networks, measured plain and enhanced."""

    name: str
    curve: str  # files of one name make one curve
    codec: str
    width: int  # coded luma samples
    height: int
    pictures: int
    enhanced: int  # pictures on which a network ran
    unpaired: int
    seconds: float
    bits: Bits
    plain: Quality
    network: Quality
    networks: tuple[NetworkFacts, ...] = ()
    scenes: tuple[Span, ...] = ()
    timeline: tuple[Span, ...] = ()
    crops: tuple[Crop, ...] = ()
    change_map: ChangeMap | None = None
    notes: tuple[str, ...] = ()  # why networks were not used, what could not be measured


@final
@dataclass(frozen=True, slots=True)
class AnchorFile:
    """A plain encode to compare with."""

    name: str
    curve: str
    codec: str
    width: int
    height: int
    pictures: int
    unpaired: int
    seconds: float
    bits: Bits
    quality: Quality


@final
@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a page shows."""

    title: str
    source: Source
    coded: tuple[CodedFile, ...]
    anchors: tuple[AnchorFile, ...] = ()
    upscaler: str = "lanczos"  # of the plain side
    projected_seconds: float | None = None  # length over which base networks are spread, too
    vmaf_model: str | None = None
    libvmaf_version: str | None = None
    absent: dict[str, str] = field(default_factory=dict)  # metric -> why it has no figure
    software: str = ""


def encode(report: Report) -> dict[str, Any]:
    """The report as JSON values, without what follows from it."""
    return {"format": FORMAT, "version": VERSION, **_encode(report)}


def from_json(data: bytes) -> Report:
    """Reads a report.

    Args:
        data: UTF-8 JSON, at most ``MAX_JSON_BYTES``.

    Raises:
        ReportFileError: It is none, or a member has the wrong type or an impossible value.
    """
    if len(data) > MAX_JSON_BYTES:
        raise ReportFileError(f"a report is at most {MAX_JSON_BYTES >> 20} MiB large")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ReportFileError(f"not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ReportFileError(f'no report: its member "format" is not "{FORMAT}"')
    if document.get("version") != VERSION:
        raise ReportFileError(
            f"a report of version {document.get('version')!r}; this program reads {VERSION}"
        )
    report: Report = _decode(document, Report, "report")
    _check(report)
    return report


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any, kind: Any, where: str) -> Any:
    """A JSON value as the type of a field."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _decode(value, inner, where)
    if dataclasses.is_dataclass(kind):
        return _decode_object(value, kind, where)
    if origin is tuple:
        return _decode_list(value, arguments, where)
    if origin is dict:
        _require(isinstance(value, dict), where, "an object", value)
        return {key: _decode(item, str, f"{where}.{key[:40]}") for key, item in value.items()}
    if kind is float:
        if value in ("inf", "-inf"):
            return float(value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        _require(number and abs(value) < 1e300, where, "a number", value)
        return float(value)
    if kind is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        _require(whole and abs(value) < 1 << 63, where, "a whole number", value)
        return value
    if kind is bytes:
        return _decode_image(value, where)
    _require(isinstance(value, kind), where, f"a {kind.__name__}", value)
    return value


def _decode_object(value: Any, kind: Any, where: str) -> Any:
    _require(isinstance(value, dict), where, "an object", value)
    hints = typing.get_type_hints(kind)
    members = {}
    for entry in dataclasses.fields(kind):
        if entry.name in value:
            at = f"{where}.{entry.name}"
            members[entry.name] = _decode(value[entry.name], hints[entry.name], at)
        elif entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING:
            raise ReportFileError(f"{where}: member {entry.name!r} is missing")
    return kind(**members)


def _decode_list(value: Any, arguments: tuple[Any, ...], where: str) -> Any:
    _require(isinstance(value, list), where, "a list", value)
    if arguments[-1] is not Ellipsis:
        _require(len(value) == len(arguments), where, f"a list of {len(arguments)}", value)
    return tuple(_decode(item, arguments[0], f"{where}[{n}]") for n, item in enumerate(value))


def _decode_image(value: Any, where: str) -> bytes:
    try:
        image = base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        image = b""
    _require(image.startswith(_PNG), where, "a PNG file in base64", value)
    return image


def _require(fits: bool, where: str, wanted: str, value: Any) -> None:
    if not fits:
        found = repr(value)
        raise ReportFileError(f"{where}: {wanted} is wanted, not {found[:60]}")


def _check(report: Report) -> None:
    """What types cannot say, so that drawing need not ask."""
    files: list[CodedFile | AnchorFile] = [*report.coded, *report.anchors]
    for entry in files:
        counts = dataclasses.asdict(entry.bits).values()
        fits = _LEAST_SECONDS < entry.seconds < _MOST_SECONDS and min(counts) >= 0
        if not fits or not entry.bits.video:
            raise ReportFileError(f"file {entry.name[:80]!r}: seconds and bits must be over 0")
    for coded in report.coded:
        for span in (*coded.scenes, *coded.timeline):
            lasts = span.end - span.start > _LEAST_SECONDS and span.end < _MOST_SECONDS
            if not lasts or min(span.start, span.video_bits, span.network_bits) < 0:
                raise ReportFileError(f"file {coded.name[:80]!r}: no span of time and bits: {span}")
    if report.projected_seconds is not None and not 0 < report.projected_seconds < _MOST_SECONDS:
        raise ReportFileError("projected_seconds must be over 0")
