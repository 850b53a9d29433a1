# SPDX-License-Identifier: Apache-2.0
"""Small RGB pictures, their colour signature, and how much there is to see in them."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from nnrvideo.picture import ChromaFormat, Picture
from nnrvideo.runtime import resize_plane
from nnrvideo.runtime.resample import change_depth

Rgb = npt.NDArray[np.uint8]

MIN_SIDE: Final = 64  # samples; less leaves nothing of the feature map
_QUALITY_SIDE: Final = 64
_BINS: Final = 32

# Luma weights of red and blue by matrix_coeffs; Rec. ITU-T H.273 table 4.  Untagged video is taken
# for what libswscale takes it for.
_WEIGHTS: Final = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
_DEFAULT_WEIGHTS: Final = (0.299, 0.114)


def small_rgb(picture: Picture, long_side: int) -> Rgb:
    """A picture as a network sees it, before any normalisation.

    Args:
        picture: Decoded picture of any format.
        long_side: Samples of its longer side then; the shorter one has at least 64.

    Returns:
        (rows, columns, 3) uint8, R, G, B.
    """
    scale = long_side / max(picture.width, picture.height)
    width = max(MIN_SIDE, round(picture.width * scale))
    height = max(MIN_SIDE, round(picture.height * scale))
    planes = [
        change_depth(
            resize_plane(plane, width, height, picture.bit_depth), picture.bit_depth, 8
        ).astype(np.float32)
        for plane in picture.planes
    ]
    low, span = (0.0, 255.0) if picture.colour.full_range_flag else (16.0, 219.0)
    luma = (planes[0] - low) * np.float32(255 / span)
    if picture.chroma_format is ChromaFormat.MONO:
        return np.repeat(_sample(luma)[..., None], 3, axis=2)
    chroma_scale = np.float32(1.0 if picture.colour.full_range_flag else 255 / 224)
    blue, red = ((plane - 128) * chroma_scale for plane in planes[1:])
    kr, kb = _WEIGHTS.get(picture.colour.matrix_coeffs, _DEFAULT_WEIGHTS)
    kg = 1 - kr - kb
    r = luma + np.float32(2 - 2 * kr) * red
    b = luma + np.float32(2 - 2 * kb) * blue
    g = luma - np.float32(2 * kb * (1 - kb) / kg) * blue - np.float32(2 * kr * (1 - kr) / kg) * red
    return np.stack([_sample(r), _sample(g), _sample(b)], axis=2)


def _sample(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def signature(rgb: Rgb) -> npt.NDArray[np.float64]:
    """Colour signature: histograms of 32 bins of R, G and B, each of norm 1.

    Returns:
        (3, 32) float64.
    """
    found = np.stack([np.bincount(rgb[..., i].ravel() >> 3, minlength=_BINS) for i in range(3)])
    norms = np.sqrt(np.einsum("cb,cb->c", found.astype(np.float64), found.astype(np.float64)))
    signed: npt.NDArray[np.float64] = found / norms[:, None]
    return signed


def signature_distance(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Sum over the components of the distances of two signatures: 0 to 3 * sqrt(2)."""
    difference = a - b
    return float(np.sqrt(np.einsum("cb,cb->c", difference, difference)).sum())


def quality(rgb: Rgb) -> int:
    """How much there is to see: 0 for a flat picture, 100 for a detailed one.

    The scale is that of PDQ's quality metric: gradients of luma on a grid of 64 by 64.

    Args:
        rgb: (rows, columns, 3) uint8.
    """
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    luma = np.rint(np.einsum("hwc,c->hw", rgb.astype(np.float32), weights)).astype(np.uint8)
    small = resize_plane(luma, _QUALITY_SIDE, _QUALITY_SIDE, 8).astype(np.int64)
    steps = (
        np.abs(small[1:] - small[:-1]) * 100 // 255,
        np.abs(small[:, 1:] - small[:, :-1]) * 100 // 255,
    )
    return min(100, int(steps[0].sum() + steps[1].sum()) // 90)
