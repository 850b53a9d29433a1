# SPDX-License-Identifier: Apache-2.0
"""VMAF: our pipe against the same libvmaf reading two files; and what happens without it."""

import json
import subprocess
import sys

import numpy as np
import pytest

from nnrvideo.metrics import SequenceMeter, VmafError, VmafMeter, VmafTool, find_vmaf
from nnrvideo.metrics.vmaf import EXECUTABLE_VARIABLE, vmaf_model
from nnrvideo.picture import ChromaFormat, Picture


@pytest.fixture
def tool():
    try:
        return find_vmaf()
    except VmafError as error:
        pytest.skip(str(error))


@pytest.fixture
def no_cache():
    find_vmaf.cache_clear()
    yield
    find_vmaf.cache_clear()


def planes(index, shape, depth):
    """A moving pattern, and the same with half of its detail lost."""
    rows, columns = shape
    y, x = np.mgrid[0:rows, 0:columns]
    fine = np.random.default_rng(index).normal(0, 0.02, shape)
    base = 0.5 + 0.25 * np.sin((x + 3 * index) / 9) * np.cos(y / 7)
    dtype = np.uint8 if depth == 8 else np.uint16
    peak = (1 << depth) - 1
    return [
        np.rint(np.clip(v, 0, 1) * peak).astype(dtype) for v in (base + fine, base + 0.4 * fine)
    ]


def write_y4m(path, lumas, depth):
    rows, columns = lumas[0].shape
    grey = np.full(((rows + 1) // 2, (columns + 1) // 2), 1 << (depth - 1), lumas[0].dtype)
    with path.open("wb") as file:
        kind = "420" if depth == 8 else "420p10"
        file.write(f"YUV4MPEG2 W{columns} H{rows} F25:1 Ip A0:0 C{kind}\n".encode())
        for luma in lumas:
            file.write(b"FRAME\n" + luma.tobytes() + 2 * grey.tobytes())


@pytest.mark.parametrize(
    ("shape", "depth"), [((180, 320), 8), ((180, 320), 10), ((121, 163), 8), ((121, 162), 10)]
)
def test_figures_are_those_of_libvmaf_on_two_files(tool, tmp_path, shape, depth):
    pairs = [planes(index, shape, depth) for index in range(4)]
    with VmafMeter(tool, shape[1], shape[0], depth, threads=2) as meter:
        for pair in pairs:
            meter.add(*pair)
        found = meter.finish()
    for name, index in (("reference.y4m", 0), ("picture.y4m", 1)):
        write_y4m(tmp_path / name, [pair[index] for pair in pairs], depth)
    models = r"version=vmaf_v0.6.1\:name=a|version=vmaf_v0.6.1neg\:name=b"
    subprocess.run(
        [tool.executable, "-loglevel", "error", "-i", "picture.y4m", "-i", "reference.y4m"]
        + ["-lavfi", f"libvmaf=log_fmt=json:log_path=log.json:model='{models}'"]
        + ["-f", "null", "-"],
        cwd=tmp_path,
        check=True,
    )
    log = json.loads((tmp_path / "log.json").read_text())
    expected = [[frame["metrics"][name] for frame in log["frames"]] for name in "ab"]
    assert list(found.vmaf_by_picture) == pytest.approx(expected[0], abs=1e-5)
    assert list(found.vmaf_neg_by_picture) == pytest.approx(expected[1], abs=1e-5)
    assert found.vmaf == pytest.approx(np.mean(expected[0]), abs=1e-5)
    assert found.vmaf < 100
    assert found.model == "vmaf_v0.6.1"


def test_model_follows_the_size():
    assert vmaf_model(1080) == "vmaf_v0.6.1"
    assert vmaf_model(2160) == "vmaf_4k_v0.6.1"


def test_model_for_large_pictures_is_there(tool):
    grey = np.full((1442, 64), 100, np.uint8)
    with VmafMeter(tool, 64, 1442) as meter:
        meter.add(grey, grey)
        assert meter.finish().model == "vmaf_4k_v0.6.1"


def test_depth_that_libvmaf_does_not_know(tool):
    with pytest.raises(VmafError, match="9"):
        VmafMeter(tool, 64, 64, 9)


def test_another_size_is_refused(tool):
    with VmafMeter(tool, 64, 64) as meter, pytest.raises(ValueError, match="64"):
        meter.add(np.zeros((32, 64), np.uint8), np.zeros((32, 64), np.uint8))


def test_nothing_measured(tool):
    with VmafMeter(tool, 64, 64) as meter, pytest.raises(VmafError):
        meter.finish()


def script(path, text):
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return path


def test_absent_program_is_named(monkeypatch, tmp_path, no_cache):
    monkeypatch.setenv(EXECUTABLE_VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(VmafError, match=r"nothing.*nnrvideo\[vmaf\]"):
        find_vmaf()


def test_program_without_libvmaf_is_not_taken(monkeypatch, tmp_path, no_cache):
    text = "import sys; sys.stdin.buffer.read(); sys.exit('No such filter: libvmaf')"
    monkeypatch.setenv(EXECUTABLE_VARIABLE, str(script(tmp_path / "ffmpeg", text)))
    with pytest.raises(VmafError, match="No such filter"):
        find_vmaf()


@pytest.mark.parametrize(
    "text",
    [
        "import sys; sys.stdin.buffer.read(1); sys.exit('out of memory')",  # in the middle
        "import sys; sys.stdin.buffer.read()",  # ends well, but leaves no figures
        "import sys; sys.stdin.buffer.read(); open('vmaf.json', 'w').write('{\"frames\": 1}')",
        "import sys; sys.stdin.buffer.read(); open('vmaf.json', 'w').write('{\"frames\": []}')",
    ],
)
def test_vmaf_that_fails_is_reported_as_absent(tmp_path, text):
    tool = VmafTool(str(script(tmp_path / "ffmpeg", text)), "none")
    luma = np.full((256, 256), 9, np.uint8)
    picture = Picture((luma,), ChromaFormat.MONO)
    with SequenceMeter(vmaf=tool) as meter:
        for _ in range(20):
            meter.add(picture, picture)
        result = meter.finish()
    assert result.quality.vmaf is result.quality.vmaf_neg is None
    assert result.absent["vmaf"]
    assert result.quality.ms_ssim_y == pytest.approx(1)
