# SPDX-License-Identifier: Apache-2.0
"""Networks that ship with the package, as NNC bitstreams; beside each lies its model card.

The card is JSON (``.nnc.card.json``, read by :mod:`nnrvideo.model.card`) and, for people, the page
of Markdown that ``nnrvideo.model.card_markdown`` makes of it.
"""

from __future__ import annotations

from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Final

#: Names of the shipped networks; ``_s`` is tier S, which costs a third of the others.
NETWORK_NAMES: Final = ("sr2x_luma", "sr2x_luma_s", "enhance_luma", "enhance_luma_s")
#: The network used where none is given: doubles width and height, works on luma.
BASE_NETWORK: Final = "sr2x_luma"


def base_network(name: str = BASE_NETWORK) -> bytes:
    """A shipped network.

    Args:
        name: One of ``NETWORK_NAMES``.

    Returns:
        An NNC bitstream with its topology.

    Raises:
        ValueError: No network of that name is shipped.
    """
    return (files(__package__) / f"{_known(name)}.nnc").read_bytes()


def network_file(given: str | PathLike[str], folder: Path = Path()) -> Path:
    """The file of a network that somebody named.

    Args:
        given: Path of a file or, where there is no such file, name of a shipped network.
        folder: What a relative path starts from.

    Returns:
        A path; nothing need lie there if ``given`` is neither.
    """
    path = folder / given
    if not path.exists() and str(given) in NETWORK_NAMES:
        return Path(str(files(__package__) / f"{given}.nnc"))
    return path


def read_network(given: str | PathLike[str]) -> bytes:
    """A network that somebody named.

    Args:
        given: Path of a file or, where there is no such file, name of a shipped network.

    Returns:
        What the file holds.

    Raises:
        FileNotFoundError: It is neither; names the shipped ones.
        OSError: The file cannot be read.
    """
    path = network_file(given)
    if not path.exists():
        names = ", ".join(NETWORK_NAMES)
        raise FileNotFoundError(f"there is no file {given}, nor a shipped network: {names}")
    return path.read_bytes()


def model_card(name: str = BASE_NETWORK) -> str:
    """The model card of a shipped network: what it was trained on, and what it is worth.

    Args:
        name: One of ``NETWORK_NAMES``.

    Returns:
        Markdown text.

    Raises:
        ValueError: No network of that name is shipped.
    """
    return (files(__package__) / f"{_known(name)}.md").read_text(encoding="utf-8")


def model_card_json(name: str = BASE_NETWORK) -> str:
    """The model card of a shipped network as ``nnrvideo.model.ModelCard`` reads it.

    Args:
        name: One of ``NETWORK_NAMES``.

    Raises:
        ValueError: No network of that name is shipped.
    """
    return (files(__package__) / f"{_known(name)}.nnc.card.json").read_text(encoding="utf-8")


def _known(name: str) -> str:
    if name not in NETWORK_NAMES:
        raise ValueError(f"no shipped network {name!r}; there are: {', '.join(NETWORK_NAMES)}")
    return name
