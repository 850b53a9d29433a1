# SPDX-License-Identifier: Apache-2.0
"""``NetworkFilter``: a loaded network together with everything needed to filter pictures by it.

Making one does all that can fail: the NNPFC is judged against the pictures, the patches are
planned within the memory bound, and the network runs on an empty picture, so that its output is
known to have the signalled shape and the first real picture costs no more than the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import final

import numpy as np

from nnrvideo.errors import ModelError
from nnrvideo.limits import Limits
from nnrvideo.picture import Picture, PictureFormat, Plane
from nnrvideo.player import characteristics
from nnrvideo.player.cutting import cut_picture, small_patch
from nnrvideo.player.precision import REAL_NUMBERS, ChosenPrecision
from nnrvideo.runtime.base import Array, Session, TensorInfo, WritingSession
from nnrvideo.runtime.layout import (
    TensorFormat,
    channels_of,
    fill_input,
    grid_size,
    output_is_plane,
    store_output,
    tensor_is_plane,
    whole_planes,
)
from nnrvideo.runtime.planes import PlanePool
from nnrvideo.runtime.resample import Upscaler, resize_component
from nnrvideo.runtime.tiling import TilePlan
from nnrvideo.sei import Nnpfc

_RANK_WITH_PICTURES = 5  # [batch][picture][channel][y][x] as H.274 has it; practice has rank 4


@final
@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A network in a session, and how its tensors really are.

    Args:
        session: Ready to run.
        input: How to fill the input; differs from the NNPFC where the conversion of samples was
            moved into the graph.
        output: How the output is filled.
        bytes_per_position: Memory that the network needs for one input position at its widest
            point; 0 if unknown.
        precision: The numbers it computes in.
        reach: Positions that an output looks beyond its place; None if nobody can tell.
        takes_whole: A patch of exactly the picture's size gives the same samples.
    """

    session: Session
    input: TensorFormat
    output: TensorFormat
    bytes_per_position: int = 0
    precision: ChosenPrecision = REAL_NUMBERS
    reach: int | None = 0
    takes_whole: bool = False


@final
class NetworkFilter:
    """Filters pictures of one format; several threads may do so at once.

    Args:
        network: What to run.
        nnpfc: The base message, with properties.
        source: Format of the pictures to come.
        limits: Bounds the output picture.
        max_memory_bytes: Bound on what one run of the network may hold; smaller patches are
            chosen to keep it.
        upscaler: For the colour components that the network does not make.
        warm_up: Run on a whole picture until the runtime has settled; else once, on as little as
            tells the shape.

    Raises:
        BitstreamError: The filter is not legal for such pictures.
        UnsupportedFeatureError: We cannot execute such a filter.
        LimitExceededError: Over the memory bound or a limit.
        ModelError: The network does not do what its NNPFC says.
        InferenceError: It fails to run.
    """

    def __init__(
        self,
        network: LoadedNetwork,
        nnpfc: Nnpfc,
        source: PictureFormat,
        *,
        limits: Limits,
        max_memory_bytes: int,
        upscaler: Upscaler = Upscaler.BICUBIC,
        warm_up: bool = True,
    ) -> None:
        characteristics.require_supported(nnpfc)
        self.source = source
        self.target = characteristics.output_format(nnpfc, source, limits)
        self.provider = network.session.provider
        self.precision = network.precision
        self.failure = ""  # set by whoever saw it fail while running, so that it is not run again
        self._nnpfc = nnpfc
        self._session = network.session
        self._in, self._out = network.input, network.output
        self._upscaler = upscaler
        self._port = _single_port(network.session)
        self._rules = characteristics.patch_rules(nnpfc)
        self._scale = characteristics.grid_scale(nnpfc, source, self.target)
        self._per_position = max(network.bytes_per_position, self._port_bytes())
        self.plan, self.bands = cut_picture(
            self._rules,
            grid_size(network.input.order_idc, source),
            reach=network.reach,
            takes_whole=network.takes_whole,
            batching=self._takes_batches(),
            bytes_per_position=self._per_position,
            max_bytes=max_memory_bytes,
        )
        self._patch = characteristics.output_patch(self.plan, self._scale)
        self.made = {
            channel.component
            for channel in channels_of(self._out.order_idc, self.target.chroma_format)
        }
        self._pool = PlanePool()
        self._spare = [self._input_buffer()]  # input tensors that nobody is using
        self._margin = (0, 0)
        self._margin = self._find_margin(warm_up=warm_up)
        self._writing = self._writing_session()

    def process(
        self, picture: Picture, strength: float = 1.0, into: Picture | None = None
    ) -> Picture:
        """Filters one picture.

        Args:
            picture: Of the format ``source``.
            strength: StrengthControlVal, 0 to 1, for networks that take it.
            into: Picture of the format ``target`` whose planes take the samples; what they hold
                if the network fails is not said.

        Returns:
            A picture of the format ``target``, with the planes of ``into`` if given.

        Raises:
            ValueError: A picture has another format.
            InferenceError: The network failed.
        """
        if picture.format != self.source:
            raise ValueError(f"the filter is for {self.source}, got {picture.format}")
        if into is not None and into.format != self.target:
            raise ValueError(f"the filter makes {self.target}, the planes are for {into.format}")
        if self.bands:
            made = self._process_bands(picture, strength, into)
        elif self.plan.count == 1:
            made = self._process_whole(picture, strength, into)
        else:
            made = self._process_patches(picture, strength, into)
        planes = tuple(
            plane if plane is not None else self._plain_plane(picture, component, into)
            for component, plane in enumerate(made)
        )
        colour = characteristics.output_colour(self._nnpfc, picture.colour)
        return Picture(
            into.planes if into else planes,
            self.target.chroma_format,
            self.target.bit_depth,
            colour,
        )

    def _process_whole(
        self, picture: Picture, strength: float, into: Picture | None
    ) -> Sequence[Plane | None]:
        plan = self.plan
        size = plan.input_height, plan.input_width
        if tensor_is_plane(picture, self._in, self._port.dtype, size):
            batch = picture.planes[0].reshape((1, *self._item_shape()))
            return self._whole_output(batch, into)
        with self._borrowed_buffer() as buffer:
            origin = -plan.overlap, -plan.overlap
            fill_input(buffer[0], picture, self._in, origin, self._rules, strength)
            return self._whole_output(buffer[:1], into)

    def _whole_output(self, batch: Array, into: Picture | None) -> Sequence[Plane | None]:
        """Runs the network on a whole picture; returns the planes that it makes."""
        if self._writing is not None:
            planes = self._planes_to_fill(into)
            plane = planes[0]
            if plane is not None and plane.flags.c_contiguous:
                outputs = (plane.reshape(1, 1, *plane.shape),)
                self._writing.run_into({self._port.name: batch}, outputs)
                return planes
        tensor = self._run(batch)[0]
        if into is None:
            # What the runtime allocated is the picture.
            found = whole_planes(tensor, self._out, self.target)
            return [found.get(c) for c in range(self.target.chroma_format.planes)]
        planes = self._planes_to_fill(into)
        store_output(tensor, self._out, (0, 0), self.target, planes)
        return planes

    def _writing_session(self) -> WritingSession | None:
        """The session, if it can write the luma plane as it is; else None."""
        session = self._session
        output = session.outputs[0]
        fits = (
            not self.bands
            and self.plan.count == 1
            and self._margin == (0, 0)
            and len(output.shape) == len(self._port.shape) == _RANK_WITH_PICTURES - 1
            and self._patch == (self.target.width, self.target.height)
            and output_is_plane(self._out, output.dtype, self.target)
        )
        return session if fits and isinstance(session, WritingSession) else None

    def _process_bands(
        self, picture: Picture, strength: float, into: Picture | None
    ) -> Sequence[Plane | None]:
        planes = self._planes_to_fill(into)
        overlap = self.plan.overlap
        with self._borrowed_buffer() as buffer:
            # The buffer is as high as the highest band; lower ones use the rows at its top.
            flat = buffer.reshape(-1)
            for band in self.bands:
                rows = band.last - band.first + 2 * overlap
                shape = self._item_shape(rows)
                item = flat[: math.prod(shape)].reshape(shape)
                origin = -overlap, band.first - overlap
                fill_input(item, picture, self._in, origin, self._rules, strength)
                result = self._run(item[np.newaxis])[0]
                down = self._scale[1]
                inside = slice(
                    int((band.top - band.first) * down), int((band.bottom - band.first) * down)
                )
                at = (inside,) if self._out.component_last else (slice(None), inside)
                corner = 0, int(band.top * down)
                store_output(result[at], self._out, corner, self.target, planes)
        return planes

    def _planes_to_fill(self, into: Picture | None) -> list[Plane | None]:
        """Planes for the components that the network makes; None for the others."""
        planes: list[Plane | None] = [None] * self.target.chroma_format.planes
        for component in self.made:
            planes[component] = into.planes[component] if into else self._new_plane(component)
        return planes

    def _new_plane(self, component: int) -> Plane:
        return self._pool.plane(self.target.plane_shape(component), self.target.dtype)

    def _process_patches(
        self, picture: Picture, strength: float, into: Picture | None
    ) -> Sequence[Plane | None]:
        planes = self._planes_to_fill(into)
        with self._borrowed_buffer() as buffer:
            for origins in _batches(self.plan):
                for item, (x, y) in zip(buffer, origins, strict=False):
                    origin = x - self.plan.overlap, y - self.plan.overlap
                    fill_input(item, picture, self._in, origin, self._rules, strength)
                results = self._run(buffer[: len(origins)])
                for item, (x, y) in zip(results, origins, strict=True):
                    # Whole numbers, because patches scale to whole samples and x counts patches.
                    corner = int(x * self._scale[0]), int(y * self._scale[1])
                    store_output(item, self._out, corner, self.target, planes)
        return planes

    @contextmanager
    def _borrowed_buffer(self) -> Iterator[Array]:
        """An input tensor of one's own; there will be as many as threads that filter at once."""
        try:
            buffer = self._spare.pop()
        except IndexError:
            buffer = self._input_buffer()
        try:
            yield buffer
        finally:
            self._spare.append(buffer)

    def _plain_plane(self, picture: Picture, component: int, into: Picture | None) -> Plane:
        """A colour component that the network leaves to the player."""
        if into is not None:
            out = into.planes[component]
        elif (
            component < len(picture.planes)
            and picture.bit_depth == self.target.bit_depth
            and picture.planes[component].shape == self.target.plane_shape(component)
        ):
            return picture.planes[component]
        else:
            out = self._new_plane(component)
        return resize_component(picture, component, self.target, self._upscaler, out)

    def _run(self, batch: Array) -> Array:
        """Runs patches; returns (N, C, height, width), or with channels last, overlap cut off."""
        if len(self._port.shape) == _RANK_WITH_PICTURES:
            batch = batch[:, np.newaxis]
        output = self._session.run({self._port.name: batch})[0]
        if output.ndim == _RANK_WITH_PICTURES:
            output = output[:, 0]
        x, y = self._margin
        if x or y:
            inside = (slice(y, -y or None), slice(x, -x or None))
            at = (slice(None), *inside) if self._out.component_last else (..., *inside)
            output = output[at]
        return output

    def _port_bytes(self) -> int:
        """Bytes of input and output for one input position: what any network needs."""
        area = self._scale[0] * self._scale[1]
        output = self._session.outputs[0].dtype.itemsize * self._out.channels * area
        return self._port.dtype.itemsize * self._in.channels + -(-output // 1)

    def _takes_batches(self) -> bool:
        return len(self._port.shape) == _RANK_WITH_PICTURES - 1 and self._port.shape[0] is None

    def _item_shape(self, rows: int = 0, columns: int = 0) -> tuple[int, int, int]:
        height, width = rows or self.plan.input_height, columns or self.plan.input_width
        if self._in.component_last:
            return height, width, self._in.channels
        return self._in.channels, height, width

    def _input_buffer(self) -> Array:
        highest = max((band.last - band.first for band in self.bands), default=0)
        rows = highest + 2 * self.plan.overlap if self.bands else 0
        shape = (self.plan.batch, *self._item_shape(rows))
        declared = self._port.shape
        if len(declared) == _RANK_WITH_PICTURES:
            fits = declared[1] in (None, 1)
            declared = declared[:1] + declared[2:]
        else:
            fits = len(declared) == len(shape)
        if not fits or any(d not in (None, s) for d, s in zip(declared, shape, strict=False)):
            message = f"the network takes {list(self._port.shape)}, its NNPFC says {list(shape)}"
            raise ModelError(message)
        return np.zeros(shape, self._port.dtype)

    def _find_margin(self, *, warm_up: bool) -> tuple[int, int]:
        """Runs the network, and compares what comes out with what was announced.

        H.274 has no overlap in the output.  Networks that pad inside give one nevertheless; their
        output is accepted and its border cut off.
        """
        spatial = self._port.shape[-3:-1] if self._in.component_last else self._port.shape[-2:]
        small = None
        if not warm_up and spatial == (None, None):
            small = small_patch(self._rules, self._scale)
        if small is not None:
            columns, rows = small
            shape = self._item_shape(rows + 2 * self.plan.overlap, columns + 2 * self.plan.overlap)
            output = self._run(np.zeros((1, *shape), self._port.dtype))
            width = int(columns * self._scale[0])
        else:
            with self._borrowed_buffer() as buffer:
                output = self._run(buffer)
                if warm_up:
                    self._run(buffer)  # a runtime learns from the first run, settles in the second
                rows = buffer.shape[1 if self._in.component_last else 2] - 2 * self.plan.overlap
            width = self._patch[0]
        height = int(rows * self._scale[1])
        ranks = output.ndim, len(self._session.outputs)
        made = output.shape[1:]
        if self._out.component_last:
            made = made[-1:] + made[:-1]
        around = self.plan.overlap * self._scale[0], self.plan.overlap * self._scale[1]
        padded = (height + 2 * around[1], width + 2 * around[0])
        if ranks == (_RANK_WITH_PICTURES - 1, 1) and made[0] == self._out.channels:
            if made[1:] == (height, width):
                return 0, 0
            if made[1:] == padded and all(side.denominator == 1 for side in around):
                return int(around[0]), int(around[1])
        expected = (self._out.channels, height, width)
        raise ModelError(f"the network makes {list(made)}, its NNPFC says {list(expected)}")


def _single_port(session: Session) -> TensorInfo:
    if len(session.inputs) != 1 or len(session.outputs) != 1:
        counts = f"{len(session.inputs)} inputs and {len(session.outputs)} outputs"
        raise ModelError(f"the network has {counts}; a filter has one of each")
    return session.inputs[0]


def _batches(plan: TilePlan) -> Iterator[list[tuple[int, int]]]:
    origins = plan.origins()
    while batch := list(islice(origins, plan.batch)):
        yield batch
