# SPDX-License-Identifier: Apache-2.0
"""Arithmetic coding and quantisation of NNC tensors (ISO/IEC 15938-17, deepCABAC).

``decoder(data)`` and ``encoder()`` code one arithmetic codeword with the native core where it was
built and with the reference coder elsewhere; ``BACKEND`` tells which.
"""

from nnrvideo.entropy.backend import BACKEND, decoder, encoder
from nnrvideo.entropy.quant import (
    contract_levels,
    dependent_quantise,
    dequantise,
    expand_levels,
    quantise,
    step_size,
    uniform_quantise,
)
from nnrvideo.entropy.search import choose_row_skip_flags, estimate_bits, search_init_indices
from nnrvideo.entropy.spec import (
    CoderState,
    DecodedTensor,
    Decoder,
    Encoder,
    EntryPoint,
    TensorChoices,
    TensorSpec,
)

__all__ = [
    "BACKEND",
    "CoderState",
    "DecodedTensor",
    "Decoder",
    "Encoder",
    "EntryPoint",
    "TensorChoices",
    "TensorSpec",
    "choose_row_skip_flags",
    "contract_levels",
    "decoder",
    "dependent_quantise",
    "dequantise",
    "encoder",
    "estimate_bits",
    "expand_levels",
    "quantise",
    "search_init_indices",
    "step_size",
    "uniform_quantise",
]
