# SPDX-License-Identifier: Apache-2.0
"""Plain-text subtitles between the two packings that MP4 and Matroska insist on.

``mov_text`` puts a 16-bit length before the text and style boxes after it; SubRip in Matroska is
the text alone.  Text survives, styling of ``mov_text`` does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

_MAX_TEXT_BYTES = 0xFFFF
_MP4_FAMILY = frozenset({"mp4", "mov", "ipod", "ismv"})
_MATROSKA_FAMILY = frozenset({"matroska"})
_PLAIN_TEXT = frozenset({"subrip", "srt", "text"})


@final
@dataclass(frozen=True, slots=True)
class SubtitleConverter:
    """How the packets of a subtitle stream must change for another container."""

    codec_name: str  # of the converted stream
    convert: Callable[[bytes], bytes]


def converter(codec_name: str | None, format_name: str) -> SubtitleConverter | None:
    """Finds the conversion that a container needs, or None when packets can go as they are."""
    if codec_name in _PLAIN_TEXT and format_name in _MP4_FAMILY:
        return SubtitleConverter("mov_text", text_to_mov_text)
    if codec_name == "mov_text" and format_name in _MATROSKA_FAMILY:
        return SubtitleConverter("subrip", mov_text_to_text)
    return None


def text_to_mov_text(packet: bytes) -> bytes:
    """Puts the length before the text; longer text is cut at a character."""
    text = packet.rstrip(b"\x00")
    if len(text) > _MAX_TEXT_BYTES:
        text = text[:_MAX_TEXT_BYTES].decode("utf-8", "ignore").encode("utf-8")
    return len(text).to_bytes(2, "big") + text


def mov_text_to_text(packet: bytes) -> bytes:
    """Takes the text out; a length beyond the packet means all there is."""
    length = int.from_bytes(packet[:2], "big")
    return packet[2 : 2 + length]
