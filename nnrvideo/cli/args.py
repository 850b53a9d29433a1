# SPDX-License-Identifier: Apache-2.0
"""Options that several verbs share, so that they read alike everywhere."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnrvideo.cli.exits import UsageError


def add_common(parser: argparse.ArgumentParser) -> None:
    """-v, -q: every verb has them."""
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="say more; twice: also where it failed"
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="say nothing but errors; no progress bar"
    )


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """-y and -n, as ffmpeg has them; without either an existing output is an error."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-y", dest="overwrite", action="store_true", help="overwrite outputs")
    group.add_argument(
        "-n", dest="overwrite", action="store_false", help="never overwrite (the default)"
    )
    parser.set_defaults(overwrite=False)


def add_input(parser: argparse.ArgumentParser, help_text: str) -> None:
    """-i IN."""
    parser.add_argument(
        "-i", dest="input", metavar="IN", type=Path, required=True, help=help_text
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json: the same facts for programs."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def add_progress(parser: argparse.ArgumentParser) -> None:
    """-progress: key=value lines for programs that drive this one."""
    parser.add_argument(
        "-progress",
        dest="progress",
        metavar="FILE",
        help="write progress as key=value lines, as ffmpeg does, to FILE ('-': standard output)",
    )


def check_output(path: Path, *, overwrite: bool) -> Path:
    """Refuses an output that exists, before any work is done.

    Raises:
        UsageError: ``path`` exists and ``overwrite`` is off, or its folder does not exist.
    """
    if str(path) == "-":
        return path
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already; -y overwrites it")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}")
    return path
