# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo --version``: what is installed, and which parts of it are in use."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from nnrvideo import __version__

_PACKAGES = ("av", "numpy", "onnx", "onnxruntime", "opencv-python-headless")


def print_version() -> None:
    """Prints versions, the coder's backend and onnxruntime's providers."""
    from nnrvideo.entropy import BACKEND

    print(f"nnrvideo {__version__} (Python {platform.python_version()}, {platform.machine()})")
    note = "" if BACKEND == "native" else " (no native core: install a C++ compiler and reinstall)"
    print(f"backend: {BACKEND}{note}")
    for package in _PACKAGES:
        print(f"{package} {_version(package)}")
    print(f"providers: {', '.join(_providers())}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _providers() -> list[str]:
    try:
        from nnrvideo.runtime import OnnxRuntimeBackend
    except ImportError:
        return ["none (onnxruntime is missing)"]
    return list(OnnxRuntimeBackend().capabilities().providers)
