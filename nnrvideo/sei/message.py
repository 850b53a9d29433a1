# SPDX-License-Identifier: Apache-2.0
"""SEI messages as envelopes: payloadType, payloadSize, bytes.

Two forms hold the same messages.  An *SEI RBSP* is the body of a NAL unit: messages, then
rbsp_trailing_bits().  *Records* are bare messages back to back, for carriers that know their own
length (T.35 metadata of AV1, side data beside a packet).  What a payload means is left to the
parsers that register themselves here; a payload nobody knows stays opaque and never fails.

Emulation prevention and NAL headers belong to the carriage of each codec, not here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, final

from nnrvideo.errors import BitstreamError, TruncatedError
from nnrvideo.limits import Limits

_NOT_FF = re.compile(rb"[^\xff]")
_TRAILING_BITS = 0x80


@final
@dataclass(frozen=True, slots=True)
class SeiMessage:
    """One sei_message(): a payload that has not been interpreted yet.

    Args:
        payload_type: payloadType, 0 or more.
        payload: The payload's bytes, without emulation prevention; its length is payloadSize.
    """

    payload_type: int
    payload: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.payload_type < 0:
            msg = f"payloadType {self.payload_type} is negative"
            raise ValueError(msg)


class SeiPayload(Protocol):
    """What every interpreted payload offers."""

    @property
    def payload_type(self) -> int:
        """The payloadType to send it with."""

    def to_payload(self) -> bytes:
        """The payload's bytes."""


@final
@dataclass(frozen=True, slots=True)
class UnknownSei:
    """A payload of a type that has no parser here; kept so that it can be sent on unharmed."""

    payload_type: int
    payload: bytes = field(repr=False)

    def to_payload(self) -> bytes:
        """The bytes as they came."""
        return self.payload


PayloadParser = Callable[[bytes, Limits], SeiPayload]
_PARSERS: dict[int, PayloadParser] = {}


def payload_parser(payload_type: int, parser: PayloadParser) -> None:
    """Registers ``parser`` for a payloadType; the seam for further SEI messages.

    Raises:
        ValueError: The type has another parser already.
    """
    if _PARSERS.setdefault(payload_type, parser) is not parser:
        msg = f"payloadType {payload_type} already has a parser"
        raise ValueError(msg)


def interpret(message: SeiMessage, limits: Limits | None = None) -> SeiPayload:
    """Parses a payload with the parser of its type.

    Args:
        message: Any message.
        limits: Bounds; those of a desktop if absent.

    Returns:
        The typed payload, or :class:`UnknownSei`.

    Raises:
        BitstreamError: The payload breaks its syntax.
        UnsupportedFeatureError: It uses values that are reserved.
        LimitExceededError: It is over a limit.
    """
    parser = _PARSERS.get(message.payload_type)
    if parser is None:
        return UnknownSei(message.payload_type, message.payload)
    return parser(message.payload, limits or Limits())


def message_of(payload: SeiPayload) -> SeiMessage:
    """Puts a typed payload into its envelope."""
    return SeiMessage(payload.payload_type, payload.to_payload())


def parse_sei_rbsp(rbsp: bytes, limits: Limits | None = None) -> list[SeiMessage]:
    """Splits the body of an SEI NAL unit into its messages.

    Args:
        rbsp: The bytes after the NAL unit header, emulation prevention removed.
        limits: ``max_messages`` and ``max_payload_bytes`` apply; a desktop's if absent.

    Returns:
        The messages in the order of the stream.

    Raises:
        TruncatedError: A message is longer than the data.
        BitstreamError: No message, or no rbsp_trailing_bits().
        LimitExceededError: Too many messages, or one too long.

    Spec: Rec. ITU-T H.264 clause 7.3.2.3; H.265 clause 7.3.2.4; H.266 clause 7.3.2.11.
    """
    # Zero bytes behind the trailing bits belong to the byte stream, not to the NAL unit; some
    # splitters leave them.
    end = len(rbsp.rstrip(b"\0")) - 1
    if end < 0 or rbsp[end] != _TRAILING_BITS:
        raise BitstreamError("no trailing bits", unit="SEI RBSP", element="rbsp_trailing_bits")
    messages = _split(rbsp, end, limits or Limits())
    if not messages:
        raise BitstreamError("holds no message", unit="SEI RBSP", element="sei_message")
    return messages


def write_sei_rbsp(messages: Iterable[SeiMessage]) -> bytes:
    """Joins messages to the body of an SEI NAL unit, with its trailing bits.

    Raises:
        ValueError: There is no message; an empty SEI RBSP is not legal.
    """
    records = pack_records(messages)
    if not records:
        msg = "an SEI RBSP needs at least one message"
        raise ValueError(msg)
    return records + bytes([_TRAILING_BITS])


def parse_records(records: bytes, limits: Limits | None = None) -> list[SeiMessage]:
    """Splits concatenated sei_message() structures that fill ``records`` exactly.

    Raises:
        TruncatedError: A message is longer than the data.
        LimitExceededError: Too many messages, or one too long.
    """
    return _split(records, len(records), limits or Limits())


def pack_records(messages: Iterable[SeiMessage]) -> bytes:
    """Concatenates sei_message() structures; the inverse of :func:`parse_records`."""
    parts: list[bytes] = []
    for message in messages:
        parts += (_number(message.payload_type), _number(len(message.payload)), message.payload)
    return b"".join(parts)


def _split(data: bytes, end: int, limits: Limits) -> list[SeiMessage]:
    messages: list[SeiMessage] = []
    position = 0
    while position < end:
        limits.require("max_messages", len(messages) + 1, "SEI messages in one place")
        payload_type, position = _read_number(data, position, end, "payload_type_byte")
        size, position = _read_number(data, position, end, "payload_size_byte")
        if size > end - position:
            raise TruncatedError(
                f"payload of {size} bytes, {end - position} left",
                unit="SEI",
                element="sei_payload",
                bit=position * 8,
            )
        limits.require("max_payload_bytes", size, "SEI payload bytes")
        messages.append(SeiMessage(payload_type, bytes(data[position : position + size])))
        position += size
    return messages


def _read_number(data: bytes, position: int, end: int, element: str) -> tuple[int, int]:
    """Reads bytes of 255 and a last one below 255, which all add up."""
    # The search jumps over the run at once: megabytes of FF cost no loop.
    last = _NOT_FF.search(data, position, end)
    if last is None:
        raise TruncatedError("no last byte", unit="SEI", element=element, bit=position * 8)
    stop = last.start()
    return 255 * (stop - position) + data[stop], stop + 1


def _number(value: int) -> bytes:
    return b"\xff" * (value // 255) + bytes([value % 255])
