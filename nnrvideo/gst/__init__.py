# SPDX-License-Identifier: Apache-2.0
"""What the GStreamer elements do; the only package that imports ``gi``.

The elements themselves are shells in ``gst_plugins``: types with pads and properties, loaded by
GStreamer's Python loader without any of this.  When one is started it makes a ``Logic`` of the
module named after it (``extract``, ``enhance``, ``insert``, ``decodebin``).  No algorithm lives
here: messages are found by ``nnrvideo.carriage``, pictures are enhanced by
:class:`nnrvideo.player.Enhancer`, networks are put into streams by
:class:`nnrvideo.authoring.StreamEmbedder`; this package moves buffers, caps, events and queries.

``setup`` is apart from that: it installs and examines, and needs no GStreamer to be imported.
"""
