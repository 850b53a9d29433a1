# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo describe-bench``: what descriptors find, and which models may be mixed."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrvideo.cli.args import add_common, add_json, add_overwrite, check_output
from nnrvideo.cli.describing import load_descriptor_model, picture_files
from nnrvideo.cli.exits import Exit, UsageError
from nnrvideo.cli.progress import progress
from nnrvideo.cli.report import human_bytes, print_json, print_table
from nnrvideo.files import write_bytes

if TYPE_CHECKING:
    from nnrvideo.descriptors.bench import Bench, Figures, Localisation, Measured

_MAX_DROP = 0.01  # of mean average precision, for models to be called interoperable

_EXAMPLES = """\
From each clip pieces are cut and edited in nine ways, each coded again: reenc, crop, logo, rot10,
rot90, flip, gray, pip, camcord.  A query must be found among the pieces of all clips, pictures cut
from clips, and --photos; what comes from its own clip counts neither for nor against it.  No
picture on which the model's projection was learnt belongs among them.

With --interop the second model's queries are also held against the first one's references, the
exit code is 1 if mean average precision drops by more than 0.01, and --write puts the figures into
the second model's manifest.

examples:
  nnrvideo describe-bench -m model.nnc --corpus corpus/ clips/*.mp4 --photos photos/
  nnrvideo describe-bench --interop model.nnc small.nnc --corpus corpus/ clips/*.mp4
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("clips", metavar="CLIP", type=Path, nargs="+", help="each another scene")
    parser.add_argument(
        "--corpus", metavar="DIR", type=Path, required=True, help="folder to build it in; is kept"
    )
    parser.add_argument("-m", dest="model", metavar="MODEL", type=Path, help="descriptor model")
    parser.add_argument(
        "--interop",
        metavar="MODEL",
        type=Path,
        nargs="+",
        help="models A B [C ...]: each of the others is mixed with the first",
    )
    parser.add_argument(
        "--int8", action="store_true", help="with --interop: the others run in 8-bit integers"
    )
    parser.add_argument(
        "--write", metavar="OUT.nnc", type=Path, help="with --interop: B, listing A with figures"
    )
    parser.add_argument(
        "--photos", metavar="PATH", type=Path, nargs="+", default=[], help="further distractors"
    )
    parser.add_argument("--pieces", type=int, default=4, metavar="N", help="of a clip, at most")
    parser.add_argument(
        "--splices", type=int, default=0, metavar="N", help="films for localisation (default: 0)"
    )
    add_overwrite(parser)
    add_json(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.descriptors.bench import Bench, build_corpus

    if (options.model is None) == (options.interop is None):
        raise UsageError("give either -m MODEL or --interop A B")
    if options.interop is not None and len(options.interop) < 2:
        raise UsageError("--interop takes two models or more")
    if options.int8 and (options.interop is None or options.write is not None):
        raise UsageError("--int8 belongs to --interop, without --write")
    if options.write is not None:
        if options.interop is None or len(options.interop) != 2:
            raise UsageError("--write belongs to --interop with two models")
        check_output(options.write, overwrite=options.overwrite)
    first = load_descriptor_model(options.model or options.interop[0])
    photos = picture_files(options.photos) if options.photos else []
    with progress("measuring", quiet=options.quiet or options.json) as show:
        steps = _steps(show)
        corpus = build_corpus(
            options.clips,
            options.corpus,
            photos=photos,
            pieces=options.pieces,
            splices=options.splices,
            progress=steps,
        )
        bench = Bench(corpus, first.manifest.long_side, steps, hashes=options.interop is None)
        if options.interop is not None:
            return max(_interop(options, bench, path) for path in options.interop[1:])
        from nnrvideo.descriptors.bench import localisation, run
        from nnrvideo.descriptors.extractor import Form

        table = run(bench, first)
        located: list[tuple[str, Localisation]] = []
        if corpus.splices:
            rotations = first.manifest.rotations
            name = f"NIP-{rotations} {first.dimensions} real"
            threshold = next(each.frame_threshold for each in table if each.name == name)
            form = Form(0, rotations)
            located.append((name, localisation(corpus, first, form, threshold, steps)))
    _print(options, bench, table, located)
    return Exit.OK


def _steps(show: Any) -> Any:
    return lambda _, done, total: show(done, total)


def _print(
    options: argparse.Namespace,
    bench: Bench,
    table: list[Measured],
    located: list[tuple[str, Localisation]],
) -> None:
    if options.json:
        print_json(
            {
                "queries": len(bench.corpus.queries),
                "candidates": bench.right.shape[1],
                "rows": [
                    {"name": row.name, "bytes": row.size, **row.figures.to_json()} for row in table
                ],
                "localisation": {
                    name: {
                        "threshold": each.threshold,
                        "found": each.found,
                        "mean_jaccard": each.mean_jaccard,
                        "films": each.films,
                    }
                    for name, each in located
                },
            }
        )
        return
    transforms = list(table[0].figures.by_transform)
    title = (
        f"{len(bench.corpus.queries)} queries, {len(bench.corpus.references)} references, "
        f"{len(bench.corpus.distractors)} distractors, "
        f"{table[0].figures.negatives} negative pairs"
    )
    header = ("descriptor", "bytes", "mAP", "TPR@1%", "TPR@0.1%")
    print_table(
        header,
        [(row.name, str(row.size), *_three(row.figures)) for row in table],
        title,
    )
    print_table(
        ("TPR@1%", *transforms),
        [(row.name, *_by_transform(row.figures, transforms, 0)) for row in table],
    )
    print_table(
        ("mAP", *transforms),
        [(row.name, *_by_transform(row.figures, transforms, 1)) for row in table],
    )
    for name, each in located:
        print(
            f"localisation, {name}: {len(each.films)} films at 1 % of frame pairs "
            f"(similarity {each.threshold:.3f}): found {each.found:.1%}, "
            f"mean Jaccard {each.mean_jaccard:.3f}"
        )
        print("  " + ", ".join(f"{name} {value:.2f}" for name, value in each.films))


def _three(figures: Figures) -> tuple[str, str, str]:
    values = figures.mean_average_precision, figures.tpr_1, figures.tpr_01
    return (f"{values[0]:.3f}", f"{values[1]:.3f}", f"{values[2]:.3f}")


def _by_transform(figures: Figures, names: list[str], which: int) -> list[str]:
    return [f"{figures.by_transform[name][which]:.2f}" for name in names]


def _interop(options: argparse.Namespace, bench: Bench, other: Path) -> int:
    from nnrvideo.descriptors import Interoperable
    from nnrvideo.descriptors.bench import cross
    from nnrvideo.descriptors.coding import replace_manifest

    paths = (options.interop[0], other)
    first = load_descriptor_model(paths[0])
    second = load_descriptor_model(other, integers=options.int8)
    rows, facts, drop = [], [], 0.0
    rotations = min(first.manifest.rotations, second.manifest.rotations)
    entry: Interoperable | None = None
    for bits in (0, 256):
        base, _ = cross(bench, first, first, rotations=rotations, bits=bits)
        own, mixed = cross(bench, first, second, rotations=rotations, bits=bits)
        form = f"{bits} bit" if bits else f"{first.dimensions} real"
        for name, each in ((f"{form}: A, A", base), ("B, B", own), ("B, A", mixed)):
            rows.append((name, *_three(each)))
        table = {"a_a": base.to_json(), "b_b": own.to_json(), "b_a": mixed.to_json()}
        facts.append({"form": form, **table})
        if not bits:
            drop = base.mean_average_precision - mixed.mean_average_precision
            entry = Interoperable(
                first.model_id,
                round(mixed.mean_average_precision, 4),
                round(mixed.tpr_1, 4),
                round(base.mean_average_precision, 4),
            )
    assert entry is not None
    if options.write is not None:
        kept = tuple(
            each for each in second.manifest.interoperable if each.model_id != first.model_id
        )
        manifest = replace(second.manifest, interoperable=(*kept, entry))
        bitstream = replace_manifest(paths[1].read_bytes(), manifest)
        write_bytes(options.write, bitstream, overwrite=options.overwrite)
    if options.json:
        print_json(
            {
                "bytes": [path.stat().st_size for path in paths],
                "drop": drop,
                "rows": facts,
            }
        )
    else:
        sizes = [human_bytes(path.stat().st_size) for path in paths]
        title = f"A {paths[0].name} ({sizes[0]}), B {paths[1].name} ({sizes[1]})"
        print_table(("queries, references", "mAP", "TPR@1%", "TPR@0.1%"), rows, title)
        verdict = "interoperable" if drop <= _MAX_DROP else "not interoperable"
        print(f"mean average precision drops by {drop:+.3f}: {verdict}")
    return Exit.OK if drop <= _MAX_DROP else Exit.BAD_INPUT
