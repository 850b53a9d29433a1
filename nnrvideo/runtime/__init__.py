# SPDX-License-Identifier: Apache-2.0
"""Running networks on pictures: backends, tensor layouts, patches, plain resampling."""

from nnrvideo.runtime.base import (
    Capabilities,
    InferenceBackend,
    MappingBackend,
    Session,
    TensorInfo,
)
from nnrvideo.runtime.drawing import caption, side_by_side
from nnrvideo.runtime.layout import TensorFormat
from nnrvideo.runtime.onnxruntime import OnnxRuntimeBackend
from nnrvideo.runtime.resample import Downscaler, Upscaler, resize_picture, resize_plane
from nnrvideo.runtime.tiling import PatchRules, TilePlan, plan_tiles

__all__ = [
    "Capabilities",
    "Downscaler",
    "InferenceBackend",
    "MappingBackend",
    "OnnxRuntimeBackend",
    "PatchRules",
    "Session",
    "TensorFormat",
    "TensorInfo",
    "TilePlan",
    "Upscaler",
    "caption",
    "plan_tiles",
    "resize_picture",
    "resize_plane",
    "side_by_side",
]
