# SPDX-License-Identifier: Apache-2.0
"""PSNR of pictures and sequences.

The figure of a sequence is that of its total squared error.  A mean of per-picture figures would
let one black picture, whose PSNR is infinite, outweigh a film.
"""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nnrvideo.picture import Picture

Plane = npt.NDArray[Any]


def squared_error(reference: Plane, plane: Plane) -> int:
    """Sum of squared differences, exact.

    Args:
        reference: (rows, columns) unsigned samples.
        plane: Samples of the same shape and depth.

    Raises:
        ValueError: Shapes differ.
    """
    if reference.shape != plane.shape:
        raise ValueError(f"planes of {reference.shape} and {plane.shape} cannot be compared")
    difference = reference.astype(np.int32) - plane.astype(np.int32)
    # Row by row, a 64-bit sum cannot overflow for any picture and any depth up to 16 bits.
    return int(np.einsum("ij,ij->", difference, difference, dtype=np.int64))


def psnr(reference: Plane, plane: Plane, bit_depth: int = 8) -> float:
    """PSNR of one plane in dB; infinite for equal planes.

    Args:
        reference: (rows, columns) unsigned samples.
        plane: Samples of the same shape and depth.
        bit_depth: Bits of a sample; the peak is 2^bit_depth - 1.

    Raises:
        ValueError: Shapes differ, or there are no samples.
    """
    return decibels(squared_error(reference, plane), reference.size, bit_depth)


@final
class PsnrMeter:
    """Adds up pictures to the PSNR of a sequence, for each plane.

    Attributes:
        pictures: Pictures measured so far.
        luma_errors: Sum of squared errors of luma, for each picture.
        luma_samples: Luma samples of a picture.
    """

    def __init__(self) -> None:
        self._errors: list[int] = []
        self._samples: list[int] = []
        self._bit_depth = 8
        self.luma_errors: list[int] = []
        self.luma_samples = 0
        self.pictures = 0

    def add(self, reference: Picture, picture: Picture) -> None:
        """Measures one more picture.

        Args:
            reference: The original.
            picture: What became of it, in the same format.

        Raises:
            ValueError: Formats differ, from each other or from the pictures before.
        """
        if reference.format != picture.format:
            raise ValueError(f"{reference.format} and {picture.format} cannot be compared")
        if not self.pictures:
            self._errors = [0] * len(reference.planes)
            self._samples = [0] * len(reference.planes)
            self._bit_depth = reference.bit_depth
            self.luma_samples = reference.planes[0].size
        if self._bit_depth != reference.bit_depth or len(self._errors) != len(reference.planes):
            raise ValueError("the pictures of a sequence have one bit depth and chroma format")
        if self.luma_samples != reference.planes[0].size:
            raise ValueError("the pictures of a sequence have one size")
        for index, (first, second) in enumerate(zip(reference.planes, picture.planes, strict=True)):
            error = squared_error(first, second)
            self._errors[index] += error
            self._samples[index] += first.size
            if index == 0:
                self.luma_errors.append(error)
        self.pictures += 1

    def planes(self) -> tuple[float, ...]:
        """PSNR of Y, or of Y, Cb and Cr, in dB; infinite without any difference.

        Raises:
            ValueError: No picture was added.
        """
        if not self.pictures:
            raise ValueError("no picture was measured")
        return tuple(
            decibels(error, samples, self._bit_depth)
            for error, samples in zip(self._errors, self._samples, strict=True)
        )

    def by_picture(self) -> tuple[float, ...]:
        """PSNR of luma of each picture, in dB; infinite for one without any difference."""
        return tuple(decibels(e, self.luma_samples, self._bit_depth) for e in self.luma_errors)


def decibels(error: int, samples: int, bit_depth: int) -> float:
    """PSNR of a sum of squared errors over so many samples, in dB; infinite for no error.

    Raises:
        ValueError: There are no samples.
    """
    if not samples:
        raise ValueError("no samples to compare")
    peak = (1 << bit_depth) - 1
    return math.inf if error == 0 else 10 * math.log10(peak * peak * samples / error)
