# SPDX-License-Identifier: Apache-2.0
"""The seam for video codecs: what one must offer, and the registry that finds it by name.

A new codec is one file with a factory plus one line: ``register("name")`` here, or an entry
point in the group ``nnrvideo.carriage`` of another distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Protocol

from nnrvideo.errors import CarriageError
from nnrvideo.limits import Limits
from nnrvideo.sei.message import SeiMessage
from nnrvideo.sei.nnpfa import NNPFA_PAYLOAD_TYPE
from nnrvideo.sei.nnpfc import NNPFC_PAYLOAD_TYPE

FILTER_PAYLOAD_TYPES = frozenset({NNPFC_PAYLOAD_TYPE, NNPFA_PAYLOAD_TYPE})
ENTRY_POINT_GROUP = "nnrvideo.carriage"


class CodecCarriage(Protocol):
    """Places for SEI messages inside the access units of one video stream.

    An instance knows the stream's configuration record and nothing else; it keeps no state
    between access units.
    """

    @property
    def codec_name(self) -> str:
        """Libavcodec's name of the coding format."""

    @property
    def in_band(self) -> bool:
        """Whether access units carry messages; else a track beside them must."""

    def messages(self, au: bytes) -> list[SeiMessage]:
        """All messages of an access unit, in order."""

    def insert(self, au: bytes, messages: Iterable[SeiMessage]) -> bytes:
        """The access unit with messages added immediately before its first coded slice."""

    def strip(self, au: bytes, payload_types: frozenset[int] = ...) -> bytes:
        """The access unit without messages of these types; all else byte for byte."""

    def is_clvs_start(self, au: bytes, *, first: bool = False) -> bool:
        """Whether a coded layer video sequence starts here.

        Args:
            au: Access unit.
            first: It is the first one that is decoded, or follows an end of sequence.
        """

    def is_random_access(self, au: bytes) -> bool:
        """Whether decoding can start here."""

    def ends_sequence(self, au: bytes) -> bool:
        """Whether the access unit closes with an end of sequence."""

    def configuration_messages(self) -> list[SeiMessage]:
        """Messages of the decoder configuration record; they hold for the whole stream."""

    def strip_configuration(self, payload_types: frozenset[int] = ...) -> bytes:
        """The decoder configuration record without messages of these types."""


Factory = Callable[[bytes, Limits], CodecCarriage]
_registry: dict[str, Factory] = {}


def register(codec_name: str) -> Callable[[Factory], Factory]:
    """Registers a factory ``(extradata, limits) -> CodecCarriage`` under libavcodec's name."""

    def enter(factory: Factory) -> Factory:
        _registry[codec_name] = factory
        return factory

    return enter


def supported_codecs() -> tuple[str, ...]:
    """Names of the codecs that can carry a network, sorted."""
    plugins = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
    return tuple(sorted(_registry.keys() | plugins))


def carriage_for(
    codec_name: str, extradata: bytes = b"", *, limits: Limits | None = None
) -> CodecCarriage:
    """Finds how a codec carries messages.

    Args:
        codec_name: libavcodec's name of the coding format, for instance ``"hevc"``.
        extradata: The stream's decoder configuration record (avcC, hvcC, or Annex B parameter
            sets); decides between length prefixes and start codes. Empty means Annex B.
        limits: Bounds on messages; the defaults when absent.

    Returns:
        Carriage for the stream.

    Raises:
        CarriageError: The codec has no place for a network, or none that we know.
        BitstreamError: The configuration record is broken.
    """
    factory = _registry.get(codec_name)
    if factory is None:
        for point in entry_points(group=ENTRY_POINT_GROUP, name=codec_name):
            factory = point.load()
            _registry[codec_name] = factory
            break
    if factory is None:
        able = ", ".join(supported_codecs())
        raise CarriageError(
            f"{codec_name} has no place for a network; codecs that can carry one: {able}"
        )
    return factory(extradata, limits or Limits.desktop())
