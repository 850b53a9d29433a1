# SPDX-License-Identifier: Apache-2.0
"""Networks trained on the title itself, and the decision whether one is worth its bits.

``settings`` says what may be asked, ``workshop`` keeps what was made, ``tasks`` makes it,
``curve`` is the plain encode that everything has to beat, ``decide`` chooses for each scene,
``encode`` goes from the source to the result, and ``ladder`` does so in several sizes.  PyTorch is
loaded when a network is trained.
"""

from nnrvideo.training.title.card import title_card
from nnrvideo.training.title.encode import encode_title
from nnrvideo.training.title.ladder import Rung, encode_ladder
from nnrvideo.training.title.results import Candidate, Point, SceneChoice, TitleReport
from nnrvideo.training.title.settings import TitleSettings, settings_of

__all__ = [
    "Candidate",
    "Point",
    "Rung",
    "SceneChoice",
    "TitleReport",
    "TitleSettings",
    "encode_ladder",
    "encode_title",
    "settings_of",
    "title_card",
]
