# SPDX-License-Identifier: Apache-2.0
"""Codec-specific places for SEI messages inside access units: SEI, or metadata of AV1.

Bytes in, bytes out: no file, no clock, no decoder.  The containers are next door, in
``nnrvideo.container``; what the messages mean is the business of ``nnrvideo.sei``.
"""

from nnrvideo.carriage.av1 import Av1Carriage
from nnrvideo.carriage.avc import AvcCarriage
from nnrvideo.carriage.base import (
    FILTER_PAYLOAD_TYPES,
    CodecCarriage,
    carriage_for,
    register,
    supported_codecs,
)
from nnrvideo.carriage.beside import BESIDE_CODECS, Vp8Carriage, Vp9Carriage
from nnrvideo.carriage.hevc import HevcCarriage
from nnrvideo.carriage.nal import NalFraming, NalSpan, is_annexb
from nnrvideo.carriage.nalcarriage import NalCarriage
from nnrvideo.carriage.order import PictureOrder, picture_order
from nnrvideo.carriage.vvc import VvcCarriage

__all__ = [
    "BESIDE_CODECS",
    "FILTER_PAYLOAD_TYPES",
    "Av1Carriage",
    "AvcCarriage",
    "CodecCarriage",
    "HevcCarriage",
    "NalCarriage",
    "NalFraming",
    "NalSpan",
    "PictureOrder",
    "Vp8Carriage",
    "Vp9Carriage",
    "VvcCarriage",
    "carriage_for",
    "is_annexb",
    "picture_order",
    "register",
    "supported_codecs",
]
