# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo probe NET.nnc``: units and tensors of an NNC bitstream."""

from __future__ import annotations

from pathlib import Path

from nnrvideo.cli.exits import Exit
from nnrvideo.cli.report import human_bytes, print_json, print_pairs, print_table
from nnrvideo.limits import Limits


def probe_nnc(path: Path, *, as_json: bool) -> int:
    """Prints what an NNC bitstream consists of.

    Raises:
        BitstreamError: It is damaged.
    """
    from nnrvideo import model, nnc

    data = path.read_bytes()
    limits = Limits.offline()
    units = nnc.parse_units(data, limits)
    unpacked = model.unpack(data, limits=limits)
    network = unpacked.network
    # As the graph declares them where there is one, else as they were transmitted.
    tensors = unpacked.decoded.tensors if network is None else network.tensors
    facts = {
        "path": str(path),
        "bytes": len(data),
        "units": [
            {
                "type": int(unit.header.nnr_unit_type),
                "name": type(unit).__name__,
                "bytes": unit.header.nnr_unit_size,
            }
            for unit in units
        ],
        "is_update": unpacked.decoded.is_update,
        "has_topology": unpacked.decoded.topology is not None,
        "parameters": tensors.parameters,
        "tensors": [
            {"name": name, "shape": list(array.shape), "dtype": str(array.dtype)}
            for name, array in tensors.items()
        ],
        "fingerprint": tensors.fingerprint(),
    }
    if as_json:
        print_json(facts)
        return Exit.OK
    graph = "none" if network is None else f"{len(network.graph.nodes)} operators"
    print_pairs(
        str(path),
        {
            "size": f"{human_bytes(len(data))} in {len(units)} units",
            "kind": "update" if unpacked.decoded.is_update else "network",
            "topology": graph,
            "parameters": str(tensors.parameters),
            "fingerprint": tensors.fingerprint(),
        },
    )
    print_table(
        ("tensor", "shape", "type"),
        [
            (name, "x".join(map(str, a.shape)) or "scalar", str(a.dtype))
            for name, a in tensors.items()
        ],
    )
    return Exit.OK
