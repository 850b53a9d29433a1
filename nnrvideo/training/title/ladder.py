# SPDX-License-Identifier: Apache-2.0
"""A title in several sizes that share one network and differ by its updates.

Each rung is shown at its own height and coded at the size that the network brings back.  One base
is trained on decoded pictures of all rungs; each rung then sends it, with the updates that are
worth their bits there, or does without if it is not worth its own.  A player that changes rungs
has the base already: its bytes are the same in all of them.

Spec: nothing here is normative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import final

from nnrvideo.container import open_media
from nnrvideo.files import OutputFile
from nnrvideo.training.kinds import TIERS, Mode
from nnrvideo.training.title import tasks
from nnrvideo.training.title.encode import encode_title, request_for
from nnrvideo.training.title.pieces import Coded, Pieces, Request, train_on
from nnrvideo.training.title.results import TitleReport
from nnrvideo.training.title.settings import TitleSettings
from nnrvideo.training.title.sizes import first_reduced, fitting_tier, sent_bits
from nnrvideo.training.title.workshop import Workshop, content_id, folder_beside, open_workshop


@final
@dataclass(frozen=True, slots=True)
class Rung:
    """One size of a title.

    Args:
        height: Rows as shown, no more than the source has.
        target: Where it goes.
        crf: Its quality where it is not that of the others.
    """

    height: int
    target: Path
    crf: str | None = None


def encode_ladder(
    source: Path,
    rungs: Sequence[Rung],
    settings: TitleSettings,
    *,
    codec: str = "libx265",
    options: Mapping[str, str] | None = None,
    overwrite: bool = False,
    duration: Fraction | None = None,
    work: Path | None = None,
    say: Callable[[str], None] = lambda _line: None,
    progress: tasks.Progress = lambda _done, _total: None,
) -> list[TitleReport]:
    """Encodes a title in several sizes with one network.

    Args:
        source: As for :func:`encode_title`, and likewise everything else that is not named here.
        rungs: Sizes, of different heights.
        settings: What to try; one mode.  Tiers: the first, or where there is none the one that
            the rung of the fewest bits pays for.
        codec: Encoder.
        options: Of the encoder; a rung's own ``crf`` counts more.
        overwrite: Whether existing targets may be replaced.
        duration: Stop after so many seconds.
        work: Folder for intermediate results.
        say: Called with a line about each finding.
        progress: Called with what is done of the work at hand.

    Returns:
        What came of each rung, in order.

    Raises:
        ValueError: No rung, two of one height, one higher than the source, several modes, or
            what :func:`encode_title` refuses.
        ContainerError: As :func:`encode_title`.
    """
    if len(settings.modes) != 1:
        raise ValueError("a ladder shares one network: give one mode, not several")
    heights = [rung.height for rung in rungs]
    if not rungs or len(set(heights)) < len(heights):
        raise ValueError("a ladder has rungs of different heights")
    with open_media(source) as media:
        rows = media.video.height
    if not 0 < min(heights) <= max(heights) <= rows:
        raise ValueError(f"rungs have 1 to {rows} rows as the source has, not {max(heights)}")
    for rung in rungs:
        OutputFile(rung.target, overwrite=overwrite).discard()
    identity = content_id(source)
    told = (identity, settings, codec, sorted((options or {}).items()), rungs, duration)
    folder = work or folder_beside(rungs[0].target, told)
    with (
        open_workshop(folder, source, identity, keep=work is not None) as workshop,
        tasks.reporting(progress),
    ):
        given = _Given(workshop, source, rows, settings, codec, options or {}, duration, say)
        steps = [_step(given, rung) for rung in rungs]
        base = _base(given, steps)
        reports = []
        for step in steps:
            say(f"{step.rung.height} rows")
            reports.append(
                encode_title(
                    step.request.source,
                    step.rung.target,
                    replace(settings, tiers=None, budget=None),
                    codec=codec,
                    options=step.options,
                    overwrite=overwrite,
                    duration=step.request.duration,
                    base=base,
                    work=folder / f"{step.rung.height}p",
                    say=say,
                    progress=progress,
                )
            )
    return reports


@final
@dataclass(frozen=True, slots=True)
class _Given:
    """What all rungs have in common."""

    workshop: Workshop
    source: Path
    rows: int
    settings: TitleSettings
    codec: str
    options: Mapping[str, str]
    duration: Fraction | None
    say: Callable[[str], None]

    @property
    def mode(self) -> Mode:
        """Of the network."""
        return self.settings.modes[0]


@final
@dataclass(frozen=True, slots=True)
class _Step:
    """A rung with what is wanted there, and a coded version that the base is trained on."""

    rung: Rung
    options: Mapping[str, str]
    request: Request
    coded: Coded


def _step(given: _Given, rung: Rung) -> _Step:
    options = {**given.options, **({} if rung.crf is None else {"crf": rung.crf})}
    source, duration = given.source, given.duration
    if rung.height < given.rows:
        given.say(f"{rung.height} rows: reducing the source")
        reduced = given.workshop.do(
            tasks.reduce,
            {
                "source": str(source.absolute()),
                "scale": str(Fraction(given.rows, rung.height)),
                "duration": None if duration is None else str(duration),
            },
        )
        source, duration = Path(reduced["file"]), None
    request = request_for(
        source,
        rung.target.suffix,
        settings=given.settings,
        codec=given.codec,
        options=options,
        duration=duration,
    )
    pieces = Pieces(given.workshop, request, given.say)
    return _Step(rung, options, request, first_reduced(pieces, request, given.mode))


def _base(given: _Given, steps: Sequence[_Step]) -> bytes:
    """One network for all rungs."""
    settings, mode = given.settings, given.mode
    fitting = [fitting_tier(step.request, mode, step.coded.bits) for step in steps]
    tier = settings.tiers[0] if settings.tiers else min(fitting, key=TIERS.index)
    given.say(f"{mode} {tier}: training on all rungs")
    share = max(sent_bits(step.request, mode, tier) / step.coded.bits for step in steps)
    result = train_on(
        given.workshop,
        [(step.request, step.coded) for step in steps],
        (mode, tier),
        share=share,
        seconds=settings.budget,
    )
    return Path(result["network_file"]).read_bytes()
