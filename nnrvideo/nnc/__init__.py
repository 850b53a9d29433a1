# SPDX-License-Identifier: Apache-2.0
"""NNC: the compressed representation of neural networks, ISO/IEC 15938-17, both editions."""

from nnrvideo.nnc.allocate import allocate_qps
from nnrvideo.nnc.codec import Decoded, decode, recode
from nnrvideo.nnc.difference import ParentIds, Prediction, encode_update
from nnrvideo.nnc.elements import Role
from nnrvideo.nnc.encoder import encode
from nnrvideo.nnc.layers import encode_layers, split_layers
from nnrvideo.nnc.performance import performance_from_json, performance_to_json
from nnrvideo.nnc.settings import EncodeSettings
from nnrvideo.nnc.stream import NEED_DATA, NeedData, NncReader, parse_units, write_units
from nnrvideo.nnc.streaming import iter_tensors
from nnrvideo.nnc.topology import TopologyPayload
from nnrvideo.nnc.units import (
    Codebook,
    DataUnit,
    LayerParameterSet,
    ModelParameterSet,
    NodeId,
    OpaqueUnit,
    ParentNode,
    Quantization,
    QuantizationUnit,
    StartUnit,
    TopologyUnit,
    Unit,
    UnitHeader,
)
from nnrvideo.nnc.update import DecoderState

__all__ = [
    "NEED_DATA",
    "Codebook",
    "DataUnit",
    "Decoded",
    "DecoderState",
    "EncodeSettings",
    "LayerParameterSet",
    "ModelParameterSet",
    "NeedData",
    "NncReader",
    "NodeId",
    "OpaqueUnit",
    "ParentIds",
    "ParentNode",
    "Prediction",
    "Quantization",
    "QuantizationUnit",
    "Role",
    "StartUnit",
    "TopologyPayload",
    "TopologyUnit",
    "Unit",
    "UnitHeader",
    "allocate_qps",
    "decode",
    "encode",
    "encode_layers",
    "encode_update",
    "iter_tensors",
    "parse_units",
    "performance_from_json",
    "performance_to_json",
    "recode",
    "split_layers",
    "write_units",
]
