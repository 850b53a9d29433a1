# SPDX-License-Identifier: Apache-2.0
"""Says what a film carries, where, how much it costs, and why something cannot be used."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass, field
from fractions import Fraction
from os import PathLike
from typing import Any, final

from nnrvideo.authoring.extract import network_hash
from nnrvideo.carriage import FILTER_PAYLOAD_TYPES
from nnrvideo.container import (
    MediaReader,
    SideDataCollector,
    StreamInfo,
    VideoInfo,
    open_media,
    unit_messages,
)
from nnrvideo.data import NETWORK_NAMES, model_card_json
from nnrvideo.errors import CarriageError, NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.model import ModelCard, Unpacked, embedded_card, unpack
from nnrvideo.sei import (
    NNPFA_PAYLOAD_TYPE,
    NNPFC_PAYLOAD_TYPE,
    FilterRejected,
    FilterState,
    Nnpfc,
    check_picture,
    output_format,
    pack_records,
    parse_nnpfa,
    parse_nnpfc,
    parse_records,
)

_PURPOSE_NAMES = (
    "visual quality improvement",
    "chroma upsampling",
    "resolution resampling",
    "picture rate upsampling",
    "bit depth upsampling",
    "colourization",
    "temporal extrapolation",
    "spatial extrapolation",
)
_MAX_PROBLEMS = 100  # a hostile film shall not fill the memory with complaints


@final
@dataclass(frozen=True, slots=True)
class Occurrence:
    """One access unit that carries a message."""

    pts: Fraction  # seconds
    access_unit: int  # index in decoding order


@final
@dataclass(frozen=True, slots=True)
class NetworkContent:
    """What is inside an NNC bitstream."""

    tensors: int
    parameters: int
    has_topology: bool
    card: ModelCard | None = None  # that it carries, or that of a shipped network


@final
@dataclass(frozen=True, slots=True)
class ProbedNetwork:
    """One distinct NNPFC message."""

    nnpfc_id: int
    is_base: bool
    purpose: int  # nnpfc_purpose
    purpose_names: tuple[str, ...]
    mode_idc: int  # nnpfc_mode_idc: 0 network inside, 1 by URI
    uri: str
    payload_bytes: int
    sha256: str
    occurrences: tuple[Occurrence, ...]
    output_size: tuple[int, int] | None  # of a filtered picture; None when not to be told
    content: NetworkContent | None  # None when it cannot be decoded by itself
    nnpfc: Nnpfc = field(repr=False)


@final
@dataclass(frozen=True, slots=True)
class ProbedActivation:
    """One NNPFA message."""

    pts: Fraction  # seconds
    access_unit: int  # index in decoding order
    nnpfc_id: int
    cancel: bool
    persistent: bool
    uses_base: bool


@final
@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a film carries."""

    path: str
    format_name: str
    video: VideoInfo
    streams: tuple[StreamInfo, ...]
    networks: tuple[ProbedNetwork, ...]
    activations: tuple[ProbedActivation, ...]
    access_units: int
    clvs_count: int  # coded layer video sequences
    video_bytes: int  # of the coded video without the filter messages
    network_bytes: int  # of all filter messages, repetitions included
    problems: tuple[str, ...]  # why something cannot be used

    @property
    def network_share(self) -> float:
        """Share of the messages in the video stream, 0 to 1."""
        return self.network_bytes / max(1, self.network_bytes + self.video_bytes)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values: times as float seconds, payloads left out."""
        facts: dict[str, Any] = _plain(self)
        facts["network_share"] = self.network_share
        return facts


def probe(src: str | PathLike[str], *, limits: Limits | None = None) -> ProbeReport:
    """Examines a film without decoding pictures.

    Args:
        src: Film.
        limits: Bounds on messages and networks; what is over them is reported as a problem.

    Returns:
        The report; a film in a codec without a place for networks has none and says so.

    Raises:
        ContainerError: The file cannot be read.
    """
    limits = limits or Limits.desktop()
    with open_media(src, limits=limits) as media:
        run = _Probe(media, limits)
        run.read()
        return run.report()


class _Probe:
    """One run of :func:`probe`."""

    def __init__(self, media: MediaReader, limits: Limits) -> None:
        self._media = media
        self._limits = limits
        self._state = FilterState(limits)
        self._messages: dict[bytes, tuple[Nnpfc, list[Occurrence]]] = {}
        self._activations: list[ProbedActivation] = []
        self._problems: dict[str, None] = {}
        self._total_bytes = 0
        self._network_bytes = 0
        self._access_units = 0
        self._clvs_count = 0

    def read(self) -> None:
        """Goes through the film once."""
        collector = None
        try:
            carriage = self._media.carriage()
            collector = SideDataCollector(carriage, self._limits)
            carriage.configuration_messages()  # the collector plays on without them
        except CarriageError as error:
            self._complain(str(error))
        except NnrVideoError as error:
            self._complain(f"decoder configuration record: {error}")
        for unit in self._media.access_units():
            self._access_units += 1
            self._total_bytes += len(unit.data) + len(unit.records)
            if collector is None:
                continue
            try:
                messages = unit_messages(carriage, unit, self._limits)
            except NnrVideoError as error:
                self._complain(f"access unit {unit.index}: {error}")
                messages = []
            self._network_bytes += len(
                pack_records(m for m in messages if m.payload_type in FILTER_PAYLOAD_TYPES)
            )
            item = collector.collect(unit)
            if item is not None:
                self._clvs_count += item.clvs_start
                self._take(item.records, Occurrence(item.pts, item.index), item.clvs_start)

    def report(self) -> ProbeReport:
        """Sums up."""
        media = self._media
        return ProbeReport(
            path=str(media.path),
            format_name=media.format_name,
            video=media.video,
            streams=media.streams,
            networks=tuple(self._network(*entry) for entry in self._messages.values()),
            activations=tuple(self._activations),
            access_units=self._access_units,
            clvs_count=self._clvs_count,
            video_bytes=self._total_bytes - self._network_bytes,
            network_bytes=self._network_bytes,
            problems=tuple(self._problems),
        )

    def _take(self, records: bytes, where: Occurrence, clvs_start: bool) -> None:
        messages = parse_records(records, self._limits)
        for message in messages:
            try:
                if message.payload_type == NNPFC_PAYLOAD_TYPE:
                    key = message.payload
                    if key not in self._messages:
                        self._messages[key] = parse_nnpfc(key, self._limits), []
                    self._messages[key][1].append(where)
                elif message.payload_type == NNPFA_PAYLOAD_TYPE:
                    nnpfa = parse_nnpfa(message.payload, self._limits)
                    self._activations.append(
                        ProbedActivation(
                            where.pts,
                            where.access_unit,
                            nnpfa.nnpfa_target_id,
                            nnpfa.nnpfa_cancel_flag,
                            nnpfa.nnpfa_persistence_flag,
                            nnpfa.nnpfa_target_base_flag,
                        )
                    )
            except NnrVideoError:
                continue  # the state machine gives the reason
        for event in self._state.access_unit(where.pts, messages, clvs_start):
            if isinstance(event, FilterRejected):
                name = "a message" if event.nnpfc_id is None else f"filter {event.nnpfc_id}"
                self._complain(f"{name} at {float(where.pts):.3f} s: {event.reason}")

    def _network(self, nnpfc: Nnpfc, occurrences: list[Occurrence]) -> ProbedNetwork:
        return ProbedNetwork(
            nnpfc_id=nnpfc.nnpfc_id,
            is_base=nnpfc.nnpfc_base_flag,
            purpose=nnpfc.nnpfc_purpose,
            purpose_names=tuple(
                name for bit, name in enumerate(_PURPOSE_NAMES) if nnpfc.nnpfc_purpose >> bit & 1
            ),
            mode_idc=nnpfc.nnpfc_mode_idc,
            uri=nnpfc.nnpfc_uri,
            payload_bytes=len(nnpfc.nnpfc_payload_byte),
            sha256=network_hash(nnpfc),
            occurrences=tuple(occurrences),
            output_size=self._output_size(nnpfc),
            content=self._content(nnpfc),
            nnpfc=nnpfc,
        )

    def _output_size(self, nnpfc: Nnpfc) -> tuple[int, int] | None:
        if not nnpfc.nnpfc_property_present_flag:
            return None
        picture_format = self._media.video.format
        try:
            check_picture(nnpfc, picture_format, self._limits)
            output = output_format(nnpfc, picture_format)
        except NnrVideoError as error:
            self._complain(f"filter {nnpfc.nnpfc_id}: {error}")
            return None
        return output.width, output.height

    def _content(self, nnpfc: Nnpfc) -> NetworkContent | None:
        # An update means nothing without the state that its base leaves behind.
        if not nnpfc.nnpfc_base_flag or not nnpfc.nnpfc_payload_byte:
            return None
        try:
            unpacked = unpack(nnpfc.nnpfc_payload_byte, limits=self._limits)
        except NnrVideoError as error:
            self._complain(f"network of filter {nnpfc.nnpfc_id}: {error}")
            return None
        return NetworkContent(
            len(unpacked.tensors),
            sum(int(tensor.size) for tensor in unpacked.tensors.values()),
            unpacked.network is not None,
            self._card(nnpfc, unpacked),
        )

    def _card(self, nnpfc: Nnpfc, unpacked: Unpacked) -> ModelCard | None:
        for name in NETWORK_NAMES:
            shipped = ModelCard.from_text(model_card_json(name))
            if shipped.sha256 == network_hash(nnpfc):
                return shipped
        try:
            return None if unpacked.network is None else embedded_card(unpacked.network)
        except NnrVideoError as error:
            self._complain(f"card in the network of filter {nnpfc.nnpfc_id}: {error}")
            return None

    def _complain(self, problem: str) -> None:
        if len(self._problems) < _MAX_PROBLEMS:
            self._problems.setdefault(problem)


def _plain(value: Any) -> Any:
    """Dataclasses as dictionaries, fractions as floats, bytes as their length."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
