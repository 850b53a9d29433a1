# SPDX-License-Identifier: Apache-2.0
"""Pictures through a chain of libavfilter's filters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from nnrvideo.container._pyav import av, translate_errors
from nnrvideo.container.decode import frame_from_picture, picture_from_frame
from nnrvideo.errors import ContainerError
from nnrvideo.picture import Picture

_TIME_BASE = Fraction(1, 1000)


def filtered(pictures: Iterable[Picture], chain: Sequence[tuple[str, str]]) -> Iterator[Picture]:
    """Filters pictures one by one.

    Args:
        pictures: All of one format.
        chain: Names of filters that take one input and give one picture for each, and their
            arguments, as libavfilter spells them; never from a stream.

    Yields:
        The pictures, in their order.

    Raises:
        ContainerError: There is no such filter in this libavfilter, or it refuses its arguments.
    """
    graph: Any = None
    source: Any = None
    sink: Any = None
    for index, picture in enumerate(pictures):
        frame = frame_from_picture(picture)
        if graph is None:
            graph, source, sink = _graph(frame, chain)
        frame.pts, frame.time_base = index, _TIME_BASE
        with translate_errors("pictures", "filter"):
            source.push(frame)
            yield picture_from_frame(sink.pull())


def _graph(frame: Any, chain: Sequence[tuple[str, str]]) -> tuple[Any, Any, Any]:
    graph = av.filter.Graph()
    source = last = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=_TIME_BASE
    )
    pixel_format = ("format", f"pix_fmts={frame.format.name}")
    for name, arguments in (*chain, pixel_format):
        try:
            node = graph.add(name, arguments)
        except (ValueError, av.error.FFmpegError) as error:
            raise ContainerError(
                f"the filter {name}={arguments} cannot be used: {error}"
            ) from error
        last.link_to(node)
        last = node
    sink = graph.add("buffersink")
    last.link_to(sink)
    graph.configure()
    return graph, source, sink
