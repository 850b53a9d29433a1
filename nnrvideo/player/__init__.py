# SPDX-License-Identifier: Apache-2.0
"""Playing: the enhancer that applies the networks of a stream to its pictures."""

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
    "EnhanceReport",
    "Enhanced",
    "EnhancedPicture",
    "Enhancer",
    "Event",
    "EventKind",
    "FrameInfo",
    "Pts",
    "Resolver",
    "Statistics",
    "Status",
    "enhance_file",
    "enhanced_pictures",
]
