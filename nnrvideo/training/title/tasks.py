# SPDX-License-Identifier: Apache-2.0
"""The pieces of work that a title consists of: code, train, adapt, measure.

Each is ``run(arguments, folder) -> result`` as the workshop wants it: plain JSON, files by absolute
paths in and by names in ``folder`` out, nothing remembered between two calls.
"""

from __future__ import annotations

import base64
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from nnrvideo.authoring import Span, embed, encode_reduced
from nnrvideo.container import open_media
from nnrvideo.files import write_bytes
from nnrvideo.metrics import find_vmaf
from nnrvideo.report import Measured, MeasureOptions, measure_file
from nnrvideo.report.bits import UnitBits, count_bits
from nnrvideo.report.results import Bits
from nnrvideo.runtime import Upscaler
from nnrvideo.training.title.buffer import Buffer
from nnrvideo.training.title.figures import Scene, Side, side_of
from nnrvideo.training.title.workshop import Json

Progress = Callable[[int, int | None], None]

_CHECKPOINT: Final = "checkpoint"
_UPDATE_PICTURES: Final = 12  # pairs of a scene, at most
_MEASURED_PICTURES: Final = 4  # of them, on which the coding of an update is tuned
_LOST_SHARE: Final = 0.1  # of what an update gains, in dB, that coding it may lose
_LEAST_LOSS: Final = 1e-3  # dB

_progress: ContextVar[Progress] = ContextVar("progress", default=lambda _done, _total: None)


@contextmanager
def reporting(progress: Progress) -> Iterator[None]:
    """Within it, tasks tell how far they are: (pictures or steps done, of how many)."""
    token = _progress.set(progress)
    try:
        yield
    finally:
        _progress.reset(token)


def code(arguments: Mapping[str, Json], folder: Path) -> Mapping[str, Json]:
    """Codes the title at some size and quality.

    Args:
        arguments: ``source``; ``name`` of the file; ``scale`` of the source relative to the coded
            size; ``codec``; ``options`` of the encoder; ``two_pass``; ``duration`` in seconds or
            null.
        folder: Where the file goes.

    Returns:
        ``file``; ``pictures``; ``bits`` of the video; ``cropped`` columns and rows; ``dropped``
        streams.
    """
    scale = Fraction(arguments["scale"])
    path = folder / arguments["name"]
    report = encode_reduced(
        Path(arguments["source"]),
        path,
        (scale, scale),
        codec=arguments["codec"],
        options=arguments["options"],
        overwrite=True,
        duration=None if arguments["duration"] is None else Fraction(arguments["duration"]),
        two_pass=arguments["two_pass"],
        progress=_progress.get(),
    )
    with open_media(path) as media:
        bits, _ = count_bits(media)
    return {
        "file": path.name,
        "pictures": report.pictures,
        "bits": bits.total,
        "cropped": list(report.cropped),
        "dropped": list(report.dropped),
    }


def reduce(arguments: Mapping[str, Json], folder: Path) -> Mapping[str, Json]:
    """The title at a smaller size, without loss.

    Args:
        arguments: ``source``; ``scale`` of it relative to what it becomes; ``duration`` in seconds
            or null.
        folder: Where the file goes.

    Returns:
        ``file``, Matroska.
    """
    scale = Fraction(arguments["scale"])
    path = folder / "reduced.mkv"
    encode_reduced(
        Path(arguments["source"]),
        path,
        (scale, scale),
        codec="ffv1",
        overwrite=True,
        duration=None if arguments["duration"] is None else Fraction(arguments["duration"]),
        progress=_progress.get(),
    )
    return {"file": path.name}


def adopt(arguments: Mapping[str, Json], folder: Path) -> Mapping[str, Json]:
    """Takes a network that was given.

    Args:
        arguments: ``nnc``, the bitstream in base64.
        folder: Where it goes.

    Returns:
        ``network_file``; ``bytes``.
    """
    data = base64.b64decode(arguments["nnc"])
    write_bytes(folder / "network.nnc", data, overwrite=True)
    return {"network_file": "network.nnc", "bytes": len(data)}


def train(arguments: Mapping[str, Json], folder: Path) -> Mapping[str, Json]:
    """Trains a network on the decoded pictures of coded versions.

    Args:
        arguments: ``pairs`` of a source and its coded version; ``mode``; ``tier``; ``steps`` or
            null; ``seconds`` of CPU or null; ``share`` of the title's bits that the network will
            take, about; ``pictures``; ``seed``; ``threads``.
        folder: Where the network and the state of its training go.

    Returns:
        ``network_file``; ``bytes``; ``steps``; ``cpu_seconds``.
    """
    from nnrvideo.training.data import PairSet, sample_pairs
    from nnrvideo.training.kinds import mode_scale
    from nnrvideo.training.recipe import Budget, relative_step_for, train_filter

    mode = arguments["mode"]
    pairs = PairSet()
    for source, coded in arguments["pairs"]:
        count = max(arguments["pictures"] // len(arguments["pairs"]), 1)
        pairs.extend(sample_pairs(Path(source), Path(coded), mode_scale(mode), count))
    done = _progress.get()
    steps = 0
    last = ("", 0)

    def tell(each: Any) -> None:
        nonlocal steps, last
        if each.phase != last[0]:
            steps += last[1]
        last = each.phase, each.step
        done(steps + each.step, arguments["steps"])

    checkpoint = folder / _CHECKPOINT
    trained = train_filter(
        pairs,
        mode,
        arguments["tier"],
        budget=Budget(
            arguments["steps"], arguments["seconds"], plateau=arguments["seconds"] is not None
        ),
        seed=arguments["seed"],
        threads=arguments["threads"],
        relative_step=relative_step_for(arguments["share"]),
        checkpoint=checkpoint,
        progress=tell,
    )
    write_bytes(folder / "network.nnc", trained.nnc, overwrite=True)
    checkpoint.unlink(missing_ok=True)
    return {
        "network_file": "network.nnc",
        "bytes": len(trained.nnc),
        "steps": trained.steps,
        "cpu_seconds": trained.cpu_seconds,
    }


def adapt(arguments: Mapping[str, Json], folder: Path) -> Mapping[str, Json]:
    """Adapts a network to a scene.

    Args:
        arguments: ``source``; ``coded``; ``network``; ``mode``; ``level`` of the update; ``start``
            and ``end`` of the scene, seconds of the coded file or null; ``steps``; ``seed``;
            ``threads``.
        folder: Where the update goes.

    Returns:
        ``update_file``, unless nothing was gained; ``bytes``; ``cpu_seconds``.
    """
    import numpy as np

    from nnrvideo.model import receive
    from nnrvideo.training.adaptation import AdaptSettings, adaptation_psnr, to_update
    from nnrvideo.training.adaptation import adapt as adapted
    from nnrvideo.training.data import sample_pairs
    from nnrvideo.training.kinds import mode_scale
    from nnrvideo.training.nets import BlockNet
    from nnrvideo.training.recipe import patch_for

    begin = time.process_time()
    base = receive(Path(arguments["network"]).read_bytes())
    before = {name: np.asarray(value, np.float32) for name, value in base.tensors.items()}
    pairs = sample_pairs(
        Path(arguments["source"]),
        Path(arguments["coded"]),
        mode_scale(arguments["mode"]),
        _UPDATE_PICTURES,
        start=_seconds(arguments["start"]),
        end=_seconds(arguments["end"]),
    )
    done = _progress.get()
    steps = arguments["steps"]
    refine = steps // 3
    settings = AdaptSettings(
        steps=steps - refine,
        refine_steps=refine,
        level=arguments["level"],
        patch=patch_for(pairs, BlockNet.from_weights(before).shape),
        seed=arguments["seed"],
        threads=arguments["threads"],
    )
    tensors = adapted(before, pairs, settings, progress=lambda each: done(each.step, each.steps))
    worse, better = (
        adaptation_psnr(each, pairs, max_pictures=_MEASURED_PICTURES) for each in (before, tensors)
    )
    if not better > worse:  # nor where there is no error at all
        return {"bytes": 0, "cpu_seconds": time.process_time() - begin}
    update = to_update(
        base,
        tensors,
        pairs,
        # What an update gains may be less than what coding a whole network may lose.
        loss=max(_LOST_SHARE * min(better - worse, 1.0), _LEAST_LOSS),
        max_pictures=_MEASURED_PICTURES,
    )
    write_bytes(folder / "update.nnc", update, overwrite=True)
    return {
        "update_file": "update.nnc",
        "bytes": len(update),
        "cpu_seconds": time.process_time() - begin,
    }


def measure(arguments: Mapping[str, Json], folder: Path) -> Mapping[str, Json]:
    """Puts networks into a coded version and measures what a player shows.

    Args:
        arguments: ``source``; ``coded``; ``name`` of the file; ``network`` or null; ``updates``,
            pairs of seconds and file, null for the base; ``spans`` in which pictures are filtered;
            ``repeat`` in seconds; ``buffer``, rate and size that receivers are promised, or null;
            ``pictures`` of the coded version; ``target`` metric; ``threads``.
        folder: Where the file goes.

    Returns:
        ``scenes``; ``samples`` of a luma plane; ``bit_depth``; ``pictures``; ``enhanced`` of them;
        ``unpaired`` ones that have no partner in the other file; ``lacking`` bits that the buffer
        waits for at the worst moment; ``file``, if there is a network.
    """
    path = Path(arguments["coded"])
    network = arguments["network"]
    if network is not None:
        path = folder / arguments["name"]
        embed(
            arguments["coded"],
            path,
            Path(network).read_bytes(),
            updates={
                Fraction(time): None if file is None else Path(file).read_bytes()
                for time, file in arguments["updates"]
            },
            spans=_spans(arguments["spans"]),
            repeat=Fraction(arguments["repeat"]),
            overwrite=True,
        )
    target = arguments["target"]
    options = MeasureOptions(
        upscaler=Upscaler.BICUBIC,  # what `enhance` shows where no network applies
        structure=target == "ms-ssim",
        vmaf=find_vmaf() if target == "vmaf" else None,
        threads=arguments["threads"],
        max_pictures=arguments["pictures"],
    )
    measured = measure_file(
        Path(arguments["source"]),
        path,
        options,
        networks=network is not None,
        progress=_progress.get(),
    )
    with open_media(path) as media:
        _, units = count_bits(media)
    scenes = _scenes(measured, units, target)
    lacking = 0
    if arguments["buffer"] is not None:
        lacking = Buffer(*arguments["buffer"]).lacking(
            [(unit.pts, unit.bits.total) for unit in units]
        )
    return {
        "scenes": [scene.to_json() for scene in scenes],
        "samples": measured.plain.pictures[0].samples,
        "bit_depth": measured.source.bit_depth,
        "pictures": len(measured.times),
        "enhanced": measured.enhanced,
        "unpaired": measured.unpaired,
        "lacking": lacking,
        **({} if network is None else {"file": path.name}),
    }


def _scenes(measured: Measured, units: Sequence[UnitBits], target: str) -> list[Scene]:
    """Sums up from cut to cut."""
    times = measured.times
    starts = measured.scene_starts
    begins = [times[index] for index in starts]
    counts: list[Counter[str]] = [Counter(video=0) for _ in starts]
    for unit in units:
        counts[max(bisect_right(begins, unit.pts) - 1, 0)].update(asdict(unit.bits))
    shown = measured.network or measured.plain
    scenes = []
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(times)], strict=True)):

        def side(pictures: Any, start: int = start, end: int = end) -> Side:
            return side_of(pictures[start:end], target)  # type: ignore[arg-type]

        scenes.append(
            Scene(
                times[start],
                end - start,
                side(measured.plain.pictures),
                side(shown.pictures),
                Bits(**counts[number]),
            )
        )
    return scenes


def _spans(value: Json) -> tuple[Span, ...]:
    return tuple((_seconds(start), _seconds(end)) for start, end in value)


def _seconds(value: Json) -> Fraction | None:
    return None if value is None else Fraction(value)
