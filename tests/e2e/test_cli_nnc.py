# SPDX-License-Identifier: Apache-2.0
"""The command line on NNC bitstreams: what only some senders ask for."""

from __future__ import annotations

import json
import re

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
    capsys.readouterr()
    assert main(["probe", str(tmp_path / "auto.nnc")]) == Exit.BAD_INPUT
    assert "an update may need what it builds on" in capsys.readouterr().err
    assert main(["probe", str(tmp_path / "auto.nnc"), *bases]) == 0
    assert "update, residuals of a prediction" in capsys.readouterr().out
    assert main(["probe", str(tmp_path / "film.mp4"), *bases]) == Exit.USAGE


@pytest.mark.parametrize("topology", ["onnx", "text"])
def test_short_ids(onnx_file, moved, tmp_path, capsys, topology):
    sizes, prints = {}, {}
    with np.load(moved) as archive:
        names = archive.files
    for ids in ("names", "short"):
        base, update = tmp_path / f"{ids}.nnc", tmp_path / f"{ids}-update.nnc"
        command = ["pack", str(onnx_file), "-o", str(base), "--topology", topology]
        assert main([*command, "--ids", ids, "-q"]) == 0
        assert main(["diff", str(base), str(moved), "-o", str(update), "-q"]) == 0
        out = tmp_path / f"{ids}.onnx"
        assert main(["unpack", str(update), "--base", str(base), "-o", str(out), "-q"]) == 0
        capsys.readouterr()
        assert main(["probe", str(update), "--base", str(base), "--json"]) == 0
        sent = json.loads(capsys.readouterr().out)["tensors"]
        assert {each["name"] for each in sent} <= set(names)
        sizes[ids] = base.stat().st_size, update.stat().st_size
        prints[ids] = probed(base, capsys)["tensors"], out.read_bytes()
    assert all(short < long for short, long in zip(sizes["short"], sizes["names"], strict=True))
    assert prints["short"] == prints["names"]
    command = ["pack", str(onnx_file), "-o", str(tmp_path / "x.nnc"), "--ids", "short"]
    assert main([*command, "--topology", "none"]) == Exit.USAGE
    assert "--ids short needs a graph" in capsys.readouterr().err


MAPS = {
    "performance_metric_type": "PSNR",
    "validation_set_performance": 41.375,
    "sparsification_performance_map": [
        {
            "sparsification_threshold": 0.5,
            "non_zero_ratio": 0.25,
            "spm_nn_accuracy": 40.5,
            "spm_class_bitmask": 0,
            "spm_nn_class_accuracy": [],
        }
    ],
    "decomposition_performance_map": [
        {
            "mse_threshold": 0.0625,
            "dpm_nn_accuracy": 40.75,
            "nn_reduction_ratio": 0.5,
            "dpm_nn_class_accuracy": [1.5, 2.5],
        }
    ],
}


@pytest.mark.parametrize("source", ["net.onnx", "net.npz"])
@pytest.mark.parametrize("layers", [[], ["--layers", "4,2"]])
def test_performance_maps(onnx_file, moved, tmp_path, capsys, source, layers):
    """In as JSON, out as the same JSON, and legible."""
    given, coded, again = (tmp_path / name for name in ("maps.json", "net.nnc", "again.json"))
    given.write_text(json.dumps(MAPS))
    command = ["pack", str(onnx_file.with_name(source)), "-o", str(coded), "-q", *layers]
    assert main([*command, "--performance-map", str(given)]) == 0
    facts = probed(coded, capsys)["performance"]
    assert facts == MAPS
    again.write_text(json.dumps(facts))
    assert main(["probe", str(coded)]) == 0
    told = capsys.readouterr().out
    assert "PSNR on the validation set: 41.375" in told
    assert "spm_nn_accuracy" in told
    assert "1.5 2.5" in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "maps.json: Expecting property name"),
        ("[]", "maps.json: a performance map is a JSON object"),
        (
            '{"pruning_performance_map": [{}]}',
            "pruning_performance_map[0].pruning_ratio is missing",
        ),
    ],
)
def test_performance_maps_that_are_none(onnx_file, tmp_path, capsys, text, message):
    (tmp_path / "maps.json").write_text(text)
    command = ["pack", str(onnx_file), "-o", str(tmp_path / "x.nnc"), "--performance-map"]
    assert main([*command, str(tmp_path / "maps.json")]) == Exit.USAGE
    assert message in capsys.readouterr().err


def test_an_update_of_some_tensors(onnx_file, moved, tmp_path, capsys):
    base = onnx_file.with_name("net.nnc")
    with np.load(moved) as archive:
        names = list(archive.files)
    chosen = [name for name in names if name.endswith(".bias") or name == names[0]]
    assert 1 < len(chosen) < len(names)
    update, out = tmp_path / "update.nnc", tmp_path / "out.npz"
    command = ["diff", str(base), str(moved), "-o", str(update)]
    assert main([*command, "--only", "*.bias", "--only", names[0], "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["tensors_sent"] <= len(chosen)
    assert main(["unpack", str(update), "--base", str(base), "-o", str(out), "-q"]) == 0
    with np.load(out) as new, np.load(onnx_file.with_name("net.npz")) as old:
        for name in names:
            assert np.array_equal(new[name], old[name]) == (name not in chosen)
    assert main([*command, "-y", "--only", "conv9.*"]) == Exit.USAGE
    assert "--only conv9.*: no tensor is called so" in capsys.readouterr().err


def test_an_update_of_any_earlier_node(onnx_file, moved, tmp_path, capsys):
    """Two updates of one network: each goes on from the first, neither from the other."""
    base = onnx_file.with_name("net.nnc")
    updates = {name: tmp_path / f"{name}.nnc" for name in ("first", "second", "other")}
    with np.load(moved) as archive:
        tensors = {name: archive[name] for name in archive.files}
    for number, name in enumerate(("second", "other"), 1):
        further = {k: v + v.dtype.type(number * 0.01 * (v.ndim > 1)) for k, v in tensors.items()}
        np.savez(tmp_path / f"{name}.npz", **further)
    assert main(["diff", str(base), str(moved), "-o", str(updates["first"]), "-q"]) == 0
    for parent, name in (("node", "second"), ("sha256", "other")):
        command = ["diff", str(base), str(tmp_path / f"{name}.npz"), "-o", str(updates[name]), "-q"]
        assert main([*command, "--after", str(updates["first"]), "--parent", parent]) == 0

    def unpacked(*names):
        *before, last = (str(updates[name]) for name in names)
        bases = [text for path in (str(base), *before) for text in ("--base", path)]
        return main(["unpack", last, *bases, "-o", str(tmp_path / "out.npz"), "-y", "-q"])

    assert unpacked("first", "second") == unpacked("first", "other") == 0
    for wrong in (("other",), ("second",), ("first", "second", "other"), ("first", "first")):
        capsys.readouterr()
        assert unpacked(*wrong) == Exit.BAD_INPUT
        told = capsys.readouterr().err
        assert re.search(
            # Where nothing names the parent, codewords that no longer fit tell.
            "the update is for the network id:|the parent of .* is another|does not follow"
            "|the codeword goes on",
            told,
        )


def test_block_scans_have_entry_points(onnx_file, tmp_path):
    packed = tmp_path / "scanned.nnc"
    assert main(["pack", str(onnx_file), "-o", str(packed), "-q", "--scan-order", "1"]) == 0
    units = [u for u in nnc.parse_units(packed.read_bytes()) if isinstance(u, nnc.DataUnit)]
    assert {unit.scan_order for unit in units if len(unit.tensor_dimensions) > 1} == {1}
    assert any(unit.entry_points for unit in units)
    again = tmp_path / "again.npz"
    assert main(["unpack", str(packed), "-o", str(again), "-q"]) == 0
