# SPDX-License-Identifier: Apache-2.0
"""Measuring what was lost: PSNR and SSIM of pictures, errors of weights."""

from nnrvideo.metrics.psnr import PsnrMeter, psnr, squared_error
from nnrvideo.metrics.ssim import SsimMeter, ssim
from nnrvideo.metrics.weights import WeightError, weight_error

__all__ = [
    "PsnrMeter",
    "SsimMeter",
    "WeightError",
    "psnr",
    "squared_error",
    "ssim",
    "weight_error",
]
