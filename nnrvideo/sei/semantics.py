# SPDX-License-Identifier: Apache-2.0
"""What the elements of an NNPFC mean: derived variables, and which values are allowed.

``validate_nnpfc`` judges a message by itself, ``check_picture`` judges it against the video it is
to filter.  A reserved value raises ``UnsupportedFeatureError`` (the standard wants the message
ignored), an illegal one ``BitstreamError``.

Spec: Rec. ITU-T H.274 (V4, 01/2026) clause 8.28.1.2.
"""

from __future__ import annotations

from fractions import Fraction

from nnrvideo.errors import BitstreamError, UnsupportedFeatureError
from nnrvideo.limits import Limits
from nnrvideo.picture import ChromaFormat, PictureFormat
from nnrvideo.sei import nnpfc as syntax
from nnrvideo.sei._elements import MAX_UE, accept_idc
from nnrvideo.sei.nnpfc import Nnpfc

_CLAUSE = "H.274 8.28.1.2"
_MAX_RATIO_ELEMENT = 65535
_MAX_SCALE = 16
_MAX_OFFSET = 65536
_MAX_BITDEPTH_MINUS8 = 24
_MAX_OVERLAP = 16383
_MAX_PATCH_MINUS1 = 32766
_PADDING_FIXED = 4
_CHROMA_FORMATS = {1: ChromaFormat.C420, 2: ChromaFormat.C422, 3: ChromaFormat.C444}


def input_pic_filtering(message: Nnpfc) -> tuple[bool, ...]:
    """nnpfc_input_pic_filtering_flag for every input, with the value inferred for one input."""
    if message.nnpfc_num_input_pics_minus1 > 0:
        return message.nnpfc_input_pic_filtering_flag
    return (message.nnpfc_purpose != syntax.PURPOSE_TEMPORAL_EXTRAPOLATION,)


def filtered_inputs(message: Nnpfc) -> tuple[int, ...]:
    """InpIdx[]: which inputs the network outputs a filtered picture for; 0 is the current one.

    Its length is NumInpPicsInOutputTensor.
    """
    return tuple(index for index, flag in enumerate(input_pic_filtering(message)) if flag)


def num_output_pictures(message: Nnpfc) -> int:
    """Pictures in the output tensor: filtered, interpolated and extrapolated ones."""
    count = len(filtered_inputs(message)) + sum(message.nnpfc_interpolated_pics)
    if message.nnpfc_purpose & syntax.PURPOSE_TEMPORAL_EXTRAPOLATION:
        count += message.nnpfc_extrapolated_pics_minus1 + 1
    return count


def scale(message: Nnpfc) -> tuple[Fraction, Fraction]:
    """Width and height of the output over those of the input."""
    return (
        Fraction(message.nnpfc_pic_width_num_minus1 + 1, message.nnpfc_pic_width_denom_minus1 + 1),
        Fraction(
            message.nnpfc_pic_height_num_minus1 + 1, message.nnpfc_pic_height_denom_minus1 + 1
        ),
    )


def output_format(message: Nnpfc, picture: PictureFormat) -> PictureFormat:
    """Size and chroma format of the pictures that a filter makes.

    Args:
        message: A valid base message.
        picture: The decoded picture, cropped to its conformance window.

    Returns:
        The format; its bit depth is that of integer output tensors, else that of ``picture``.

    Spec: nnpfcOutputPicWidth, nnpfcOutputPicHeight, outSubWidthC, outSubHeightC.
    """
    chroma = picture.chroma_format
    if message.nnpfc_purpose & syntax.PURPOSE_CHROMA_UPSAMPLING:
        chroma = ChromaFormat.C444 if message.nnpfc_out_sub_c_flag else ChromaFormat.C422
    elif message.nnpfc_purpose & syntax.PURPOSE_COLOURIZATION:
        # An update without properties says nothing here, and changes nothing.
        chroma = _CHROMA_FORMATS.get(message.nnpfc_out_colour_format_idc, chroma)
    horizontal, vertical = scale(message)
    width = -(-picture.width * horizontal.numerator // horizontal.denominator)
    height = -(-picture.height * vertical.numerator // vertical.denominator)
    width += chroma.sub_width * (
        message.nnpfc_spatial_extrapolation_left_offset
        + message.nnpfc_spatial_extrapolation_right_offset
    )
    height += chroma.sub_height * (
        message.nnpfc_spatial_extrapolation_top_offset
        + message.nnpfc_spatial_extrapolation_bottom_offset
    )
    depth = picture.bit_depth
    if message.nnpfc_out_format_idc == 1:
        luma, chroma_depth = tensor_bit_depths(message, "out")
        depth = chroma_depth if message.nnpfc_out_order_idc == 1 else luma
    return PictureFormat(width, height, chroma, depth)


def tensor_bit_depths(message: Nnpfc, side: str) -> tuple[int, int]:
    """Luma and chroma bit depth of an integer tensor; ``side`` is "inp" or "out"."""
    luma: int = getattr(message, f"nnpfc_{side}_tensor_luma_bitdepth_minus8")
    chroma: int = getattr(message, f"nnpfc_{side}_tensor_chroma_bitdepth_minus8")
    return luma + 8, chroma + 8


def max_parameters(message: Nnpfc) -> int | None:
    """Upper bound on the network's parameters, or None if it is not announced."""
    idc = message.nnpfc_num_parameters_idc
    return (2048 << idc) - 1 if idc else None


def max_macs_per_sample(message: Nnpfc) -> int | None:
    """Upper bound on multiply-accumulates per sample, or None if it is not announced."""
    return 1000 * message.nnpfc_num_kmac_operations_idc or None


def check_filter_id(nnpfc_id: int, element: str = "nnpfc_id") -> None:
    """Sorts out ids kept for later editions.

    Raises:
        UnsupportedFeatureError: 256..511 or 2^31..2^32 - 2.
        BitstreamError: Over 2^32 - 2.
    """
    if not 0 <= nnpfc_id <= MAX_UE:
        raise BitstreamError(f"{nnpfc_id} is no id", element=element, clause=_CLAUSE)
    if 256 <= nnpfc_id <= 511 or nnpfc_id >= 1 << 31:
        raise UnsupportedFeatureError(f"{element} = {nnpfc_id} is reserved", clause=_CLAUSE)


def validate_nnpfc(message: Nnpfc) -> None:
    """Judges every value of a message that can be judged without the video.

    Raises:
        UnsupportedFeatureError: A reserved value; the message is to be ignored.
        BitstreamError: An illegal value.

    Spec: Rec. ITU-T H.274 (V4) clause 8.28.1.2.
    """
    check_filter_id(message.nnpfc_id)
    if message.nnpfc_mode_idc == syntax.MODE_PAYLOAD:
        _demand(bool(message.nnpfc_payload_byte), "nnpfc_payload_byte", "no network in mode 0")
    else:
        _demand(bool(message.nnpfc_uri), "nnpfc_uri", "names nothing")
    if not message.nnpfc_property_present_flag:
        _demand(
            not message.nnpfc_base_flag,
            "nnpfc_property_present_flag",
            "a base without properties cannot be applied",
        )
        return
    _validate_pictures(message)
    _validate_geometry(message)
    _validate_tensors(message)
    _validate_patches(message)
    if message.nnpfc_complexity_info_present_flag:
        accept_idc("nnpfc_parameter_type_idc", message.nnpfc_parameter_type_idc, 2, clause=_CLAUSE)
        accept_idc("nnpfc_num_parameters_idc", message.nnpfc_num_parameters_idc, 52, clause=_CLAUSE)


def check_picture(message: Nnpfc, picture: PictureFormat, limits: Limits | None = None) -> None:
    """Judges a valid base message against the video that it is to filter.

    Args:
        message: Accepted by :func:`validate_nnpfc`.
        picture: The decoded picture, cropped to its conformance window.
        limits: ``max_picture_samples`` bounds the output; a desktop's if absent.

    Raises:
        BitstreamError: The filter is not legal for this video.
        LimitExceededError: The output would be too large.
    """
    chroma = picture.chroma_format
    order = message.nnpfc_inp_order_idc
    if chroma is ChromaFormat.MONO:
        _demand(order == 0, "nnpfc_inp_order_idc", "4:0:0 has no chroma to feed")
    if order == 3:
        _demand(chroma is ChromaFormat.C420, "nnpfc_inp_order_idc", "3 needs 4:2:0 video")
    purpose = message.nnpfc_purpose
    if purpose & syntax.PURPOSE_CHROMA_UPSAMPLING:
        _demand(
            chroma is ChromaFormat.C420
            or (chroma is ChromaFormat.C422 and message.nnpfc_out_sub_c_flag),
            "nnpfc_out_sub_c_flag",
            f"{chroma.name} video has no chroma to upsample to this format",
        )
    if purpose & syntax.PURPOSE_COLOURIZATION:
        _demand(chroma is ChromaFormat.MONO, "nnpfc_purpose", "the video has colour already")
    out = output_format(message, picture)
    for name, size, unit in (
        ("width", out.width, out.chroma_format.sub_width),
        ("height", out.height, out.chroma_format.sub_height),
    ):
        # The size of the decoded picture itself is none of the filter's business.
        changed = size != getattr(picture, name) or out.chroma_format is not chroma
        _demand(size > 0, f"nnpfc_pic_{name}", f"output {name} is {size}")
        _demand(
            not changed or size % unit == 0,
            f"nnpfc_pic_{name}",
            f"output {name} {size} is no multiple of {unit}",
        )
    if purpose & syntax.PURPOSE_RESOLUTION:
        _demand(
            any(ratio != 1 for ratio in scale(message)),
            "nnpfc_pic_width_num_minus1",
            "resamples nothing",
        )
    if message.nnpfc_out_order_idc == 3:
        _demand(
            out.chroma_format is ChromaFormat.C420, "nnpfc_out_order_idc", "3 needs 4:2:0 output"
        )
    if message.nnpfc_padding_type == _PADDING_FIXED:
        for plane in ("luma", "cb", "cr"):
            value: int = getattr(message, f"nnpfc_{plane}_padding_val")
            _demand(
                value < 1 << picture.bit_depth,
                f"nnpfc_{plane}_padding_val",
                f"{value} is no sample of {picture.bit_depth} bits",
            )
    _check_matrix(message, out.chroma_format)
    (limits or Limits()).require(
        "max_picture_samples", out.width * out.height, "luma samples of an output picture"
    )


def _validate_pictures(message: Nnpfc) -> None:
    purpose = message.nnpfc_purpose
    makes_pictures = purpose & (syntax.PURPOSE_PICTURE_RATE | syntax.PURPOSE_TEMPORAL_EXTRAPOLATION)
    _demand(
        bool(makes_pictures) or bool(filtered_inputs(message)),
        "nnpfc_input_pic_filtering_flag",
        "no output at all",
    )
    if purpose & syntax.PURPOSE_PICTURE_RATE:
        _demand(
            message.nnpfc_num_input_pics_minus1 > 0,
            "nnpfc_num_input_pics_minus1",
            "interpolation needs more than one input",
        )
        counts = message.nnpfc_interpolated_pics
        _demand(any(counts), "nnpfc_interpolated_pics", "interpolates nothing")
        _within("nnpfc_interpolated_pics", max(counts), 63)
    _within("nnpfc_extrapolated_pics_minus1", message.nnpfc_extrapolated_pics_minus1, 62)
    _demand(
        not (purpose & syntax.PURPOSE_CHROMA_UPSAMPLING and purpose & syntax.PURPOSE_COLOURIZATION),
        "nnpfc_purpose",
        "chroma upsampling and colourization exclude each other",
    )
    if purpose & syntax.PURPOSE_COLOURIZATION:
        _demand(
            message.nnpfc_out_colour_format_idc != 0, "nnpfc_out_colour_format_idc", "0 is illegal"
        )


def _validate_geometry(message: Nnpfc) -> None:
    for side in ("width", "height"):
        for part in ("num", "denom"):
            name = f"nnpfc_pic_{side}_{part}_minus1"
            _within(name, getattr(message, name), _MAX_RATIO_ELEMENT)
    for side, ratio in zip(("width", "height"), scale(message), strict=True):
        _demand(
            Fraction(1, _MAX_SCALE) <= ratio <= _MAX_SCALE,
            f"nnpfc_pic_{side}_num_minus1",
            f"scale {ratio} is outside 1/16..16",
        )
    for side in ("left", "right", "top", "bottom"):
        name = f"nnpfc_spatial_extrapolation_{side}_offset"
        _within(name, abs(getattr(message, name)), _MAX_OFFSET)


def _validate_tensors(message: Nnpfc) -> None:
    for side in ("inp", "out"):
        accept_idc(
            f"nnpfc_{side}_format_idc",
            getattr(message, f"nnpfc_{side}_format_idc"),
            1,
            clause=_CLAUSE,
        )
        accept_idc(
            f"nnpfc_{side}_order_idc",
            getattr(message, f"nnpfc_{side}_order_idc"),
            3,
            clause=_CLAUSE,
        )
        for plane in ("luma", "chroma"):
            name = f"nnpfc_{side}_tensor_{plane}_bitdepth_minus8"
            _within(name, getattr(message, name), _MAX_BITDEPTH_MINUS8)
    inp_order, out_order = message.nnpfc_inp_order_idc, message.nnpfc_out_order_idc
    if message.nnpfc_inp_format_idc == message.nnpfc_out_format_idc == 1 and (
        min(inp_order, out_order) >= 2
    ):
        inp_luma, inp_chroma = tensor_bit_depths(message, "inp")
        out_luma, out_chroma = tensor_bit_depths(message, "out")
        _demand(
            (out_luma - inp_luma) * (out_chroma - inp_chroma) >= 0,
            "nnpfc_out_tensor_chroma_bitdepth_minus8",
            "luma and chroma depth move in opposite directions",
        )
    purpose = message.nnpfc_purpose
    if purpose & syntax.PURPOSE_CHROMA_UPSAMPLING:
        _demand(inp_order != 0, "nnpfc_inp_order_idc", "chroma upsampling without chroma input")
        _demand(out_order not in (0, 3), "nnpfc_out_order_idc", "no place for upsampled chroma")
    if purpose & syntax.PURPOSE_COLOURIZATION:
        _demand(out_order != 0, "nnpfc_out_order_idc", "no place for colour")
    _within("nnpfc_chroma_sample_loc_type_frame", message.nnpfc_chroma_sample_loc_type_frame, 6)


def _validate_patches(message: Nnpfc) -> None:
    _within("nnpfc_overlap", message.nnpfc_overlap, _MAX_OVERLAP)
    for name in (
        "nnpfc_patch_width_minus1",
        "nnpfc_patch_height_minus1",
        "nnpfc_extended_patch_width_cd_delta_minus1",
        "nnpfc_extended_patch_height_cd_delta_minus1",
    ):
        _within(name, getattr(message, name), _MAX_PATCH_MINUS1)
    accept_idc(
        "nnpfc_padding_type",
        message.nnpfc_padding_type,
        _PADDING_FIXED,
        reserved=15,
        clause=_CLAUSE,
    )


def _check_matrix(message: Nnpfc, chroma: ChromaFormat) -> None:
    """Matrices that mix components need them at equal depth and sampling."""
    if not (
        message.nnpfc_separate_colour_description_present_flag and message.nnpfc_out_format_idc == 1
    ):
        return
    matrix = message.nnpfc_matrix_coeffs
    luma, chroma_depth = tensor_bit_depths(message, "out")
    full = message.nnpfc_out_order_idc == 2 and chroma is ChromaFormat.C444
    allowed = {
        0: luma == chroma_depth and full,
        8: luma == chroma_depth or (chroma_depth == luma + 1 and full),
        16: luma == chroma_depth and full,
        17: luma == chroma_depth and full,
    }
    _demand(
        allowed.get(matrix, True),
        "nnpfc_matrix_coeffs",
        f"{matrix} does not go with {chroma.name} and depths {luma}, {chroma_depth}",
    )


def _within(element: str, value: int, largest: int) -> None:
    _demand(value <= largest, element, f"{value} is over {largest}")


def _demand(holds: bool, element: str, message: str) -> None:
    if not holds:
        raise BitstreamError(message, unit="NNPFC", element=element, clause=_CLAUSE)
