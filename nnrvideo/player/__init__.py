# SPDX-License-Identifier: Apache-2.0
"""Playing: the enhancer that applies the networks of a stream to its pictures."""

from nnrvideo.player.ability import Ability, capabilities
from nnrvideo.player.calibration import MAX_LOSS, Calibration, calibrate, calibration_pairs
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
    Feeder,
    enhance_file,
    enhanced_pictures,
)
from nnrvideo.player.networks import Resolver
from nnrvideo.player.playback import Playback, PlaybackReport
from nnrvideo.player.precision import Precision
from nnrvideo.player.screens import (
    Command,
    CommandKind,
    NoScreen,
    Screen,
    SilentSpeaker,
    Speaker,
)

__all__ = [
    "MAX_LOSS",
    "Ability",
    "Calibration",
    "Command",
    "CommandKind",
    "EnhanceReport",
    "Enhanced",
    "EnhancedPicture",
    "Enhancer",
    "Event",
    "EventKind",
    "Feeder",
    "FrameInfo",
    "NoScreen",
    "Playback",
    "PlaybackReport",
    "Precision",
    "Pts",
    "Resolver",
    "Screen",
    "SilentSpeaker",
    "Speaker",
    "Statistics",
    "Status",
    "calibrate",
    "calibration_pairs",
    "capabilities",
    "enhance_file",
    "enhanced_pictures",
]
