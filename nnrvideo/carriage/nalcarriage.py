# SPDX-License-Identifier: Apache-2.0
"""What AVC, HEVC and VVC share about carrying messages.

A codec says how its NAL unit header reads; finding, adding and removing SEI is done once, here.
Spec: Rec. ITU-T H.274 (SEI messages), carried as H.264 clause 7.3.2.3, H.265
clause 7.3.2.4 and H.266 clause 7.3.2.11 say.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar

from nnrvideo.bits import rbsp
from nnrvideo.carriage.base import FILTER_PAYLOAD_TYPES
from nnrvideo.carriage.nal import NalFraming, NalSpan, is_annexb, split_annexb
from nnrvideo.carriage.places import Place, PlacedCarriage
from nnrvideo.errors import BitstreamError
from nnrvideo.limits import Limits
from nnrvideo.sei.message import SeiMessage, parse_sei_rbsp, write_sei_rbsp

# Besides its payload a SEI NAL unit holds size bytes (1/255), the emulation prevention (at worst
# 1/2) and, rarely, small other messages: this bounds what is unescaped before it is parsed.
_NAL_OVERHEAD = 65_536


class NalCarriage(PlacedCarriage):
    """Carriage in SEI NAL units.

    Args:
        extradata: Decoder configuration record or Annex B parameter sets.
        limits: Bounds on messages.

    Raises:
        BitstreamError: The configuration record is broken.
    """

    codec_name: ClassVar[str]
    header_size: ClassVar[int]  # bytes of a NAL unit header
    end_types: ClassVar[frozenset[int]]  # end of sequence, end of bitstream

    def __init__(self, extradata: bytes, limits: Limits) -> None:
        super().__init__(limits)
        self._extradata = extradata
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

    def _places(self, au: bytes) -> Iterator[Place]:
        for span in self._framing.split(au):
            if self._is_sei(au, span):
                yield Place(span.begin, span.end, "SEI NAL unit", au[span.start : span.end])

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
        """Removes messages of some types; see :meth:`PlacedCarriage.strip`."""
        stripped = super().strip(au, payload_types)
        # The first start code of an access unit has four bytes.
        starts_short = self._framing.length_size is None and stripped.startswith(b"\x00\x00\x01")
        return b"\x00" + stripped if starts_short and stripped != au else stripped

    def ends_sequence(self, au: bytes) -> bool:
        """End of sequence or end of bitstream NAL unit."""
        return any(self._type(au, span) in self.end_types for span in self._framing.split(au))

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

        Only Annex B records are handled here; avcC has no place for SEI, hvcC and vvcC override.
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

    def _parse(self, body: bytes) -> list[SeiMessage]:
        bound = 2 * self._limits.max_payload_bytes + _NAL_OVERHEAD
        if len(body) > bound:
            self._limits.require("max_payload_bytes", len(body), "bytes of a SEI NAL unit")
        return parse_sei_rbsp(rbsp.unescape(body[self.header_size :]), self._limits)

    def _rebuilt(self, place: Place, messages: list[SeiMessage]) -> bytes:
        header = place.body[: self.header_size]
        return self._framing.frame(header + rbsp.escape(write_sei_rbsp(messages)))
