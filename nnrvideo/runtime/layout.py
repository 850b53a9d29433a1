# SPDX-License-Identifier: Apache-2.0
"""Pictures to tensors and back, as an NNPFC declares them.

This is the only place that knows in which order the samples of a picture enter a network.  Which
positions are read and what stands beyond the edge is decided in :mod:`nnrvideo.runtime.tiling`.
Samples are copied at most once, and without passing through floating point where the graph takes
integers.

Spec: Rec. ITU-T H.274, DeriveInputTensors() and StoreOutputTensors(); spec/nnpf-sei.md §4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy as np

from nnrvideo.errors import UnsupportedFeatureError
from nnrvideo.picture import ChromaFormat, Picture, PictureFormat, Plane
from nnrvideo.runtime.base import Array
from nnrvideo.runtime.tiling import Coordinates, PatchRules, pad_coordinates

ORDER_LUMA, ORDER_CHROMA, ORDER_LUMA_CHROMA, ORDER_HALF_GRID = range(4)
FORMAT_REAL, FORMAT_INTEGER = range(2)


@final
@dataclass(frozen=True, slots=True)
class TensorFormat:
    """How samples lie in an input or output tensor.

    Args:
        order_idc: ``nnpfc_inp_order_idc`` or ``nnpfc_out_order_idc``, 0 to 3.
        format_idc: 0: real numbers, 0..1 is the full code range; 1: integers.
        luma_bit_depth: Bit depth of integers for luma, 8 to 32.
        chroma_bit_depth: Bit depth of integers for chroma, 8 to 32.
        component_last: Channels follow x instead of preceding y.
        strength: One more channel, last, that is constant (``nnpfc_auxiliary_inp_idc`` & 1).

    Raises:
        UnsupportedFeatureError: Order or format is reserved.
    """

    order_idc: int
    format_idc: int = FORMAT_REAL
    luma_bit_depth: int = 8
    chroma_bit_depth: int = 8
    component_last: bool = False
    strength: bool = False

    def __post_init__(self) -> None:
        if not ORDER_LUMA <= self.order_idc <= ORDER_HALF_GRID:
            msg = f"order idc {self.order_idc} is reserved"
            raise UnsupportedFeatureError(msg, clause="Rec. ITU-T H.274 nnpfc_inp_order_idc")
        if self.format_idc not in (FORMAT_REAL, FORMAT_INTEGER):
            msg = f"format idc {self.format_idc} is reserved"
            raise UnsupportedFeatureError(msg, clause="Rec. ITU-T H.274 nnpfc_inp_format_idc")

    @property
    def channels(self) -> int:
        """Channels of the tensor."""
        return (1, 2, 3, 6)[self.order_idc] + self.strength

    def bit_depth(self, component: int) -> int:
        """Bit depth of integers for a colour component."""
        return self.chroma_bit_depth if component else self.luma_bit_depth


@final
@dataclass(frozen=True, slots=True)
class _Channel:
    """Sample that a channel takes at grid position g: ``trunc((g * step + phase) / repeat)``."""

    component: int
    step: int = 1
    phase_x: int = 0
    phase_y: int = 0
    repeat_x: int = 1
    repeat_y: int = 1


def channels_of(order_idc: int, chroma_format: ChromaFormat) -> tuple[_Channel, ...]:
    """Channels of an order idc, without the strength channel.

    Raises:
        UnsupportedFeatureError: The chroma format has no such order.
    """
    if order_idc == ORDER_LUMA:
        return (_Channel(0),)
    if chroma_format is ChromaFormat.MONO:
        msg = f"order idc {order_idc} needs chroma, the picture has none"
        raise UnsupportedFeatureError(msg, clause="Rec. ITU-T H.274 nnpfc_inp_order_idc")
    if order_idc == ORDER_CHROMA:
        return _Channel(1), _Channel(2)
    if order_idc == ORDER_LUMA_CHROMA:
        sub_w, sub_h = chroma_format.sub_width, chroma_format.sub_height
        chroma = [_Channel(c, repeat_x=sub_w, repeat_y=sub_h) for c in (1, 2)]
        return _Channel(0), *chroma
    if chroma_format is not ChromaFormat.C420:
        msg = f"order idc 3 needs 4:2:0, the picture is {chroma_format.name}"
        raise UnsupportedFeatureError(msg, clause="Rec. ITU-T H.274 nnpfc_inp_order_idc")
    phases = [_Channel(0, 2, x, y) for y in (0, 1) for x in (0, 1)]
    return *phases, _Channel(1), _Channel(2)


def grid_unit(order_idc: int, chroma_format: ChromaFormat) -> tuple[int, int]:
    """Luma samples that one grid position stands for, horizontally and vertically."""
    if order_idc == ORDER_CHROMA:
        return chroma_format.sub_width, chroma_format.sub_height
    return (2, 2) if order_idc == ORDER_HALF_GRID else (1, 1)


def grid_size(order_idc: int, picture_format: PictureFormat) -> tuple[int, int]:
    """Width and height of a picture in grid positions; rounded up for odd sizes."""
    unit_x, unit_y = grid_unit(order_idc, picture_format.chroma_format)
    return -(-picture_format.width // unit_x), -(-picture_format.height // unit_y)


def fill_input(  # noqa: PLR0917 - the patch, its picture and its place
    tensor: Array,
    picture: Picture,
    layout: TensorFormat,
    origin: tuple[int, int],
    rules: PatchRules,
    strength: float = 1.0,
) -> None:
    """Writes the samples of one patch, with its surroundings, into an input tensor.

    Args:
        tensor: Destination for one batch item, (C, height, width), or (height, width, C) if
            ``layout.component_last``; any real or unsigned integer dtype.
        picture: The decoded picture.
        layout: How the tensor is to be filled.
        origin: Grid position (x, y) of the tensor's first sample; negative in the overlap.
        rules: Says what stands beyond the edge.
        strength: StrengthControlVal, 0 to 1; used with ``layout.strength`` only.
    """
    view = np.moveaxis(tensor, -1, 0) if layout.component_last else tensor
    channels = channels_of(layout.order_idc, picture.chroma_format)
    for target, channel in zip(view, channels, strict=False):
        plane = picture.planes[channel.component]
        depth = layout.bit_depth(channel.component)
        integer = layout.format_idc == FORMAT_INTEGER
        direct = integer and depth == picture.bit_depth and target.dtype == plane.dtype
        patch = target if direct else np.empty(view.shape[1:], plane.dtype)
        _gather(plane, channel, origin, rules, patch)
        if not direct and integer:
            target[...] = _to_integers(patch, picture.bit_depth, depth)
        elif not direct:
            np.divide(
                patch, np.float32((1 << picture.bit_depth) - 1), out=target, casting="same_kind"
            )
    if layout.strength:
        view[-1] = _strength_value(layout, strength)


def tensor_is_plane(
    picture: Picture, layout: TensorFormat, dtype: np.dtype[Any], shape: Sequence[int]
) -> bool:
    """Whether the luma plane, as it lies in memory, is the input tensor: nothing to copy."""
    plane = picture.planes[0]
    return (
        layout.order_idc == ORDER_LUMA
        and not layout.strength
        and layout.format_idc == FORMAT_INTEGER
        and layout.luma_bit_depth == picture.bit_depth
        and dtype == plane.dtype
        and tuple(shape) == plane.shape
        and plane.flags.c_contiguous
    )


def output_is_plane(layout: TensorFormat, dtype: np.dtype[Any], target: PictureFormat) -> bool:
    """Whether an output tensor holds the samples of the luma plane as a picture has them."""
    depth = target.bit_depth
    return (
        layout.order_idc == ORDER_LUMA
        and layout.format_idc == FORMAT_INTEGER
        and layout.luma_bit_depth == depth
        and depth in (8, 16)  # others must be clipped
        and dtype == target.dtype
    )


def store_output(
    tensor: Array,
    layout: TensorFormat,
    origin: tuple[int, int],
    target: PictureFormat,
    planes: Sequence[Plane | None],
) -> None:
    """Writes one patch of an output tensor into the planes of the output picture.

    Args:
        tensor: One batch item, (C, height, width), or (height, width, C) if
            ``layout.component_last``.
        layout: How the tensor is filled.
        origin: Position (x, y) of the tensor's first sample in the output grid.
        target: Format of the output picture; samples are converted to its bit depth.
        planes: Destination for each colour component; None for those that the tensor lacks.
            What lies beyond a plane is surplus and thrown away.
    """
    view = np.moveaxis(tensor, -1, 0) if layout.component_last else tensor
    for samples, channel in zip(
        view, channels_of(layout.order_idc, target.chroma_format), strict=False
    ):
        plane = planes[channel.component]
        if plane is None:
            continue
        x, y = origin
        if channel.repeat_x > 1 or channel.repeat_y > 1:
            # Chroma stands at positions that are multiples of the subsampling *in the picture*.
            skip_x, skip_y = -x % channel.repeat_x, -y % channel.repeat_y
            samples = samples[skip_y :: channel.repeat_y, skip_x :: channel.repeat_x]
            x, y = (x + skip_x) // channel.repeat_x, (y + skip_y) // channel.repeat_y
        spot = plane[
            y * channel.step + channel.phase_y :: channel.step,
            x * channel.step + channel.phase_x :: channel.step,
        ]
        rows, columns = min(spot.shape[0], samples.shape[0]), min(spot.shape[1], samples.shape[1])
        spot[:rows, :columns] = to_samples(
            samples[:rows, :columns], layout, channel.component, target.bit_depth
        )


def whole_planes(tensor: Array, layout: TensorFormat, target: PictureFormat) -> dict[int, Plane]:
    """Planes of the output picture when one patch covers all of it.

    Args:
        tensor: One batch item, at least as large as the picture; the surplus is cut off.
        layout: How the tensor is filled.
        target: Format of the output picture.

    Returns:
        Plane by colour component; a view of ``tensor`` where its values are the samples.
    """
    channels = channels_of(layout.order_idc, target.chroma_format)
    if layout.order_idc == ORDER_HALF_GRID:
        planes = [np.empty(target.plane_shape(c), target.dtype) for c in range(3)]
        store_output(tensor, layout, (0, 0), target, planes)
        return dict(enumerate(planes))
    view = np.moveaxis(tensor, -1, 0) if layout.component_last else tensor
    found = {}
    for samples, channel in zip(view, channels, strict=False):
        rows, columns = target.plane_shape(channel.component)
        thinned = samples[:: channel.repeat_y, :: channel.repeat_x][:rows, :columns]
        found[channel.component] = to_samples(thinned, layout, channel.component, target.bit_depth)
    return found


def to_samples(values: Array, layout: TensorFormat, component: int, bit_depth: int) -> Plane:
    """Converts output values to samples.

    Args:
        values: Values of one colour component, any shape; real numbers are clipped to 0..1 and
            rounded half up, NaN becomes 0.
        layout: How the tensor is filled.
        component: 0 luma, 1 Cb, 2 Cr.
        bit_depth: Bits of the samples wanted, 8 to 16.

    Returns:
        uint8 for 8 bits, else uint16; the same array where nothing is to be converted.
    """
    dtype = np.dtype(np.uint8 if bit_depth <= 8 else np.uint16)
    top = (1 << bit_depth) - 1
    if layout.format_idc == FORMAT_REAL:
        # float32 holds every 16-bit sample exactly; adding 0.5 and truncating rounds half up.
        scaled = np.multiply(values, np.float32(top), dtype=np.float32)
        scaled += np.float32(0.5)
        np.nan_to_num(scaled, copy=False, nan=0.0)
        return np.clip(scaled, 0, top, out=scaled).astype(dtype)
    depth = layout.bit_depth(component)
    if depth == bit_depth and values.dtype == dtype:
        return values if bit_depth in (8, 16) else np.minimum(values, dtype.type(top))
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0.0)
    limited = np.clip(values, 0, (1 << depth) - 1).astype(np.int64)
    return _to_integers(limited, depth, bit_depth).astype(dtype)


def _to_integers(samples: Array, bit_depth: int, tensor_depth: int) -> Array:
    """InpIntY() and its likes: shift up, or round, shift down and clip."""
    if tensor_depth == bit_depth:
        return samples
    wide: Array = samples.astype(np.int64)
    if tensor_depth > bit_depth:
        return wide << (tensor_depth - bit_depth)
    shift = bit_depth - tensor_depth
    shifted: Array = np.minimum((wide + (1 << (shift - 1))) >> shift, (1 << tensor_depth) - 1)
    return shifted


def _strength_value(layout: TensorFormat, strength: float) -> float:
    if layout.format_idc == FORMAT_REAL:
        return strength
    depth = layout.bit_depth(1 if layout.order_idc == ORDER_CHROMA else 0)
    return float(int(strength * ((1 << depth) - 1)))


def _gather(
    plane: Plane,
    channel: _Channel,
    origin: tuple[int, int],
    rules: PatchRules,
    patch: Array,
) -> None:
    """Copies samples at grid positions; the inner part in bulk, only the border by index."""
    rows, columns = patch.shape
    across = _axis(
        origin[0], columns, channel.step, channel.phase_x, channel.repeat_x, plane.shape[1],
        rules.padding_type, vertical=False,
    )  # fmt: skip
    down = _axis(
        origin[1], rows, channel.step, channel.phase_y, channel.repeat_y, plane.shape[0],
        rules.padding_type, vertical=True,
    )  # fmt: skip
    left, right, top, bottom = across.first, across.last, down.first, down.last
    fill = rules.fill_values
    if fill is not None:
        patch[:top] = patch[bottom:] = fill[channel.component]
        patch[:, :left] = patch[:, right:] = fill[channel.component]
    if left < right and top < bottom:
        inner = plane[down.reach, across.reach]
        if channel.repeat_y > 1:
            inner = inner[down.inner]
        if channel.repeat_x > 1:
            inner = np.take(inner, across.inner, axis=1)
        patch[top:bottom, left:right] = inner
    if fill is not None:
        return
    # Rows, then columns of them: whole rows are copied fast, single samples are not.
    for border in (slice(0, left), slice(right, None)):
        narrow = plane[:, across.padded[border]]
        patch[top:bottom, border] = narrow[down.padded[top:bottom]]
    for border in (slice(0, top), slice(bottom, None)):
        patch[border] = np.take(plane[down.padded[border]], across.padded, axis=1)


@final
@dataclass(frozen=True, slots=True)
class _Axis:
    """Which samples of a plane the positions of a patch take on one axis.

    Args:
        first: First position whose sample lies in the plane.
        last: Position behind the last such; equal to ``first`` if all is border.
        reach: The samples between them.
        inner: Their indices among ``reach``, for planes whose samples are taken repeatedly.
        padded: Sample for every position, by the padding type.
    """

    first: int
    last: int
    reach: slice
    inner: Coordinates
    padded: Coordinates


@lru_cache(maxsize=512)  # pictures of a stream are cut alike, so every one asks the same
def _axis(  # noqa: PLR0917
    origin: int,
    count: int,
    step: int,
    phase: int,
    repeat: int,
    size: int,
    padding_type: int,
    *,
    vertical: bool,
) -> _Axis:
    positions = np.arange(origin, origin + count) * step + phase
    if repeat > 1:
        # H.274 divides toward zero, so position -1 reads chroma sample 0, not -1.
        positions = np.sign(positions) * (np.abs(positions) // repeat)
    padded = pad_coordinates(positions, size, padding_type, vertical=vertical)
    inside = np.flatnonzero((positions >= 0) & (positions < size))
    if not inside.size:
        # Wholly before or wholly behind the picture: everything is border.
        return _Axis(0, 0, slice(0), inside, padded)
    first, last = int(inside[0]), int(inside[-1]) + 1
    reach = slice(int(positions[first]), int(positions[last - 1]) + 1, step)
    return _Axis(first, last, reach, positions[first:last] - positions[first], padded)
