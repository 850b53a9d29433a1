# SPDX-License-Identifier: Apache-2.0
"""Playing: the enhancer that applies the networks of a stream to its pictures."""

from nnrvideo.player.comparison import Comparison, Crop, Quality, compare_files
from nnrvideo.player.enhancer import Enhancer
from nnrvideo.player.events import (
    Enhanced,
    Event,
    EventKind,
    FrameInfo,
    Pts,
    Statistics,
    Status,
)
from nnrvideo.player.files import (
    EnhancedPicture,
    EnhanceReport,
    enhance_file,
    enhanced_pictures,
)
from nnrvideo.player.networks import Resolver

__all__ = [
    "Comparison",
    "Crop",
    "EnhanceReport",
    "Enhanced",
    "EnhancedPicture",
    "Enhancer",
    "Event",
    "EventKind",
    "FrameInfo",
    "Pts",
    "Quality",
    "Resolver",
    "Statistics",
    "Status",
    "compare_files",
    "enhance_file",
    "enhanced_pictures",
]
