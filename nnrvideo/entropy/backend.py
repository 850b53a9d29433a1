# SPDX-License-Identifier: Apache-2.0
"""Chooses between the native core and the reference coder, once, at import.

Both produce the same bytes, levels and errors; only their speed differs. The environment variable
``NNRVIDEO_PURE`` (any value but ``0`` or the empty string) asks for the reference coder.

Spec: spec/nnc.md §7 to §10.
"""

from __future__ import annotations

import os
from typing import Final, Literal

from nnrvideo.entropy import _reference
from nnrvideo.entropy.spec import Decoder, Encoder

try:
    if os.environ.get("NNRVIDEO_PURE", "0") not in ("", "0"):
        raise ImportError("NNRVIDEO_PURE asks for the reference coder")
    from nnrvideo.entropy import _native_coder as native
except ImportError:
    native = None  # type: ignore[assignment]

BACKEND: Final[Literal["native", "python"]] = "python" if native is None else "native"
"""Which coder is in use."""


def decoder(data: bytes) -> Decoder:
    """A decoder of the codeword at the start of ``data``.

    Raises:
        BitstreamError: ``data`` starts with bits that no codeword starts with.

    Spec: spec/nnc.md §7.
    """
    return _reference.CabacDecoder(data) if native is None else native.CabacDecoder(data)


def encoder() -> Encoder:
    """An encoder of one new codeword.

    Spec: spec/nnc.md §7.
    """
    return _reference.CabacEncoder() if native is None else native.CabacEncoder()
