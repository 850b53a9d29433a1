# SPDX-License-Identifier: Apache-2.0
"""Codec-specific places for SEI messages inside access units.

Bytes in, bytes out: no file, no clock, no decoder.  The containers are next door, in
``nnrvideo.container``; what the messages mean is the business of ``nnrvideo.sei``.
"""

from nnrvideo.carriage.avc import AvcCarriage
from nnrvideo.carriage.base import CodecCarriage, carriage_for, register, supported_codecs
from nnrvideo.carriage.hevc import HevcCarriage
from nnrvideo.carriage.nal import NalFraming, NalSpan
from nnrvideo.carriage.nalcarriage import FILTER_PAYLOAD_TYPES, NalCarriage
from nnrvideo.carriage.order import PictureOrder, picture_order

__all__ = [
    "FILTER_PAYLOAD_TYPES",
    "AvcCarriage",
    "CodecCarriage",
    "HevcCarriage",
    "NalCarriage",
    "NalFraming",
    "NalSpan",
    "PictureOrder",
    "carriage_for",
    "picture_order",
    "register",
    "supported_codecs",
]
