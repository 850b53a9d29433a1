# SPDX-License-Identifier: Apache-2.0
"""Tasks by themselves: plain JSON in and out, files in their folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is the optional extra [train]")

from nnrvideo.model import receive
from nnrvideo.training.title import tasks


@pytest.fixture
def network(make_film: Callable[..., Path], tmp_path: Path) -> dict[str, object]:
    """Arguments that tasks about a network have in common, with a network of no use."""
    film = make_film(tmp_path / "film.mkv", 6, size=(64, 56))
    coded = tasks.code(
        {
            "source": str(film), "name": "coded.mp4", "scale": "1", "codec": "libx264",
            "options": {"crf": "40", "preset": "ultrafast"}, "two_pass": False, "duration": "1/5",
        },
        tmp_path,
    )  # fmt: skip
    assert coded["pictures"] == 5 and coded["bits"] > 1000
    arguments = {
        "pairs": [[str(film), str(tmp_path / "coded.mp4")]], "mode": "enhance", "tier": "S",
        "steps": 10, "seconds": None, "share": 0.0, "pictures": 4, "seed": 1, "threads": 1,
    }  # fmt: skip
    result = tasks.train(arguments, tmp_path)
    assert json.loads(json.dumps(result)) == result
    assert result["bytes"] == (tmp_path / result["network_file"]).stat().st_size
    ((source, decoded),) = arguments["pairs"]
    network = str(tmp_path / result["network_file"])
    return {**arguments, "source": source, "coded": decoded, "network": network}


@pytest.mark.parametrize(("level", "moved"), [("bias", False), ("last", True)])
def test_updates_change_what_they_may(network, tmp_path: Path, level: str, moved: bool) -> None:
    told = []
    with tasks.reporting(lambda done, total: told.append((done, total))):
        result = tasks.adapt(
            {**network, "level": level, "start": None, "end": "1/10", "steps": 30}, tmp_path
        )
    assert told[-1] == (30, 30)
    base = receive(Path(network["network"]).read_bytes())
    after = receive((tmp_path / result["update_file"]).read_bytes(), base).tensors
    changed = {name for name in after if (after[name] != base.tensors[name]).any()}
    assert any(name.endswith(".bias") for name in changed)
    assert ("tail.weight" in changed) is moved
    assert not changed & {"stem.weight", "body.0.weight", "body.1.weight", "skip.weight"}


def test_no_update_where_nothing_is_gained(network, tmp_path: Path, monkeypatch) -> None:
    perfect = lambda *_args, **_more: math.inf  # noqa: E731
    monkeypatch.setattr("nnrvideo.training.adaptation.adaptation_psnr", perfect)
    arguments = {**network, "level": "bias", "start": None, "end": None, "steps": 2}
    result = tasks.adapt(arguments, tmp_path)
    assert result["bytes"] == 0 and "update_file" not in result
