# SPDX-License-Identifier: Apache-2.0
"""Messages where no standard reserves a place for them: our UUID, then sei_message() records.

One body serves every such carrier: T.35 metadata of AV1, and tracks beside the video.  A carrier
is shared with others, so nothing is taken for ours but by the UUID.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from nnrvideo.limits import Limits
from nnrvideo.sei.message import SeiMessage, pack_records, parse_records

RECORDS_UUID = UUID(bytes=b"nnrvideo" + bytes(7) + b"\x01")
"""Says that sei_message() structures of Rec. ITU-T H.274 follow, back to back."""


def seal(messages: Iterable[SeiMessage]) -> bytes:
    """Puts messages behind the UUID."""
    return seal_records(pack_records(messages))


def seal_records(records: bytes) -> bytes:
    """Puts packed messages behind the UUID."""
    return RECORDS_UUID.bytes + records


def is_sealed(body: bytes) -> bool:
    """Whether a body is one of ours."""
    return body.startswith(RECORDS_UUID.bytes)


def sealed_records(body: bytes) -> bytes:
    """The packed messages of a body for which :func:`is_sealed` holds."""
    return body[len(RECORDS_UUID.bytes) :]


def unseal(body: bytes, limits: Limits | None = None) -> list[SeiMessage]:
    """Takes the messages out of a body for which :func:`is_sealed` holds.

    Raises:
        TruncatedError: A message is longer than the body.
        LimitExceededError: Too many messages, or one too long.
    """
    return parse_records(sealed_records(body), limits)
