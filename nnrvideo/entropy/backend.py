# SPDX-License-Identifier: Apache-2.0
"""Chooses between the native core and the reference coder, once, at import.

Both produce the same bytes, levels and errors; only their speed differs. The environment variable
``NNRVIDEO_PURE`` (any value but ``0`` or the empty string) asks for the reference coder.

Spec: spec/nnc.md §7 to §10.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Final, Literal, cast

from nnrvideo.entropy import _reference
from nnrvideo.entropy.spec import Decoder, Encoder


def _native_coder() -> ModuleType | None:
    if os.environ.get("NNRVIDEO_PURE", "0") not in ("", "0"):
        return None
    try:
        return importlib.import_module("nnrvideo.entropy._native_coder")
    except ImportError:  # the core was not built: no C++ compiler at installation
        return None


native: Final = _native_coder()
"""The native core's coder, or None."""

BACKEND: Final[Literal["native", "python"]] = "python" if native is None else "native"
"""Which coder is in use."""


def decoder(data: bytes) -> Decoder:
    """A decoder of the codeword at the start of ``data``.

    Raises:
        BitstreamError: ``data`` starts with bits that no codeword starts with.

    Spec: spec/nnc.md §7.
    """
    if native is None:
        return _reference.CabacDecoder(data)
    return cast("Decoder", native.CabacDecoder(data))


def encoder() -> Encoder:
    """An encoder of one new codeword.

    Spec: spec/nnc.md §7.
    """
    if native is None:
        return _reference.CabacEncoder()
    return cast("Encoder", native.CabacEncoder())
