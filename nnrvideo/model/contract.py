# SPDX-License-Identifier: Apache-2.0
"""``IoContract``: what a network expects of a picture and what it makes of it.

An NNPFC message tells a player how to feed a network.  The graph itself tells most of that: the
number of channels gives the order of components, the element type the number format, and how the
output's size follows the input's gives the resampling ratio and the overlap.  This module finds it
by asking the shape inference at several sizes.  What a graph cannot tell (a purpose that is no
resampling, the padding) comes from ``metadata_props`` named ``nnrvideo.<field of IoContract>``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, NoReturn, final

import numpy as np

from nnrvideo.errors import LimitExceededError, ModelError
from nnrvideo.limits import Limits
from nnrvideo.model.graph import Graph, Port
from nnrvideo.model.shapes import infer_shapes
from nnrvideo.model.topology import Network
from nnrvideo.model.value import Shape
from nnrvideo.picture import PictureFormat

# Bits of nnpfc_purpose
VISUAL_QUALITY: Final = 0x01
RESOLUTION_RESAMPLING: Final = 0x04
BIT_DEPTH_UPSAMPLING: Final = 0x10
SUPPORTED_PURPOSES: Final = VISUAL_QUALITY | RESOLUTION_RESAMPLING | BIT_DEPTH_UPSAMPLING

# Values of nnpfc_inp_order_idc and nnpfc_out_order_idc
LUMA: Final = 0
CHROMA: Final = 1
LUMA_AND_CHROMA: Final = 2
FOUR_LUMA_AND_CHROMA: Final = 3

# Values of nnpfc_inp_format_idc and nnpfc_out_format_idc
REAL: Final = 0
INTEGER: Final = 1

STRENGTH_CONTROL: Final = 1  # bit of nnpfc_auxiliary_inp_idc

CHANNELS: Final = {LUMA: 1, CHROMA: 2, LUMA_AND_CHROMA: 3, FOUR_LUMA_AND_CHROMA: 6}
_ORDERS: Final = {count: order for order, count in CHANNELS.items()}

_MULTIPLES: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_PROBES: Final = (48, 192, 768)  # sizes at which the law between input and output is looked for
_NOMINAL: Final = 256  # grid units of a patch on which costs are measured
_MAX_RATIO: Final = 16
_MAX_PICTURES: Final = 64  # nnpfc_num_input_pics_minus1 is 0 to 63
_MAX_OVERLAP: Final = 16_383
_MAX_PATCH: Final = 32_767


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class IoContract:
    """How pictures become the input tensor, and the output tensor pictures.

    Sizes are counted in the sample grid of ``inp_order_idc``: luma samples for 0 and 2, chroma
    samples for 1, blocks of 2x2 luma samples for 3.  The element names are those of NNPFC without
    their prefix.

    Args:
        purpose: Bit mask.
        num_input_pics: Pictures that the network sees; only the first is filtered.
        inp_order_idc: Components in the input.
        out_order_idc: Components in the output.
        inp_format_idc: 0 real numbers in 0..1, 1 unsigned integers.
        out_format_idc: Likewise.
        inp_tensor_bit_depth: Bits of the integers; 0 for real numbers.
        out_tensor_bit_depth: Likewise.
        auxiliary_inp_idc: 1 where the last input channel is a strength-control plane.
        component_last: Channels are the last dimension.
        input_rank: 4, or 5 with a dimension for pictures.
        output_rank: Likewise.
        width_ratio: Output width over input width, in pictures.
        height_ratio: Output height over input height, in pictures.
        overlap: Grid units that the input tensor reaches beyond the patch, on each side.
        width_multiple: The input tensor's width must be a positive multiple of it.
        height_multiple: Likewise.
        patch_width: Fixed width of a patch, or None.
        patch_height: Fixed height of a patch, or None.
        padding_type: What lies beyond the picture: 0 zero, 1 replicate, 2 reflect, 3 wrap, 4 value.
        padding_values: Y, Cb, Cr for padding type 4.
        crop_width: Surplus samples that the network yields on the left and right of the output
            patch; NNPFC knows no surplus, so the runtime's graph cuts it off.
        crop_height: Likewise above and below.
    """

    purpose: int
    num_input_pics: int = 1
    inp_order_idc: int = LUMA
    out_order_idc: int = LUMA
    inp_format_idc: int = REAL
    out_format_idc: int = REAL
    inp_tensor_bit_depth: int = 0
    out_tensor_bit_depth: int = 0
    auxiliary_inp_idc: int = 0
    component_last: bool = False
    input_rank: int = 4
    output_rank: int = 4
    width_ratio: Fraction = Fraction(1)
    height_ratio: Fraction = Fraction(1)
    overlap: int = 0
    width_multiple: int = 1
    height_multiple: int = 1
    patch_width: int | None = None
    patch_height: int | None = None
    padding_type: int = 1
    padding_values: tuple[int, int, int] = (0, 0, 0)
    crop_width: int = 0
    crop_height: int = 0

    @property
    def input_channels(self) -> int:
        """Channels of one picture in the input tensor, with the strength-control plane."""
        return CHANNELS[self.inp_order_idc] + (self.auxiliary_inp_idc & STRENGTH_CONTROL)

    @property
    def output_channels(self) -> int:
        """Channels of one picture in the output tensor."""
        return CHANNELS[self.out_order_idc]

    @property
    def grid_ratio(self) -> tuple[Fraction, Fraction]:
        """Width and height of an output patch over those of the patch, each in its own grid."""
        factor = Fraction(_grid(self.inp_order_idc), _grid(self.out_order_idc))
        return self.width_ratio * factor, self.height_ratio * factor

    def nominal_patch(self) -> tuple[int, int]:
        """Width and height of a patch of ordinary size that the network accepts."""
        return self.covering_patch(_NOMINAL, _NOMINAL)

    def grid_size(self, picture: PictureFormat) -> tuple[int, int]:
        """Width and height of a picture in the grid in which patches are counted."""
        if self.inp_order_idc == CHROMA:
            height, width = picture.plane_shape(1)
            return width, height
        step = _grid(self.inp_order_idc)
        return -(-picture.width // step), -(-picture.height // step)

    def covering_patch(self, width: int, height: int) -> tuple[int, int]:
        """The smallest patch that the network accepts and that covers a size in the grid."""
        reach = 2 * self.overlap
        across = -(-(width + reach) // self.width_multiple) * self.width_multiple - reach
        down = -(-(height + reach) // self.height_multiple) * self.height_multiple - reach
        return self.patch_width or across, self.patch_height or down

    def input_shape(self, patch_width: int, patch_height: int) -> Shape:
        """Shape of the input tensor for one patch."""
        reach = 2 * self.overlap
        size = (patch_height + reach, patch_width + reach)
        return self._shape(self.input_rank, self.num_input_pics, self.input_channels, size)

    def output_shape(self, patch_width: int, patch_height: int) -> Shape:
        """Shape of the network's own output for one patch, before any surplus is cut off.

        Raises:
            ValueError: The ratio does not give whole samples for this patch.
        """
        width, height = self.output_patch(patch_width, patch_height)
        size = (height + 2 * self.crop_height, width + 2 * self.crop_width)
        return self._shape(self.output_rank, 1, self.output_channels, size)

    def output_patch(self, patch_width: int, patch_height: int) -> tuple[int, int]:
        """Width and height of the output patch in the output's grid.

        Raises:
            ValueError: The ratio does not give whole samples for this patch.
        """
        across, down = self.grid_ratio
        width, height = across * patch_width, down * patch_height
        if width.denominator != 1 or height.denominator != 1:
            msg = f"a patch of {patch_width}x{patch_height} gives {width}x{height} samples"
            raise ValueError(msg)
        return int(width), int(height)

    def output_luma_samples(self, patch_width: int, patch_height: int) -> int:
        """Luma samples of the output picture that a patch covers, for 4:2:0 pictures."""
        area = self.width_ratio * self.height_ratio * patch_width * patch_height
        return math.ceil(area * _grid(self.inp_order_idc) ** 2)

    def _shape(self, rank: int, pictures: int, channels: int, size: tuple[int, int]) -> Shape:
        lead = (1, pictures) if rank == 5 else (1,)
        channels = channels if rank == 5 else pictures * channels
        return (*lead, *size, channels) if self.component_last else (*lead, channels, *size)


def _grid(order: int) -> int:
    """Luma samples for one step of the grid of an order idc, for 4:2:0 pictures."""
    return 2 if order in (CHROMA, FOUR_LUMA_AND_CHROMA) else 1


def infer_contract(network: Network, *, limits: Limits | None = None) -> IoContract:
    """Finds the contract of a network.

    Args:
        network: The network.
        limits: Bounds for the shape inference; by default :meth:`Limits.offline`.

    Raises:
        ModelError: One line that says why no NNPFC message can describe the network.
    """
    return _Inferrer(network.graph, limits or Limits.offline()).infer()


@final
@dataclass(frozen=True, slots=True)
class _Law:
    """Output size = ratio * input size + offset, for input sizes that are multiples."""

    multiple: int
    ratio: Fraction
    offset: Fraction


class _Inferrer:
    def __init__(self, graph: Graph, limits: Limits) -> None:
        self._graph = graph
        self._limits = limits

    def infer(self) -> IoContract:
        source, target = self._ports()
        dims = self._dims(source, "input")
        component_last = self._flag("component_last", default=_channels_last(dims))
        pictures = self._pictures(dims, component_last=component_last)
        auxiliary = self._number("auxiliary_inp_idc", 0, 0, 1)
        channels = self._channels(dims, component_last=component_last)
        if len(dims) == 4:
            if channels % pictures:
                _refuse(f"{channels} input channels do not divide into {pictures} pictures")
            channels //= pictures
        in_order = self._order("inp_order_idc", channels - auxiliary, "input")
        in_format, in_depth = self._format(source, "inp")
        out_format, out_depth = self._format(target, "out")
        draft = IoContract(
            purpose=VISUAL_QUALITY,
            num_input_pics=pictures,
            inp_order_idc=in_order,
            inp_format_idc=in_format,
            out_format_idc=out_format,
            inp_tensor_bit_depth=in_depth,
            out_tensor_bit_depth=out_depth,
            auxiliary_inp_idc=auxiliary,
            component_last=component_last,
            input_rank=len(dims),
            padding_type=self._number("padding_type", 1, 0, 4),
        )
        return self._with_geometry(draft, dims)

    # -- what the ports say --

    def _ports(self) -> tuple[Port, Port]:
        graph = self._graph
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            _refuse(
                f"it has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; "
                "a filter has one tensor of each"
            )
        return graph.inputs[0], graph.outputs[0]

    def _dims(self, port: Port, kind: str) -> tuple[int | str | None, ...]:
        if port.dims is None or len(port.dims) not in (4, 5):
            rank = "no declared rank" if port.dims is None else f"rank {len(port.dims)}"
            _refuse(f"the {kind} {port.name!r} has {rank}; pictures have rank 4 or 5")
        if isinstance(port.dims[0], int) and port.dims[0] != 1:
            _refuse(f"the {kind} {port.name!r} is a fixed batch of {port.dims[0]}")
        return port.dims

    def _pictures(self, dims: tuple[int | str | None, ...], *, component_last: bool) -> int:
        del component_last  # the picture dimension is the second in both layouts
        given = dims[1] if len(dims) == 5 and isinstance(dims[1], int) else 1
        most = min(_MAX_PICTURES, self._limits.max_input_pictures)
        if given > most:
            _refuse(f"it takes {given} pictures at a time, more than {most}")
        return self._number("num_input_pics", given, 1, most)

    def _channels(self, dims: tuple[int | str | None, ...], *, component_last: bool) -> int:
        channels = dims[-1] if component_last else dims[-3]
        if not isinstance(channels, int):
            _refuse("the input does not fix its number of channels")
        return channels

    def _order(self, name: str, channels: int, kind: str) -> int:
        if channels not in _ORDERS:
            _refuse(
                f"the {kind} has {channels} channels for each picture; NNPFC knows 1 (luma), "
                "2 (chroma), 3 (luma and chroma) and 6 (four luma phases and chroma)"
            )
        order = self._number(name, _ORDERS[channels], 0, 3)
        if CHANNELS[order] != channels:
            _refuse(f"{name} {order} has {CHANNELS[order]} channels, the {kind} has {channels}")
        return order

    def _format(self, port: Port, side: str) -> tuple[int, int]:
        bits = {np.dtype(np.uint8): 8, np.dtype(np.uint16): 16}.get(port.dtype, 0)
        if port.dtype.kind != "f" and not bits:
            _refuse(f"{port.name!r} is {port.dtype}; samples are real numbers, uint8 or uint16")
        chosen = self._number(f"{side}_format_idc", INTEGER if bits else REAL, 0, 1)
        if chosen == REAL:
            if bits:
                _refuse(f"{side}_format_idc says real numbers, but {port.name!r} is {port.dtype}")
            return REAL, 0
        return INTEGER, self._number(f"{side}_tensor_bit_depth", bits or 8, 8, bits or 16)

    # -- what the shapes say --

    def _with_geometry(self, draft: IoContract, dims: tuple[int | str | None, ...]) -> IoContract:
        across, down, out = self._laws(draft, dims)
        if len(out) not in (4, 5):
            _refuse(f"the output has rank {len(out)}; pictures have rank 4 or 5")
        channels = out[-1] if draft.component_last else out[-3]
        out_order = self._order("out_order_idc", channels, "output")
        factor = Fraction(_grid(out_order), _grid(draft.inp_order_idc))
        overlap = self._overlap(across, down)
        width_ratio, height_ratio = across.ratio * factor, down.ratio * factor
        for ratio in (width_ratio, height_ratio):
            if not Fraction(1, _MAX_RATIO) <= ratio <= _MAX_RATIO:
                _refuse(f"it resamples by {ratio}, which is outside 1/16..16")
        resamples = width_ratio != 1 or height_ratio != 1
        default = RESOLUTION_RESAMPLING if resamples else VISUAL_QUALITY
        purpose = self._number("purpose", default, 1, 0xFFFF)
        if purpose & ~SUPPORTED_PURPOSES:
            _refuse(f"the purpose {purpose:#x} is not supported for authoring")
        if bool(purpose & RESOLUTION_RESAMPLING) != resamples:
            _refuse(f"the purpose {purpose:#x} contradicts the ratio {width_ratio}x{height_ratio}")
        crops = [
            self._crop(law, overlap, axis) for law, axis in ((across, "width"), (down, "height"))
        ]
        height, width = dims[-3:-1] if draft.component_last else dims[-2:]
        return replace(
            draft,
            purpose=purpose,
            out_order_idc=out_order,
            output_rank=len(out),
            width_ratio=width_ratio,
            height_ratio=height_ratio,
            overlap=overlap,
            width_multiple=self._multiple("width", across),
            height_multiple=self._multiple("height", down),
            patch_width=_fixed_patch(width, overlap),
            patch_height=_fixed_patch(height, overlap),
            crop_width=crops[0],
            crop_height=crops[1],
        )

    def _overlap(self, across: _Law, down: _Law) -> int:
        """The overlap that the valid convolutions eat: output = ratio * (input - 2 * overlap)."""
        needed = [-law.offset / (2 * law.ratio) for law in (across, down)]
        for amount in needed:
            if amount < 0:
                _refuse("the output is larger than the input and the ratio between them explain")
        given = self._graph.metadata.get("overlap")
        if given is None and (needed[0] != needed[1] or needed[0].denominator != 1):
            _refuse(
                f"the overlap would be {needed[0]} horizontally and {needed[1]} vertically; "
                "NNPFC has one whole number for both"
            )
        overlap = self._number("overlap", math.ceil(max(needed)), 0, _MAX_OVERLAP)
        if overlap < max(needed):
            _refuse(f"the overlap {overlap} is smaller than the {max(needed)} that the graph eats")
        return overlap

    def _crop(self, law: _Law, overlap: int, axis: str) -> int:
        surplus = law.ratio * overlap + law.offset / 2
        if surplus.denominator != 1:
            _refuse(f"an overlap of {overlap} leaves {surplus} samples of surplus in {axis}")
        return int(surplus)

    def _multiple(self, axis: str, law: _Law) -> int:
        multiple = self._number(f"{axis}_multiple", law.multiple, 1, _MAX_PATCH)
        if multiple % law.multiple:
            _refuse(f"{axis}_multiple {multiple} is no multiple of {law.multiple}")
        return multiple

    def _laws(
        self, draft: IoContract, dims: tuple[int | str | None, ...]
    ) -> tuple[_Law, _Law, Shape]:
        """How width and height of the output follow those of the input."""
        run = self._prober(draft, self._graph)
        height, width = dims[-3:-1] if draft.component_last else dims[-2:]
        if isinstance(height, int) or isinstance(width, int):
            # The graph often works for other sizes than the exporter wrote down, and then tells
            # what belongs to the overlap and what to the ratio.
            freed = replace(
                self._graph,
                inputs=(replace(self._graph.inputs[0], dims=None),),
                outputs=(replace(self._graph.outputs[0], dims=None),),
            )
            found = self._search(self._prober(draft, freed), draft)
            if found is None and isinstance(height, int) and isinstance(width, int):
                return self._single_size(run, draft, height, width)
        else:
            found = self._search(run, draft)
        if found is None:
            try:
                run(_PROBES[-1], _PROBES[-1])
            except ModelError as error:
                _refuse(str(error))
            _refuse("its output size does not follow its input size in a fixed ratio")
        return found

    def _single_size(
        self, run: Callable[[int, int], Shape], draft: IoContract, height: int, width: int
    ) -> tuple[_Law, _Law, Shape]:
        """A graph that works for one size only; the overlap has to be told."""
        out = run(height, width)
        if len(out) not in (4, 5):
            return _Law(1, Fraction(1), Fraction(0)), _Law(1, Fraction(1), Fraction(0)), out
        reach = 2 * self._number("overlap", 0, 0, (min(height, width) - 1) // 2)
        out_height, out_width = _size(out, component_last=draft.component_last)
        laws = []
        for have, gives in ((width, out_width), (height, out_height)):
            ratio = Fraction(gives, have - reach)
            laws.append(_Law(1, ratio, -ratio * reach))
        return laws[0], laws[1], out

    def _prober(self, draft: IoContract, graph: Graph) -> Callable[[int, int], Shape]:
        source, target = graph.inputs[0], graph.outputs[0]

        def run(height: int, width: int) -> Shape:
            shape = draft.input_shape(width, height)
            return infer_shapes(graph, {source.name: shape}, limits=self._limits).shape(target.name)

        return run

    def _search(
        self, run: Callable[[int, int], Shape], draft: IoContract
    ) -> tuple[_Law, _Law, Shape] | None:
        for multiple in _MULTIPLES:
            for probe in _PROBES:
                start = -(-probe // multiple) * multiple
                # Heights go up while widths go down, so that no coincidence of the two passes.
                heights = [start + i * multiple for i in range(4)]
                widths = [start + (5 - i) * multiple for i in range(4)]
                try:
                    outs = [run(h, w) for h, w in zip(heights, widths, strict=True)]
                except (ModelError, LimitExceededError):
                    continue
                if len(outs[0]) not in (4, 5):
                    nothing = _Law(1, Fraction(1), Fraction(0))
                    return nothing, nothing, outs[0]
                sizes = [_size(out, component_last=draft.component_last) for out in outs]
                down = _law(multiple, heights, [size[0] for size in sizes])
                across = _law(multiple, widths, [size[1] for size in sizes])
                if down is not None and across is not None:
                    return across, down, outs[0]
        return None

    # -- what the metadata say --

    def _number(self, name: str, default: int, low: int, high: int) -> int:
        text = self._graph.metadata.get(name)
        if text is None:
            return default
        try:
            value = int(text, 0)
        except ValueError:
            _refuse(f"its metadata nnrvideo.{name} is {text!r}, no integer")
        if not low <= value <= high:
            _refuse(f"its metadata nnrvideo.{name} is {value}, outside {low}..{high}")
        return value

    def _flag(self, name: str, *, default: bool) -> bool:
        return bool(self._number(name, int(default), 0, 1))


def _refuse(reason: str) -> NoReturn:
    raise ModelError(f"no NNPFC message can describe this network: {reason}")


def _channels_last(dims: tuple[int | str | None, ...]) -> bool:
    """Whether only the last dimension can be the channels; exporters of NHWC fix just that."""
    counts = {count + extra for count in _ORDERS for extra in (0, 1)}
    return dims[-3] not in counts and dims[-1] in counts


def _size(shape: Shape, *, component_last: bool) -> tuple[int, int]:
    height, width = shape[-3:-1] if component_last else shape[-2:]
    return height, width


def _law(multiple: int, sizes: list[int], outs: list[int]) -> _Law | None:
    ratio = Fraction(outs[1] - outs[0], sizes[1] - sizes[0])
    offset = outs[0] - ratio * sizes[0]
    fits = all(ratio * n + offset == out for n, out in zip(sizes, outs, strict=True))
    return _Law(multiple, ratio, offset) if fits and ratio > 0 else None


def _fixed_patch(size: Any, overlap: int) -> int | None:
    if not isinstance(size, int):
        return None
    patch = size - 2 * overlap
    if not 1 <= patch <= _MAX_PATCH:
        _refuse(f"an input of {size} samples leaves no patch within an overlap of {overlap}")
    return patch
