# SPDX-License-Identifier: Apache-2.0
"""What AVC and HEVC (and any later codec made of NAL units) share about carrying messages.

A codec says how its NAL unit header reads; finding, adding and removing SEI is done once, here.
Spec: Rec. ITU-T H.274 (SEI messages), carried as H.264 clause 7.3.2.3 and H.265 clause 7.3.2.4 say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar

from nnrvideo.bits import rbsp
from nnrvideo.carriage.nal import NalFraming, NalSpan, is_annexb, split_annexb
from nnrvideo.errors import BitstreamError, NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.sei.message import SeiMessage, parse_sei_rbsp, write_sei_rbsp
from nnrvideo.sei.nnpfa import NNPFA_PAYLOAD_TYPE
from nnrvideo.sei.nnpfc import NNPFC_PAYLOAD_TYPE

FILTER_PAYLOAD_TYPES = frozenset({NNPFC_PAYLOAD_TYPE, NNPFA_PAYLOAD_TYPE})

# Besides its payload a SEI NAL unit holds size bytes (1/255), the emulation prevention (at worst
# 1/2) and, rarely, small other messages: this bounds what is unescaped before it is parsed.
_NAL_OVERHEAD = 65_536


class NalCarriage(ABC):
    """Carriage in SEI NAL units.

    Args:
        extradata: Decoder configuration record or Annex B parameter sets.
        limits: Bounds on messages.

    Raises:
        BitstreamError: The configuration record is broken.
    """

    codec_name: ClassVar[str]
    header_size: ClassVar[int]  # bytes of a NAL unit header

    def __init__(self, extradata: bytes, limits: Limits) -> None:
        self._extradata = extradata
        self._limits = limits
        self._framing = (
            NalFraming() if is_annexb(extradata) else NalFraming(self._length_size(extradata))
        )

    @property
    def framing(self) -> NalFraming:
        """How NAL units are delimited in the access units."""
        return self._framing

    @abstractmethod
    def _length_size(self, record: bytes) -> int:
        """Bytes of a length field according to the configuration record."""

    @abstractmethod
    def _type(self, au: bytes, span: NalSpan) -> int:
        """nal_unit_type."""

    @abstractmethod
    def _is_sei(self, au: bytes, span: NalSpan) -> bool:
        """Whether the NAL unit holds SEI for the base layer."""

    @abstractmethod
    def _is_vcl(self, au: bytes, span: NalSpan) -> bool:
        """Whether SEI must come before this NAL unit because coded samples follow."""

    @abstractmethod
    def _sei_header(self, au: bytes, vcl: NalSpan) -> bytes:
        """Header of a new SEI NAL unit in the access unit of this coded slice."""

    def messages(self, au: bytes) -> list[SeiMessage]:
        """Reads every message of every SEI NAL unit.

        Args:
            au: Access unit as the container stores it.

        Returns:
            Messages in order. A SEI NAL unit that cannot be read costs its own messages, not
            those of the others.

        Raises:
            BitstreamError: The access unit cannot be split, or no SEI NAL unit of it could be
                read although there are some.
            LimitExceededError: A message or their number is over the limits.
        """
        found: list[SeiMessage] = []
        failure: NnrVideoError | None = None
        for span in self._framing.split(au):
            if not self._is_sei(au, span):
                continue
            try:
                found += self._parse(au[span.start : span.end])
            except BitstreamError as error:
                failure = error.at(unit=f"SEI NAL unit at byte {span.start}")
        self._limits.require("max_messages", len(found), "SEI messages in an access unit")
        if failure is not None and not found:
            raise failure
        return found

    def insert(self, au: bytes, messages: Iterable[SeiMessage]) -> bytes:
        """Adds messages immediately before the first coded slice.

        That is after access unit delimiter, parameter sets and other SEI, whose order the
        standards fix. Each message gets a NAL unit of its own, so that large ones can be
        filtered out alone.

        Args:
            au: Access unit as the container stores it.
            messages: What to add, in order.

        Returns:
            The access unit in the same framing; its own bytes unchanged.

        Raises:
            BitstreamError: There is no coded slice, or the access unit cannot be split.
            CarriageError: A message is too long for the stream's length fields.
        """
        messages = list(messages)
        if not messages:
            return au
        vcl = next((s for s in self._framing.split(au) if self._is_vcl(au, s)), None)
        if vcl is None:
            raise BitstreamError("the access unit contains no coded slice")
        header = self._sei_header(au, vcl)
        added = b"".join(
            self._framing.frame(header + rbsp.escape(write_sei_rbsp([message])))
            for message in messages
        )
        return au[: vcl.begin] + added + au[vcl.begin :]

    def strip(self, au: bytes, payload_types: frozenset[int] = FILTER_PAYLOAD_TYPES) -> bytes:
        """Removes messages of some types.

        Args:
            au: Access unit as the container stores it.
            payload_types: payloadType values to remove.

        Returns:
            The access unit; other messages of the same NAL unit stay, a NAL unit that becomes
            empty goes, everything else is unchanged. SEI that cannot be read is left alone.

        Raises:
            BitstreamError: The access unit cannot be split.
        """
        pieces: list[bytes] = []
        kept_until = 0
        for span in self._framing.split(au):
            if not self._is_sei(au, span):
                continue
            nal = au[span.start : span.end]
            try:
                messages = self._parse(nal)
            except NnrVideoError:
                continue
            remaining = [m for m in messages if m.payload_type not in payload_types]
            if len(remaining) == len(messages):
                continue
            pieces.append(au[kept_until : span.begin])
            if remaining:
                pieces.append(self._framing.frame(self._rebuild(nal, remaining)))
            kept_until = span.end
        if not pieces:
            return au
        stripped = b"".join(pieces) + au[kept_until:]
        # The first start code of an access unit has four bytes.
        starts_short = self._framing.length_size is None and stripped.startswith(b"\x00\x00\x01")
        return b"\x00" + stripped if starts_short else stripped

    def configuration_messages(self) -> list[SeiMessage]:
        """Messages of SEI NAL units in the configuration record.

        Raises:
            BitstreamError: The record is broken.
        """
        found: list[SeiMessage] = []
        for nal in self._configuration_units():
            span = NalSpan(0, 0, len(nal))
            if self._is_sei(nal, span):
                found += self._parse(nal)
        return found

    def strip_configuration(self, payload_types: frozenset[int] = FILTER_PAYLOAD_TYPES) -> bytes:
        """The configuration record without messages of some types.

        Only Annex B records are handled here; avcC has no place for SEI, and hvcC overrides.
        """
        if is_annexb(self._extradata):
            return self._annexb_view().strip(self._extradata, payload_types)
        return self._extradata

    def _annexb_view(self) -> NalCarriage:
        """The same codec reading start codes."""
        return type(self)(b"", self._limits)

    def _configuration_units(self) -> Iterator[bytes]:
        """NAL units of the configuration record."""
        if is_annexb(self._extradata):
            for span in split_annexb(self._extradata):
                yield self._extradata[span.start : span.end]

    def _parse(self, nal: bytes) -> list[SeiMessage]:
        """Messages of one SEI NAL unit, header included."""
        bound = 2 * self._limits.max_payload_bytes + _NAL_OVERHEAD
        if len(nal) > bound:
            self._limits.require("max_payload_bytes", len(nal), "bytes of a SEI NAL unit")
        return parse_sei_rbsp(rbsp.unescape(nal[self.header_size :]), self._limits)

    def _rebuild(self, nal: bytes, messages: list[SeiMessage]) -> bytes:
        """A SEI NAL unit with the same header and other messages."""
        return nal[: self.header_size] + rbsp.escape(write_sei_rbsp(messages))
