# SPDX-License-Identifier: Apache-2.0
"""The sender's side: networks into films, out of films, and what is in a film."""

from nnrvideo.authoring.calibration import calibration_inputs
from nnrvideo.authoring.embedder import EmbedReport, describe, embed
from nnrvideo.authoring.extract import ExtractedNetwork, extract, save_networks
from nnrvideo.authoring.probe import (
    NetworkContent,
    Occurrence,
    ProbedActivation,
    ProbedNetwork,
    ProbeReport,
    probe,
)
from nnrvideo.authoring.schedule import FilterPlan, Positions, Span, UnitTiming, schedule
from nnrvideo.authoring.streaming import StreamEmbedder, update_message
from nnrvideo.authoring.strip import StripReport, strip
from nnrvideo.authoring.transcode import (
    EncodeReport,
    ReduceReport,
    coded_size,
    crop_picture,
    encode,
    encode_reduced,
)

__all__ = [
    "EmbedReport",
    "EncodeReport",
    "ExtractedNetwork",
    "FilterPlan",
    "NetworkContent",
    "Occurrence",
    "Positions",
    "ProbeReport",
    "ProbedActivation",
    "ProbedNetwork",
    "ReduceReport",
    "Span",
    "StreamEmbedder",
    "StripReport",
    "UnitTiming",
    "calibration_inputs",
    "coded_size",
    "crop_picture",
    "describe",
    "embed",
    "encode",
    "encode_reduced",
    "extract",
    "probe",
    "save_networks",
    "schedule",
    "strip",
    "update_message",
]
