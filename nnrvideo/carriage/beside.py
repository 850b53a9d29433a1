# SPDX-License-Identifier: Apache-2.0
"""VP8 and VP9: no room for messages inside, so they travel beside the access units.

How, is the container's business.  What is left here is where decoding can begin: at key frames,
which take the place of the first picture of a coded layer video sequence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from nnrvideo.carriage.base import FILTER_PAYLOAD_TYPES, register
from nnrvideo.errors import CarriageError
from nnrvideo.limits import Limits
from nnrvideo.sei.message import SeiMessage


class _BesideCarriage:
    """A codec whose access units carry nothing but pictures."""

    codec_name: ClassVar[str]
    in_band: ClassVar[bool] = False

    def __init__(self, extradata: bytes, limits: Limits) -> None:
        del limits
        self._extradata = extradata

    def messages(self, au: bytes) -> list[SeiMessage]:
        """None."""
        del au
        return []

    def insert(self, au: bytes, messages: Iterable[SeiMessage]) -> bytes:
        """The access unit as it is.

        Raises:
            CarriageError: There is something to insert.
        """
        if list(messages):
            raise CarriageError(f"{self.codec_name} has no place for messages in its access units")
        return au

    def strip(self, au: bytes, payload_types: frozenset[int] = FILTER_PAYLOAD_TYPES) -> bytes:
        """The access unit as it is."""
        del payload_types
        return au

    def is_clvs_start(self, au: bytes, *, first: bool = False) -> bool:
        """A key frame."""
        del first
        return self._is_key(au)

    def is_random_access(self, au: bytes) -> bool:
        """A key frame."""
        return self._is_key(au)

    def ends_sequence(self, au: bytes) -> bool:
        """Never: these codecs mark no ends."""
        del au
        return False

    def configuration_messages(self) -> list[SeiMessage]:
        """None."""
        return []

    def strip_configuration(self, payload_types: frozenset[int] = FILTER_PAYLOAD_TYPES) -> bytes:
        """The record as it is."""
        del payload_types
        return self._extradata

    def _is_key(self, au: bytes) -> bool:
        raise NotImplementedError


class Vp9Carriage(_BesideCarriage):
    """Spec: VP9 bitstream specification, section 6.2 (uncompressed header)."""

    codec_name = "vp9"

    def _is_key(self, au: bytes) -> bool:
        if not au or au[0] >> 6 != 2:  # frame_marker
            return False
        # Profile 3 is followed by a reserved bit; then show_existing_frame, frame_type.
        shift = 1 if au[0] >> 4 & 3 == 3 else 2
        return au[0] >> shift & 3 == 0


class Vp8Carriage(_BesideCarriage):
    """Spec: RFC 6386 section 9.1 (frame tag)."""

    codec_name = "vp8"

    def _is_key(self, au: bytes) -> bool:
        return bool(au) and not au[0] & 1


BESIDE_CODECS = frozenset({Vp8Carriage.codec_name, Vp9Carriage.codec_name})

register("vp9")(Vp9Carriage)
register("vp8")(Vp8Carriage)
