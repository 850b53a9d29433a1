# SPDX-License-Identifier: Apache-2.0
"""Measuring: PSNR, SSIM, MS-SSIM, VMAF and flicker; Bjøntegaard delta; errors of weights."""

from nnrvideo.metrics.bdrate import BdDelta, BdMethod, bd_psnr, bd_rate, bjontegaard
from nnrvideo.metrics.flicker import Flicker, FlickerMeter
from nnrvideo.metrics.psnr import PsnrMeter, decibels, psnr, squared_error
from nnrvideo.metrics.sequence import PictureQuality, Quality, SequenceMeter, SequenceResult
from nnrvideo.metrics.ssim import ms_ssim, ssim, ssim_and_ms_ssim
from nnrvideo.metrics.vmaf import VmafError, VmafMeter, VmafScores, VmafTool, find_vmaf
from nnrvideo.metrics.weights import WeightError, weight_error

__all__ = [
    "BdDelta",
    "BdMethod",
    "Flicker",
    "FlickerMeter",
    "PictureQuality",
    "PsnrMeter",
    "Quality",
    "SequenceMeter",
    "SequenceResult",
    "VmafError",
    "VmafMeter",
    "VmafScores",
    "VmafTool",
    "WeightError",
    "bd_psnr",
    "bd_rate",
    "bjontegaard",
    "decibels",
    "find_vmaf",
    "ms_ssim",
    "psnr",
    "squared_error",
    "ssim",
    "ssim_and_ms_ssim",
    "weight_error",
]
