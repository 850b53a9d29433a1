# SPDX-License-Identifier: Apache-2.0
"""Progress: a bar for people on a terminal, key=value lines for programs, silence otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

ProgressCallback = Callable[[int, int | None], None]
"""Called with (done, total); total is None while nobody knows it."""

_LINES_INTERVAL = 0.5  # seconds; what ffmpeg does


@contextmanager
def progress(
    title: str, *, unit: str = "frames", quiet: bool = False, lines_to: str | None = None
) -> Iterator[ProgressCallback]:
    """Shows how far long work is.

    Args:
        title: What is being done, for people.
        unit: What is being counted.
        quiet: Draw no bar.
        lines_to: File for ``key=value`` lines, "-" for standard output, None for none.

    Yields:
        The function to call with (done, total).
    """
    with ExitStack() as stack:
        reporters: list[ProgressCallback] = []
        if lines_to is not None:
            stream = (
                sys.stdout
                if lines_to == "-"
                else stack.enter_context(Path(lines_to).open("w", encoding="utf-8"))
            )
            lines = _Lines(stream, unit)
            stack.callback(lines.finish)
            reporters.append(lines.report)
        if not quiet and sys.stderr.isatty():
            reporters.append(stack.enter_context(_bar(title, unit)))

        def report(done: int, total: int | None) -> None:
            for reporter in reporters:
                reporter(done, total)

        yield report


class _Lines:
    """Writes blocks that end with ``progress=continue`` or ``progress=end``."""

    def __init__(self, stream: TextIO, unit: str) -> None:
        self._stream = stream
        self._key = "frame" if unit == "frames" else unit
        self._start = self._last = time.monotonic()
        self._done = 0
        self._total: int | None = None

    def report(self, done: int, total: int | None) -> None:
        self._done, self._total = done, total
        now = time.monotonic()
        if now - self._last >= _LINES_INTERVAL:
            self._last = now
            self._block("continue")

    def finish(self) -> None:
        self._block("end")

    def _block(self, state: str) -> None:
        elapsed = max(time.monotonic() - self._start, 1e-9)
        total = "N/A" if self._total is None else str(self._total)
        self._stream.write(
            f"{self._key}={self._done}\ntotal={total}\nfps={self._done / elapsed:.2f}\n"
            f"elapsed={elapsed:.2f}\nprogress={state}\n"
        )
        self._stream.flush()


@contextmanager
def _bar(title: str, unit: str) -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + "  {task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, rate="")
        start = time.monotonic()

        def report(done: int, total: int | None) -> None:
            rate = done / max(time.monotonic() - start, 1e-9)
            bar.update(task, completed=done, total=total, rate=f"{rate:.1f}/s")

        yield report
