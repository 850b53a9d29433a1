# SPDX-License-Identifier: Apache-2.0
"""Neural-network post-filter characteristics (NNPFC), payloadType 210: syntax.

This module knows where each element of the fourth edition stands and nothing of what it means,
with one exception: the standard has no version field, so a value from a later edition may change
the syntax behind it.  Purpose, mode and auxiliary input are therefore judged the moment they are
read, and the message is dropped rather than misread.  All other judgement is in ``semantics``.
The network itself is opaque bytes; sei does not know NNC.

Spec: Rec. ITU-T H.274 (V4, 01/2026) clause 8.28.1.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, final

from nnrvideo.bits import BitReader
from nnrvideo.errors import BitstreamError, UnsupportedFeatureError
from nnrvideo.limits import Limits
from nnrvideo.sei._elements import ElementCoder, ElementReader, ElementWriter, accept_idc
from nnrvideo.sei.message import payload_parser

NNPFC_PAYLOAD_TYPE = 210
_CLAUSE = "H.274 8.28.1"

# nnpfc_purpose is a bit mask; 0 leaves the purpose to the application.
PURPOSE_VISUAL_QUALITY = 0x01
PURPOSE_CHROMA_UPSAMPLING = 0x02
PURPOSE_RESOLUTION = 0x04
PURPOSE_PICTURE_RATE = 0x08
PURPOSE_BIT_DEPTH = 0x10
PURPOSE_COLOURIZATION = 0x20
PURPOSE_TEMPORAL_EXTRAPOLATION = 0x40
PURPOSE_SPATIAL_EXTRAPOLATION = 0x80
_KNOWN_PURPOSES = 0xFF

MODE_PAYLOAD = 0  # the message holds a complete ISO/IEC 15938-17 bitstream
MODE_URI = 1  # the message names the network

AUXILIARY_STRENGTH = 1
AUXILIARY_PROMPT = 2
AUXILIARY_SEED = 4
_KNOWN_AUXILIARY = 7

_MAX_INPUT_PICS_MINUS1 = 63
_MAX_METADATA_EXTENSION_BITS = 4096


@final
@dataclass(frozen=True, slots=True, repr=False)
class Nnpfc:
    """One NNPFC message; fields are named as the syntax elements and stand in their order.

    A field that the syntax does not send for this message keeps its default, which is the value
    that the standard infers.  Patch sizes and overlap are in samples of the grid that
    ``nnpfc_inp_order_idc`` names, offsets in chroma units of the output.
    """

    payload_type: ClassVar[int] = NNPFC_PAYLOAD_TYPE

    nnpfc_purpose: int
    nnpfc_id: int
    nnpfc_base_flag: bool = True
    nnpfc_mode_idc: int = MODE_PAYLOAD
    nnpfc_tag_uri: str = ""
    nnpfc_uri: str = ""
    nnpfc_property_present_flag: bool = True
    nnpfc_num_input_pics_minus1: int = 0
    nnpfc_input_pic_filtering_flag: tuple[bool, ...] = ()  # sent for more than one input
    nnpfc_absent_input_pic_zero_flag: bool = False
    nnpfc_out_sub_c_flag: bool = False
    nnpfc_out_colour_format_idc: int = 0
    nnpfc_pic_width_num_minus1: int = 0
    nnpfc_pic_width_denom_minus1: int = 0
    nnpfc_pic_height_num_minus1: int = 0
    nnpfc_pic_height_denom_minus1: int = 0
    nnpfc_interpolated_pics: tuple[int, ...] = ()
    nnpfc_extrapolated_pics_minus1: int = 0
    nnpfc_spatial_extrapolation_left_offset: int = 0
    nnpfc_spatial_extrapolation_right_offset: int = 0
    nnpfc_spatial_extrapolation_top_offset: int = 0
    nnpfc_spatial_extrapolation_bottom_offset: int = 0
    nnpfc_component_last_flag: bool = False
    nnpfc_inp_format_idc: int = 0
    nnpfc_auxiliary_inp_idc: int = 0
    nnpfc_inband_prompt_flag: bool = False
    nnpfc_prompt: str = ""
    nnpfc_inband_seed_flag: bool = False
    nnpfc_seed: int = 0
    nnpfc_inp_order_idc: int = 0
    nnpfc_inp_tensor_luma_bitdepth_minus8: int = 0
    nnpfc_inp_tensor_chroma_bitdepth_minus8: int = 0
    nnpfc_out_format_idc: int = 0
    nnpfc_out_order_idc: int = 0
    nnpfc_out_tensor_luma_bitdepth_minus8: int = 0
    nnpfc_out_tensor_chroma_bitdepth_minus8: int = 0
    nnpfc_separate_colour_description_present_flag: bool = False
    nnpfc_colour_primaries: int = 2
    nnpfc_transfer_characteristics: int = 2
    nnpfc_matrix_coeffs: int = 2
    nnpfc_full_range_flag: bool = False
    nnpfc_chroma_loc_info_present_flag: bool = False
    nnpfc_chroma_sample_loc_type_frame: int = 0
    nnpfc_overlap: int = 0
    nnpfc_constant_patch_size_flag: bool = True
    nnpfc_patch_width_minus1: int = 0
    nnpfc_patch_height_minus1: int = 0
    nnpfc_extended_patch_width_cd_delta_minus1: int = 0
    nnpfc_extended_patch_height_cd_delta_minus1: int = 0
    nnpfc_padding_type: int = 0
    nnpfc_luma_padding_val: int = 0
    nnpfc_cb_padding_val: int = 0
    nnpfc_cr_padding_val: int = 0
    nnpfc_complexity_info_present_flag: bool = False
    nnpfc_parameter_type_idc: int = 0
    nnpfc_log2_parameter_bit_length_minus3: int = 0
    nnpfc_num_parameters_idc: int = 0
    nnpfc_num_kmac_operations_idc: int = 0
    nnpfc_total_kilobyte_size: int = 0
    nnpfc_num_metadata_extension_bits: int = 0
    nnpfc_application_purpose_tag_uri_present_flag: bool = False
    nnpfc_application_purpose_tag_uri: str = ""
    nnpfc_scan_type_idc: int = 0
    nnpfc_for_human_viewing_idc: int = 0
    nnpfc_for_machine_analysis_idc: int = 0
    nnpfc_reserved_metadata_extension_bit: tuple[bool, ...] = ()
    nnpfc_payload_byte: bytes = b""

    def __repr__(self) -> str:
        """Only what differs from its default, and a network by its length."""
        said = []
        for element in fields(self):
            value = getattr(self, element.name)
            if isinstance(value, bytes):
                said.append(f"{element.name}=<{len(value)} bytes>")
            elif value != element.default:
                said.append(f"{element.name}={value!r}")
        return f"Nnpfc({', '.join(said)})"

    def to_payload(self) -> bytes:
        """The payload's bytes; see :func:`write_nnpfc`."""
        return write_nnpfc(self)


def parse_nnpfc(payload: bytes, limits: Limits | None = None) -> Nnpfc:
    """Parses the syntax of an NNPFC payload of the third or fourth edition.

    Args:
        payload: sei_payload(), all of it: in mode 0 the network runs to its end.
        limits: Bounds on payload, texts and input pictures; a desktop's if absent.

    Returns:
        The message; its values are legal for the syntax, not necessarily for the semantics (see
        :func:`nnrvideo.sei.validate_nnpfc`).

    Raises:
        BitstreamError: The syntax is broken, or a value is illegal in every edition.
        UnsupportedFeatureError: A reserved value; the message is to be ignored.
        LimitExceededError: Over a limit.

    Spec: Rec. ITU-T H.274 (V4) clause 8.28.1.1.
    """
    limits = limits or Limits()
    limits.require("max_payload_bytes", len(payload), "NNPFC payload bytes")
    reader = ElementReader(BitReader(payload, unit="NNPFC"), limits)
    try:
        _syntax(reader)
    except BitstreamError as error:
        error.at(unit="NNPFC", bit=reader.position)
        raise
    # What follows in mode 1 is payload_bit_equal_to_one, perhaps behind
    # reserved_payload_extension_data; a decoder ignores both.
    message = Nnpfc(**reader.values)
    limits.require(
        "max_input_pictures", message.nnpfc_num_input_pics_minus1 + 1, "input pictures of a filter"
    )
    return message


def write_nnpfc(message: Nnpfc) -> bytes:
    """Codes an NNPFC payload.

    Args:
        message: Values as the syntax sends them.

    Returns:
        sei_payload().

    Raises:
        ValueError: A value does not fit its element, or a field is set that this message's syntax
            has no place for; nothing is dropped silently.

    Spec: Rec. ITU-T H.274 (V4) clause 8.28.1.1.
    """
    writer = ElementWriter(message)
    try:
        _syntax(writer)
    except (BitstreamError, UnsupportedFeatureError) as error:
        raise ValueError(str(error)) from error
    payload = writer.finish()
    # Reading back finds every field that the conditions of the syntax left out.
    if parse_nnpfc(payload, Limits.offline()) != message:
        raise ValueError("a field is set that the syntax does not send for this message")
    return payload


def metadata_extension_bits(message: Nnpfc) -> int:
    """The value of nnpfc_num_metadata_extension_bits that announces the message's metadata.

    Alignment bits before the text are not counted, as in the reference software; whether the
    standard counts them is unknown, so a message with purpose 0 and a tag URI is best avoided.
    """
    bits = 4 + len(message.nnpfc_reserved_metadata_extension_bit)
    if message.nnpfc_purpose == 0:
        bits += 1
        if message.nnpfc_application_purpose_tag_uri_present_flag:
            bits += 8 * (len(message.nnpfc_application_purpose_tag_uri.encode()) + 1)
    return bits + (2 if _has_scan_type(message.nnpfc_purpose) else 0)


def _syntax(c: ElementCoder) -> None:
    purpose = c.u("nnpfc_purpose", 16)
    if purpose & ~_KNOWN_PURPOSES:
        raise UnsupportedFeatureError(f"nnpfc_purpose = {purpose:#06x} is reserved", clause=_CLAUSE)
    c.ue("nnpfc_id")
    c.flag("nnpfc_base_flag")
    mode = c.ue("nnpfc_mode_idc")
    accept_idc("nnpfc_mode_idc", mode, MODE_URI, clause=_CLAUSE)
    if mode == MODE_URI:
        c.text("nnpfc_tag_uri", "nnpfc_alignment_zero_bit_a")
        c.text("nnpfc_uri", "nnpfc_alignment_zero_bit_a")
    if c.flag("nnpfc_property_present_flag"):
        _properties(c, purpose)
    if mode == MODE_PAYLOAD:
        c.align_zero("nnpfc_alignment_zero_bit_b")
        c.payload("nnpfc_payload_byte")


def _properties(c: ElementCoder, purpose: int) -> None:
    _pictures(c, purpose)
    inp_order = _tensors(c)
    _patches(c, purpose)
    _padding(c, inp_order)
    if c.flag("nnpfc_complexity_info_present_flag"):
        if c.u("nnpfc_parameter_type_idc", 2) != 2:
            c.u("nnpfc_log2_parameter_bit_length_minus3", 2)
        c.u("nnpfc_num_parameters_idc", 6)
        c.ue("nnpfc_num_kmac_operations_idc")
        c.ue("nnpfc_total_kilobyte_size")
    _metadata_extension(c, purpose)


def _pictures(c: ElementCoder, purpose: int) -> None:
    others = c.ue("nnpfc_num_input_pics_minus1")
    if others > _MAX_INPUT_PICS_MINUS1:  # judged here because it is a count
        raise BitstreamError(
            f"{others} is over {_MAX_INPUT_PICS_MINUS1}",
            element="nnpfc_num_input_pics_minus1",
            clause=_CLAUSE,
        )
    if others > 0:
        c.flags("nnpfc_input_pic_filtering_flag", others + 1)
        c.flag("nnpfc_absent_input_pic_zero_flag")
    if purpose & PURPOSE_CHROMA_UPSAMPLING:
        c.flag("nnpfc_out_sub_c_flag")
    if purpose & PURPOSE_COLOURIZATION:
        c.u("nnpfc_out_colour_format_idc", 2)
    if purpose & PURPOSE_RESOLUTION:
        c.ue("nnpfc_pic_width_num_minus1")
        c.ue("nnpfc_pic_width_denom_minus1")
        c.ue("nnpfc_pic_height_num_minus1")
        c.ue("nnpfc_pic_height_denom_minus1")
    if purpose & PURPOSE_PICTURE_RATE:
        c.ues("nnpfc_interpolated_pics", others)
    if purpose & PURPOSE_TEMPORAL_EXTRAPOLATION:
        c.ue("nnpfc_extrapolated_pics_minus1")
    if purpose & PURPOSE_SPATIAL_EXTRAPOLATION:
        for side in ("left", "right", "top", "bottom"):
            c.se(f"nnpfc_spatial_extrapolation_{side}_offset")


def _tensors(c: ElementCoder) -> int:
    """Tensor formats and colour; returns nnpfc_inp_order_idc, which the padding depends on."""
    c.flag("nnpfc_component_last_flag")
    inp_format = c.ue("nnpfc_inp_format_idc")
    auxiliary = c.ue("nnpfc_auxiliary_inp_idc")
    accept_idc("nnpfc_auxiliary_inp_idc", auxiliary, _KNOWN_AUXILIARY, clause=_CLAUSE)
    if auxiliary & AUXILIARY_PROMPT and c.flag("nnpfc_inband_prompt_flag"):
        c.text("nnpfc_prompt", "nnpfc_alignment_zero_bit_c")
    if auxiliary & AUXILIARY_SEED and c.flag("nnpfc_inband_seed_flag"):
        c.u("nnpfc_seed", 16)
    inp_order = c.ue("nnpfc_inp_order_idc")
    _tensor_depths(c, "inp", inp_format, inp_order)
    out_format = c.ue("nnpfc_out_format_idc")
    out_order = c.ue("nnpfc_out_order_idc")
    _tensor_depths(c, "out", out_format, out_order)
    if c.flag("nnpfc_separate_colour_description_present_flag"):
        c.u("nnpfc_colour_primaries", 8)
        c.u("nnpfc_transfer_characteristics", 8)
        if out_format == 1:
            c.u("nnpfc_matrix_coeffs", 8)
            c.flag("nnpfc_full_range_flag")
    if out_order != 0 and c.flag("nnpfc_chroma_loc_info_present_flag"):
        c.ue("nnpfc_chroma_sample_loc_type_frame")
    return inp_order


def _tensor_depths(c: ElementCoder, side: str, format_idc: int, order_idc: int) -> None:
    if format_idc == 1 and order_idc != 1:
        c.ue(f"nnpfc_{side}_tensor_luma_bitdepth_minus8")
    if format_idc == 1 and order_idc != 0:
        c.ue(f"nnpfc_{side}_tensor_chroma_bitdepth_minus8")


def _patches(c: ElementCoder, purpose: int) -> None:
    constant = True  # inferred for spatial extrapolation, as is an overlap of 0
    if not purpose & PURPOSE_SPATIAL_EXTRAPOLATION:
        c.ue("nnpfc_overlap")
        constant = c.flag("nnpfc_constant_patch_size_flag")
    if constant:
        c.ue("nnpfc_patch_width_minus1")
        c.ue("nnpfc_patch_height_minus1")
    else:
        c.ue("nnpfc_extended_patch_width_cd_delta_minus1")
        c.ue("nnpfc_extended_patch_height_cd_delta_minus1")


def _padding(c: ElementCoder, inp_order: int) -> None:
    if c.ue("nnpfc_padding_type") == 4:
        if inp_order != 1:
            c.ue("nnpfc_luma_padding_val")
        if inp_order != 0:
            c.ue("nnpfc_cb_padding_val")
            c.ue("nnpfc_cr_padding_val")


def _metadata_extension(c: ElementCoder, purpose: int) -> None:
    announced = c.ue("nnpfc_num_metadata_extension_bits")
    if announced > _MAX_METADATA_EXTENSION_BITS:
        raise BitstreamError(
            f"{announced} is over {_MAX_METADATA_EXTENSION_BITS}",
            element="nnpfc_num_metadata_extension_bits",
            clause=_CLAUSE,
        )
    if announced == 0:
        return
    start = c.position
    alignment = 0
    if purpose == 0 and c.flag("nnpfc_application_purpose_tag_uri_present_flag"):
        alignment = -c.position % 8
        c.text("nnpfc_application_purpose_tag_uri", "nnpfc_metadata_alignment_zero_bit")
    if _has_scan_type(purpose):
        c.u("nnpfc_scan_type_idc", 2)
    c.u("nnpfc_for_human_viewing_idc", 2)
    c.u("nnpfc_for_machine_analysis_idc", 2)
    # The reference writer forgets the scan type in its count, so the rest may come out negative.
    rest = announced - (c.position - start - alignment)
    c.flags("nnpfc_reserved_metadata_extension_bit", max(0, rest))


def _has_scan_type(purpose: int) -> bool:
    return bool(purpose & (PURPOSE_RESOLUTION | PURPOSE_SPATIAL_EXTRAPOLATION))


payload_parser(NNPFC_PAYLOAD_TYPE, parse_nnpfc)
