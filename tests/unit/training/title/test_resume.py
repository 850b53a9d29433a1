# SPDX-License-Identifier: Apache-2.0
"""A run that is killed, again and again, ends with the file of one that was not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")


def command(source: Path, target: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "nnrvideo", "encode", "-v", "-i", str(source), "--mode", "enhance",
        "-c:v", "libx264", "-preset", "ultrafast", "-crf", "30", "--steps", "20",
        "--updates", "none", str(target), *more,
    ]  # fmt: skip


def killed_after(arguments: list[str], lines: int, seconds: float) -> bool:
    """Kills a run some time after it has said so much; False if it came to its end before."""
    process = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr as said:
        for _ in range(lines):
            if not said.readline():
                break
        else:
            time.sleep(seconds)
        process.kill()
        process.wait()
    return process.returncode < 0


def hidden(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir() if each.name.startswith(".")]


@pytest.mark.slow
def test_killed_runs_go_on_and_end_with_the_same_file(
    make_film: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_film(tmp_path / "source.mkv", 8, size=(64, 56))
    folders = tmp_path / "whole", tmp_path / "killed"
    for folder in folders:
        folder.mkdir()
    whole, pieces = (command(source, folder / "out.mp4") for folder in folders)
    subprocess.run(whole, check=True, capture_output=True)
    wanted = (folders[0] / "out.mp4").read_bytes()
    kills = 0
    # While it codes, just before and in the middle of training, while it measures.
    for lines, seconds in ((1, 0.0), (3, 0.3), (5, 0.1)):
        kills += killed_after(pieces, lines, seconds)
        assert not (folders[1] / "out.mp4").exists()
        assert any(name.endswith(".nnrvideo") for name in hidden(folders[1]))
    assert kills == 3
    subprocess.run(pieces, check=True, capture_output=True)
    assert (folders[1] / "out.mp4").read_bytes() == wanted
    assert not hidden(folders[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of file sizes are POSIX's")
def test_a_full_disk_is_one_line_and_no_file(
    make_film: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_film(tmp_path / "source.mkv", 8)
    target = tmp_path / "out.mp4"
    # A bound on file sizes fails like a full disk, wherever the first large write is.
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500));"
        "from nnrvideo.cli.main import run; run()"
    )
    arguments = [sys.executable, "-c", limited, *command(source, target)[3:]]
    arguments.remove("-v")
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode in (1, 5)
    assert done.stderr.count("\n") == 1 and "cannot" in done.stderr, done.stderr
    assert not target.exists()
