# SPDX-License-Identifier: Apache-2.0
"""What a network costs, in the terms in which an NNPFC message announces it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from nnrvideo.errors import ModelError
from nnrvideo.limits import Limits
from nnrvideo.model.contract import IoContract, infer_contract
from nnrvideo.model.element_types import bits_of, is_floating
from nnrvideo.model.quantised import values_per_byte
from nnrvideo.model.shapes import infer_shapes
from nnrvideo.model.topology import Network

_MAX_PARAMETERS_IDC: Final = 52
_MAX_UE: Final = 2**32 - 2

# nnpfc_parameter_type_idc
_INTEGER_ONLY: Final = 0
_FLOAT_OR_INTEGER: Final = 1


@final
@dataclass(frozen=True, slots=True)
class Complexity:
    """Cost of a network.

    Args:
        macs: Multiply-accumulates for one input of the size that was measured.
        luma_samples: Luma samples of the output that this input gives.
        parameters: Number of weights.
        parameter_bits: Bits of the widest weight.
        total_bits: Bits of all weights, uncompressed.
        floating: A weight is no integer.
        peak_bytes: Bytes of the intermediate values alive together.
    """

    macs: int
    luma_samples: int
    parameters: int
    parameter_bits: int
    total_bits: int
    floating: bool
    peak_bytes: int

    @property
    def macs_per_sample(self) -> int:
        """Multiply-accumulates for each luma sample of the output, rounded up."""
        return -(-self.macs // self.luma_samples)

    @property
    def total_kilobyte_size(self) -> int:
        """Size of the uncompressed weights in units of 8000 bits, rounded up."""
        return -(-self.total_bits // 8000)

    def nnpfc_elements(self) -> Mapping[str, int]:
        """The complexity elements of an NNPFC message; each bound holds for this network.

        Spec: Rec. ITU-T H.274 (V3) NNPFC semantics, nnpfc_complexity_info_present_flag.
        """
        return {
            "nnpfc_parameter_type_idc": _FLOAT_OR_INTEGER if self.floating else _INTEGER_ONLY,
            "nnpfc_log2_parameter_bit_length_minus3": max(
                0, (self.parameter_bits - 1) // 8
            ).bit_length(),
            "nnpfc_num_parameters_idc": num_parameters_idc(self.parameters),
            "nnpfc_num_kmac_operations_idc": min(-(-self.macs_per_sample // 1000), _MAX_UE),
            "nnpfc_total_kilobyte_size": min(self.total_kilobyte_size, _MAX_UE),
        }


def num_parameters_idc(parameters: int) -> int:
    """Smallest ``nnpfc_num_parameters_idc`` whose bound (2048 << idc) - 1 covers ``parameters``.

    0 means unknown and is never given.

    Raises:
        ModelError: More parameters than the element can announce.
    """
    for idc in range(1, _MAX_PARAMETERS_IDC + 1):
        if parameters <= (2048 << idc) - 1:
            return idc
    raise ModelError(f"{parameters} parameters are more than NNPFC can announce")


def measure(
    network: Network, *, contract: IoContract | None = None, limits: Limits | None = None
) -> Complexity:
    """Measures a network that an NNPFC message can describe.

    Args:
        network: The network.
        contract: Its contract; inferred when None.
        limits: Bounds; by default :meth:`Limits.offline`.

    Raises:
        ModelError: There is no contract, or the graph does not work.
    """
    limits = limits or Limits.offline()
    contract = contract or infer_contract(network, limits=limits)
    width, height = contract.nominal_patch()
    shape = contract.input_shape(width, height)
    inference = infer_shapes(network.graph, {network.graph.inputs[0].name: shape}, limits=limits)
    samples = contract.output_luma_samples(width, height)
    types = [tensor.dtype for tensor in network.tensors.values()]
    packing = values_per_byte(network.graph)
    return Complexity(
        macs=inference.macs,
        luma_samples=samples,
        parameters=sum(
            tensor.size * packing.get(name, 1) for name, tensor in network.tensors.items()
        ),
        parameter_bits=max((bits_of(dtype) for dtype in types), default=8),
        total_bits=sum(tensor.size * bits_of(tensor.dtype) for tensor in network.tensors.values()),
        floating=any(is_floating(dtype) for dtype in types),
        peak_bytes=inference.peak_bytes,
    )
