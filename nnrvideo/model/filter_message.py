# SPDX-License-Identifier: Apache-2.0
"""Contract to NNPFC message and back, and the proof that a message tells the truth.

Spec: Rec. ITU-T H.274 NNPFC semantics.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

from nnrvideo.errors import BitstreamError, LimitExceededError, ModelError
from nnrvideo.limits import Limits
from nnrvideo.model.complexity import Complexity
from nnrvideo.model.contract import (
    CHROMA,
    INTEGER,
    LUMA,
    SUPPORTED_PURPOSES,
    IoContract,
)
from nnrvideo.model.graph import Graph
from nnrvideo.model.reach import reach_of
from nnrvideo.model.shapes import Inference, infer_shapes
from nnrvideo.model.topology import Network
from nnrvideo.picture import PictureFormat
from nnrvideo.sei import (
    MODE_PAYLOAD,
    MODE_URI,
    PURPOSE_RESOLUTION,
    Nnpfc,
    check_picture,
    filtered_inputs,
    max_parameters,
    num_output_pictures,
    scale,
    tensor_bit_depths,
    validate_nnpfc,
)

_GROWTH_TOLERANCE: Final = 2

TAG_URI_NNC: Final = "tag:iso.org,2023:15938-17"
"""``nnpfc_tag_uri`` for a URI that leads to an NNC bitstream."""


def to_nnpfc(
    contract: IoContract,
    complexity: Complexity | None,
    *,
    nnpfc_id: int,
    payload: bytes = b"",
    mode: int = MODE_PAYLOAD,
    uri: str = "",
    tag_uri: str = TAG_URI_NNC,
) -> Nnpfc:
    """Writes the base message for a network, in the subset that third-edition readers know.

    Args:
        contract: What the network expects.
        complexity: What it costs; None leaves the cost untold.
        nnpfc_id: Identity of the filter; 7 to 14, then 127 to 254 serve every reader.
        payload: The NNC bitstream, for mode 0.
        mode: 0 payload in the message, 1 by URI.
        uri: Where the network is, for mode 1.
        tag_uri: What is there, for mode 1.

    Raises:
        ValueError: Mode and payload or URI contradict each other.
        ModelError: The contract has values that the message cannot carry.

    Spec: Rec. ITU-T H.274 (V3) NNPFC syntax and semantics.
    """
    if (mode == MODE_PAYLOAD) != (not uri) or (mode == MODE_URI and payload):
        msg = "mode 0 has a payload and no URI, mode 1 a URI and no payload"
        raise ValueError(msg)
    message = Nnpfc(
        nnpfc_purpose=contract.purpose,
        nnpfc_id=nnpfc_id,
        nnpfc_base_flag=True,
        nnpfc_mode_idc=mode,
        nnpfc_tag_uri=tag_uri if mode == MODE_URI else "",
        nnpfc_uri=uri,
        nnpfc_property_present_flag=True,
        nnpfc_num_input_pics_minus1=contract.num_input_pics - 1,
        nnpfc_component_last_flag=contract.component_last,
        nnpfc_inp_format_idc=contract.inp_format_idc,
        nnpfc_auxiliary_inp_idc=contract.auxiliary_inp_idc,
        nnpfc_inp_order_idc=contract.inp_order_idc,
        nnpfc_out_format_idc=contract.out_format_idc,
        nnpfc_out_order_idc=contract.out_order_idc,
        nnpfc_overlap=contract.overlap,
        nnpfc_padding_type=contract.padding_type,
        nnpfc_payload_byte=payload,
    )
    if contract.num_input_pics > 1:
        only_current = tuple(index == 0 for index in range(contract.num_input_pics))
        message = replace(message, nnpfc_input_pic_filtering_flag=only_current)
    message = _with_ratio(message, contract)
    message = _with_depths(message, contract)
    message = _with_patch(message, contract)
    if contract.padding_type == 4:
        message = _with_padding_values(message, contract)
    if complexity is not None:
        cost: dict[str, Any] = dict(complexity.nnpfc_elements())
        message = replace(message, nnpfc_complexity_info_present_flag=True, **cost)
    try:
        validate_nnpfc(message)
    except BitstreamError as error:
        if not payload and mode == MODE_PAYLOAD and error.element == "nnpfc_payload_byte":
            return message  # the payload is filled in by the caller
        raise ModelError(f"no NNPFC message can describe this network: {error}") from error
    return message


def _with_ratio(message: Nnpfc, contract: IoContract) -> Nnpfc:
    if not contract.purpose & PURPOSE_RESOLUTION:
        return message
    return replace(
        message,
        nnpfc_pic_width_num_minus1=contract.width_ratio.numerator - 1,
        nnpfc_pic_width_denom_minus1=contract.width_ratio.denominator - 1,
        nnpfc_pic_height_num_minus1=contract.height_ratio.numerator - 1,
        nnpfc_pic_height_denom_minus1=contract.height_ratio.denominator - 1,
    )


def _with_depths(message: Nnpfc, contract: IoContract) -> Nnpfc:
    """Depths of integer tensors, for the components that the orders name."""
    elements: dict[str, Any] = {}
    for side, number_format, order, depth in (
        ("inp", contract.inp_format_idc, contract.inp_order_idc, contract.inp_tensor_bit_depth),
        ("out", contract.out_format_idc, contract.out_order_idc, contract.out_tensor_bit_depth),
    ):
        if number_format != INTEGER:
            continue
        if order != CHROMA:
            elements[f"nnpfc_{side}_tensor_luma_bitdepth_minus8"] = depth - 8
        if order != LUMA:
            elements[f"nnpfc_{side}_tensor_chroma_bitdepth_minus8"] = depth - 8
    return replace(message, **elements)


def _with_patch(message: Nnpfc, contract: IoContract) -> Nnpfc:
    if contract.patch_width is not None and contract.patch_height is not None:
        return replace(
            message,
            nnpfc_constant_patch_size_flag=True,
            nnpfc_patch_width_minus1=contract.patch_width - 1,
            nnpfc_patch_height_minus1=contract.patch_height - 1,
        )
    reach = 2 * contract.overlap
    deltas = []
    for multiple, fixed in (
        (contract.width_multiple, contract.patch_width),
        (contract.height_multiple, contract.patch_height),
    ):
        if fixed is not None:
            raise ModelError(
                "no NNPFC message can describe this network: "
                "its input is fixed in one direction and free in the other"
            )
        # The divisor of the extended patch is delta + 1 + 2 * overlap; it must be a multiple of
        # what the network wants and cannot be smaller than the overlap itself.
        divisor = -(-(reach + 1) // multiple) * multiple
        deltas.append(divisor - reach - 1)
    return replace(
        message,
        nnpfc_constant_patch_size_flag=False,
        nnpfc_extended_patch_width_cd_delta_minus1=deltas[0],
        nnpfc_extended_patch_height_cd_delta_minus1=deltas[1],
    )


def _with_padding_values(message: Nnpfc, contract: IoContract) -> Nnpfc:
    luma, cb, cr = contract.padding_values
    if contract.inp_order_idc != CHROMA:
        message = replace(message, nnpfc_luma_padding_val=luma)
    if contract.inp_order_idc != LUMA:
        message = replace(message, nnpfc_cb_padding_val=cb, nnpfc_cr_padding_val=cr)
    return message


def contract_from_nnpfc(nnpfc: Nnpfc, graph: Graph) -> IoContract:
    """The contract that a message declares.

    Args:
        nnpfc: A valid base message.
        graph: The network's graph, which tells the ranks: NNPFC has five dimensions, practice
            four where there is one picture.

    Raises:
        ModelError: The message asks for what this library does not do, or the graph is no filter.
    """
    violations = list(_unsupported(nnpfc))
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        violations.append(f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs")
    ranks = [
        len(port.dims) if port.dims is not None else 4 for port in (*graph.inputs, *graph.outputs)
    ]
    if any(rank not in (4, 5) for rank in ranks):
        violations.append(f"tensors of rank {ranks}; pictures have rank 4 or 5")
    if violations:
        raise ModelError("the filter cannot be applied", violations)
    reach = 2 * nnpfc.nnpfc_overlap
    width_ratio, height_ratio = (
        scale(nnpfc) if nnpfc.nnpfc_purpose & PURPOSE_RESOLUTION else (Fraction(1), Fraction(1))
    )
    constant = nnpfc.nnpfc_constant_patch_size_flag
    return IoContract(
        purpose=nnpfc.nnpfc_purpose,
        num_input_pics=nnpfc.nnpfc_num_input_pics_minus1 + 1,
        inp_order_idc=nnpfc.nnpfc_inp_order_idc,
        out_order_idc=nnpfc.nnpfc_out_order_idc,
        inp_format_idc=nnpfc.nnpfc_inp_format_idc,
        out_format_idc=nnpfc.nnpfc_out_format_idc,
        inp_tensor_bit_depth=_depth(nnpfc, "inp"),
        out_tensor_bit_depth=_depth(nnpfc, "out"),
        auxiliary_inp_idc=nnpfc.nnpfc_auxiliary_inp_idc,
        component_last=nnpfc.nnpfc_component_last_flag,
        input_rank=ranks[0],
        output_rank=ranks[1],
        width_ratio=width_ratio,
        height_ratio=height_ratio,
        overlap=nnpfc.nnpfc_overlap,
        width_multiple=1
        if constant
        else nnpfc.nnpfc_extended_patch_width_cd_delta_minus1 + 1 + reach,
        height_multiple=1
        if constant
        else nnpfc.nnpfc_extended_patch_height_cd_delta_minus1 + 1 + reach,
        patch_width=nnpfc.nnpfc_patch_width_minus1 + 1 if constant else None,
        patch_height=nnpfc.nnpfc_patch_height_minus1 + 1 if constant else None,
        padding_type=nnpfc.nnpfc_padding_type,
        padding_values=(
            nnpfc.nnpfc_luma_padding_val,
            nnpfc.nnpfc_cb_padding_val,
            nnpfc.nnpfc_cr_padding_val,
        ),
    )


def _unsupported(nnpfc: Nnpfc) -> list[str]:
    found: list[str] = []
    if not nnpfc.nnpfc_property_present_flag:
        return ["the message has no properties"]
    if nnpfc.nnpfc_purpose & ~SUPPORTED_PURPOSES or not nnpfc.nnpfc_purpose:
        found.append(f"the purpose {nnpfc.nnpfc_purpose:#x} is not supported")
    if nnpfc.nnpfc_auxiliary_inp_idc > 1:
        found.append(f"auxiliary input {nnpfc.nnpfc_auxiliary_inp_idc} (prompt or seed)")
    if filtered_inputs(nnpfc) != (0,) or num_output_pictures(nnpfc) != 1:
        found.append("more than the current picture is filtered")
    for side in ("inp", "out"):
        order = getattr(nnpfc, f"nnpfc_{side}_order_idc")
        luma, chroma = tensor_bit_depths(nnpfc, side)
        integer = getattr(nnpfc, f"nnpfc_{side}_format_idc") == INTEGER
        if integer and order not in (LUMA, CHROMA) and luma != chroma:
            found.append(f"luma of {luma} and chroma of {chroma} bits in one {side}ut tensor")
    if (nnpfc.nnpfc_inp_order_idc == CHROMA) != (nnpfc.nnpfc_out_order_idc == CHROMA):
        found.append("chroma made of luma, or luma of chroma")
    return found


def _depth(nnpfc: Nnpfc, side: str) -> int:
    if getattr(nnpfc, f"nnpfc_{side}_format_idc") != INTEGER:
        return 0
    luma, chroma = tensor_bit_depths(nnpfc, side)
    return chroma if getattr(nnpfc, f"nnpfc_{side}_order_idc") == CHROMA else luma


def check_against_nnpfc(
    network: Network,
    nnpfc: Nnpfc,
    picture_format: PictureFormat,
    *,
    limits: Limits | None = None,
) -> IoContract:
    """Proves that a network does what its message says, before a session is made.

    Args:
        network: The network, accepted by :func:`nnrvideo.model.check`.
        nnpfc: The base message.
        picture_format: The pictures to be filtered.
        limits: Bounds; by default :meth:`Limits.desktop`.

    Returns:
        The declared contract, with the surplus to be cropped filled in.

    Raises:
        ModelError: Lists everything that does not fit.
        BitstreamError: The message is not legal.
        UnsupportedFeatureError: The message has reserved values.
        LimitExceededError: The output picture or the network is too large.
    """
    limits = limits or Limits.desktop()
    validate_nnpfc(nnpfc)
    check_picture(nnpfc, picture_format, limits)
    contract = contract_from_nnpfc(nnpfc, network.graph)
    violations: list[str] = []
    width, height = contract.nominal_patch()
    inference: Inference | None = None
    try:
        source = network.graph.inputs[0].name
        shape = contract.input_shape(width, height)
        inference = infer_shapes(network.graph, {source: shape}, limits=limits)
    except ModelError as error:
        violations.extend(error.violations or (str(error),))
    if inference is not None:
        contract, problems = _fit_output(network, contract, inference, (width, height))
        violations.extend(problems or _growth(network, contract, inference, picture_format))
        samples = contract.output_luma_samples(width, height)
        try:
            limits.require(
                "max_macs_per_sample",
                -(-inference.macs // samples),
                "multiply-accumulates per luma sample",
            )
        except LimitExceededError as error:
            violations.append(str(error))
    promised = max_parameters(nnpfc) if nnpfc.nnpfc_complexity_info_present_flag else None
    if promised is not None and network.tensors.parameters > promised:
        violations.append(
            f"{network.tensors.parameters} parameters, nnpfc_num_parameters_idc promises "
            f"at most {promised}"
        )
    if violations:
        raise ModelError("the network is not what its NNPFC message says", violations)
    return contract


def takes_picture_whole(
    network: Network, contract: IoContract, picture: PictureFormat, *, limits: Limits
) -> bool:
    """Whether a picture's own size may be a patch, to the same samples as the declared sizes.

    Declared widths are multiples of more than the overlap, because the syntax has no finer ones;
    the surplus is filtered and thrown away.  A network that pads nowhere makes each sample of its
    surroundings alone, and the overlap covers those.

    Args:
        network: The network.
        contract: As :func:`check_against_nnpfc` returned it.
        picture: The pictures to be filtered.
        limits: Bounds for the shape inference.
    """
    if contract.patch_width is not None or reach_of(network) != 0:
        return False
    patch = contract.grid_size(picture)
    graph = network.graph
    try:
        expected = contract.output_shape(*patch)
        shapes = {graph.inputs[0].name: contract.input_shape(*patch)}
        return infer_shapes(graph, shapes, limits=limits).shape(graph.outputs[0].name) == expected
    except (ModelError, LimitExceededError, ValueError):
        return False


def _fit_output(
    network: Network, contract: IoContract, inference: Inference, patch: tuple[int, int]
) -> tuple[IoContract, list[str]]:
    """Compares the output with the declaration; a surplus of the overlap's size is cropped."""
    port = network.graph.outputs[0]
    given = inference.shape(port.name)
    if len(given) not in (4, 5):
        return contract, [f"the output has rank {len(given)}"]
    contract = replace(contract, output_rank=len(given))
    try:
        expected = contract.output_shape(*patch)
    except ValueError as error:
        return contract, [str(error)]
    if given == expected:
        return contract, []
    across, down = contract.grid_ratio
    surplus = (across * contract.overlap, down * contract.overlap)
    if all(amount.denominator == 1 for amount in surplus):
        cropped = replace(contract, crop_width=int(surplus[0]), crop_height=int(surplus[1]))
        if cropped.output_shape(*patch) == given:
            return cropped, []
    return contract, [f"the output is {list(given)}, the message declares {list(expected)}"]


def _growth(
    network: Network, contract: IoContract, nominal: Inference, picture: PictureFormat
) -> list[str]:
    """Proves that the cost of the whole picture is that of a patch times their sizes.

    Whoever plans patches by memory counts on that; a graph can make tensors of height times
    height, which look harmless in a small patch.
    """
    if contract.patch_width is not None:
        return []
    patch = contract.covering_patch(*contract.grid_size(picture))
    small = math.prod(contract.input_shape(*contract.nominal_patch()))
    large = math.prod(contract.input_shape(*patch))
    if large <= small:
        return []
    source = network.graph.inputs[0].name
    unbounded = replace(Limits.offline(), max_activation_elements=1 << 62)
    try:
        whole = infer_shapes(
            network.graph, {source: contract.input_shape(*patch)}, limits=unbounded
        )
    except ModelError as error:
        return [*error.violations] or [str(error)]
    found = []
    if whole.shape(network.graph.outputs[0].name) != contract.output_shape(*patch):
        found.append("the ratio of output and input changes with the size of the patch")
    for what, few, many in (
        ("memory", nominal.peak_bytes, whole.peak_bytes),
        ("work", nominal.macs, whole.macs),
    ):
        if many * small > _GROWTH_TOLERANCE * few * large:
            found.append(f"the {what} grows faster than the picture")
    return found
