# SPDX-License-Identifier: Apache-2.0
"""Media files: pictures and messages out, pictures and edited streams in.

The only package that touches PyAV.  It knows where messages lie, not what they mean.
"""

from nnrvideo.container.audio import CHANNELS, SAMPLE_RATE, Sound, has_audio, read_audio
from nnrvideo.container.copying import DroppedStream
from nnrvideo.container.demux import MediaReader, SideDataCollector, open_media, unit_messages
from nnrvideo.container.encode import (
    VideoWriter,
    coding_format,
    open_writer,
    pass_options,
)
from nnrvideo.container.info import AccessUnit, DecodedPicture, SideData, StreamInfo, VideoInfo
from nnrvideo.container.output import OutputFile
from nnrvideo.container.pipe import PIPE_FORMATS, PipeWriter
from nnrvideo.container.png import picture_to_rgb, png_bytes
from nnrvideo.container.remux import RemuxReport, remux
from nnrvideo.container.resumable import ResumableWriter
from nnrvideo.container.writer import PictureWriter
from nnrvideo.container.y4m import Y4mWriter

__all__ = [
    "CHANNELS",
    "PIPE_FORMATS",
    "SAMPLE_RATE",
    "AccessUnit",
    "DecodedPicture",
    "DroppedStream",
    "MediaReader",
    "OutputFile",
    "PictureWriter",
    "PipeWriter",
    "RemuxReport",
    "ResumableWriter",
    "SideData",
    "SideDataCollector",
    "Sound",
    "StreamInfo",
    "VideoInfo",
    "VideoWriter",
    "Y4mWriter",
    "coding_format",
    "has_audio",
    "open_media",
    "open_writer",
    "pass_options",
    "picture_to_rgb",
    "png_bytes",
    "read_audio",
    "remux",
    "unit_messages",
]
