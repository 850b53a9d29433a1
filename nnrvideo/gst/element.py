# SPDX-License-Identifier: Apache-2.0
"""What a shell expects of its logic, and the answers of an element that lets things pass."""

from __future__ import annotations

from typing import Any

from nnrvideo.gst._gi import Gst


class Passing:
    """Events and queries pass; caps and allocation are those of the other side.

    Args:
        element: The shell, with ``sinkpad`` and ``srcpad``.
    """

    def __init__(self, element: Any) -> None:
        self.element = element

    def close(self) -> None:
        """READY -> NULL."""

    def reset(self) -> None:
        """PAUSED -> READY."""

    def chain(self, buffer: Any) -> Any:
        """A buffer arrives."""
        return self.element.srcpad.push(buffer)

    def sink_event(self, event: Any) -> bool:
        """An event from upstream."""
        if event.type == Gst.EventType.CAPS:  # by default they end here
            return bool(self.element.srcpad.push_event(event))
        return bool(self.element.sinkpad.event_default(self.element, event))

    def src_event(self, event: Any) -> bool:
        """An event from downstream."""
        return bool(self.element.srcpad.event_default(self.element, event))

    def sink_query(self, query: Any) -> bool:
        """A query from upstream."""
        return self._query(self.element.sinkpad, self.element.srcpad, query)

    def src_query(self, query: Any) -> bool:
        """A query from downstream."""
        return self._query(self.element.srcpad, self.element.sinkpad, query)

    def _query(self, pad: Any, other: Any, query: Any) -> bool:
        # The flags that make pads do this by themselves are out of the bindings' reach.
        if query.type == Gst.QueryType.CAPS:
            return bool(pad.proxy_query_caps(query))
        if query.type == Gst.QueryType.ACCEPT_CAPS:
            return bool(pad.proxy_query_accept_caps(query))
        if query.type == Gst.QueryType.ALLOCATION:
            return bool(other.peer_query(query))
        return bool(pad.query_default(self.element, query))
