# SPDX-License-Identifier: Apache-2.0
"""nnrvideo: the neural network travels inside the video.

Importing the package loads numpy and nothing heavier; every public name is fetched from its
sub-package when it is first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from nnrvideo.errors import (
    BitstreamError,
    CarriageError,
    ContainerError,
    InferenceError,
    LimitExceededError,
    ModelError,
    NnrVideoError,
    TensorMismatchError,
    TruncatedError,
    UnsupportedFeatureError,
)
from nnrvideo.limits import Limits
from nnrvideo.picture import ChromaFormat, ColourDescription, Picture, PictureFormat
from nnrvideo.tensors import TensorSet

try:
    __version__ = version("nnrvideo")
except PackageNotFoundError:  # a bare source tree that was never installed
    __version__ = "0+unknown"

# For type checkers only; a test compares it with the table below.  Three functions of authoring
# are called like the modules they live in, which mypy takes for two definitions.
if TYPE_CHECKING:
    from nnrvideo.authoring import embed as embed
    from nnrvideo.authoring import encode as encode
    from nnrvideo.authoring import extract as extract  # type: ignore[no-redef]
    from nnrvideo.authoring import probe as probe  # type: ignore[no-redef]
    from nnrvideo.authoring import strip as strip  # type: ignore[no-redef]
    from nnrvideo.container import MediaReader as MediaReader
    from nnrvideo.container import SideData as SideData
    from nnrvideo.container import open_media as open_media
    from nnrvideo.container import open_writer as open_writer
    from nnrvideo.data import base_network as base_network
    from nnrvideo.model import Network as Network
    from nnrvideo.model import load_onnx as load_onnx
    from nnrvideo.model import pack as pack
    from nnrvideo.model import save_onnx as save_onnx
    from nnrvideo.model import unpack as unpack
    from nnrvideo.nnc import EncodeSettings as EncodeSettings
    from nnrvideo.player import Enhanced as Enhanced
    from nnrvideo.player import Enhancer as Enhancer
    from nnrvideo.player import Event as Event
    from nnrvideo.player import EventKind as EventKind
    from nnrvideo.player import Status as Status
    from nnrvideo.player import capabilities as capabilities

# Public name -> sub-package that owns it.
_LAZY: dict[str, str] = {
    name: owner
    for owner, names in {
        "nnrvideo.authoring": ("embed", "encode", "extract", "probe", "strip"),
        "nnrvideo.container": ("MediaReader", "SideData", "open_media", "open_writer"),
        "nnrvideo.data": ("base_network",),
        "nnrvideo.model": ("Network", "load_onnx", "pack", "save_onnx", "unpack"),
        "nnrvideo.nnc": ("EncodeSettings",),
        "nnrvideo.player": (
            "Enhanced",
            "Enhancer",
            "Event",
            "EventKind",
            "Status",
            "capabilities",
        ),
    }.items()
    for name in names
}

__all__ = [
    "BitstreamError",
    "CarriageError",
    "ChromaFormat",
    "ColourDescription",
    "ContainerError",
    "InferenceError",
    "LimitExceededError",
    "Limits",
    "ModelError",
    "NnrVideoError",
    "Picture",
    "PictureFormat",
    "TensorMismatchError",
    "TensorSet",
    "TruncatedError",
    "UnsupportedFeatureError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    owner = _LAZY.get(name)
    if owner is None:
        raise AttributeError(f"module 'nnrvideo' has no attribute {name!r}")
    value = getattr(import_module(owner), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
