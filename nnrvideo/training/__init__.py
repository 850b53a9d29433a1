# SPDX-License-Identifier: Apache-2.0
"""Training of super-resolution networks on clips; needs the optional extra ``train`` (PyTorch).

Names are fetched when they are first used, so that ``python -m nnrvideo.training`` can say in one
sentence that PyTorch is missing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnrvideo.training.adaptation import AdaptSettings as AdaptSettings
    from nnrvideo.training.adaptation import adapt as adapt
    from nnrvideo.training.adaptation import to_update as to_update
    from nnrvideo.training.data import Degradation as Degradation
    from nnrvideo.training.data import PairSet as PairSet
    from nnrvideo.training.data import PairSettings as PairSettings
    from nnrvideo.training.data import find_clips as find_clips
    from nnrvideo.training.data import make_pairs as make_pairs
    from nnrvideo.training.evaluate import Measurement as Measurement
    from nnrvideo.training.evaluate import measure as measure
    from nnrvideo.training.export import to_nnc as to_nnc
    from nnrvideo.training.export import to_onnx as to_onnx
    from nnrvideo.training.nets import BlockNet as BlockNet
    from nnrvideo.training.nets import NetShape as NetShape
    from nnrvideo.training.steps import Progress as Progress
    from nnrvideo.training.train import Trained as Trained
    from nnrvideo.training.train import TrainSettings as TrainSettings

_OWNERS = {
    "adaptation": ("AdaptSettings", "adapt", "to_update"),
    "data": ("Degradation", "PairSet", "PairSettings", "find_clips", "make_pairs"),
    "evaluate": ("Measurement", "measure"),
    "export": ("to_nnc", "to_onnx"),
    "nets": ("BlockNet", "NetShape"),
    "steps": ("Progress",),
    "train": ("Trained", "TrainSettings"),
}


def __getattr__(name: str) -> Any:
    for module, names in _OWNERS.items():
        if name in names:
            return getattr(import_module(f"nnrvideo.training.{module}"), name)
    raise AttributeError(f"module 'nnrvideo.training' has no attribute {name!r}")
