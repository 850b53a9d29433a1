# SPDX-License-Identifier: Apache-2.0
"""Measuring: PSNR and SSIM of pictures, Bjøntegaard delta of curves, errors of weights."""

from nnrvideo.metrics.bdrate import bd_psnr, bd_rate
from nnrvideo.metrics.psnr import PsnrMeter, psnr, squared_error
from nnrvideo.metrics.ssim import SsimMeter, ssim
from nnrvideo.metrics.weights import WeightError, weight_error

__all__ = [
    "PsnrMeter",
    "SsimMeter",
    "WeightError",
    "bd_psnr",
    "bd_rate",
    "psnr",
    "squared_error",
    "ssim",
    "weight_error",
]
