# SPDX-License-Identifier: Apache-2.0
"""The graph of a network in a topology unit: packed by a sender, inflated by a receiver.

Two carriages exist.  Binary, as the standard means it, with storage format ONNX and deflate.  And
text, for receivers such as NNCodec that read every topology as zero-terminated text: storage
format "unrecognised", base64 of the deflated bytes.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass, field
from typing import final

from nnrvideo.errors import BitstreamError, LimitExceededError, UnsupportedFeatureError
from nnrvideo.limits import Limits
from nnrvideo.nnc.constants import TEXT_FORMATS, CompressionFormat, StorageFormat
from nnrvideo.nnc.units import TopologyUnit

_TERMINATOR = b"\0"


@final
@dataclass(frozen=True, slots=True)
class TopologyPayload:
    """A topology as the application sees it.

    Args:
        storage_format: topology_storage_format, see ``StorageFormat``.
        compression_format: topology_compression_format: 0 raw, 1 deflate.
        data: Uncompressed bytes.  With a text format and no compression they are the text itself;
            with a text format and deflate they are any bytes, carried as base64.
    """

    storage_format: int = StorageFormat.NNR_TPL_ONNX
    compression_format: int = CompressionFormat.NNR_DFL
    data: bytes = field(default=b"", repr=False)


def pack_topology(topology: TopologyPayload) -> TopologyUnit:
    """Builds the topology unit.

    Raises:
        ValueError: A text contains a zero byte, or the formats are not ones that can be written.
    """
    data = topology.data
    if topology.storage_format == StorageFormat.NNR_TPL_REFLIST:
        msg = "a reference list is not a topology payload"
        raise ValueError(msg)
    if topology.compression_format == CompressionFormat.NNR_DFL:
        data = zlib.compress(data, 9)
    elif topology.compression_format != CompressionFormat.NNR_PT_RAW:
        msg = f"topology_compression_format {topology.compression_format} is unknown"
        raise ValueError(msg)
    if topology.storage_format in TEXT_FORMATS:
        if topology.compression_format == CompressionFormat.NNR_DFL:
            data = base64.b64encode(data)
        if _TERMINATOR in data:
            msg = "a topology in a text format cannot contain a zero byte"
            raise ValueError(msg)
        data.decode("utf-8")
        data += _TERMINATOR
    return TopologyUnit(topology.storage_format, topology.compression_format, data)


def unpack_topology(unit: TopologyUnit, limits: Limits) -> TopologyPayload | None:
    """Reads the topology unit.

    Returns:
        The topology, or ``None`` for a reference list and for an empty text.

    Raises:
        BitstreamError: Text without terminator, bad base64, bad deflate data.
        LimitExceededError: More than ``max_topology_bytes`` after inflation.
        UnsupportedFeatureError: Unknown compression format.
    """
    if unit.topology_storage_format == StorageFormat.NNR_TPL_REFLIST:
        return None
    compression = unit.topology_compression_format
    if compression > CompressionFormat.NNR_DFL:
        msg = f"topology_compression_format {compression} is unknown"
        raise UnsupportedFeatureError(msg)
    data = unit.topology_data
    if unit.topology_storage_format in TEXT_FORMATS:
        if data.find(_TERMINATOR) != len(data) - 1:
            raise BitstreamError("text does not end with the unit", element="topology_data")
        data = data[:-1]
        if not data:
            return None
        if compression == CompressionFormat.NNR_DFL:
            data = _base64(data)
    if compression == CompressionFormat.NNR_DFL:
        data = _inflate(data, limits)
    limits.require("max_topology_bytes", len(data), "topology in bytes")
    return TopologyPayload(unit.topology_storage_format, compression, data)


def _base64(data: bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BitstreamError(f"not base64: {error}", element="topology_data") from error


def _inflate(data: bytes, limits: Limits) -> bytes:
    """Inflates RFC 1950 (zlib) data, or RFC 1951 without a wrapper, as other senders may write."""
    try:
        return _inflate_as(data, zlib.MAX_WBITS, limits)
    except BitstreamError as error:
        try:
            return _inflate_as(data, -zlib.MAX_WBITS, limits)
        except BitstreamError:
            raise error from None


def _inflate_as(data: bytes, window_bits: int, limits: Limits) -> bytes:
    inflater = zlib.decompressobj(window_bits)
    allowed = limits.max_topology_bytes
    try:
        out = inflater.decompress(data, allowed + 1)  # one more than allowed shows the excess
    except zlib.error as error:
        raise BitstreamError(f"not deflate: {error}", element="topology_data") from error
    if len(out) > allowed:
        raise LimitExceededError(
            "topology after inflation", limit="max_topology_bytes", value=len(out), allowed=allowed
        )
    if not inflater.eof or inflater.unused_data:
        raise BitstreamError("deflate data does not end with the unit", element="topology_data")
    return out
