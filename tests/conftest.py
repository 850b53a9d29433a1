# SPDX-License-Identifier: Apache-2.0
"""What all tests share: where the big test data lies, and which backend is being tested."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def shared_dir() -> Path | None:
    """Folder with conformance vectors and clips, or None: the project stands without it."""
    given = os.environ.get("NNRVIDEO_SHARED")
    folder = Path(given) if given else ROOT.parent / "shared"
    return folder if (folder / "vectors").is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder; skips the test where it is absent."""
    folder = shared_dir()
    if folder is None:
        pytest.skip("no shared test data (set NNRVIDEO_SHARED or put it beside the checkout)")
    return folder


def pytest_report_header() -> str:
    """Prints the backend in use: a silent fallback must not pass for the native core."""
    try:
        from nnrvideo.entropy import BACKEND
    except ImportError:
        BACKEND = "no"
    return f"nnrvideo: {BACKEND} backend, shared data: {shared_dir() or 'absent'}"
