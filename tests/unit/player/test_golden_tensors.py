# SPDX-License-Identifier: Apache-2.0
"""Input and output tensors of NNPFC against the formulae of H.274, written out sample by sample.

What is here shares no code with the package: one function for each formula, loops instead of
slices.  The network is a stand-in that keeps what it is fed and answers with known numbers.

Spec: Rec. ITU-T H.274 clause 8.28.1.2, DeriveInputTensors(), InpSampleVal(), StoreOutputTensors().
"""

import itertools
import zlib

import numpy as np
import pytest

from nnrvideo.limits import Limits
from nnrvideo.picture import ChromaFormat
from nnrvideo.player import characteristics
from nnrvideo.player.filter import LoadedNetwork, NetworkFilter
from nnrvideo.runtime.base import TensorInfo
from nnrvideo.sei import Nnpfc

WIDTH, HEIGHT = 22, 14
SUBSAMPLING = {"C420": (2, 2), "C422": (2, 1), "C444": (1, 1), "MONO": (1, 1)}
CHANNELS = {0: 1, 1: 2, 2: 3, 3: 6}


# -- the formulae ------------------------------------------------------------------------------


def inp_sample_val(plane, y, x, padding, value):
    height, width = plane.shape
    if 0 <= y < height and 0 <= x < width:
        return int(plane[y, x])
    if padding == 0:
        return 0
    if padding == 4:
        return value
    if padding == 1:
        return int(plane[min(max(y, 0), height - 1), min(max(x, 0), width - 1)])
    if padding == 2:
        while not 0 <= y < height:
            y = -y if y < 0 else 2 * height - 2 - y
        while not 0 <= x < width:
            x = -x if x < 0 else 2 * width - 2 - x
        return int(plane[y, x])
    return int(plane[min(max(y, 0), height - 1), x % width])


def divided(number, divisor):
    """Integer division of H.274: toward zero."""
    quotient = abs(number) // divisor
    return quotient if number >= 0 else -quotient


def inp_tensor_val(sample, depth, tensor_depth):
    if tensor_depth is None:
        return np.float32(sample) / np.float32(2**depth - 1)
    if tensor_depth >= depth:
        return sample << (tensor_depth - depth)
    shift = depth - tensor_depth
    return min(2**tensor_depth - 1, (sample + (1 << (shift - 1))) >> shift)


def derive_input(picture, order, chroma, top, left, rows, columns, nnpfc, tensor_depth, strength):
    """Tensor (C, rows, columns) of one patch whose first sample is at (top, left) of the grid."""
    sub_x, sub_y = SUBSAMPLING[chroma]
    count = CHANNELS[order] + (strength is not None)
    tensor = np.zeros((count, rows, columns), np.float64)
    padding = nnpfc.nnpfc_padding_type
    values = (
        nnpfc.nnpfc_luma_padding_val,
        nnpfc.nnpfc_cb_padding_val,
        nnpfc.nnpfc_cr_padding_val,
    )

    def take(component, y, x):
        sample = inp_sample_val(picture.planes[component], y, x, padding, values[component])
        return inp_tensor_val(sample, picture.bit_depth, tensor_depth)

    for row, column in itertools.product(range(rows), range(columns)):
        y, x = top + row, left + column
        if order == 0:
            got = [take(0, y, x)]
        elif order == 1:
            got = [take(1, y, x), take(2, y, x)]
        elif order == 2:
            cy, cx = divided(y, sub_y), divided(x, sub_x)
            got = [take(0, y, x), take(1, cy, cx), take(2, cy, cx)]
        else:
            got = [
                take(0, 2 * y, 2 * x),
                take(0, 2 * y, 2 * x + 1),
                take(0, 2 * y + 1, 2 * x),
                take(0, 2 * y + 1, 2 * x + 1),
                take(1, y, x),
                take(2, y, x),
            ]
        if strength is not None:
            real = tensor_depth is None
            got.append(strength if real else int(strength * (2**tensor_depth - 1)))
        tensor[:, row, column] = got
    return tensor


def out_sample_val(value, depth, tensor_depth):
    if tensor_depth is None:
        return int(np.floor(min(max(np.float32(value), 0), 1) * np.float32(2**depth - 1) + 0.5))
    return int(value)


def store_output(planes, tensor, order, chroma, top, left, depth, tensor_depth):
    sub_x, sub_y = SUBSAMPLING[chroma]
    for row, column in itertools.product(range(tensor.shape[1]), range(tensor.shape[2])):
        y, x = top + row, left + column
        values = [out_sample_val(v, depth, tensor_depth) for v in tensor[:, row, column]]
        if order == 0:
            places = [(0, y, x)]
        elif order == 1:
            places = [(1, y, x), (2, y, x)]
        elif order == 2:
            places = [(0, y, x)]
            if y % sub_y == 0 and x % sub_x == 0:
                places += [(1, y // sub_y, x // sub_x), (2, y // sub_y, x // sub_x)]
        else:
            places = [
                (0, 2 * y, 2 * x), (0, 2 * y, 2 * x + 1),
                (0, 2 * y + 1, 2 * x), (0, 2 * y + 1, 2 * x + 1), (1, y, x), (2, y, x),
            ]  # fmt: skip
        for (component, py, px), value in zip(places, values, strict=False):
            plane = planes[component]
            if py < plane.shape[0] and px < plane.shape[1]:
                plane[py, px] = value


# -- the stand-in ------------------------------------------------------------------------------


class Recorder:
    """Keeps its inputs; its outputs are numbers that depend on nothing but how many came before."""

    provider, fallbacks = "test", ()

    def __init__(self, info, channels, scale, overlap, component_last, dtype, top):
        self.inputs = (info,)
        self.outputs = (TensorInfo("y", (None,) * 4, np.dtype(dtype)),)
        self.fed, self.made = [], []
        self._rest = channels, scale, overlap, component_last, dtype, top

    def run(self, feeds):
        channels, scale, overlap, last, dtype, top = self._rest
        (given,) = feeds.values()
        given = np.moveaxis(given, -1, 1) if last else given
        size = [(side - 2 * overlap) * scale for side in given.shape[2:]]
        random = np.random.default_rng(len(self.fed))
        if np.dtype(dtype).kind == "f":
            made = random.uniform(-0.2, 1.2, (1, channels, *size)).astype(dtype)
        else:
            made = random.integers(0, top + 1, (1, channels, *size)).astype(dtype)
        self.fed.append(given[0].copy())
        self.made.append(made[0])
        return (np.ascontiguousarray(np.moveaxis(made, 1, -1)) if last else made,)


CASES = [
    (order, chroma, padding, patch)
    for order in range(4)
    for chroma in ("C420", "C422", "C444", "MONO")
    for padding in range(5)
    for patch in ("free", "small", "exact")
    if not (chroma == "MONO" and order) and not (order == 3 and chroma != "C420")
]


@pytest.mark.parametrize(("order", "chroma", "padding", "patch"), CASES)
def test_tensors_are_those_of_the_formulae(nets, order, chroma, padding, patch):
    """Depths, number formats, layout, strength and scale take turns from case to case."""
    turn = zlib.crc32(f"{order}{chroma}{padding}{patch}".encode())
    depth = (8, 10)[turn % 2]
    tensor_depth = (None, depth, 16, 8)[turn // 2 % 4]
    component_last = bool(turn // 8 % 2)
    strength = 0.625 if turn // 16 % 2 else None
    doubles = bool(turn // 32 % 2)
    overlap = (0, 1, 3)[turn // 64 % 3]
    picture = nets.noise(WIDTH, HEIGHT, ChromaFormat[chroma], depth, seed=turn % 1000)

    sizes = {"free": (2, 2), "small": (6, 4), "exact": (11, 7)}[patch]
    fields = {
        "nnpfc_purpose": 0x04 if doubles else 0x01,
        "nnpfc_pic_width_num_minus1": int(doubles),
        "nnpfc_pic_height_num_minus1": int(doubles),
        "nnpfc_constant_patch_size_flag": patch != "free",
    }
    if patch == "free":
        fields["nnpfc_extended_patch_width_cd_delta_minus1"] = sizes[0] - 1
        fields["nnpfc_extended_patch_height_cd_delta_minus1"] = sizes[1] - 1
    else:
        fields["nnpfc_patch_width_minus1"] = sizes[0] - 1
        fields["nnpfc_patch_height_minus1"] = sizes[1] - 1
    nnpfc = Nnpfc(
        nnpfc_id=7,
        nnpfc_component_last_flag=component_last,
        nnpfc_inp_format_idc=int(tensor_depth is not None),
        nnpfc_out_format_idc=int(tensor_depth is not None),
        nnpfc_auxiliary_inp_idc=int(strength is not None),
        nnpfc_inp_order_idc=order,
        nnpfc_out_order_idc=order,
        nnpfc_inp_tensor_luma_bitdepth_minus8=(tensor_depth or 8) - 8,
        nnpfc_inp_tensor_chroma_bitdepth_minus8=(tensor_depth or 8) - 8,
        nnpfc_out_tensor_luma_bitdepth_minus8=depth - 8 if tensor_depth else 0,
        nnpfc_out_tensor_chroma_bitdepth_minus8=depth - 8 if tensor_depth else 0,
        nnpfc_overlap=overlap,
        nnpfc_padding_type=padding,
        nnpfc_luma_padding_val=100,
        nnpfc_cb_padding_val=50,
        nnpfc_cr_padding_val=200,
        nnpfc_payload_byte=b"\0",
        **fields,
    )
    integers = {None: np.float32, 8: np.uint8}.get(tensor_depth, np.uint16)
    scale = 1 + doubles
    channels = CHANNELS[order]
    inputs = channels + (strength is not None)
    shape = (1, None, None, inputs) if component_last else (1, inputs, None, None)
    made = np.float32 if tensor_depth is None else np.uint8 if depth == 8 else np.uint16
    session = Recorder(
        TensorInfo("x", shape, np.dtype(integers)),
        channels, scale, overlap, component_last, made, 2**depth - 1,
    )  # fmt: skip
    network = LoadedNetwork(
        session, characteristics.input_tensor(nnpfc), characteristics.output_tensor(nnpfc)
    )
    network_filter = NetworkFilter(
        network, nnpfc, picture.format, limits=Limits.desktop(), max_memory_bytes=1 << 24
    )
    session.fed.clear()
    session.made.clear()
    result = network_filter.process(picture, 0.625)

    unit_x, unit_y = {1: SUBSAMPLING[chroma], 3: (2, 2)}.get(order, (1, 1))
    grid_x, grid_y = -(-WIDTH // unit_x), -(-HEIGHT // unit_y)
    if patch == "free":
        # Any patch will do whose size with overlap is a multiple of the one signalled.
        rows, columns = (side - 2 * overlap for side in session.fed[0].shape[1:])
        assert (columns + 2 * overlap) % (sizes[0] + 2 * overlap) == 0
        assert (rows + 2 * overlap) % (sizes[1] + 2 * overlap) == 0
    else:
        columns, rows = sizes
    places = list(itertools.product(range(0, grid_y, rows), range(0, grid_x, columns)))
    assert len(session.fed) == len(places)
    planes = [plane.copy() for plane in result.planes]
    for plane in planes[: 3 if order else 1]:
        plane[:] = 77
    for (top, left), fed, out in zip(places, session.fed, session.made, strict=True):
        wanted = derive_input(
            picture, order, chroma, top - overlap, left - overlap,
            rows + 2 * overlap, columns + 2 * overlap, nnpfc, tensor_depth, strength,
        )  # fmt: skip
        np.testing.assert_array_equal(fed.astype(np.float64), wanted)
        out_depth = None if tensor_depth is None else depth
        store_output(planes, out, order, chroma, top * scale, left * scale, depth, out_depth)
    made_by_network = {0: [0], 1: [1, 2], 2: [0, 1, 2], 3: [0, 1, 2]}[order]
    for component in made_by_network:
        np.testing.assert_array_equal(result.planes[component], planes[component])


def test_the_cases_take_every_turn():
    """The turns above do reach each value, also together with each order."""
    seen = set()
    for order, chroma, padding, patch in CASES:
        turn = zlib.crc32(f"{order}{chroma}{padding}{patch}".encode())
        seen.update(
            (order, name, value)
            for name, value in (
                ("depth", turn % 2),
                ("format", turn // 2 % 4),
                ("last", turn // 8 % 2),
                ("strength", turn // 16 % 2),
                ("doubles", turn // 32 % 2),
                ("overlap", turn // 64 % 3),
            )
        )
    assert len(seen) == 4 * (2 + 4 + 2 + 2 + 2 + 3)
