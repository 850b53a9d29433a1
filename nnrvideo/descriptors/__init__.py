# SPDX-License-Identifier: Apache-2.0
"""CDVA-style NIP descriptors, loose model: made, coded, matched, localised, searched.

Not an implementation of ISO/IEC 15938-15: its deep feature and its way of choosing key frames are
followed as far as they are public, hand-crafted features and the bitstream are not.
"""

from nnrvideo.descriptors.coding import code_model
from nnrvideo.descriptors.describe import DescribeOptions, Describer, describe
from nnrvideo.descriptors.extractor import Extractor, Form
from nnrvideo.descriptors.files import KeyFrames, load, parts, save
from nnrvideo.descriptors.integers import in_integers, with_measured_ranges
from nnrvideo.descriptors.learn import learn, with_manifest
from nnrvideo.descriptors.manifest import Interoperable, Manifest
from nnrvideo.descriptors.package import DescriptorModel, descriptor_model, load_model
from nnrvideo.descriptors.stream import Header, Segment, read_stream, write_stream

__all__ = [
    "DescribeOptions",
    "Describer",
    "DescriptorModel",
    "Extractor",
    "Form",
    "Header",
    "Interoperable",
    "KeyFrames",
    "Manifest",
    "Segment",
    "code_model",
    "describe",
    "descriptor_model",
    "in_integers",
    "learn",
    "load",
    "load_model",
    "parts",
    "read_stream",
    "save",
    "with_manifest",
    "with_measured_ranges",
    "write_stream",
]
