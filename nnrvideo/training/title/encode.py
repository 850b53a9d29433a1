# SPDX-License-Identifier: Apache-2.0
"""A title, with the network that is worth its bits, or with none.

The title is coded plainly at the quality that was asked for; its bits are the measure.  Each
candidate codes it at the size its network brings back, at about as many bits, trains the network on
exactly the decoded pictures, puts it into the stream and is measured through the player against the
source.  The best is switched off in scenes where it does not help, adapted to others where updates
are worth their bits, and measured again.  It wins if it beats the plain encode at the same bits,
with a plain encode made at nearly those bits as proof; otherwise the plain encode is the result.

Spec: nothing here is normative.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from nnrvideo.carriage import carriage_for
from nnrvideo.container import coding_format, open_media
from nnrvideo.files import OutputFile
from nnrvideo.metrics import find_vmaf
from nnrvideo.metrics.ssim import MS_SSIM_MIN_SIDE
from nnrvideo.training.title import tasks
from nnrvideo.training.title.base import kind_of
from nnrvideo.training.title.buffer import Buffer
from nnrvideo.training.title.curve import knob_of
from nnrvideo.training.title.pieces import Pieces, Request
from nnrvideo.training.title.results import TitleReport
from nnrvideo.training.title.settings import TitleSettings
from nnrvideo.training.title.trial import Trial
from nnrvideo.training.title.workshop import content_id, folder_beside, open_workshop


def encode_title(
    source: Path,
    target: Path,
    settings: TitleSettings | None = None,
    *,
    codec: str = "libx265",
    options: Mapping[str, str] | None = None,
    overwrite: bool = False,
    duration: Fraction | None = None,
    base: bytes | None = None,
    work: Path | None = None,
    say: Callable[[str], None] = lambda _line: None,
    progress: tasks.Progress = lambda _done, _total: None,
    before_cleaning: Callable[[TitleReport], None] = lambda _report: None,
) -> TitleReport:
    """Encodes a title with the network that gains most for its bits, or with none.

    A run that was interrupted, even by SIGKILL, goes on where it was when it is started again in
    the same way.

    Args:
        source: Any video that libavformat reads; audio, subtitles, chapters and tags are copied.
        target: MP4, Matroska, WebM, MPEG-TS or raw stream.
        settings: What to try.
        codec: Encoder, such as ``libx264``, ``libx265``, ``libsvtav1``, ``libvpx-vp9``.
        options: ffmpeg's encoder options by name, with ``crf`` or ``b:v``.
        overwrite: Whether an existing target may be replaced.
        duration: Stop after so many seconds.
        base: Network to use, NNC, of a kind that is trained here; each scene, even an only one,
            gets the updates that are worth their bits, and nothing else is trained.  Receivers
            that have it from elsewhere know its bytes again.
        work: Folder for intermediate results; it is kept, and results that lie there from other
            runs are used again.  By default a hidden one beside the target, named after source and
            settings and removed after success.
        say: Called with a line about each finding.
        progress: Called with (pictures or steps done, of how many) of the work at hand.
        before_cleaning: Called at the end with the report, while its ``files`` are still there.

    Returns:
        What was tried, with figures, and what was chosen.

    Raises:
        ImportError: PyTorch is missing.
        ContainerError: A file cannot be read or written, or the encoder refuses.
        CarriageError: The codec has no place for a network.
        VmafError: VMAF shall decide and libvmaf is missing.
        ValueError: No quality and no rate, options that mean nothing, or a base that is of
            another mode or of no kind that is trained here.
        BitstreamError: The base is broken.
    """
    settings = settings or TitleSettings()
    given = dict(options or {})
    _require_torch()
    carriage_for(coding_format(codec))
    if settings.target == "vmaf":
        find_vmaf()
    if base is not None:
        settings = _with_base(settings, base)
    request = request_for(
        source,
        target.suffix,
        settings=settings,
        codec=codec,
        options=given,
        duration=duration,
        base=base,
    )
    if settings.target == "ms-ssim" and min(request.size) < MS_SSIM_MIN_SIDE:
        raise ValueError(f"MS-SSIM needs pictures of at least {MS_SSIM_MIN_SIDE} samples")
    identity = content_id(source)
    told = (identity, settings, codec, sorted(given.items()), duration, base)
    folder = work or folder_beside(target, told)
    # Whether it can be written at all shall be known before hours of work.
    OutputFile(target, overwrite=overwrite).discard()
    with (
        open_workshop(folder, source, identity, keep=work is not None) as workshop,
        tasks.reporting(progress),
    ):
        report, result = Trial(Pieces(workshop, request, say), request, say).decide()
        with OutputFile(target, overwrite=overwrite) as output:
            shutil.copyfile(result, output.temporary)
        before_cleaning(report)
    return replace(report, files=(), network=None)


def request_for(
    source: Path,
    suffix: str,
    *,
    settings: TitleSettings,
    codec: str,
    options: Mapping[str, str],
    duration: Fraction | None,
    base: bytes | None = None,
) -> Request:
    """What is wanted of a source; arguments and errors as for :func:`encode_title`."""
    given = dict(options)
    knob = knob_of(codec, given)
    if settings.two_pass and knob.kind == "crf":
        raise ValueError("two passes are for a bit rate: give -b:v")
    with open_media(source) as media:
        return Request(
            source=source.absolute(),
            suffix=suffix,
            size=(media.video.width, media.video.height),
            seconds=float(duration or media.video.duration or 0),
            codec=codec,
            options=given,
            knob=knob,
            buffer=Buffer.of(given),
            settings=settings,
            duration=duration,
            base=base,
        )


def _with_base(settings: TitleSettings, base: bytes) -> TitleSettings:
    """Settings in which the kind of a given network is the only one."""
    mode, tier = kind_of(base)
    if mode not in settings.modes:
        raise ValueError(f"the network is for {mode}, not for {', '.join(settings.modes)}")
    if settings.tiers is not None:
        raise ValueError("a network that is given has its tier; tiers are for training")
    if settings.budget is not None:
        raise ValueError("a budget is for training a network; updates take steps")
    return replace(settings, modes=(mode,), tiers=(tier,))


def _require_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise ImportError(
            "training a network needs PyTorch, which is an optional extra: "
            "pip install nnrvideo[train]"
        )
