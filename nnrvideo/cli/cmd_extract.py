# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo extract``: write the networks of a video to files."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnrvideo.cli.args import add_common, add_json, add_overwrite
from nnrvideo.cli.exits import Exit, NoNetworkError
from nnrvideo.cli.report import human_bytes, print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.epilog = "Files are called filter<ID>-base.nnc and filter<ID>-update<N>.nnc."
    parser.add_argument("input", metavar="IN", type=Path, help="video with networks inside")
    parser.add_argument(
        "-o",
        dest="folder",
        metavar="DIR",
        type=Path,
        required=True,
        help="folder for the networks; it is made if it does not exist",
    )
    add_overwrite(parser)
    add_json(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo.authoring import extract, save_networks

    networks = extract(options.input)
    inside = [network for network in networks if network.payload]
    if not inside:
        elsewhere = "; ".join(n.nnpfc.nnpfc_uri for n in networks)
        note = f" (named by URI only: {elsewhere})" if elsewhere else ""
        raise NoNetworkError(f"{options.input} carries no network{note}")
    options.folder.mkdir(parents=True, exist_ok=True)
    paths = save_networks(networks, options.folder, overwrite=options.overwrite)
    facts = [
        {
            "file": str(path),
            "nnpfc_id": network.nnpfc_id,
            "base": network.is_base,
            "bytes": len(network.payload),
            "sha256": network.sha256,
            "pts": [float(time) for time in network.pts],
        }
        for path, network in zip(paths, inside, strict=True)
    ]
    if options.json:
        print_json(facts)
    elif not options.quiet:
        for path, network in zip(paths, inside, strict=True):
            print(f"{path}: {human_bytes(len(network.payload))}, found {len(network.pts)} times")
    return Exit.OK
