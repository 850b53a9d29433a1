# SPDX-License-Identifier: Apache-2.0
"""``nnrh264decodebin`` and its like: any decoder between extractor and enhancer."""

from __future__ import annotations

import logging
from typing import Any, final

from nnrvideo.gst._gi import Gst
from nnrvideo.gst.bus import connect_log
from nnrvideo.gst.errors import BAD_SETTING, MISSING_LIBRARY, ElementError

_log = logging.getLogger(__name__)
_DECODERS = Gst.ELEMENT_FACTORY_TYPE_DECODER | Gst.ELEMENT_FACTORY_TYPE_MEDIA_VIDEO


@final
class Logic:
    """What the bin does: it finds a decoder and puts it between its two elements.

    Args:
        element: The bin, with ``extract`` and ``enhance`` inside and ``media_type``, the name of
            the coded caps.

    Raises:
        ElementError: There is no such decoder.
    """

    def __init__(self, element: Any) -> None:
        connect_log()
        self._bin = element
        self._decoder = _decoder(element.base_decoder, element.media_type)
        _log.info("base decoder: %s", self._decoder.get_factory().get_name())
        element.add(self._decoder)
        fits = (
            self._decoder.get_static_pad("sink")
            .query_caps(None)
            .can_intersect(Gst.Caps.new_empty_simple(element.media_type))
        )
        linked = fits and element.extract.link(self._decoder)
        if not (linked and self._decoder.link(element.enhance)):
            name = self._decoder.get_factory().get_name()
            self.close()
            raise ElementError(
                f"{name} does not fit: a base decoder takes {element.media_type} and makes "
                "video in system memory, in a format of nnrenhance",
                BAD_SETTING,
            )

    def reset(self) -> None:
        """PAUSED -> READY: the children see to themselves."""

    def close(self) -> None:
        """READY -> NULL: another decoder may be wanted next time."""
        self._decoder.set_state(Gst.State.NULL)
        self._bin.remove(self._decoder)


def _decoder(wanted: str | None, media_type: str) -> Any:
    if wanted:
        made = Gst.ElementFactory.make(wanted, "decoder")
        if made is None:
            raise ElementError(f"there is no element {wanted!r} for base-decoder", BAD_SETTING)
        return made
    coded = Gst.Caps.new_empty_simple(media_type)
    able = Gst.ElementFactory.list_filter(
        Gst.ElementFactory.list_get_elements(_DECODERS, Gst.Rank.MARGINAL),
        coded,
        Gst.PadDirection.SINK,
        subsetonly=False,
    )
    # Not ourselves, whatever rank the user has given us.
    others = [f for f in able if not f.get_name().startswith("nnr")]
    for factory in sorted(others, key=lambda f: (-f.get_rank(), f.get_name())):
        made = factory.create("decoder")
        if made is not None:
            return made
    raise ElementError(
        f"there is no decoder for {media_type}; apt-get install gstreamer1.0-libav brings some",
        MISSING_LIBRARY,
    )
