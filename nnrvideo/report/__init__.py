# SPDX-License-Identifier: Apache-2.0
"""Proving what a network is worth: measuring files against their source, and a page about it."""

from nnrvideo.report.assemble import NothingToReportError, make_report, network_facts
from nnrvideo.report.crops import CropKind, CropPictures
from nnrvideo.report.deltas import Comparison, comparisons, curve_files, pairs, remarks, to_json
from nnrvideo.report.measure import Measured, MeasureOptions, measure_file
from nnrvideo.report.page import render
from nnrvideo.report.results import (
    MAX_JSON_BYTES,
    Report,
    ReportFileError,
    from_json,
)

__all__ = [
    "MAX_JSON_BYTES",
    "Comparison",
    "CropKind",
    "CropPictures",
    "MeasureOptions",
    "Measured",
    "NothingToReportError",
    "Report",
    "ReportFileError",
    "comparisons",
    "curve_files",
    "from_json",
    "make_report",
    "measure_file",
    "network_facts",
    "pairs",
    "remarks",
    "render",
    "to_json",
]
