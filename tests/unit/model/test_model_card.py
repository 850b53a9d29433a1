# SPDX-License-Identifier: Apache-2.0
"""Model cards: complete by themselves, bound to their network, harmless from strangers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from nnrvideo.cli.main import main
from nnrvideo.data import BASE_NETWORK, base_network
from nnrvideo.errors import ContainerError, ModelError
from nnrvideo.model import (
    DataSource,
    EnergyEstimate,
    ModelCard,
    bind_card,
    card_markdown,
    card_path,
    card_rows,
    data_sha256,
    diff,
    embedded_card,
    infer_contract,
    load_card,
    make_card,
    model_id,
    pack,
    receive,
    save_card,
    unpack,
    with_card,
)
from nnrvideo.tensors import TensorSet

FULL = ModelCard(
    name="net",
    description="cleans pictures",
    sha256="ab",
    model_id="id:x",
    parents=("id:y",),
    created="2026-01-02T03:04:05+00:00",
    licence="CC0",
    facts={"input": "luma"},
    data=(DataSource(name="clip", sha256="cd", examples=3, licence="CC BY", note="half"),),
    data_sha256="ef",
    num_examples=3,
    recipe={"loss": "mse", "rate": 1e-3, "sizes": [1, 2]},
    metrics=({"clip": "c", "psnr": 30.5},),
    metrics_note="luma",
    limits="chroma",
    software={"python": "3"},
    energy_estimate=EnergyEstimate(cpu_seconds=100, accelerator_seconds=2),
)


@pytest.fixture(scope="module")
def bitstream() -> bytes:
    return base_network()


def test_comes_back_as_it_was_written():
    assert ModelCard.from_text(FULL.to_text()) == FULL
    assert json.loads(FULL.to_text())["energy_estimate"]["joules"] == 100 * 10 + 2 * 300


def test_fields_of_later_versions_are_passed_over():
    value = json.loads(FULL.to_text()) | {"colour": "blue"}
    assert ModelCard.from_text(json.dumps(value)) == FULL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "x"}, "no model card"),
        ({"version": 2}, "version 2 are not known"),
        ({"name": 3}, "name must be text"),
        ({"parents": "id"}, "parents must be a list"),
        ({"facts": {"a": 1}}, "facts.a must be text"),
        ({"data": [{}]}, "data.name is missing"),
        ({"data": [{"name": "a", "examples": -1}]}, "data.examples must be a count"),
        ({"data": [{"name": "a", "sha256": []}]}, "data.sha256 must be text"),
        ({"num_examples": True}, "num_examples must be a count"),
        ({"recipe": []}, "recipe must be an object"),
        ({"metrics": {}}, "metrics must be a list"),
        ({"energy_estimate": {"cpu_seconds": "many"}}, "cpu_seconds must be a number"),
        ({"energy_estimate": {"cpu_seconds": -1}}, "cpu_seconds must be a number"),
    ],
)
def test_says_which_field_is_wrong(change, message):
    with pytest.raises(ModelError, match=message):
        ModelCard.from_text(json.dumps(json.loads(FULL.to_text()) | change))


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[" * 100_000, '{"format": NaN}', b"\xff", " " * 2**21, "9" * 999]
)
def test_damaged_text_is_refused(text):
    with pytest.raises(ModelError):
        ModelCard.from_text(text)


def test_a_card_fills_in_what_the_bitstream_tells(bitstream):
    data = [DataSource(name="b", sha256="22"), DataSource(name="a", sha256="11")]
    card = make_card(
        bitstream, "net", data=data, cpu_seconds=60, num_examples=7, recipe={"seed": 1},
        created=datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    assert card.sha256 == hashlib.sha256(bitstream).hexdigest()
    assert card.model_id == model_id(unpack(bitstream).tensors)
    assert card.created == "2026-01-02T00:00:00+00:00"
    assert card.facts["parameters"].startswith("24900, ")
    assert card.facts["cost"] == "1.61 kMAC for each output sample"
    assert card.data_sha256 == hashlib.sha256(b"11\n22\n").hexdigest()
    assert {"python", "numpy", "nnrvideo"} <= card.software.keys()
    assert card.energy_estimate is not None
    assert card.energy_estimate.joules == 600
    assert card.parents == ()


def test_a_card_of_an_update_names_its_parent(bitstream):
    base = receive(bitstream)
    tensors = TensorSet(
        {n: np.asarray(v) + (0.01 if n.endswith("bias") else 0) for n, v in base.tensors.items()}
    )
    update = diff(base, tensors)
    card = make_card(update, "tuned", base=base, parents=["id:other"])
    assert card.parents == (model_id(base.tensors), "id:other")
    assert card.model_id == model_id(receive(update, base).tensors)


def test_data_of_which_a_hash_is_missing_has_none():
    assert data_sha256([]) == ""
    assert data_sha256([DataSource(name="a", sha256="1"), DataSource(name="b")]) == ""
    held_out = DataSource(name="b", use="held out")
    one = DataSource(name="a", sha256="1")
    assert data_sha256([one, held_out]) == data_sha256([one]) != ""


def test_lies_beside_its_network_and_belongs_to_no_other(bitstream, tmp_path: Path):
    net = tmp_path / "net.nnc"
    net.write_bytes(bitstream)
    assert load_card(net) is None
    card = bind_card(FULL, bitstream)
    assert save_card(card, net) == card_path(net) == tmp_path / "net.nnc.card.json"
    assert load_card(net) == card
    with pytest.raises(ContainerError, match="exists"):
        save_card(card, net)
    with pytest.raises(ModelError, match="not of this one"):
        save_card(FULL, net, overwrite=True)
    net.write_bytes(bitstream + b"\0")
    with pytest.raises(ModelError, match="not of this one"):
        load_card(net)


def test_travels_in_the_graph_when_asked(bitstream):
    network = unpack(bitstream).require_network()
    long = replace(FULL, limits="ä|\n" * 900)
    sent = pack(with_card(network, long))
    received = unpack(sent).require_network()
    assert embedded_card(received) == replace(long, sha256="")
    assert infer_contract(received) == infer_contract(network)
    assert embedded_card(network) is None
    again = with_card(received, replace(FULL, name="short"))
    assert embedded_card(again).name == "short"
    assert len(pack(network)) < len(sent)
    with pytest.raises(ModelError, match="too long to travel"):
        with_card(network, replace(FULL, limits="x" * 40_000))


def test_what_people_read_holds_no_commands_for_terminals_and_no_broken_tables():
    wild = replace(FULL, name="a\x1b[31m|b\n\nc", facts={"x": "1 | 2"}, metrics=({"m|": "\x07"},))
    page = card_markdown(wild)
    assert "\x1b" not in page
    assert "| x | 1 \\| 2 |" in page
    assert "| m\\| |" in page
    assert "\x1b" not in "".join(card_rows(wild).values())
    assert card_rows(FULL)["energy, estimated"].startswith("1.6 kJ (100 CPU seconds at 10 W")


def test_markdown_tells_everything():
    page = card_markdown(FULL)
    for text in ("# net", "CC BY", "`cd`", "| rate | 0.001 |", "| c | 30.5 |", "chroma", "`id:y`"):
        assert text in page
    assert card_markdown(ModelCard(name="bare")).startswith("# bare\n")


def test_pack_and_probe_carry_cards(bitstream, tmp_path: Path, capsys):
    net, onnx, card = (tmp_path / name for name in ("net.nnc", "net.onnx", "card.json"))
    onnx.write_bytes(unpack(bitstream).require_network().to_onnx())
    card.write_text(FULL.to_text())
    command = ["pack", str(onnx), "-o", str(net), "--card", str(card)]
    assert main([*command, "-q"]) == 0
    assert load_card(net).sha256 == hashlib.sha256(net.read_bytes()).hexdigest()
    assert main(["probe", str(net)]) == 0
    assert "net: cleans pictures" in capsys.readouterr().out
    assert main(["probe", str(net), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["card"]["recipe"]["loss"] == "mse"
    assert main([*command, "-q", "-y", "--embed-card"]) == 0
    card_path(net).unlink()
    assert main(["probe", str(net)]) == 0
    assert "net: cleans pictures" in capsys.readouterr().out
    card_path(net).write_text(FULL.to_text())
    assert main(["probe", str(net)]) == 0
    assert "problem: the card is of the network ab" in capsys.readouterr().out
    assert main(["pack", str(onnx), "-o", str(tmp_path / "b.nnc"), "--embed-card"]) == 2
    card.write_text("{}")
    assert main(["pack", str(onnx), "-o", str(tmp_path / "b.nnc"), "--card", str(card)]) == 1
    assert not (tmp_path / "b.nnc").exists()


def test_a_film_tells_the_card_of_its_network(bitstream, make_clip, tmp_path: Path, capsys):
    film = make_clip(tmp_path / "film.mp4", frames=4)
    own = tmp_path / "own.nnc"
    own.write_bytes(bitstream)
    assert main(["embed", "-q", "-i", str(film), "-n", str(own), str(tmp_path / "own.mp4")]) == 0
    assert main(["probe", str(tmp_path / "own.mp4")]) == 0
    assert f"{BASE_NETWORK}: 2x super-resolution" in capsys.readouterr().out
    net = tmp_path / "net.nnc"
    net.write_bytes(pack(with_card(unpack(bitstream).require_network(), FULL)))
    assert main(["embed", "-q", "-i", str(film), "-n", str(net), str(tmp_path / "x.mp4")]) == 0
    assert main(["probe", str(tmp_path / "x.mp4"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["networks"][0]["content"]["card"]["description"] == "cleans pictures"
