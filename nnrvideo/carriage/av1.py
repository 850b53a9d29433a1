# SPDX-License-Identifier: Apache-2.0
"""AV1: metadata OBUs of type ITU-T T.35, the only ones that all common tools pass on.

An access unit is a temporal unit.  It shows exactly one picture, whatever hidden frames come with
it, and its messages belong to that picture: also where the picture was decoded long before and is
only shown now (show_existing_frame).

AV1 knows no coded layer video sequence.  What begins with a key frame that is shown at once takes
its place: from there nothing earlier is referred to.  A hidden key frame (delayed random access
point) is for AV1 what CRA is for HEVC: decoding can begin, but messages persist across it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import final

from nnrvideo.bits.leb128 import read_leb128, write_leb128
from nnrvideo.carriage.base import FILTER_PAYLOAD_TYPES, register
from nnrvideo.carriage.envelope import is_sealed, seal, unseal
from nnrvideo.carriage.obu import ObuSpan, split_obus, write_obu
from nnrvideo.carriage.places import Place, PlacedCarriage
from nnrvideo.errors import BitstreamError, TruncatedError
from nnrvideo.limits import Limits
from nnrvideo.sei.message import SeiMessage

_SEQUENCE_HEADER = 1
_FRAME_HEADER = 3
_METADATA = 5
_FRAME = 6

_METADATA_TYPE_ITUT_T35 = 4
# Nobody has assigned us a T.35 code: an extended country code that no known metadata uses, and the
# UUID behind it, which alone decides.
_COUNTRY = b"\xff\x01"
_TRAILING_BITS = 0x80

_KEY_FRAME = 0
_REDUCED_STILL_PICTURE_HEADER = 0x08  # in the first byte of a sequence header

_AV1C_MARKER = 0x81  # marker 1, version 1
_AV1C_FIXED_BYTES = 4


@dataclass(frozen=True, slots=True)
class _Frame:
    """The beginning of a frame header."""

    span: ObuSpan
    shown: bool
    is_key: bool  # False for a picture that existed before, whatever it was


@final
class Av1Carriage(PlacedCarriage):
    """Messages in T.35 metadata OBUs.

    Args:
        extradata: av1C, or bare OBUs, or nothing.
        limits: Bounds on messages.

    Raises:
        BitstreamError: The configuration record is broken.

    Spec: AV1 bitstream specification, sections 5.8.2 (T.35), 7.5 (order of OBUs), 7.6 (random
    access); AV1 in ISOBMFF, section 2.3 (av1C).
    """

    codec_name = "av1"

    def __init__(self, extradata: bytes, limits: Limits) -> None:
        super().__init__(limits)
        fixed = _AV1C_FIXED_BYTES if extradata[:1] == bytes([_AV1C_MARKER]) else 0
        if len(extradata) < fixed:
            raise TruncatedError(f"av1C of {len(extradata)} bytes", unit="av1C")
        self._record, self._configuration = extradata[:fixed], extradata[fixed:]
        try:
            self._configured = self._sequence_header(self._configuration)
        except BitstreamError as error:
            raise error.at(unit="av1C") from error

    def insert(self, au: bytes, messages: Iterable[SeiMessage]) -> bytes:
        """Adds messages immediately before the frame that is shown.

        Hidden frames stay before them, as for HDR10+: also who splits a temporal unit into
        frames finds them with the right one. Each message gets an OBU of its own.

        Raises:
            BitstreamError: There is no frame, or the temporal unit cannot be split.
        """
        messages = list(messages)
        if not messages:
            return au
        frames = self._frames(au)
        if not frames:
            raise BitstreamError("the temporal unit contains no frame")
        place = next((frame for frame in frames if frame.shown), frames[0]).span.begin
        return au[:place] + b"".join(_obu([message]) for message in messages) + au[place:]

    def is_clvs_start(self, au: bytes, *, first: bool = False) -> bool:
        """A key frame that is shown at once; where decoding begins, any key frame."""
        shown = next((frame for frame in self._frames(au) if frame.shown), None)
        return (shown is not None and shown.is_key) or (first and self.is_random_access(au))

    def is_random_access(self, au: bytes) -> bool:
        """A key frame, shown or hidden, and a sequence header here or beside the stream."""
        headers = self._configured, self._sequence_header(au)
        return headers != (None, None) and any(frame.is_key for frame in self._frames(au))

    def ends_sequence(self, au: bytes) -> bool:
        """Never: AV1 marks no ends."""
        del au
        return False

    def configuration_messages(self) -> list[SeiMessage]:
        """Messages in metadata OBUs of the configuration record."""
        return self.messages(self._configuration)

    def strip_configuration(self, payload_types: frozenset[int] = FILTER_PAYLOAD_TYPES) -> bytes:
        """The configuration record without messages of some types."""
        return self._record + self.strip(self._configuration, payload_types)

    def _places(self, au: bytes) -> Iterator[Place]:
        """Our metadata OBUs; their body is what follows the T.35 country code."""
        for span in split_obus(au):
            if span.obu_type != _METADATA:
                continue
            payload = au[span.start : span.end]
            try:
                kind, position = read_leb128(payload, 0, "metadata_type")
            except BitstreamError:
                continue  # nobody's
            if kind != _METADATA_TYPE_ITUT_T35 or not payload.startswith(_COUNTRY, position):
                continue
            body = payload[position + len(_COUNTRY) :]
            if is_sealed(body):
                yield Place(span.begin, span.end, "metadata OBU", body)

    def _parse(self, body: bytes) -> list[SeiMessage]:
        # Zeros behind the trailing bits pad the OBU.
        end = len(body.rstrip(b"\0")) - 1
        if body[end] != _TRAILING_BITS:
            raise BitstreamError("no trailing bits", element="trailing_bits")
        return unseal(body[:end], self._limits)

    def _rebuilt(self, place: Place, messages: list[SeiMessage]) -> bytes:
        del place
        return _obu(messages)

    def _frames(self, au: bytes) -> list[_Frame]:
        """Frames of a temporal unit in decoding order; those without a byte are left out."""
        header = self._sequence_header(au)
        header = self._configured if header is None else header
        reduced = header is not None and bool(header & _REDUCED_STILL_PICTURE_HEADER)
        return [
            _frame(au, span, reduced=reduced)
            for span in split_obus(au)
            if span.obu_type in (_FRAME_HEADER, _FRAME) and span.end > span.start
        ]

    def _sequence_header(self, obus: bytes) -> int | None:
        """First byte of the first sequence header, or None."""
        return next(
            (
                obus[span.start]
                for span in split_obus(obus)
                if span.obu_type == _SEQUENCE_HEADER and span.end > span.start
            ),
            None,
        )


def _frame(au: bytes, span: ObuSpan, *, reduced: bool) -> _Frame:
    """Reads show_existing_frame, frame_type and show_frame.

    Spec: AV1 bitstream specification, section 5.9.2.
    """
    if reduced:
        return _Frame(span, shown=True, is_key=True)
    bits = au[span.start]
    if bits >> 7:  # show_existing_frame
        return _Frame(span, shown=True, is_key=False)
    return _Frame(span, shown=bool(bits >> 4 & 1), is_key=bits >> 5 & 3 == _KEY_FRAME)


def _obu(messages: Iterable[SeiMessage]) -> bytes:
    kind = write_leb128(_METADATA_TYPE_ITUT_T35)
    return write_obu(_METADATA, kind + _COUNTRY + seal(messages) + bytes([_TRAILING_BITS]))


register("av1")(Av1Carriage)
