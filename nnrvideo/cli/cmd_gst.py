# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo gst``: makes GStreamer find the elements, and says what is missing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nnrvideo.cli.args import add_common, add_json
from nnrvideo.cli.exits import Exit, UsageError
from nnrvideo.cli.report import print_json

_DESCRIPTION = """\
env      prints a shell command after which GStreamer finds the elements:
         eval "$(nnrvideo gst env)"
install  prepares this environment, so that GStreamer's Python loader works while it is
         active; with --user also copies the elements to where GStreamer looks by itself, so
         that no variable is needed at all
doctor   looks at everything that must be right and says what to do where it is not

GStreamer itself comes from the distribution, not from pip; doctor names the packages.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = _DESCRIPTION
    parser.add_argument("job", choices=("env", "install", "doctor"), help="see below")
    parser.add_argument(
        "--user", action="store_true", help="install: for this user, without any variable"
    )
    parser.add_argument(
        "--target",
        metavar="DIR",
        type=Path,
        help="install: copy the elements to DIR/python, for GST_PLUGIN_PATH=DIR",
    )
    parser.add_argument(
        "--remove", action="store_true", help="install: take the copied elements away again"
    )
    add_json(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.gst import setup

    if options.job != "install" and (options.user or options.target or options.remove):
        raise UsageError(f"--user, --target and --remove belong to install, not to {options.job}")
    if options.job == "env":
        print("\n".join(setup.environment_lines()))
        return Exit.OK
    if options.job == "install":
        return _install(options)
    return _doctor(options)


def _install(options: argparse.Namespace) -> int:
    from nnrvideo.gst import setup

    targets = [setup.user_folder()] if options.user else []
    if options.target:
        targets.append(options.target / "python")
    if options.remove:
        if not targets:
            raise UsageError("--remove needs --user or --target: where from?")
        files = [file for target in targets for file in setup.uninstall(target)]
        return _report_install(options, "removed", files)
    files = [file for target in targets for file in setup.install(target)]
    try:
        link = setup.link_gi()
    except setup.GStreamerError as error:
        # Only needed while the environment is active; the elements work without.
        print(f"nnrvideo gst: note: {error}", file=sys.stderr)
        link = None
    setup.forget_registry()
    code = _report_install(options, "written", [*files, *([link] if link else [])])
    if not targets and not options.quiet and not options.json:
        print("now: " + "; ".join(setup.environment_lines()))
    return code


def _report_install(options: argparse.Namespace, what: str, files: list[Path]) -> int:
    if options.json:
        print_json({what: [str(file) for file in files]})
    elif not options.quiet:
        for file in files:
            print(f"{what}: {file}")
    return Exit.OK


def _doctor(options: argparse.Namespace) -> int:
    from nnrvideo.gst import setup

    findings = []
    for finding in setup.examine():
        findings.append(finding)
        if options.json or (finding.ok and options.quiet):
            continue
        print(f"{'ok      ' if finding.ok else 'MISSING '} {finding.what}", flush=True)
        if finding.remedy:
            print(f"          -> {finding.remedy}")
    if options.json:
        print_json([{"ok": f.ok, "what": f.what, "remedy": f.remedy} for f in findings])
    return Exit.OK if all(finding.ok for finding in findings) else Exit.ENVIRONMENT
