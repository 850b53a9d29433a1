# SPDX-License-Identifier: Apache-2.0
"""What is done stays done, and nothing half done is taken for it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from nnrvideo.errors import ContainerError
from nnrvideo.training.title.workshop import Workshop, content_id, open_workshop

CALLS: list[str] = []


def write(arguments, folder):
    CALLS.append(arguments["text"])
    (folder / "text").write_text(arguments["text"])
    return {"file": "text", "length": len(arguments["text"])}


def fail(arguments, folder):
    del arguments, folder
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    CALLS.clear()
    return Workshop(tmp_path, tmp_path / "source.mp4", "id")


def test_a_result_is_computed_once(shop: Workshop) -> None:
    first = shop.do(write, {"text": "abc"})
    assert Path(first["file"]).read_text() == "abc"
    assert shop.do(write, {"text": "abc"}) == first
    shop.do(write, {"text": "other"})
    assert CALLS == ["abc", "other"]
    assert Workshop(shop.folder, Path("/source.mp4"), "id").do(write, {"text": "abc"}) == first
    Workshop(shop.folder, Path("/source.mp4"), "other content").do(write, {"text": "abc"})
    assert CALLS == ["abc", "other", "abc"]


def test_folders_may_move(shop: Workshop, tmp_path: Path) -> None:
    made = shop.do(write, {"text": "abc"})["file"]
    shop.do(write, {"text": made, "source": str(tmp_path / "source.mp4")})
    moved = tmp_path.with_name("moved")
    tmp_path.rename(moved)
    again = Workshop(moved, Path("/elsewhere/source.mp4"), "id")
    made = again.do(write, {"text": "abc"})["file"]
    again.do(write, {"text": made, "source": "/elsewhere/source.mp4"})
    assert len(CALLS) == 2


def test_half_a_result_is_none(shop: Workshop) -> None:
    folder = Path(shop.do(write, {"text": "abc"})["file"]).parent
    (folder / ".coded.0123.part.mp4").write_bytes(b"left by a process that was killed")
    (folder / "result.json").write_text('{"file": "te')
    assert shop.do(write, {"text": "abc"})["length"] == 3
    assert CALLS == ["abc", "abc"]
    assert sorted(each.name for each in folder.iterdir()) == ["result.json", "text"]


def test_a_full_disk_is_told_in_one_line(shop: Workshop) -> None:
    with pytest.raises(ContainerError, match="cannot work in .*: No space left on device"):
        shop.do(fail, {})


def test_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with open_workshop(folder, tmp_path / "a", "id", keep=False) as shop:
        shop.do(write, {"text": "abc"})
        with (
            pytest.raises(ContainerError, match="another process"),
            open_workshop(folder, tmp_path / "a", "id", keep=False),
        ):
            pass
    assert not folder.exists()


def test_results_stay_after_a_failure(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    for task, stays in ((fail, False), (write, True)):
        with (
            pytest.raises((ContainerError, KeyError)),
            open_workshop(folder, tmp_path / "a", "id", keep=False) as shop,
        ):
            shop.do(task, {"text": "abc"})
            raise KeyError
        assert folder.exists() is stays


def test_a_source_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="cannot read .*nothing: No such file"):
        content_id(tmp_path / "nothing")
