# SPDX-License-Identifier: Apache-2.0
"""Networks trained on titles against plain encodes: BD-rates, every bit of the networks charged.

    python tests/bench/bench_title.py --work DIR [--crf 26,30,34,38] [--codecs libx265,libx264] \
        [--tunes psnr,default] [--seconds 5] [--modes enhance,sr1.5x,sr2x] [--tiers XS,S] CLIP...

For each clip, codec and tune: the clip coded plainly (preset medium) at each CRF, then by
``encode_title`` at each CRF, all decoded, enhanced and measured against the source.  The bits of
the networks are charged to the clip itself ("clip") and, in a second column, as if the same
networks served 30 s ("30 s", a projection; the same for clips that are longer).  Where no network
is worth its bits ``encode_title`` returns the plain encode, and its point lies on the anchor.

Every point is kept in the folder as JSON, under a name that says all that it depends on but the
code: an interrupted run goes on, another set of CRFs measures only what is new.  Files are removed
once they are measured.  Lines say what was chosen and what it cost in CPU time.

Needs the extras ``[train]`` and ``[vmaf]``.  Asserts nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from nnrvideo.authoring import encode_reduced, probe
from nnrvideo.files import write_bytes
from nnrvideo.metrics import BdDelta, VmafError, bjontegaard, find_vmaf
from nnrvideo.report import MeasureOptions, measure_file
from nnrvideo.training.title import TitleSettings, encode_title

METRICS = {
    "PSNR-Y": "psnr_y",
    "MS-SSIM": "ms_ssim_y",
    "VMAF": "vmaf",
    "VMAF-NEG": "vmaf_neg",
}
SPREAD = 30.0  # seconds that the networks serve in the second column

Point = Mapping[str, Any]


@dataclass(frozen=True)
class Series:
    """One clip in one codec and tune."""

    clip: Path
    codec: str
    tune: str

    def __str__(self) -> str:
        return f"{self.clip.stem} {self.codec} tune {self.tune}"

    def options(self, crf: float) -> dict[str, str]:
        options = {"preset": "medium", "crf": f"{crf:g}"}
        if self.tune != "default":
            options["tune"] = self.tune
        if self.codec == "libx265":
            options["x265-params"] = "log-level=error"
        return options


def main() -> None:
    options = _parser().parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    tables: list[tuple[Series, list[Point], list[Point]]] = []
    for clip in options.clips:
        for codec in options.codecs:
            for tune in options.tunes:
                series = Series(clip, codec, tune)
                plain = [_plain(options, series, crf) for crf in options.crf]
                title = [_title(options, series, crf) for crf in options.crf]
                tables.append((series, plain, title))
                _print_points(series, plain, title)
    _print_table(tables)


def _plain(options: argparse.Namespace, series: Series, crf: float) -> Point:
    def make(target: Path) -> None:
        encode_reduced(
            series.clip,
            target,
            (Fraction(1), Fraction(1)),
            codec=series.codec,
            options=series.options(crf),
            duration=options.seconds,
        )

    return _point(options, series, f"plain-{crf:g}", make)


def _title(options: argparse.Namespace, series: Series, crf: float) -> Point:
    settings = TitleSettings(
        modes=options.modes,
        tiers=options.tiers,
        pictures=options.pictures,
        **({} if options.steps is None else {"steps": options.steps}),
    )

    def make(target: Path) -> None:
        encode_title(
            series.clip,
            target,
            settings,
            codec=series.codec,
            options=series.options(crf),
            duration=options.seconds,
            say=lambda line: print(f"    {line}", flush=True),
        )

    # Not repr(): a setting that is added with a default must not void what was measured.
    chosen = (*options.modes, *(options.tiers or ("auto",)), options.steps, options.pictures)
    return _point(options, series, f"title-{_short(chosen)}-{crf:g}", make)


def _point(
    options: argparse.Namespace, series: Series, name: str, make: Callable[[Path], None]
) -> Point:
    """Codes and measures, or reads what an earlier run measured."""
    size = series.clip.stat().st_size
    identity = _short((series.clip.name, size, series.codec, series.tune, options.seconds))
    stem = f"{series.clip.stem}-{series.codec}-{series.tune}-{identity}-{name}"
    kept: Path = options.work / f"{stem}.json"
    if kept.exists():
        known: Point = json.loads(kept.read_text())
        return known
    target = options.work / f"{stem}.mp4"
    target.unlink(missing_ok=True)  # of a run that ended between coding and measuring
    begin = time.process_time()
    make(target)
    coding = time.process_time() - begin
    found = probe(target)
    with_networks = bool(found.networks)
    measured = measure_file(
        series.clip,
        target,
        MeasureOptions(
            flicker=False, vmaf=options.vmaf, threads=1, max_pictures=found.access_units
        ),
        networks=with_networks,
    )
    shown = measured.network if with_networks else measured.plain
    assert shown is not None
    if measured.video.width == measured.source.width:
        kind = "enhance" if with_networks else "plain"
    else:
        kind = f"sr{measured.source.width / measured.video.width:.3g}x"
    point: Point = {
        "kind": kind,
        "seconds": float(measured.seconds),
        "video_bits": 8 * found.video_bytes,
        "network_bits": 8 * found.network_bytes,
        "cpu_seconds": coding,
        **{name: getattr(shown.quality, field) for name, field in METRICS.items()},
    }
    write_bytes(kept, json.dumps(point, indent=1).encode(), overwrite=True)
    target.unlink()
    return point


def _short(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]


def _rate(point: Point, *, spread: bool) -> float:
    """Bits a second."""
    seconds = point["seconds"]
    serving = max(seconds, SPREAD) if spread else seconds
    return float(point["video_bits"] / seconds + point["network_bits"] / serving)


def _print_points(series: Series, plain: Sequence[Point], title: Sequence[Point]) -> None:
    print(f"{series}, {plain[0]['seconds']:.1f} s")
    heads = "".join(f"{name:>10}" for name in METRICS)
    print(f"  {'':8} {'kbit/s':>8} {'network':>8}{heads} {'CPU s':>7}")
    for point in (*plain, *title):
        values = "".join(
            f"{'-' if point[name] is None else format(point[name], '.4f'):>10}" for name in METRICS
        )
        print(
            f"  {point['kind']:8} {_rate(point, spread=False) / 1e3:8.1f} "
            f"{point['network_bits'] / 8e3:6.1f}kB{values} {point['cpu_seconds']:7.0f}",
            flush=True,
        )


def _delta(plain: Sequence[Point], title: Sequence[Point], name: str, *, spread: bool) -> BdDelta:
    curves = [
        [(_rate(point, spread=spread), point[name]) for point in points]
        for points in (plain, title)
    ]
    return bjontegaard(*curves)


def _print_table(tables: Sequence[tuple[Series, list[Point], list[Point]]]) -> None:
    """BD-rates against the plain encode of the same codec and tune, in percent."""
    columns = [(name, spread) for name in METRICS for spread in (False, True)]
    print("\nBD-rate, %; networks charged to: clip | 30 s")
    heads = "".join(f"{name:>18}" for name in METRICS)
    print(f"{'':44}{heads}  chosen, from the first CRF to the last")
    sums: dict[tuple[str, bool], list[float]] = {column: [] for column in columns}
    notes: list[str] = []
    for series, plain, title in tables:
        cells = []
        for name, spread in columns:
            try:
                found = _delta(plain, title, name, spread=spread)
            except (ValueError, TypeError) as error:
                notes.append(f"{series}, {name}: {error}")
                cells.append("      -")
                continue
            notes += [f"{series}, {name}: {each}" for each in found.warnings]
            if found.rate_percent is None:
                cells.append("      -")
                continue
            sums[name, spread].append(found.rate_percent)
            cells.append(f"{found.rate_percent:+7.2f}")
        pairs = "".join(f"  {a} {b}" for a, b in zip(cells[::2], cells[1::2], strict=True))
        print(f"{series!s:44}{pairs}  {', '.join(point['kind'] for point in title)}")
    means = [
        f"{statistics.mean(sums[each]):+7.2f}" if sums[each] else "      -" for each in columns
    ]
    pairs = "".join(f"  {a} {b}" for a, b in zip(means[::2], means[1::2], strict=True))
    print(f"{'mean':44}{pairs}")
    for note in dict.fromkeys(notes):
        print(note)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("clips", nargs="+", type=Path)
    add("--work", type=Path, required=True, help="folder of the points that were measured")
    add("--crf", type=_numbers, default=(24.0, 28.0, 32.0, 36.0), help="default: 24,28,32,36")
    add("--codecs", type=_names, default=("libx265", "libx264"))
    add("--tunes", type=_names, default=("psnr", "default"))
    add("--seconds", type=Fraction, help="use only the start of each clip")
    add("--modes", type=_names, default=("enhance", "sr1.5x", "sr2x"))
    add("--tiers", type=_names, help="default: the one that fits")
    add("--steps", type=int, help="of each training")
    add("--pictures", type=int, default=48, help="to train on; default: %(default)s")
    add("--no-vmaf", dest="vmaf", action="store_const", const=None, default=_vmaf())
    return parser


def _vmaf() -> Any:
    try:
        return find_vmaf()
    except VmafError as error:
        print(f"no VMAF: {error}")
        return None


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(sorted(float(each) for each in text.split(",")))


if __name__ == "__main__":
    main()
