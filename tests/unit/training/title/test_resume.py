# SPDX-License-Identifier: Apache-2.0
"""A run that is killed, again and again, ends with the file of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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


# Kills itself at the n-th opening or renaming of a file in whose path a word occurs: a place that
# is the same on every machine, however fast.
KILLING = """
import os, signal, sys

word, left = sys.argv.pop(1), int(sys.argv.pop(1))

def watch(event, arguments):
    global left
    if event in ("open", "os.rename") and word in str(arguments[0]):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
from nnrvideo.cli.main import run
run()
"""


def run_killed_at(word: str, count: int, arguments: list[str]) -> None:
    killing = [sys.executable, "-c", KILLING, word, str(count), *arguments[3:]]
    done = subprocess.run(killing, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


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
    for word, count in (
        (".plain-crf30.", 2),  # coded, not yet named
        ("checkpoint", 7),  # in the middle of training
        (".network.", 3),  # trained, the network not yet named
        (".enhance-XS-", 1),  # about to be measured
    ):
        run_killed_at(word, count, pieces)
        assert not (folders[1] / "out.mp4").exists()
        assert any(name.endswith(".nnrvideo") for name in hidden(folders[1]))
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
    # -B: of compiled modules Python would keep the part that the bound lets through.
    arguments = [sys.executable, "-B", "-c", limited, *command(source, target)[3:]]
    arguments.remove("-v")
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode in (1, 5)
    assert done.stderr.count("\n") == 1 and "cannot" in done.stderr, done.stderr
    assert not target.exists()
