# SPDX-License-Identifier: Apache-2.0
"""The command line on NNC bitstreams: what only some senders ask for."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnrvideo import nnc
from nnrvideo.cli.exits import Exit
from nnrvideo.cli.main import main
from nnrvideo.data import base_network


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nnc")
    (folder / "net.nnc").write_bytes(base_network())
    assert main(["unpack", str(folder / "net.nnc"), "-o", str(folder / "net.onnx"), "-q"]) == 0
    return folder / "net.onnx"


@pytest.fixture(scope="module")
def moved(onnx_file):
    """Weights that training has moved a little."""
    path = onnx_file.with_name("net.npz")
    assert main(["unpack", str(onnx_file.with_name("net.nnc")), "-o", str(path), "-q"]) == 0
    rng = np.random.default_rng(0)
    with np.load(path) as archive:
        tensors = {name: archive[name] for name in archive.files}
    for name, value in tensors.items():
        if value.dtype == np.float32:
            tensors[name] = value + rng.normal(0, 0.01, value.shape).astype(np.float32)
    moved = onnx_file.with_name("moved.npz")
    np.savez(moved, **tensors)
    return moved


def probed(path, capsys):
    capsys.readouterr()
    assert main(["probe", str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_units_that_fit_packets(onnx_file, moved, tmp_path, capsys):
    plain, small, update = (tmp_path / f"{name}.nnc" for name in ("plain", "small", "update"))
    packet = ["--max-unit-bytes", "1200"]
    assert main(["pack", str(onnx_file), "-o", str(plain), "-q"]) == 0
    assert main(["pack", str(onnx_file), "-o", str(small), "-q", *packet]) == 0
    assert main(["diff", str(small), str(moved), "-o", str(update), "-q", *packet]) == 0
    for path in (small, update):
        units = nnc.parse_units(path.read_bytes(), dimensions={})
        sizes = [
            part.nnr_unit_size for unit in units for part in unit.header.parts or [unit.header]
        ]
        assert max(sizes) == 1200
    whole, spread = probed(plain, capsys), probed(small, capsys)
    assert spread["fingerprint"] == whole["fingerprint"]
    assert sum(unit["bytes"] for unit in spread["units"]) == spread["bytes"]
    assert max(unit["parts"] for unit in spread["units"]) > 1
    command = ["pack", str(onnx_file), "-o", str(tmp_path / "x.nnc"), "--max-unit-bytes", "16"]
    assert main(command) == Exit.USAGE
    assert "needs units of at least" in capsys.readouterr().err


def test_predicted_updates(onnx_file, moved, tmp_path, capsys):
    """A network that goes on as it went: shorter, and the receiver arrives at the same place."""
    base = onnx_file.with_name("net.nnc")
    with np.load(onnx_file.with_name("net.npz")) as old, np.load(moved) as new:
        further = {name: new[name] + (new[name] - old[name]) for name in new.files}
    np.savez(tmp_path / "further.npz", **further)
    first = tmp_path / "first.nnc"
    assert main(["diff", str(base), str(moved), "-o", str(first), "-q"]) == 0
    facts = {}
    for choice in ("never", "auto", "always"):
        command = ["diff", str(base), str(tmp_path / "further.npz"), "--after", str(first)]
        command += ["-o", str(tmp_path / f"{choice}.nnc"), "--predict", choice, "--json"]
        capsys.readouterr()
        assert main(command) == 0
        facts[choice] = json.loads(capsys.readouterr().out)
    assert [facts[choice]["predicted"] for choice in facts] == [False, True, True]
    assert facts["auto"]["nnc_bytes"] == facts["always"]["nnc_bytes"]
    assert facts["auto"]["nnc_bytes"] < 0.8 * facts["never"]["nnc_bytes"]
    assert facts["auto"]["max_abs_error"] < 0.01
    bases = ["--base", str(base), "--base", str(first)]
    out = tmp_path / "out.npz"
    assert main(["unpack", str(tmp_path / "auto.nnc"), "-o", str(out), *bases, "-q"]) == 0
    with np.load(out) as archive:
        for name, value in further.items():
            np.testing.assert_allclose(archive[name], value, atol=0.01)
    command = ["unpack", str(tmp_path / "auto.nnc"), "-o", str(tmp_path / "x.npz"), *bases[:2]]
    assert main(command) == Exit.BAD_INPUT


@pytest.mark.parametrize("topology", ["onnx", "text"])
def test_short_ids(onnx_file, moved, tmp_path, capsys, topology):
    sizes, prints = {}, {}
    for ids in ("names", "short"):
        base, update = tmp_path / f"{ids}.nnc", tmp_path / f"{ids}-update.nnc"
        command = ["pack", str(onnx_file), "-o", str(base), "--topology", topology]
        assert main([*command, "--ids", ids, "-q"]) == 0
        assert main(["diff", str(base), str(moved), "-o", str(update), "-q"]) == 0
        out = tmp_path / f"{ids}.onnx"
        assert main(["unpack", str(update), "--base", str(base), "-o", str(out), "-q"]) == 0
        sizes[ids] = base.stat().st_size, update.stat().st_size
        prints[ids] = probed(base, capsys)["tensors"], out.read_bytes()
    assert all(short < long for short, long in zip(sizes["short"], sizes["names"], strict=True))
    assert prints["short"] == prints["names"]
    command = ["pack", str(onnx_file), "-o", str(tmp_path / "x.nnc"), "--ids", "short"]
    assert main([*command, "--topology", "none"]) == Exit.USAGE
    assert "--ids short needs a graph" in capsys.readouterr().err
