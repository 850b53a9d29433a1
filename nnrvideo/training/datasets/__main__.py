# SPDX-License-Identifier: Apache-2.0
"""``python -m nnrvideo.training.datasets``: reads a set and prints or writes its data card."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from nnrvideo.errors import NnrVideoError
from nnrvideo.training.datasets import (
    DataCard,
    Dataset,
    data_card,
    load_coco,
    load_csv,
    load_film_pairs,
    load_folder_pairs,
    load_image_folder,
    load_webdataset,
    split,
)

_SHOWN = 12  # entries of a table of the card


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program.

    Args:
        argv: Arguments; those of the process if absent.

    Returns:
        Exit code: 0, or 1 with one line on standard error.
    """
    parser = argparse.ArgumentParser(
        prog="python -m nnrvideo.training.datasets",
        description="Reads training data and says what they are: the data card.",
    )
    add = parser.add_argument
    add("kind", choices=("folder", "csv", "coco", "webdataset", "pairs", "films"))
    add(
        "paths",
        nargs="+",
        metavar="PATH",
        help="folder of classes; CSV; COCO JSON; tar files; folders of degraded and of clean "
        "pictures; coded film and source, one pair after the other",
    )
    add("--root", help="csv, coco: folder of the files (default: that of the list)")
    add("--crops", action="store_true", help="coco: every box is a sample")
    add("--licence", default="", help="under which the data may be used")
    add("--split", metavar="NAME=SHARE,...", help="for instance train=0.8,test=0.2")
    add("--seed", type=int, default=1, help="of the split (default: 1)")
    add("--group", metavar="REGEX", help="what must stay together, found in ids")
    add("--card", metavar="OUT.json", help="write the whole card")
    add("-y", dest="overwrite", action="store_true", help="overwrite it")
    options = parser.parse_args(argv)
    try:
        data = _load(options)
        parts = None
        if options.split:
            shares = _shares(options.split)
            parts = split(data, shares, seed=options.seed, group=options.group)
        card = data_card(data, parts)
        if options.card:
            card.save(options.card, overwrite=options.overwrite)
    except (NnrVideoError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _print(card)
    return 0


def _load(options: argparse.Namespace) -> Dataset:
    paths, licence = options.paths, options.licence
    wanted = {"pairs": 2, "folder": 1, "csv": 1, "coco": 1}.get(options.kind, len(paths))
    if len(paths) != wanted:
        raise ValueError(f"{options.kind} takes {wanted} paths, not {len(paths)}")
    if options.root and options.kind not in ("csv", "coco"):
        raise ValueError("--root is an option of csv and coco")
    if options.group and not options.split:
        raise ValueError("--group is an option of --split")
    if options.crops and options.kind != "coco":
        raise ValueError("--crops is an option of coco")
    if options.kind == "folder":
        return load_image_folder(paths[0], licence=licence)
    if options.kind == "csv":
        return load_csv(paths[0], root=options.root, licence=licence)
    if options.kind == "coco":
        return load_coco(paths[0], root=options.root, crops=options.crops, licence=licence)
    if options.kind == "webdataset":
        return load_webdataset(paths, licence=licence)
    if options.kind == "pairs":
        return load_folder_pairs(paths[0], paths[1], licence=licence)
    if len(paths) % 2:
        raise ValueError("films come in pairs: coded, source")
    pairs = list(zip(paths[::2], paths[1::2], strict=True))
    return load_film_pairs(pairs, licence=licence)


def _shares(text: str) -> dict[str, float]:
    parts = [part.partition("=") for part in text.split(",")]
    try:
        return {name: float(share) for name, _, share in parts}
    except ValueError:
        raise ValueError(f"--split {text!r}: must be NAME=SHARE,...") from None


def _print(card: DataCard) -> None:
    # Labels come from strangers; ids and labels are printable, JSON escapes the rest.
    facts = card.to_json()
    facts["splits"] = {name: len(ids) for name, ids in card.splits.items()}
    del facts["hashes"]
    for name, value in facts.items():
        shown = value
        if isinstance(value, dict) and len(value) > _SHOWN:
            shown = dict(list(value.items())[:_SHOWN]) | {"...": len(value)}
        print(f"{name}: {json.dumps(shown)}")


if __name__ == "__main__":
    sys.exit(main())
