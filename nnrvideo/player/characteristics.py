# SPDX-License-Identifier: Apache-2.0
"""What an NNPFC means for a picture of a given format: output format, tensors, patches.

The bridge between the syntax elements of :class:`nnrvideo.sei.Nnpfc` and the plain descriptions
that :mod:`nnrvideo.runtime` works with; it computes and refuses, and never touches a sample.

Spec: Rec. ITU-T H.274 (V4) clause 8.28.1.2; spec/nnpf-sei.md §3 and §4.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from nnrvideo.errors import UnsupportedFeatureError
from nnrvideo.limits import Limits
from nnrvideo.picture import ColourDescription, PictureFormat
from nnrvideo.runtime.layout import FORMAT_INTEGER, FORMAT_REAL, TensorFormat, grid_unit
from nnrvideo.runtime.tiling import PatchRules, TilePlan
from nnrvideo.sei import Nnpfc
from nnrvideo.sei.nnpfc import (
    AUXILIARY_STRENGTH,
    PURPOSE_BIT_DEPTH,
    PURPOSE_PICTURE_RATE,
    PURPOSE_SPATIAL_EXTRAPOLATION,
    PURPOSE_TEMPORAL_EXTRAPOLATION,
)
from nnrvideo.sei.semantics import check_picture, scale, tensor_bit_depths
from nnrvideo.sei.semantics import output_format as sei_output_format

_CLAUSE = "Rec. ITU-T H.274 8.28.1.2"
_MAX_DEPTH = 16  # bits of a sample of a Picture
_NOT_ONE_PICTURE = {
    PURPOSE_PICTURE_RATE: "picture-rate upsampling",
    PURPOSE_TEMPORAL_EXTRAPOLATION: "temporal extrapolation",
    PURPOSE_SPATIAL_EXTRAPOLATION: "spatial extrapolation",
}


def require_supported(nnpfc: Nnpfc) -> None:
    """Refuses what this player cannot execute, before a byte of the network is decoded.

    Raises:
        UnsupportedFeatureError: More than one input picture, other output pictures than the
            filtered one, or text and seed inputs.
    """
    for bit, name in _NOT_ONE_PICTURE.items():
        if nnpfc.nnpfc_purpose & bit:
            raise UnsupportedFeatureError(f"the filter does {name}", clause=_CLAUSE)
    if nnpfc.nnpfc_num_input_pics_minus1 > 0:
        count = nnpfc.nnpfc_num_input_pics_minus1 + 1
        raise UnsupportedFeatureError(f"the filter reads {count} pictures at once", clause=_CLAUSE)
    if nnpfc.nnpfc_auxiliary_inp_idc & ~AUXILIARY_STRENGTH:
        raise UnsupportedFeatureError("the filter reads a text prompt or a seed", clause=_CLAUSE)


def output_format(nnpfc: Nnpfc, source: PictureFormat, limits: Limits) -> PictureFormat:
    """Format of the filtered picture.

    Args:
        nnpfc: A base with its properties.
        source: Format of the decoded, cropped picture.
        limits: Bounds the output's size.

    Returns:
        Size, chroma format and bit depth as signalled.  Where the stream leaves the bit depth to
        the player, it is the picture's, or two bits more if the purpose is bit depth upsampling.

    Raises:
        BitstreamError: The filter is not legal for such pictures.
        UnsupportedFeatureError: More than 16 bits.
        LimitExceededError: The picture would be too large.
    """
    check_picture(nnpfc, source, limits)
    target = sei_output_format(nnpfc, source)
    real = nnpfc.nnpfc_out_format_idc == FORMAT_REAL
    if real and nnpfc.nnpfc_purpose & PURPOSE_BIT_DEPTH:
        target = replace(target, bit_depth=min(source.bit_depth + 2, _MAX_DEPTH))
    if target.bit_depth > _MAX_DEPTH:
        raise UnsupportedFeatureError(f"pictures of {target.bit_depth} bits", clause=_CLAUSE)
    return target


def output_colour(nnpfc: Nnpfc, source: ColourDescription) -> ColourDescription:
    """Colour tags of the filtered picture; the decoded picture's unless the filter says else."""
    if not nnpfc.nnpfc_separate_colour_description_present_flag:
        return source
    tags = replace(
        source,
        colour_primaries=nnpfc.nnpfc_colour_primaries,
        transfer_characteristics=nnpfc.nnpfc_transfer_characteristics,
    )
    if nnpfc.nnpfc_out_format_idc == FORMAT_INTEGER:
        return replace(
            tags,
            matrix_coeffs=nnpfc.nnpfc_matrix_coeffs,
            full_range_flag=nnpfc.nnpfc_full_range_flag,
        )
    return tags


def input_tensor(nnpfc: Nnpfc) -> TensorFormat:
    """How the input tensor is filled."""
    luma, chroma = tensor_bit_depths(nnpfc, "inp")
    return TensorFormat(
        order_idc=nnpfc.nnpfc_inp_order_idc,
        format_idc=nnpfc.nnpfc_inp_format_idc,
        luma_bit_depth=luma,
        chroma_bit_depth=chroma,
        component_last=nnpfc.nnpfc_component_last_flag,
        strength=bool(nnpfc.nnpfc_auxiliary_inp_idc & AUXILIARY_STRENGTH),
    )


def output_tensor(nnpfc: Nnpfc) -> TensorFormat:
    """How the output tensor is filled."""
    luma, chroma = tensor_bit_depths(nnpfc, "out")
    return TensorFormat(
        order_idc=nnpfc.nnpfc_out_order_idc,
        format_idc=nnpfc.nnpfc_out_format_idc,
        luma_bit_depth=luma,
        chroma_bit_depth=chroma,
        component_last=nnpfc.nnpfc_component_last_flag,
    )


def patch_rules(nnpfc: Nnpfc) -> PatchRules:
    """Patches, overlap and padding, in positions of the input grid."""
    overlap = nnpfc.nnpfc_overlap
    if nnpfc.nnpfc_constant_patch_size_flag:
        width, height = nnpfc.nnpfc_patch_width_minus1 + 1, nnpfc.nnpfc_patch_height_minus1 + 1
    else:
        around = 2 * overlap + 1
        width = nnpfc.nnpfc_extended_patch_width_cd_delta_minus1 + around
        height = nnpfc.nnpfc_extended_patch_height_cd_delta_minus1 + around
    return PatchRules(
        overlap=overlap,
        constant=nnpfc.nnpfc_constant_patch_size_flag,
        width=width,
        height=height,
        padding_type=nnpfc.nnpfc_padding_type,
        padding_values=(
            nnpfc.nnpfc_luma_padding_val,
            nnpfc.nnpfc_cb_padding_val,
            nnpfc.nnpfc_cr_padding_val,
        ),
    )


def grid_scale(
    nnpfc: Nnpfc, source: PictureFormat, target: PictureFormat
) -> tuple[Fraction, Fraction]:
    """Output grid positions for each input grid position, horizontally and vertically."""
    across, down = scale(nnpfc)
    in_x, in_y = grid_unit(nnpfc.nnpfc_inp_order_idc, source.chroma_format)
    out_x, out_y = grid_unit(nnpfc.nnpfc_out_order_idc, target.chroma_format)
    return across * in_x / out_x, down * in_y / out_y


def output_patch(plan: TilePlan, scale: tuple[Fraction, Fraction]) -> tuple[int, int]:
    """Width and height of what the network writes for one patch, in the output grid.

    Raises:
        UnsupportedFeatureError: The patch does not scale to whole samples.
    """
    width, height = plan.patch_width * scale[0], plan.patch_height * scale[1]
    if width.denominator != 1 or height.denominator != 1:
        raise UnsupportedFeatureError(
            f"patches of {plan.patch_width}x{plan.patch_height} do not scale to whole samples",
            clause=_CLAUSE,
        )
    return int(width), int(height)
