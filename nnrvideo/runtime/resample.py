# SPDX-License-Identifier: Apache-2.0
"""Plain resampling of pictures: the fallback wherever no network applies, and chroma beside luma.

The only module that imports OpenCV, for the one function that it needs.  Sample centres are
aligned (the usual convention of video scalers); chroma siting is not corrected, which for a 2x
upscale of left-sited 4:2:0 is an error of 1/8 chroma sample.  The result depends on the samples
alone, not on timing or on the number of threads.
"""

from __future__ import annotations

import enum
import importlib
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nnrvideo.picture import ChromaFormat, Picture, PictureFormat, Plane


class Upscaler(enum.Enum):
    """Kernels of the plain resampler; the value is the name on command lines."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"  # a = -0.75, 4x4 taps
    LANCZOS = "lanczos"  # 8x8 taps


class Downscaler(enum.Enum):
    """Kernels for reducing."""

    AREA = "area"  # mean of the area; fast, for display and measuring
    BICUBIC = "bicubic"  # a = -0.75, widened by the ratio; for pictures that are to be coded


_CV2_NAMES = {
    Upscaler.BILINEAR: "INTER_LINEAR",
    Upscaler.BICUBIC: "INTER_CUBIC",
    Upscaler.LANCZOS: "INTER_LANCZOS4",
}


_KEYS_A = -0.75


def resize_plane(  # noqa: PLR0917 - the plane, its new size and how
    plane: Plane,
    width: int,
    height: int,
    bit_depth: int,
    upscaler: Upscaler = Upscaler.BICUBIC,
    out: Plane | None = None,
    *,
    downscaler: Downscaler = Downscaler.AREA,
) -> Plane:
    """Resamples one plane.

    Args:
        plane: (rows, columns) uint8 or uint16, rows may be strided.
        width: Columns of the result, at least 1.
        height: Rows of the result, at least 1.
        bit_depth: Bits of a sample; overshoot of the kernel is clipped to them.
        upscaler: Kernel for enlarging.
        out: Where the result is wanted, (height, width) of the same dtype; strides are free.
        downscaler: Kernel where neither direction grows.

    Returns:
        ``out``, else (height, width), same dtype; the same array where nothing is to be done.
    """
    rows, columns = plane.shape
    if (columns, rows) == (width, height):
        if out is None:
            return plane
        out[...] = plane
        return out
    reducing = width <= columns and height <= rows
    if reducing and downscaler is Downscaler.BICUBIC:
        reduced = _reduced(plane, width, height, bit_depth)
        if out is None:
            return reduced
        out[...] = reduced
        return out
    cv2 = _cv2()
    kernel = cv2.INTER_AREA if reducing else getattr(cv2, _CV2_NAMES[upscaler])
    source = plane if plane.strides[1] == plane.itemsize else np.ascontiguousarray(plane)
    direct = out if out is not None and out.strides[1] == out.itemsize else None
    resized: Plane = cv2.resize(source, (width, height), dst=direct, interpolation=kernel)
    if plane.dtype == np.uint16 and bit_depth < 16:
        np.minimum(resized, np.uint16((1 << bit_depth) - 1), out=resized)
    if out is None or direct is not None:
        return resized if out is None else out
    out[...] = resized
    return out


def _reduced(plane: Plane, width: int, height: int, bit_depth: int) -> Plane:
    lower = _weighted(plane, height)
    both = _weighted(lower.T, width).T
    peak = (1 << bit_depth) - 1
    return np.ascontiguousarray(np.rint(both.clip(0, peak)).astype(plane.dtype))


def _weighted(plane: npt.NDArray[Any], rows: int) -> npt.NDArray[np.float32]:
    """Reduces the number of rows."""
    positions, weights = _taps(plane.shape[0], rows)
    total = np.zeros((rows, plane.shape[1]), np.float32)
    for position, weight in zip(positions, weights, strict=True):
        total += weight[:, np.newaxis] * plane[position]
    return total


@lru_cache(maxsize=16)
def _taps(size: int, reduced: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Where each sample of a reduced line comes from, and with which weights: (taps, reduced)."""
    ratio = size / reduced
    centres = (np.arange(reduced) + 0.5) * ratio - 0.5
    count = 2 * math.ceil(2 * ratio)
    first = np.floor(centres).astype(np.intp) - count // 2 + 1
    positions = first + np.arange(count)[:, np.newaxis]
    x = np.abs(positions - centres) / ratio
    a = _KEYS_A
    weights = np.where(
        x < 1,
        ((a + 2) * x - (a + 3)) * x * x + 1,
        np.where(x < 2, ((x - 5) * x + 8) * x - 4, 0) * a,
    )
    weights /= weights.sum(axis=0)
    return positions.clip(0, size - 1), weights.astype(np.float32)


def change_depth(plane: Plane, bit_depth: int, new_depth: int) -> Plane:
    """Moves samples to another bit depth: shift up, or round and shift down.

    Args:
        plane: uint8 or uint16 samples of ``bit_depth`` bits.
        bit_depth: 8 to 16.
        new_depth: 8 to 16.

    Returns:
        uint8 for 8 bits, else uint16; the same array where nothing is to be done.

    Spec: the integer conversion of Rec. ITU-T H.274 (InpIntY), spec/nnpf-sei.md §4.3.
    """
    if bit_depth == new_depth:
        return plane
    dtype = np.uint8 if new_depth <= 8 else np.uint16
    changed: Plane
    if new_depth > bit_depth:
        changed = plane.astype(dtype) << np.asarray(new_depth - bit_depth, dtype)
    else:
        shift = bit_depth - new_depth
        rounded = (plane.astype(np.uint32) + (1 << (shift - 1))) >> shift
        changed = np.minimum(rounded, (1 << new_depth) - 1).astype(dtype)
    return changed


def resize_picture(
    picture: Picture,
    target: PictureFormat,
    upscaler: Upscaler = Upscaler.BICUBIC,
    into: Picture | None = None,
    *,
    downscaler: Downscaler = Downscaler.AREA,
) -> Picture:
    """Brings a picture to another size, chroma format and bit depth, without any network.

    Args:
        picture: The decoded picture.
        target: What is wanted.  Mono becomes colour with neutral chroma; colour becomes mono by
            dropping chroma.
        upscaler: Kernel for enlarging.
        into: Picture of exactly ``target`` whose planes take the samples.
        downscaler: Kernel for reducing.

    Returns:
        A picture of exactly ``target``, with the planes of ``into``; without it, planes that
        already fit are shared, not copied.
    """
    if picture.format == target and into is None:
        return picture
    outs: Sequence[Plane | None] = into.planes if into else (None,) * target.chroma_format.planes
    planes = tuple(
        resize_component(picture, component, target, upscaler, out, downscaler=downscaler)
        for component, out in enumerate(outs)
    )
    return Picture(
        into.planes if into else planes, target.chroma_format, target.bit_depth, picture.colour
    )


def resize_component(
    picture: Picture,
    component: int,
    target: PictureFormat,
    upscaler: Upscaler,
    out: Plane | None = None,
    *,
    downscaler: Downscaler = Downscaler.AREA,
) -> Plane:
    """Brings one colour component to another format, as :func:`resize_picture` does.

    Args:
        picture: The decoded picture.
        component: 0 luma, 1 Cb, 2 Cr.
        target: Format of the picture wanted.
        upscaler: Kernel for enlarging.
        out: Where the result is wanted, of the shape and dtype that ``target`` has there.
        downscaler: Kernel for reducing.

    Returns:
        ``out``, else a new plane, or the picture's own if it fits.
    """
    rows, columns = target.plane_shape(component)
    if component and picture.chroma_format is ChromaFormat.MONO:
        plane = np.full((rows, columns), 1 << (target.bit_depth - 1), target.dtype)
    elif picture.bit_depth <= target.bit_depth:
        # The kernel's fractions are worth keeping.
        plane = change_depth(picture.planes[component], picture.bit_depth, target.bit_depth)
        return resize_plane(
            plane, columns, rows, target.bit_depth, upscaler, out, downscaler=downscaler
        )
    else:
        plane = resize_plane(
            picture.planes[component],
            columns,
            rows,
            picture.bit_depth,
            upscaler,
            downscaler=downscaler,
        )
        plane = change_depth(plane, picture.bit_depth, target.bit_depth)
    if out is None:
        return plane
    out[...] = plane
    return out


def _cv2() -> Any:
    return importlib.import_module("cv2")
