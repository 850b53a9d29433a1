# SPDX-License-Identifier: Apache-2.0
"""Lists the distinct networks of a film, with their bytes, without decoding a picture."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import final

from nnrvideo.container import OutputFile, open_media
from nnrvideo.errors import ContainerError, NnrVideoError
from nnrvideo.limits import Limits
from nnrvideo.sei import NNPFC_PAYLOAD_TYPE, Nnpfc, parse_nnpfc, parse_records


@final
@dataclass(frozen=True, slots=True)
class ExtractedNetwork:
    """One distinct NNPFC message of a film."""

    nnpfc: Nnpfc = field(repr=False)
    sha256: str  # of the NNC bitstream; of the URI in mode 1
    pts: tuple[Fraction, ...]  # presentation times of all access units that carry it, seconds

    @property
    def nnpfc_id(self) -> int:
        """Identity of the filter."""
        return self.nnpfc.nnpfc_id

    @property
    def is_base(self) -> bool:
        """Base network rather than update."""
        return self.nnpfc.nnpfc_base_flag

    @property
    def payload(self) -> bytes:
        """The NNC bitstream; empty when the message only names it by URI."""
        return self.nnpfc.nnpfc_payload_byte


def extract(src: str | PathLike[str], *, limits: Limits | None = None) -> list[ExtractedNetwork]:
    """Reads all networks of a film.

    Args:
        src: Film.
        limits: Bounds on the messages.

    Returns:
        Distinct networks in the order of their first appearance. Messages that cannot be read
        are left out; :func:`nnrvideo.authoring.probe` says why.

    Raises:
        ContainerError: The file cannot be read.
        CarriageError: The codec has no place for a network.
    """
    limits = limits or Limits.desktop()
    found: dict[bytes, tuple[Nnpfc, list[Fraction]]] = {}
    with open_media(src, limits=limits) as media:
        media.carriage()
        for item in media.side_data():
            for message in parse_records(item.records, limits):
                if message.payload_type != NNPFC_PAYLOAD_TYPE:
                    continue
                key = hashlib.sha256(message.payload).digest()
                if key in found:
                    found[key][1].append(item.pts)
                    continue
                try:
                    found[key] = parse_nnpfc(message.payload, limits), [item.pts]
                except NnrVideoError:
                    continue
    return [
        ExtractedNetwork(nnpfc, network_hash(nnpfc), tuple(times))
        for nnpfc, times in found.values()
    ]


def network_hash(nnpfc: Nnpfc) -> str:
    """SHA-256 of the network's bytes, or of its URI where the bytes are elsewhere."""
    return hashlib.sha256(nnpfc.nnpfc_payload_byte or nnpfc.nnpfc_uri.encode()).hexdigest()


def save_networks(
    networks: list[ExtractedNetwork], folder: str | PathLike[str], *, overwrite: bool = False
) -> list[Path]:
    """Writes each NNC bitstream to a file of its own.

    Args:
        networks: From :func:`extract`; those without bytes are left out.
        folder: Existing folder.
        overwrite: Whether existing files may be replaced.

    Returns:
        Files ``filter<ID>-base.nnc``, ``filter<ID>-update<N>.nnc``, N from 1; a further base of
        the same id gets a number as well.

    Raises:
        ContainerError: A file exists or cannot be written.
    """
    counts: dict[tuple[int, bool], int] = {}
    paths = []
    for network in networks:
        if not network.payload:
            continue
        kind = network.nnpfc_id, network.is_base
        counts[kind] = number = counts.get(kind, 0) + 1
        name = f"filter{network.nnpfc_id}-{'base' if network.is_base else 'update'}"
        if number > 1 or not network.is_base:
            name += str(number)
        path = Path(folder) / f"{name}.nnc"
        with OutputFile(path, overwrite=overwrite) as output:
            try:
                output.temporary.write_bytes(network.payload)
            except OSError as error:
                raise ContainerError(f"cannot write {path}: {error.strerror}") from error
        paths.append(path)
    return paths
