# SPDX-License-Identifier: Apache-2.0
"""How large a network a title can bear, and what it leaves to the video."""

from __future__ import annotations

import math
from typing import Final

from nnrvideo.training.kinds import Mode, Tier, kmac_per_sample, mode_scale, network_bits
from nnrvideo.training.title.buffer import Buffer
from nnrvideo.training.title.curve import Knob
from nnrvideo.training.title.pieces import Coded, Pieces, Request

_TIERS: Final[tuple[Tier, ...]] = ("XS", "S", "M")
_SHARE: Final = 0.05
"""Of the title's bits, that a network may take; more of them gain more as video."""

_RESERVE: Final = 1.2
"""Of the bits that a network will take about, in the buffer."""

_OCTAVES_OF_SIZE: Final = 1.2  # in bits, that half the size saves at the same CRF


def fitting_tier(request: Request, mode: Mode, bits: int) -> Tier:
    """The largest network that the video pays for, and receivers can run.

    Args:
        request: What is wanted.
        mode: What the network does.
        bits: Of the video.

    Returns:
        XS, S or M; XS where none fits.
    """
    limit = request.settings.complexity_limit
    fitting = _TIERS[0]
    for tier in _TIERS[1:]:
        light = limit is None or kmac_per_sample(mode, tier) <= limit
        if light and sent_bits(request, mode, tier) <= _SHARE * bits:
            fitting = tier
    return fitting


def first_reduced(pieces: Pieces, request: Request, mode: Mode) -> Coded:
    """A coded version of about the bits of the plain encode, at the size for a network."""
    scale, knob = mode_scale(mode), reduced_knob(request, mode)
    return pieces.code(scale, knob, "plain" if scale == 1 else mode)


def reduced_knob(request: Request, mode: Mode) -> Knob:
    """Knob at which the reduced title takes about the bits of the plain encode."""
    octaves = math.log2(mode_scale(mode)) if request.knob.kind == "crf" else 0.0
    return request.knob.turned(_OCTAVES_OF_SIZE * octaves)


def left_for_video(request: Request, mode: Mode, tier: Tier) -> Buffer | None:
    """What the video may promise receivers beside a network; None for nothing, or too little."""
    if request.buffer is None:
        return None
    bits = math.ceil(_RESERVE * network_bits(mode, tier))
    return request.buffer.without(bits, max(float(request.settings.repeat), 1.0))


def sent_bits(request: Request, mode: Mode, tier: Tier) -> int:
    """About what a network and its repetitions will take."""
    copies = 1 + math.floor(request.seconds / max(float(request.settings.repeat), 1.0))
    return copies * network_bits(mode, tier)
