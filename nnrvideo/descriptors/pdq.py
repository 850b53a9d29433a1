# SPDX-License-Identifier: Apache-2.0
"""PDQ beside the descriptors: a perceptual hash that tells near-identical pictures apart.

The only module that imports ``pdqhash``, of the extra ``descriptors``.
"""

from __future__ import annotations

import importlib

import numpy as np
import numpy.typing as npt

from nnrvideo.descriptors.frames import Rgb

PDQ_DISTANCE = 31
"""Bits of 256 that may differ between copies, as PDQ's authors recommend."""


def pdq_hash(rgb: Rgb) -> npt.NDArray[np.uint8]:
    """PDQ hash of a picture.

    Args:
        rgb: (rows, columns, 3) uint8.

    Returns:
        (32,) uint8.

    Raises:
        ImportError: ``pdqhash`` is not installed.
    """
    try:
        library = importlib.import_module("pdqhash")
    except ImportError as error:
        msg = 'PDQ hashes need the package pdqhash: pip install "nnrvideo[descriptors]"'
        raise ImportError(msg) from error
    bits, _ = library.compute(np.ascontiguousarray(rgb))
    return np.packbits(np.asarray(bits, np.uint8))
