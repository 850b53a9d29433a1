# SPDX-License-Identifier: Apache-2.0
"""User data SEI messages: unregistered (payloadType 5) and registered by T.35 (payloadType 4).

They carry what no standard message has a place for.  Both are an identifier and opaque bytes; who
owns an identifier is the carriage's concern.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, final
from uuid import UUID

from nnrvideo.errors import TruncatedError
from nnrvideo.limits import Limits
from nnrvideo.sei.message import payload_parser

USER_DATA_REGISTERED_ITU_T_T35 = 4
USER_DATA_UNREGISTERED = 5

_UUID_BYTES = 16
_COUNTRY_EXTENDED = 0xFF


@final
@dataclass(frozen=True, slots=True)
class UserDataUnregistered:
    """user_data_unregistered().

    Args:
        uuid_iso_iec_11578: Who defined the data.
        user_data_payload_byte: The data.

    Spec: Rec. ITU-T H.274 clause 8.4.
    """

    payload_type: ClassVar[int] = USER_DATA_UNREGISTERED

    uuid_iso_iec_11578: UUID
    user_data_payload_byte: bytes = field(repr=False)

    def to_payload(self) -> bytes:
        """The payload's bytes."""
        return self.uuid_iso_iec_11578.bytes + self.user_data_payload_byte


@final
@dataclass(frozen=True, slots=True)
class UserDataRegisteredT35:
    """user_data_registered_itu_t_t35(); also the body of a T.35 metadata OBU of AV1.

    Args:
        itu_t_t35_country_code: 0..255.
        itu_t_t35_country_code_extension_byte: 0..255 with country code 0xFF, else None.
        itu_t_t35_payload_byte: What follows: provider code, then the data.

    Spec: Rec. ITU-T H.274 clause 8.3; AV1 bitstream specification, section 5.8.2.
    """

    payload_type: ClassVar[int] = USER_DATA_REGISTERED_ITU_T_T35

    itu_t_t35_country_code: int
    itu_t_t35_payload_byte: bytes = field(repr=False)
    itu_t_t35_country_code_extension_byte: int | None = None

    def __post_init__(self) -> None:
        extended = self.itu_t_t35_country_code == _COUNTRY_EXTENDED
        if extended != (self.itu_t_t35_country_code_extension_byte is not None):
            msg = "country code 0xFF, and only it, has an extension byte"
            raise ValueError(msg)

    def to_payload(self) -> bytes:
        """The payload's bytes."""
        head = [self.itu_t_t35_country_code]
        if self.itu_t_t35_country_code_extension_byte is not None:
            head.append(self.itu_t_t35_country_code_extension_byte)
        return bytes(head) + self.itu_t_t35_payload_byte


def parse_user_data_unregistered(
    payload: bytes, limits: Limits | None = None
) -> UserDataUnregistered:
    """Parses user_data_unregistered().

    Raises:
        TruncatedError: Shorter than its UUID.
        LimitExceededError: Too long.
    """
    (limits or Limits()).require("max_payload_bytes", len(payload), "user data bytes")
    if len(payload) < _UUID_BYTES:
        raise TruncatedError(
            f"{len(payload)} bytes", unit="user data", element="uuid_iso_iec_11578", bit=0
        )
    return UserDataUnregistered(UUID(bytes=payload[:_UUID_BYTES]), payload[_UUID_BYTES:])


def parse_user_data_t35(payload: bytes, limits: Limits | None = None) -> UserDataRegisteredT35:
    """Parses user_data_registered_itu_t_t35().

    Raises:
        TruncatedError: Shorter than its country code.
        LimitExceededError: Too long.
    """
    (limits or Limits()).require("max_payload_bytes", len(payload), "user data bytes")
    extended = payload[:1] == bytes([_COUNTRY_EXTENDED])
    head = 2 if extended else 1
    if len(payload) < head:
        raise TruncatedError(
            f"{len(payload)} bytes", unit="user data", element="itu_t_t35_country_code", bit=0
        )
    return UserDataRegisteredT35(payload[0], payload[head:], payload[1] if extended else None)


payload_parser(USER_DATA_UNREGISTERED, parse_user_data_unregistered)
payload_parser(USER_DATA_REGISTERED_ITU_T_T35, parse_user_data_t35)
