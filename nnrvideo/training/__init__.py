# SPDX-License-Identifier: Apache-2.0
"""Training of super-resolution networks on clips; needs the optional extra ``train`` (PyTorch)."""

from nnrvideo.training.data import Degradation, PairSet, PairSettings, find_clips, make_pairs
from nnrvideo.training.evaluate import Measurement, measure
from nnrvideo.training.export import to_nnc, to_onnx
from nnrvideo.training.nets import SrNet, SrNetShape
from nnrvideo.training.train import Progress, Trained, TrainSettings, train

__all__ = [
    "Degradation",
    "Measurement",
    "PairSet",
    "PairSettings",
    "Progress",
    "SrNet",
    "SrNetShape",
    "TrainSettings",
    "Trained",
    "find_clips",
    "make_pairs",
    "measure",
    "to_nnc",
    "to_onnx",
    "train",
]
