# SPDX-License-Identifier: Apache-2.0
"""ONNX networks: parted into topology and weights, vetted, described, and made ready to run."""

from nnrvideo.model.batch_norm import fold_batch_norm
from nnrvideo.model.card import DataSource, EnergyEstimate, ModelCard, data_sha256
from nnrvideo.model.card_binding import (
    bind_card,
    card_path,
    embedded_card,
    load_card,
    make_card,
    save_card,
    with_card,
)
from nnrvideo.model.card_text import card_markdown, card_rows, plain_text
from nnrvideo.model.check import check
from nnrvideo.model.complexity import Complexity, measure, num_parameters_idc
from nnrvideo.model.contract import IoContract, infer_contract
from nnrvideo.model.correction import correct
from nnrvideo.model.differences import apply_update
from nnrvideo.model.element_types import is_floating
from nnrvideo.model.external import data_path, read_topology, save_external, unpack_external
from nnrvideo.model.filter_message import (
    TAG_URI_NNC,
    check_against_nnpfc,
    contract_from_nnpfc,
    takes_picture_whole,
    to_nnpfc,
)
from nnrvideo.model.graph import TensorDeclaration
from nnrvideo.model.int8 import exactness_probe, quantisable
from nnrvideo.model.onnx_graph import load_onnx, save_onnx
from nnrvideo.model.operators import ALLOWED_OPERATORS
from nnrvideo.model.package import (
    ElementIds,
    TopologyForm,
    Unpacked,
    load_npz,
    pack,
    save_npz,
    stored_bytes,
    unpack,
)
from nnrvideo.model.prepare import Prepared, prepare
from nnrvideo.model.ranges import (
    RANGES_TENSOR,
    ConvRanges,
    Ranges,
    attach_ranges,
    convolutions,
    ranges_of,
    with_ranges,
    without_ranges,
)
from nnrvideo.model.reach import reach_of
from nnrvideo.model.scaling import Scaled
from nnrvideo.model.shapes import Inference, infer_shapes
from nnrvideo.model.store import OpenStore, WeightStore
from nnrvideo.model.stored import keep, unpack_stored
from nnrvideo.model.topology import Network, Topology
from nnrvideo.model.update import Received, diff, model_id, receive

__all__ = [
    "ALLOWED_OPERATORS",
    "RANGES_TENSOR",
    "TAG_URI_NNC",
    "Complexity",
    "ConvRanges",
    "DataSource",
    "ElementIds",
    "EnergyEstimate",
    "Inference",
    "IoContract",
    "ModelCard",
    "Network",
    "OpenStore",
    "Prepared",
    "Ranges",
    "Received",
    "Scaled",
    "TensorDeclaration",
    "Topology",
    "TopologyForm",
    "Unpacked",
    "WeightStore",
    "apply_update",
    "attach_ranges",
    "bind_card",
    "card_markdown",
    "card_path",
    "card_rows",
    "check",
    "check_against_nnpfc",
    "contract_from_nnpfc",
    "convolutions",
    "correct",
    "data_path",
    "data_sha256",
    "diff",
    "embedded_card",
    "exactness_probe",
    "fold_batch_norm",
    "infer_contract",
    "infer_shapes",
    "is_floating",
    "keep",
    "load_card",
    "load_npz",
    "load_onnx",
    "make_card",
    "measure",
    "model_id",
    "num_parameters_idc",
    "pack",
    "plain_text",
    "prepare",
    "quantisable",
    "ranges_of",
    "reach_of",
    "read_topology",
    "receive",
    "save_card",
    "save_external",
    "save_npz",
    "save_onnx",
    "stored_bytes",
    "takes_picture_whole",
    "to_nnpfc",
    "unpack",
    "unpack_external",
    "unpack_stored",
    "with_card",
    "with_ranges",
    "without_ranges",
]
