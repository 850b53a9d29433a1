# SPDX-License-Identifier: Apache-2.0
"""Tensor layouts, against values written out by hand and against a sample-by-sample oracle."""

import numpy as np
import pytest

from nnrvideo.errors import UnsupportedFeatureError
from nnrvideo.picture import ChromaFormat, Picture, PictureFormat
from nnrvideo.runtime.layout import (
    TensorFormat,
    fill_input,
    grid_size,
    store_output,
    tensor_is_plane,
    to_samples,
    whole_planes,
)
from nnrvideo.runtime.tiling import PatchRules

NO_PADDING = PatchRules(overlap=0, constant=True, width=1, height=1)


def picture(width=4, height=4, chroma=ChromaFormat.C420, depth=8, seed=0):
    """Random samples of all values."""
    rng = np.random.default_rng(seed)
    shape = PictureFormat(width, height, chroma, depth)
    planes = tuple(
        rng.integers(0, 1 << depth, shape.plane_shape(c)).astype(shape.dtype)
        for c in range(chroma.planes)
    )
    return Picture(planes, chroma, depth)


def counted():
    """4x4 4:2:0 picture: luma 0..15 in raster order, Cb 100..103, Cr 200..203."""
    return Picture(
        (
            np.arange(16, dtype=np.uint8).reshape(4, 4),
            np.arange(100, 104, dtype=np.uint8).reshape(2, 2),
            np.arange(200, 204, dtype=np.uint8).reshape(2, 2),
        )
    )


def filled(pic, layout, origin=(0, 0), size=None, rules=NO_PADDING, dtype=np.uint8, strength=1.0):
    width, height = size or grid_size(layout.order_idc, pic.format)
    shape = (
        (height, width, layout.channels)
        if layout.component_last
        else (layout.channels, height, width)
    )
    tensor = np.full(shape, 77, dtype)
    fill_input(tensor, pic, layout, origin, rules, strength)
    return tensor


def integer(order, **more):
    return TensorFormat(order, format_idc=1, **more)


def test_order_0_is_luma():
    assert filled(counted(), integer(0)).tolist() == [np.arange(16).reshape(4, 4).tolist()]


def test_order_1_is_chroma_on_its_own_grid():
    assert filled(counted(), integer(1)).tolist() == [
        [[100, 101], [102, 103]],
        [[200, 201], [202, 203]],
    ]


def test_order_2_repeats_chroma_to_luma_size():
    tensor = filled(counted(), integer(2))
    assert tensor[0].tolist() == np.arange(16).reshape(4, 4).tolist()
    assert tensor[1].tolist() == [[100, 100, 101, 101]] * 2 + [[102, 102, 103, 103]] * 2
    assert tensor[2].tolist() == [[200, 200, 201, 201]] * 2 + [[202, 202, 203, 203]] * 2


def test_order_2_of_422_repeats_horizontally_only():
    pic = Picture(
        (
            np.zeros((2, 4), np.uint8),
            np.array([[1, 2], [3, 4]], np.uint8),
            np.array([[5, 6], [7, 8]], np.uint8),
        ),
        ChromaFormat.C422,
    )
    assert filled(pic, integer(2))[1].tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]


def test_order_3_is_four_luma_phases_then_chroma():
    assert filled(counted(), integer(3)).tolist() == [
        [[0, 2], [8, 10]],
        [[1, 3], [9, 11]],
        [[4, 6], [12, 14]],
        [[5, 7], [13, 15]],
        [[100, 101], [102, 103]],
        [[200, 201], [202, 203]],
    ]


def test_component_last():
    first = filled(counted(), integer(3))
    last = filled(counted(), integer(3, component_last=True))
    assert np.array_equal(np.moveaxis(last, -1, 0), first)


def test_real_numbers_are_fractions_of_full_range():
    tensor = filled(counted(), TensorFormat(0), dtype=np.float32)
    assert tensor[0, 3, 3] == np.float32(15) / np.float32(255)
    deep = picture(depth=10)
    tensor = filled(deep, TensorFormat(0), dtype=np.float32)
    assert np.array_equal(tensor[0], deep.planes[0].astype(np.float32) / np.float32(1023))


@pytest.mark.parametrize(
    ("depth", "tensor_depth", "sample", "expected"),
    [
        (8, 8, 200, 200),
        (8, 10, 200, 800),
        (10, 8, 1021, 255),  # (1021 + 2) >> 2
        (10, 8, 1022, 255),  # would be 256 without the clip
        (10, 8, 5, 1),
        (10, 8, 6, 2),
        (12, 16, 4095, 65520),
    ],
)
def test_integers_are_shifted(depth, tensor_depth, sample, expected):
    dtype = np.uint8 if depth == 8 else np.uint16
    pic = Picture((np.full((2, 2), sample, dtype),), ChromaFormat.MONO, depth)
    layout = integer(0, luma_bit_depth=tensor_depth)
    assert filled(pic, layout, dtype=np.uint16).tolist() == [[[expected] * 2] * 2]


def test_luma_and_chroma_have_depths_of_their_own():
    layout = integer(2, luma_bit_depth=8, chroma_bit_depth=10)
    tensor = filled(counted(), layout, dtype=np.uint16)
    assert (tensor[0, 3, 3], tensor[1, 0, 0]) == (15, 400)


def test_strength_is_the_last_channel():
    tensor = filled(counted(), TensorFormat(3, strength=True), dtype=np.float32, strength=0.25)
    assert tensor.shape[0] == 7
    assert (tensor[6] == 0.25).all()


def test_integer_strength_is_floored_at_the_tensor_depth():
    assert (filled(counted(), integer(0, strength=True), strength=0.5)[1] == 127).all()
    chroma = integer(1, strength=True, luma_bit_depth=8, chroma_bit_depth=10)
    assert (filled(counted(), chroma, dtype=np.uint16, strength=0.5)[2] == 511).all()


# -- beyond the edge ---------------------------------------------------------------------------


def oracle(pic, order, x, y, rules):
    """Channels at one grid position, written as the standard's formulae."""
    sub_w, sub_h = pic.chroma_format.sub_width, pic.chroma_format.sub_height

    def sample(c, px, py):
        rows, columns = pic.planes[c].shape
        inside = 0 <= px < columns and 0 <= py < rows
        if not inside:
            match rules.padding_type:
                case 0:
                    return 0
                case 4:
                    return rules.padding_values[c]
                case 2:
                    px, py = mirror(px, columns), mirror(py, rows)
                case 3:
                    px, py = px % columns, min(max(py, 0), rows - 1)
                case 1:
                    px, py = min(max(px, 0), columns - 1), min(max(py, 0), rows - 1)
        return int(pic.planes[c][py, px])

    def mirror(value, size):
        while not 0 <= value < size:
            value = -value if value < 0 else 2 * (size - 1) - value
        return value

    def divide(value, by):  # toward zero
        return -(-value // by) if value < 0 else value // by

    match order:
        case 0:
            return [sample(0, x, y)]
        case 1:
            return [sample(1, x, y), sample(2, x, y)]
        case 2:
            cx, cy = divide(x, sub_w), divide(y, sub_h)
            return [sample(0, x, y), sample(1, cx, cy), sample(2, cx, cy)]
        case 3:
            luma = [sample(0, 2 * x + i, 2 * y + j) for j in (0, 1) for i in (0, 1)]
            return [*luma, sample(1, x, y), sample(2, x, y)]


@pytest.mark.parametrize("padding_type", range(5))
@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("size", [(8, 6), (7, 5)])
def test_padding_of_every_type_and_order(size, order, padding_type):
    pic = picture(*size, seed=order)
    rules = PatchRules(
        overlap=3,
        constant=True,
        width=4,
        height=4,
        padding_type=padding_type,
        padding_values=(11, 22, 33),
    )
    width, height = grid_size(order, pic.format)
    x0, y0 = -3, -3
    tensor = filled(pic, integer(order), (x0, y0), (width + 6, height + 6), rules)
    for row in range(height + 6):
        for column in range(width + 6):
            expected = oracle(pic, order, column + x0, row + y0, rules)
            assert tensor[:, row, column].tolist() == expected, (column + x0, row + y0)


@pytest.mark.parametrize("padding_type", range(5))
def test_patch_wholly_outside(padding_type):
    pic = picture(5, 4)
    rules = PatchRules(
        overlap=0,
        constant=True,
        width=3,
        height=3,
        padding_type=padding_type,
        padding_values=(9, 9, 9),
    )
    tensor = filled(pic, integer(0), (6, 5), (3, 3), rules)
    expected = [[oracle(pic, 0, 6 + i, 5 + j, rules)[0] for i in range(3)] for j in range(3)]
    assert tensor[0].tolist() == expected


def test_golden_reflect_does_not_repeat_the_edge():
    pic = Picture((np.array([[1, 2, 3, 4]], np.uint8),), ChromaFormat.MONO)
    rules = PatchRules(overlap=2, constant=True, width=4, height=1, padding_type=2)
    tensor = filled(pic, integer(0), (-2, 0), (8, 1), rules)
    assert tensor[0].tolist() == [[3, 2, 1, 2, 3, 4, 3, 2]]


def test_golden_wrap_is_horizontal_only():
    pic = Picture((np.array([[1, 2], [3, 4]], np.uint8),), ChromaFormat.MONO)
    rules = PatchRules(overlap=1, constant=True, width=2, height=2, padding_type=3)
    tensor = filled(pic, integer(0), (-1, -1), (4, 4), rules)
    assert tensor[0].tolist() == [[2, 1, 2, 1], [2, 1, 2, 1], [4, 3, 4, 3], [4, 3, 4, 3]]


def test_reflect_on_a_single_sample_is_that_sample():
    pic = Picture((np.array([[9]], np.uint8),), ChromaFormat.MONO)
    rules = PatchRules(overlap=2, constant=True, width=1, height=1, padding_type=2)
    assert (filled(pic, integer(0), (-2, -2), (5, 5), rules) == 9).all()


# -- back again --------------------------------------------------------------------------------


@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("size", [(8, 6), (7, 5)])
@pytest.mark.parametrize("last", [False, True])
def test_output_layout_is_the_inverse_of_the_input_layout(order, size, last):
    pic = picture(*size)
    layout = integer(order, component_last=last)
    tensor = filled(pic, layout, rules=PatchRules(0, True, 1, 1, 1))
    planes = whole_planes(tensor, layout, pic.format)
    stored = [np.zeros_like(plane) for plane in pic.planes]
    store_output(tensor, layout, (0, 0), pic.format, stored)
    for component, plane in planes.items():
        assert np.array_equal(plane, pic.planes[component]), component
        assert np.array_equal(stored[component], pic.planes[component]), component
    assert set(planes) == {0: {0}, 1: {1, 2}, 2: {0, 1, 2}, 3: {0, 1, 2}}[order]


@pytest.mark.parametrize("order", range(4))
def test_patches_are_stored_where_they_were_taken(order):
    pic = picture(11, 9)
    layout = integer(order)
    rules = PatchRules(0, True, 3, 2, 1)
    stored = [np.zeros_like(plane) for plane in pic.planes]
    width, height = grid_size(order, pic.format)
    for y in range(0, height, 2):
        for x in range(0, width, 3):
            tensor = filled(pic, layout, (x, y), (3, 2), rules)
            store_output(tensor, layout, (x, y), pic.format, stored)
    made = {0: (0,), 1: (1, 2)}.get(order, (0, 1, 2))
    for component in made:
        assert np.array_equal(stored[component], pic.planes[component])


def test_order_2_takes_chroma_at_the_top_left_of_each_block():
    tensor = np.stack([np.zeros((4, 4)), np.arange(16).reshape(4, 4), np.zeros((4, 4))])
    planes = whole_planes(tensor.astype(np.uint8), integer(2), PictureFormat(4, 4))
    assert planes[1].tolist() == [[0, 2], [8, 10]]


def test_real_output_is_clipped_and_rounded_half_up():
    values = np.array([-0.1, 0.0, 0.5 / 255, 1.49 / 255, 1.0, 1.7, np.nan, np.inf], np.float32)
    assert to_samples(values, TensorFormat(0), 0, 8).tolist() == [0, 0, 1, 1, 255, 255, 0, 255]
    assert to_samples(np.float32([1.0]), TensorFormat(0), 0, 10).tolist() == [1023]
    assert to_samples(np.float32([1.0]), TensorFormat(0), 0, 16).tolist() == [65535]


def test_integer_output_is_shifted_to_the_depth_wanted():
    layout = integer(0, luma_bit_depth=10)
    assert to_samples(np.uint16([5, 1023]), layout, 0, 8).tolist() == [1, 255]
    assert to_samples(np.uint16([5, 1023]), layout, 0, 12).tolist() == [20, 4092]
    assert to_samples(np.uint16([5000]), layout, 0, 10).tolist() == [1023]


def test_nothing_is_copied_where_nothing_changes():
    pic = counted()
    assert tensor_is_plane(pic, integer(0), np.dtype(np.uint8), (4, 4))
    assert not tensor_is_plane(pic, integer(0), np.dtype(np.uint8), (4, 5))
    assert not tensor_is_plane(pic, TensorFormat(0), np.dtype(np.float32), (4, 4))
    tensor = np.zeros((1, 8, 8), np.uint8)
    plane = whole_planes(tensor, integer(0), PictureFormat(7, 7, ChromaFormat.MONO))[0]
    assert np.shares_memory(plane, tensor)


@pytest.mark.parametrize(
    ("chroma", "order"), [(ChromaFormat.MONO, 1), (ChromaFormat.MONO, 2), (ChromaFormat.C444, 3)]
)
def test_orders_that_the_chroma_format_lacks(chroma, order):
    with pytest.raises(UnsupportedFeatureError):
        filled(picture(chroma=chroma), integer(order), size=(4, 4))


def test_reserved_values_are_refused():
    with pytest.raises(UnsupportedFeatureError):
        TensorFormat(4)
    with pytest.raises(UnsupportedFeatureError):
        TensorFormat(0, format_idc=2)
    with pytest.raises(UnsupportedFeatureError):
        PatchRules(0, True, 1, 1, padding_type=5)
