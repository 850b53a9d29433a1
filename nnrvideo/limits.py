# SPDX-License-Identifier: Apache-2.0
"""Bounds on everything that a stream could abuse.

A parser compares with these *before* it allocates.  They are passed down explicitly and never
global, so that a set-top box and an archive tool can live in one process.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self, final

from nnrvideo.errors import LimitExceededError

_MIB = 1 << 20


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a receiver is willing to spend on a network that it found in a stream.

    The defaults are those of :meth:`desktop`.
    """

    max_bitstream_bytes: int = 256 * _MIB  # one NNC bitstream
    max_unit_bytes: int = 256 * _MIB  # one NNR unit
    max_units: int = 65_536  # NNR units in a bitstream
    max_layers: int = 16  # bitstreams of a layered stream
    max_tensors: int = 16_384  # tensors in a network
    max_dimensions: int = 16  # rank of a tensor
    max_elements: int = 64 * _MIB  # values in one tensor
    max_total_elements: int = 256 * _MIB  # values in one network
    max_string_bytes: int = 4096  # any st(v), but for topology text
    max_codebook_size: int = 65_536  # entries
    max_topology_bytes: int = 16 * _MIB  # topology after inflation
    max_nodes: int = 10_000  # operators in a graph
    max_activation_elements: int = 256 * _MIB  # values in any one intermediate tensor
    max_macs_per_sample: int = 1_000_000  # multiply-accumulates per luma sample of the output
    max_parameters: int = 256 * _MIB  # weights in a graph
    max_payload_bytes: int = 16 * _MIB  # one SEI payload
    max_messages: int = 1024  # SEI messages in one access unit
    max_filters: int = 16  # nnpfc_id values alive at once
    max_picture_samples: int = 8192 * 8192  # luma samples of an output picture
    max_input_pictures: int = 64  # numInputPics

    @classmethod
    def desktop(cls) -> Self:
        """A computer: generous, but no stream may take the machine down."""
        return cls()

    @classmethod
    def set_top_box(cls) -> Self:
        """A small device: about 64 MiB extra and half of a frame's time."""
        return cls(
            max_bitstream_bytes=4 * _MIB,
            max_unit_bytes=4 * _MIB,
            max_units=4096,
            max_tensors=1024,
            max_elements=4 * _MIB,
            max_total_elements=4 * _MIB,
            max_topology_bytes=_MIB,
            max_nodes=1000,
            max_activation_elements=16 * _MIB,
            max_macs_per_sample=20_000,
            max_parameters=4 * _MIB,
            max_payload_bytes=4 * _MIB,
            max_filters=4,
            max_picture_samples=3840 * 2160,
            max_input_pictures=4,
        )

    @classmethod
    def offline(cls) -> Self:
        """A workstation that handles networks of any honest size."""
        return cls(
            max_bitstream_bytes=4096 * _MIB,
            max_unit_bytes=2047 * _MIB,
            max_elements=1024 * _MIB,
            max_total_elements=4096 * _MIB,
            max_topology_bytes=256 * _MIB,
            max_nodes=200_000,
            max_activation_elements=2048 * _MIB,
            max_macs_per_sample=100_000_000,
            max_parameters=4096 * _MIB,
            max_payload_bytes=1024 * _MIB,
        )

    def require(self, limit: str, value: int, what: str) -> None:
        """Refuses ``value`` if it is over the field named ``limit``.

        Args:
            limit: Name of a field of this class.
            value: What the data asks for, in the field's unit.
            what: What it asks it for; opens the error message.

        Raises:
            LimitExceededError: ``value`` is over the limit.
            ValueError: There is no such limit.
        """
        if limit not in _NAMES:
            msg = f"no limit is called {limit!r}"
            raise ValueError(msg)
        allowed: int = getattr(self, limit)
        if value > allowed:
            raise LimitExceededError(what, limit=limit, value=value, allowed=allowed)


_NAMES = frozenset(field.name for field in fields(Limits))
