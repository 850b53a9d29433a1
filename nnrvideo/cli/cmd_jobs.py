# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo jobs``: many titles as a list of jobs, done by processes or machines."""

from __future__ import annotations

import argparse
import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nnrvideo.cli import cmd_encode
from nnrvideo.cli.args import add_common, add_json, add_progress, check_output, encoder_options
from nnrvideo.cli.exits import Exit, UsageError
from nnrvideo.cli.progress import progress
from nnrvideo.cli.report import print_json, print_table

if TYPE_CHECKING:
    from nnrvideo.jobs import JSON, Job, JobList, RunReport

_DESCRIPTION = """\
plan    writes a list: one job for each video that matches a pattern
run     does what is not done yet; may be killed and started again at any time
status  says how far a list is

examples:
  nnrvideo jobs plan -i 'films/*.mp4' list.json --mode auto -c:v libx265 -crf 28
  nnrvideo jobs run list.json --workers 4
  nnrvideo jobs run list.json --scheduler tcp://10.0.0.1:8786
  nnrvideo jobs status list.json

A list may come from strangers: it can name videos to read, and writes into its folder only.
"""
_PLAN = """\
As "nnrvideo encode", with the same options, but IN is a pattern in quotes ('films/**/*.mp4'), and
OUT is the list. Each video is encoded to ID/files/NAME in the folder of the run.
"""
_MAX_TEXT: Final = 60
# Options of `encode` that are about the program that runs and not about the title.
_OWN: Final = frozenset(
    {"input", "output", "overwrite", "json", "verbose", "quiet", "suffix", "action", "default_crf"}
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = _DESCRIPTION
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    plan = actions.add_parser("plan", help="write a list", allow_abbrev=False)
    cmd_encode.add_arguments(plan)
    plan.epilog = _PLAN
    plan.formatter_class = argparse.RawDescriptionHelpFormatter
    plan.add_argument(
        "--suffix", default=".mp4", metavar=".EXT", help="of the coded videos (default: .mp4)"
    )
    run = actions.add_parser("run", help="do what is not done yet", allow_abbrev=False)
    _add_list(run)
    where = run.add_mutually_exclusive_group()
    where.add_argument(
        "--workers", type=int, default=1, metavar="N", help="jobs at a time (default: 1)"
    )
    where.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="do the jobs on a Dask cluster, whose workers have this version of nnrvideo and see "
        "the same files (needs the extra [cluster])",
    )
    add_progress(run)
    _add_list(status := actions.add_parser("status", help="how far it is", allow_abbrev=False))
    for each in (run, status):
        add_json(each)
        add_common(each)


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("list", metavar="LIST.json", type=Path, help="the list")
    parser.add_argument(
        "--folder",
        metavar="DIR",
        type=Path,
        help="where jobs put their files (default: LIST.jobs beside the list)",
    )


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    return {"plan": _plan, "run": _run, "status": _status}[options.action](options)


def _plan(options: argparse.Namespace) -> int:
    from nnrvideo.jobs import JobList

    check_output(options.output, overwrite=options.overwrite)
    sources = _matching(options.input)
    base = options.output.absolute().parent
    common = _arguments(options, base)
    jobs = JobList(tuple(_jobs(sources, common, options.suffix, base)), base)
    jobs.save(options.output, overwrite=options.overwrite)
    if options.json:
        print_json({"output": str(options.output), "jobs": len(sources)})
    elif not options.quiet:
        print(f"{options.output}: {len(sources)} jobs")
    return Exit.OK


def _matching(pattern: Path) -> list[Path]:
    if pattern.is_file():
        return [pattern]  # whose name may look like a pattern
    # pathlib's own takes no absolute patterns.
    found = sorted(map(Path, glob.glob(str(pattern), recursive=True)))  # noqa: PTH207
    sources = [each for each in found if each.is_file()]
    if not sources:
        raise UsageError(f"no file matches {pattern}")
    return sources


def _jobs(sources: list[Path], common: Mapping[str, JSON], suffix: str, base: Path) -> list[Job]:
    from nnrvideo.jobs import Job

    taken: Counter[str] = Counter()
    jobs = []
    for source in sources:
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", source.stem).strip("-_")[:80] or "title"
        taken[name.lower()] += 1
        count = taken[name.lower()]
        name += f".{count}" if count > 1 else ""  # no other name has a dot
        arguments = {"source": _path(source, base), "target": name + suffix, **common}
        jobs.append(Job(name, "encode", arguments))
    return jobs


def _arguments(options: argparse.Namespace, base: Path) -> dict[str, JSON]:
    """What of the command line belongs to each title."""
    from nnrvideo.jobs import KINDS

    fields = KINDS.kind("encode").fields
    parser = argparse.ArgumentParser()
    cmd_encode.add_arguments(parser)
    given: dict[str, JSON] = {"options": dict(encoder_options(options))}
    for name, value in vars(options).items():
        if name in _OWN or name.startswith("encoder-") or value == parser.get_default(name):
            continue
        if name not in fields:
            raise UsageError(f"--{name} has no place in a list of jobs")
        given[name] = _plain(value, base)
    return given | {"codec": options.codec}


def _plain(value: Any, base: Path) -> JSON:
    if isinstance(value, Path):
        return _path(value, base)
    if isinstance(value, Fraction):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _path(path: Path, base: Path) -> str:
    """Relative to the list where it lies below it, so that both can be moved together."""
    path = Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are called
    return str(path.relative_to(base) if path.is_relative_to(base) else path)


def _load(options: argparse.Namespace) -> tuple[JobList, Path]:
    from nnrvideo.jobs import JobList

    folder = options.folder or options.list.with_suffix(".jobs")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder; --folder names another one")
    return JobList.load(options.list), folder


def _run(options: argparse.Namespace) -> int:
    from nnrvideo.jobs import dask_cluster, local_workers, run_jobs

    jobs, folder = _load(options)
    if options.workers < 1:
        raise UsageError(f"--workers must be at least 1, not {options.workers}")
    executor = (
        dask_cluster(options.scheduler) if options.scheduler else local_workers(options.workers)
    )
    with progress("jobs", unit="jobs", quiet=options.quiet, lines_to=options.progress) as show:
        report = run_jobs(
            jobs,
            folder,
            executor,
            progress=show,
            say=_say if options.verbose else lambda _line: None,
        )
    if options.json:
        print_json({name: each.to_json() for name, each in report.outcomes.items()})
    else:
        _print_run(report, folder, quiet=options.quiet)
    return Exit.BAD_INPUT if report.failed else Exit.OK


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print_run(report: RunReport, folder: Path, *, quiet: bool) -> None:
    outcomes = report.outcomes.values()
    done = sum(each.state == "done" for each in outcomes)
    earlier = sum(each.state == "done" and not each.fresh for each in outcomes)
    if not quiet:
        print(f"{folder}: {done} of {len(outcomes)} jobs done, {earlier} of them earlier")
    for name, each in report.failed.items():
        print(f"{name}: {each.state}: {each.error}", file=sys.stderr)


def _status(options: argparse.Namespace) -> int:
    from nnrvideo.jobs import job_status

    jobs, folder = _load(options)
    found = job_status(jobs, folder)
    counts = Counter(each.state for each in found)
    if options.json:
        rows = [
            {
                "id": each.id,
                "kind": each.kind,
                "state": each.state,
                "detail": each.detail,
                "outcome": None if each.outcome is None else each.outcome.to_json(),
            }
            for each in found
        ]
        print_json({"folder": str(folder), "counts": counts, "jobs": rows})
        return Exit.OK
    print_table(
        ("job", "kind", "state", "seconds", "files and reasons"),
        [
            (
                each.id,
                each.kind,
                each.state,
                f"{each.outcome.wall_seconds:.1f}" if each.outcome else "-",
                ", ".join(each.outcome.files) if each.outcome else _cut(each.detail),
            )
            for each in found
        ],
    )
    print(f"{folder}: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    return Exit.OK


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
